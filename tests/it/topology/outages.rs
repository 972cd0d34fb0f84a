//! Sentinels that are gone, replicas that are in trouble, and the traffic that goes on meanwhile.

use std::time::Duration;

use redis_rw_pool::{
    Config, Discard, Error, Node, Pool,
    redis::{self, AsyncCommands, RedisResult},
};
use testkit::{
    Deployment, Server,
    fake::{self, FakeSentinel, SentinelView},
};
use tokio::time::Instant;

use crate::support::{self, eventually, local, write};

pub(super) const LIMIT: Duration = Duration::from_secs(30);

pub(super) fn to(sentinel: &FakeSentinel) -> Config {
    let mut config = Config::new([sentinel.addr()], "mymaster");
    config.refresh_interval = Duration::from_millis(300);
    config.connect_timeout = Duration::from_secs(10);
    config
}

pub(super) async fn read(pool: &Pool) -> RedisResult<Node> {
    let mut conn = pool.read().await?;
    let _: Option<String> = conn.get("k").await?;
    Ok(conn.node())
}

/// The reason why a node is left out; `None` while it is readable or unknown.
pub(super) fn reason(pool: &Pool, node: &Node) -> Option<String> {
    let topology = pool.topology();
    let replica = topology.replicas.iter().find(|r| r.node == *node)?;
    Some(replica.excluded.as_ref()?.to_string())
}

pub(super) fn is_readable(pool: &Pool, node: &Node) -> bool {
    pool.topology().readable().any(|readable| readable == node)
}

pub(super) async fn left_out(pool: &Pool, node: &Node, because: &str) {
    let what = format!("{node} is left out because it {because}");
    eventually(&what, LIMIT, || async {
        reason(pool, node).is_some_and(|reason| reason.contains(because))
    })
    .await;
}

pub(super) async fn readable(pool: &Pool, node: &Node) {
    eventually(&format!("{node} is readable"), LIMIT, || async {
        is_readable(pool, node)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn traffic_goes_on_while_all_sentinels_are_gone() {
    let deployment = Deployment::start();
    let master = local(deployment.master().port());
    let pool = support::pool(&deployment, |config| {
        config.refresh_interval = Duration::from_millis(300);
    })
    .await;
    assert_eq!(write(&pool, "before").await, Ok(master.clone()));
    read(&pool).await.expect("replicas are there");
    for sentinel in deployment.sentinels() {
        sentinel.kill();
    }
    eventually("it shows that no Sentinel is reachable", LIMIT, || async {
        pool.status().sentinel.reachable == 0
    })
    .await;
    let error = pool.refresh().await.expect_err("nobody to ask");
    assert!(matches!(error, Error::NoSentinel { .. }), "{error:?}");

    let (before, looks) = (pool.topology(), pool.status().sentinel.refreshes);
    let closed = |reason| {
        let status = pool.status();
        status.write.discards.get(reason) + status.read.discards.get(reason)
    };
    let mut i = 0;
    // Some polls without an answer must go by.
    while pool.status().sentinel.refreshes < looks + 4 {
        assert_eq!(write(&pool, &format!("k{i}")).await, Ok(master.clone()));
        let node = read(&pool).await.expect("replicas are there");
        assert_ne!(node, master, "{:?}", pool.topology());
        i += 1;
    }
    assert_eq!(closed(Discard::RoleChanged) + closed(Discard::NodeGone), 0);
    let now = pool.topology();
    assert_eq!(now.master, before.master);
    assert_eq!(now.readable().count(), 2);
    assert!(pool.status().sentinel.last_answer.is_some());

    for sentinel in deployment.sentinels() {
        sentinel.restart();
    }
    eventually("all three are reachable again", LIMIT, || async {
        pool.status().sentinel.reachable == 3
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replicas_that_die_freeze_or_leave_are_left_out_until_they_are_back() {
    let deployment = Deployment::start();
    let stranger = Server::standalone(&[]);
    let pool = support::pool(&deployment, |config| {
        config.refresh_interval = Duration::from_millis(300);
        config.command_timeout = Some(Duration::from_secs(2));
    })
    .await;
    let master = local(deployment.master().port());
    let [ill, well] = deployment.replicas()[..] else {
        panic!("there are two replicas");
    };
    let (node, other) = (local(ill.port()), local(well.port()));
    readable(&pool, &node).await;
    readable(&pool, &other).await;
    let reads_fine = || async {
        for _ in 0..20 {
            assert_eq!(read(&pool).await, Ok(other.clone()));
        }
        assert_eq!(write(&pool, "k").await, Ok(master.clone()));
    };

    ill.kill();
    left_out(&pool, &node, "").await;
    let why = reason(&pool, &node).expect("it is left out");
    assert!(why.contains("unreachable") || why.contains("down"), "{why}");
    reads_fine().await;
    ill.restart();
    readable(&pool, &node).await;

    ill.pause();
    eventually(
        "reads have met the frozen one and it is left out",
        LIMIT,
        || async {
            let _ = read(&pool).await;
            reason(&pool, &node).is_some()
        },
    )
    .await;
    reads_fine().await;
    ill.resume();
    readable(&pool, &node).await;

    // Sentinel leads it back after a while.
    let port = stranger.port().to_string();
    ill.cmd(&["REPLICAOF", "127.0.0.1", &port]);
    left_out(&pool, &node, "").await;
    reads_fine().await;
    readable(&pool, &node).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reads_go_on_while_the_master_is_dead_and_nobody_replaces_it() {
    let deployment = Deployment::builder()
        .node_config("replica-priority 0")
        .start();
    let pool = support::pool(&deployment, |config| {
        config.refresh_interval = Duration::from_millis(300);
    })
    .await;
    let replicas = [0, 1].map(|i| local(deployment.replicas()[i].port()));
    for replica in &replicas {
        readable(&pool, replica).await;
    }
    let master = deployment.master();
    master.kill();
    let looks = pool.status().sentinel.refreshes;
    // New connections must be possible too, not only those from before.
    let held = [pool.read().await, pool.read().await, pool.read().await];
    assert!(held.iter().all(Result::is_ok), "{held:?}");
    while pool.status().sentinel.refreshes < looks + 10 {
        let node = read(&pool).await.expect("replicas are alive");
        assert!(replicas.contains(&node));
    }
    assert_eq!(pool.topology().readable().count(), 2);
    master.restart();
    eventually("writes go on", LIMIT, || async {
        write(&pool, "k").await.is_ok()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_storm_of_suspicions_costs_few_refreshes() {
    let server = Server::standalone(&[]);
    let sentinel = fake::sentinel(SentinelView::of_master(server.port()));
    let mut config = to(&sentinel);
    config.refresh_interval = Duration::from_secs(3600);
    config.write.max_active = 32;
    let pool = Pool::connect(config).await.expect("all is well");
    eventually("it has subscribed and looked", LIMIT, || async {
        sentinel.subscribers() == 1 && pool.status().sentinel.refreshes >= 2
    })
    .await;
    let before = pool.status().sentinel.refreshes;
    let began = Instant::now();
    let asked = sentinel.count("SENTINEL");
    let mut storm = tokio::task::JoinSet::new();
    for _ in 0..32 {
        let pool = pool.clone();
        storm.spawn(async move {
            for _ in 0..50 {
                let mut conn = pool.write().await.expect("the master is there");
                let refusal: RedisResult<()> = redis::cmd("EVAL")
                    .arg("return redis.error_reply('READONLY as a test')")
                    .arg(0)
                    .query_async(&mut conn)
                    .await;
                refusal.expect_err("the script refuses");
            }
        });
    }
    storm.join_all().await;
    let looks = pool.status().sentinel.refreshes - before;
    let questions = (sentinel.count("SENTINEL") - asked) / 5;
    assert!(looks > 0, "no suspicion was followed");
    // However long the storm takes on this machine, so many looks fit into a second and not more.
    let few = 5 + began.elapsed().as_millis() / 20;
    let text = format!("{looks} looks and {questions} questions for 1600 suspicions");
    let most = u128::from(looks).max(questions as u128);
    assert!(most <= few, "{text}, more than {few}");
}

#[tokio::test]
async fn learned_sentinels_are_remembered_while_none_can_be_asked() {
    let deployment = Deployment::start();
    let mut config = support::config(&deployment);
    config.sentinels.truncate(1);
    config.refresh_interval = Duration::from_millis(300);
    let pool = Pool::connect(config).await.unwrap();
    let reachable = |count| {
        let pool = &pool;
        move || async move { pool.status().sentinel.reachable == count }
    };
    eventually("the others are learned", LIMIT, reachable(3)).await;
    deployment.sentinels()[0].kill();
    eventually("the seed is gone", LIMIT, reachable(2)).await;
    for sentinel in &deployment.sentinels()[1..] {
        sentinel.pause();
    }
    eventually("nobody answers", LIMIT, reachable(0)).await;
    let looks = pool.status().sentinel.refreshes;
    let asked_again = || async { pool.status().sentinel.refreshes >= looks + 4 };
    eventually("they are asked in vain", LIMIT, asked_again).await;
    for sentinel in &deployment.sentinels()[1..] {
        sentinel.resume();
    }
    eventually("those that are back answer", LIMIT, reachable(2)).await;
}

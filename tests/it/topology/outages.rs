//! Sentinels that go, replicas that fall ill, and the traffic that goes on.

use std::time::Duration;

use redis_rw_pool::{
    Config, Discard, Error, Node, Pool, ReadFrom,
    redis::{self, AsyncCommands, RedisResult},
};
use testkit::{
    Deployment, Server,
    fake::{self, Action, FakeNode, FakeSentinel, NodeRole, SentinelView},
};
use tokio::time::Instant;

use crate::support::{self, eventually, local, write};

const LIMIT: Duration = Duration::from_secs(30);

fn to(sentinel: &FakeSentinel) -> Config {
    let mut config = Config::new([sentinel.addr()], "mymaster");
    config.refresh_interval = Duration::from_millis(300);
    config.connect_timeout = Duration::from_secs(10);
    config
}

async fn read(pool: &Pool) -> RedisResult<Node> {
    let mut conn = pool.read().await?;
    let _: Option<String> = conn.get("k").await?;
    Ok(conn.node())
}

/// The reason why a node is left out; `None` while it is readable or unknown.
fn reason(pool: &Pool, node: &Node) -> Option<String> {
    let topology = pool.topology();
    let replica = topology.replicas.iter().find(|r| r.node == *node)?;
    Some(replica.excluded.as_ref()?.to_string())
}

fn is_readable(pool: &Pool, node: &Node) -> bool {
    pool.topology().readable().any(|readable| readable == node)
}

async fn left_out(pool: &Pool, node: &Node, because: &str) {
    let what = format!("{node} is left out because it {because}");
    eventually(&what, LIMIT, || async {
        reason(pool, node).is_some_and(|reason| reason.contains(because))
    })
    .await;
}

async fn readable(pool: &Pool, node: &Node) {
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
        assert_ne!(read(&pool).await, Ok(master.clone()));
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
async fn a_failover_while_all_sentinels_are_out_of_reach_is_followed_by_the_word_of_the_nodes() {
    let old = fake::node(NodeRole::Master);
    let new = fake::node(NodeRole::replica_of(old.port()));
    let sentinel = fake::sentinel(SentinelView::of_master(old.port()).with_replica(new.port()));
    let port = sentinel.port();
    let pool = Pool::connect(to(&sentinel)).await.expect("all is well");
    assert_eq!(write(&pool, "k").await, Ok(local(old.port())));
    drop(sentinel);
    eventually("no Sentinel is reachable", LIMIT, || async {
        pool.status().sentinel.reachable == 0
    })
    .await;
    new.set_role(NodeRole::Master);
    old.set_role(NodeRole::replica_of(new.port()));
    assert_eq!(write(&pool, "k").await, Ok(local(new.port())));
    let old_node = Some(local(old.port()));
    assert_eq!(
        pool.topology().previous_master,
        old_node,
        "the Sentinels' last word"
    );

    let mut view = SentinelView::of_master(new.port()).with_replica(old.port());
    view.epoch = 1;
    let _sentinel = FakeSentinel::start_on(port, view);
    eventually("the Sentinels say the same", LIMIT, || async {
        pool.topology().previous_master.is_none()
    })
    .await;
    assert_eq!(write(&pool, "k").await, Ok(local(new.port())));
    readable(&pool, &local(old.port())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_poll_follows_where_no_event_arrives() {
    let old = fake::node(NodeRole::Master);
    let new = fake::node(NodeRole::replica_of(old.port()));
    let deaf = |view: SentinelView| view.with_override("SUBSCRIBE", Action::Silence);
    let sentinel = fake::sentinel(deaf(SentinelView::of_master(old.port())));
    let pool = Pool::connect(to(&sentinel)).await.expect("all is well");
    new.set_role(NodeRole::Master);
    let mut view = deaf(SentinelView::of_master(new.port()));
    view.epoch = 1;
    sentinel.set(view);
    eventually("the poll has found the new master", LIMIT, || async {
        pool.topology().master == Some(local(new.port()))
    })
    .await;
    assert_eq!(pool.status().sentinel.events, 0);
    assert_eq!(write(&pool, "k").await, Ok(local(new.port())));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_is_a_reason_to_look_long_before_the_poll() {
    let old = fake::node(NodeRole::Master);
    let new = fake::node(NodeRole::Master);
    let sentinel = fake::sentinel(SentinelView::of_master(old.port()));
    let mut config = to(&sentinel);
    config.refresh_interval = Duration::from_secs(3600);
    let pool = Pool::connect(config).await.expect("all is well");
    eventually("it has subscribed and looked", LIMIT, || async {
        sentinel.subscribers() == 1 && pool.status().sentinel.refreshes >= 2
    })
    .await;
    // Nothing that was asked before may still be unanswered.
    pool.refresh().await.expect("it answers");
    sentinel.update(|view| {
        view.master.1 = new.port();
        view.epoch = 1;
    });
    let payload = format!("mymaster 127.0.0.1 {} 127.0.0.1 {}", old.port(), new.port());
    sentinel.publish("+switch-master", &payload);
    eventually("the new master is known", LIMIT, || async {
        pool.topology().master == Some(local(new.port()))
    })
    .await;
    assert_eq!(pool.status().sentinel.events, 1);
}

/// A master, two replicas and a Sentinel, all fake, and a pool on them.
async fn fakes() -> (FakeNode, [FakeNode; 2], FakeSentinel, Pool) {
    let master = fake::node(NodeRole::Master);
    let replicas = [(); 2].map(|()| fake::node(NodeRole::replica_of(master.port())));
    let mut view = SentinelView::of_master(master.port());
    for replica in &replicas {
        view = view.with_replica(replica.port());
    }
    let sentinel = fake::sentinel(view);
    let mut config = to(&sentinel);
    config.command_timeout = Some(Duration::from_secs(10));
    let pool = Pool::connect(config).await.expect("all is well");
    for replica in &replicas {
        readable(&pool, &local(replica.port())).await;
    }
    (master, replicas, sentinel, pool)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_in_trouble_is_left_out_with_its_reason_and_comes_back_by_itself() {
    let (master, [ill, well], _sentinel, pool) = fakes().await;
    let stranger = fake::node(NodeRole::Master);
    let link = |state: &str| NodeRole::Replica {
        master: ("127.0.0.1".to_owned(), master.port()),
        state: state.to_owned(),
    };
    let roles = [
        (link("sync"), "sync"),
        (link("connect"), "connect"),
        (link("connecting"), "connecting"),
        (
            NodeRole::replica_of(stranger.port()),
            "follows another master",
        ),
        (NodeRole::Master, "reports the role master"),
    ];
    let node = local(ill.port());
    for (role, because) in roles {
        ill.set_role(role);
        left_out(&pool, &node, because).await;
        for _ in 0..10 {
            assert_eq!(read(&pool).await, Ok(local(well.port())), "{because}");
        }
        ill.set_role(NodeRole::replica_of(master.port()));
        readable(&pool, &node).await;
    }

    let replies = [
        (
            "-LOADING Redis is loading the dataset in memory\r\n",
            "loading",
        ),
        (
            "-MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.\r\n",
            "Link with MASTER is down",
        ),
        ("+nonsense\r\n", ""),
    ];
    for (reply, because) in replies {
        ill.set_override(Some(Action::reply(reply)));
        left_out(&pool, &node, because).await;
        for _ in 0..10 {
            assert_eq!(read(&pool).await, Ok(local(well.port())), "{because}");
        }
        ill.set_override(None);
        readable(&pool, &node).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_whose_reads_say_that_it_is_loading_is_looked_at_at_once() {
    let (_master, [ill, well], sentinel, _) = fakes().await;
    let mut config = to(&sentinel);
    config.refresh_interval = Duration::from_secs(3600);
    let pool = Pool::connect(config).await.expect("all is well");
    let node = local(ill.port());
    readable(&pool, &node).await;
    readable(&pool, &local(well.port())).await;
    ill.set_override(Some(Action::reply(
        "-LOADING Redis is loading the dataset in memory\r\n",
    )));
    eventually("a read has met it and it is left out", LIMIT, || async {
        let _ = read(&pool).await;
        reason(&pool, &node).is_some()
    })
    .await;
    for _ in 0..10 {
        assert_eq!(read(&pool).await, Ok(local(well.port())));
    }
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
async fn without_any_replica_reads_go_where_the_policy_says() {
    let master = fake::node(NodeRole::Master);
    let sentinel = fake::sentinel(SentinelView::of_master(master.port()));
    for policy in [ReadFrom::ReplicaPreferred, ReadFrom::Any, ReadFrom::Master] {
        let mut config = to(&sentinel);
        config.read_from = policy;
        let pool = Pool::connect(config).await.expect("no replicas is valid");
        assert_eq!(read(&pool).await, Ok(local(master.port())), "{policy:?}");
        assert!(pool.topology().replicas.is_empty());
    }
    let mut config = to(&sentinel);
    config.read_from = ReadFrom::Replica;
    config.failover_timeout = Duration::from_secs(600);
    let pool = Pool::connect(config).await.expect("no replicas is valid");
    let refused = tokio::time::timeout(LIMIT, pool.read()).await;
    let error = refused
        .expect("it is refused at once")
        .expect_err("no replica");
    assert!(matches!(error, Error::NoReplica { .. }), "{error:?}");
    assert_eq!(write(&pool, "k").await, Ok(local(master.port())));

    // The first one that turns up is read from.
    let replica = fake::node(NodeRole::replica_of(master.port()));
    sentinel.update(|view| *view = view.clone().with_replica(replica.port()));
    eventually("reads go to the new replica", LIMIT, || async {
        read(&pool).await == Ok(local(replica.port()))
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reads_go_to_the_master_while_no_replica_is_readable_and_leave_it_afterwards() {
    let (master, replicas, _sentinel, pool) = fakes().await;
    for replica in &replicas {
        replica.set_role(NodeRole::Replica {
            master: ("127.0.0.1".to_owned(), master.port()),
            state: "sync".to_owned(),
        });
    }
    for replica in &replicas {
        left_out(&pool, &local(replica.port()), "sync").await;
    }
    assert_eq!(read(&pool).await, Ok(local(master.port())));
    for replica in &replicas {
        replica.set_role(NodeRole::replica_of(master.port()));
    }
    for replica in &replicas {
        readable(&pool, &local(replica.port())).await;
    }
    for _ in 0..10 {
        assert_ne!(read(&pool).await, Ok(local(master.port())));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_storm_of_suspicions_costs_few_looks() {
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

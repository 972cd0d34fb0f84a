//! A network that goes silent between this program and the master, while everybody else sees each
//! other: deadlines hold, nothing is concluded from it, and all is well when it is back.

use std::time::Duration;

use redis::{AsyncCommands, RedisResult};
use redis_rw_pool::{Config, Discard, Error, Multiplexed, Pool};
use testkit::proxy::{Door, Flow, Proxy, Toward};
use tokio::time::Instant;

use crate::support::{
    self, LONG, SOON, ask, chain, deployment, eventually, failure, redirect, unique_name,
};

const DEADLINE: Duration = Duration::from_millis(400);

async fn pool_through(proxy: &Proxy, change: impl FnOnce(&mut Config)) -> Pool {
    support::pool(deployment(), |config| {
        config.client_name = Some(unique_name());
        config.command_timeout = Some(DEADLINE);
        config.address_map = Some(redirect(proxy.upstream(), proxy.port()));
        change(config);
    })
    .await
}

/// It says that the deadline is over and that nobody knows what became of the command.
fn assert_out_of_time(result: RedisResult<()>) {
    let (error, text) = failure(result);
    assert!(error.is_timeout(), "{text}");
    assert!(text.contains("the outcome is unknown"), "{text}");
}

async fn goes_on(pool: &Pool, writer: &mut Multiplexed) {
    eventually("writes go on in both ways", SOON, || async {
        let mut writer = writer.clone();
        let Ok(mut conn) = pool.write().await else {
            return false;
        };
        conn.set::<_, _, ()>("silence:k", 1).await.is_ok()
            && writer.set::<_, _, ()>("silence:k", 1).await.is_ok()
    })
    .await;
}

/// Silence in one direction or both, with increments under way: whether the server has them.
async fn silent(name: &str, directions: &[Toward], executed: i64) {
    let master = &deployment().nodes()[0];
    let proxy = Proxy::to(master.port());
    let pool = pool_through(&proxy, |_| {}).await;
    let mut writer = pool.writer();
    let keys = ["exclusive", "shared"].map(|by| format!("silence:{name}:{by}"));
    let mut conn = pool.write().await.unwrap();
    let _: i64 = ask(&mut conn, "CLIENT ID").await;
    let _: String = ask(&mut writer, "ECHO warm").await;
    let before = pool.topology();

    for &toward in directions {
        proxy.set(toward, Flow::Drop);
    }
    let started = Instant::now();
    let (one, two) = tokio::join!(conn.incr(&keys[0], 1), writer.incr(&keys[1], 1));
    assert!(started.elapsed() >= DEADLINE, "too early");
    assert_out_of_time(one);
    assert_out_of_time(two);
    drop(conn);
    // Reads have another way, and are not disturbed.
    let mut reader = pool.reader();
    for _ in 0..20 {
        let mut conn = pool.read().await.unwrap();
        let _: Option<String> = conn.get("silence:k").await.unwrap();
        let _: Option<String> = reader.get("silence:k").await.unwrap();
    }

    proxy.heal();
    goes_on(&pool, &mut writer).await;
    for key in keys {
        let count = match master.cmd(&["GET", key.as_str()]) {
            testkit::Reply::Nil => 0,
            reply => reply.as_str().parse().unwrap(),
        };
        assert_eq!(count, executed, "{key}");
    }
    let now = pool.topology();
    assert_eq!((&now.master, now.epoch), (&before.master, before.epoch));
    assert_eq!(pool.status().write.discards.get(Discard::RoleChanged), 0);
}

#[tokio::test]
async fn a_master_that_cannot_be_heard_has_executed_what_it_was_sent() {
    silent("replies lost", &[Toward::Client], 1).await;
}

#[tokio::test]
async fn a_master_that_hears_nothing_executes_nothing_later_either() {
    silent("commands lost", &[Toward::Server], 0).await;
}

#[tokio::test]
async fn a_master_out_of_reach_stays_the_master_and_is_used_again_when_it_is_back() {
    let proxy = Proxy::to(deployment().nodes()[0].port());
    let pool = pool_through(&proxy, |config| {
        config.connect_timeout = Duration::from_secs(1);
        config.failover_timeout = Duration::from_secs(1);
        config.refresh_interval = Duration::from_millis(200);
        config.write.max_active = 2;
    })
    .await;
    let mut writer = pool.writer();
    goes_on(&pool, &mut writer).await;
    let before = pool.topology();
    proxy.set_both(Flow::Drop);
    proxy.set_door(Door::Silent);

    // All the while calls end, and looks at the nodes go by that get no answer.
    let looks = pool.status().sentinel.refreshes;
    let mut failures = 0;
    while failures < 3 || pool.status().sentinel.refreshes < looks + 5 {
        let calls = tokio::time::timeout(LONG, async {
            let mut shared = writer.clone();
            let exclusive = async {
                let mut conn = pool.write().await?;
                conn.set::<_, _, ()>("silence:k", 1).await
            };
            tokio::join!(exclusive, shared.set::<_, _, ()>("silence:k", 1))
        });
        let (exclusive, shared) = calls.await.expect("every call ends");
        for result in [exclusive, shared] {
            let (_, text) = failure(result);
            assert!(!text.contains("replica"), "{text}");
        }
        failures += 1;
    }
    let now = pool.topology();
    assert_eq!((&now.master, now.epoch), (&before.master, before.epoch));
    assert_eq!(now.readable().count(), 1);
    let error = pool.write().await.expect_err("it is out of reach");
    assert!(matches!(error, Error::NoMaster { .. }), "{}", chain(&error));

    proxy.heal();
    goes_on(&pool, &mut writer).await;
    assert_eq!(pool.topology().master, before.master);
    let status = pool.status().write;
    assert_eq!(status.discards.get(Discard::RoleChanged), 0);
    // Both places are there to be taken.
    let lent = [pool.write().await, pool.write().await];
    assert!(lent.iter().all(Result::is_ok), "{lent:?}");
}

#[tokio::test]
async fn a_shared_connection_whose_replies_trickle_keeps_deadlines_and_order() {
    let proxy = Proxy::to(deployment().nodes()[0].port());
    let pool = pool_through(&proxy, |_| {}).await;
    let mut writer = pool.writer();
    let () = writer.set("silence:long", "x".repeat(2_000)).await.unwrap();
    proxy.set(
        Toward::Client,
        Flow::Trickle {
            piece: 1,
            every: Duration::from_millis(20),
        },
    );
    let callers = (0..4).map(|_| {
        let mut writer = writer.clone();
        tokio::spawn(async move { writer.get::<_, String>("silence:long").await.map(drop) })
    });
    for caller in callers.collect::<Vec<_>>() {
        assert_out_of_time(caller.await.unwrap());
    }
    proxy.heal();
    eventually("replies come in time again", SOON, || async {
        let mut writer = writer.clone();
        writer.exists::<_, bool>("silence:long").await.is_ok()
    })
    .await;
    for round in 0..20 {
        let echo: String = ask(&mut writer, &format!("ECHO {round}")).await;
        assert_eq!(echo, round.to_string());
    }
}

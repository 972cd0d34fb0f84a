//! What a server does to its clients: it kills them, pauses them, turns them away, lets go of the
//! idle.

use std::{sync::Arc, time::Duration};

use redis::{AsyncCommands, RedisResult};
use redis_rw_pool::{Config, Discard, Pool, PoolStatus};
use testkit::{Client, Deployment};
use tokio::{
    sync::Barrier,
    task::{JoinSet, block_in_place},
    time::Instant,
};

use crate::support::{
    self, FAILOVER_LIMIT, LONG, Side, Stage, ask, eventually,
    load::{Fate, Load, SLACK, assert_conserved, seed},
    local, unique_name,
};

/// A deployment that nothing here drives to a failover, with a pool on it and its name.
async fn stage(change: impl FnOnce(&mut Config)) -> (Deployment, Pool, String) {
    let builder = Deployment::builder().down_after(Duration::from_secs(60));
    let deployment = block_in_place(|| builder.start());
    let name = unique_name();
    let pool = support::pool(&deployment, |config| {
        config.client_name = Some(name.clone());
        // Only a hang exceeds it, also on a busy machine.
        config.command_timeout = Some(Duration::from_secs(20));
        change(config);
    })
    .await;
    seed(&pool, deployment.nodes().len() - 1).await;
    (deployment, pool, name)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_killed_again_and_again_lose_no_read_and_only_the_writes_on_their_way() {
    const KILLS: usize = 40;
    let (deployment, pool, name) = stage(|_| {}).await;
    let master = deployment.master();
    let load = Load::start(&pool);
    load.goes_on(20).await;
    let mut admins: Vec<_> = deployment
        .nodes()
        .iter()
        .map(|n| n.connect().unwrap())
        .collect();
    let mut killed = 0;
    for _ in 0..KILLS {
        for admin in &mut admins {
            let reply = block_in_place(|| admin.call(&["CLIENT", "KILL", "TYPE", "normal"]));
            killed += reply.unwrap().as_int();
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    load.goes_on(20).await;
    let history = load.finish().await;

    assert!(usize::try_from(killed).unwrap() > KILLS, "{killed} killed");
    history.assert_no_read_failed();
    history.assert_only_writes_on_their_way_failed(KILLS);
    history.assert_nothing_lost_and_nothing_twice(master);
    assert_eq!(pool.topology().master, Some(local(master.port())));
    assert_conserved(&pool, &deployment, &name).await;
}

/// Connections that the server has refused because it has too many.
fn turned_away(admin: &mut Client) -> u64 {
    let stats = admin.call(&["INFO", "stats"]).unwrap();
    let mut lines = stats.as_str().lines();
    let found = lines.find_map(|line| line.strip_prefix("rejected_connections:"));
    found.unwrap().trim().parse().unwrap()
}

/// A master that holds its clients' commands back, all or those that write.
async fn a_paused_master(what: &str) {
    const PAUSE: Duration = Duration::from_secs(6);
    let (deployment, pool, name) = stage(|config| {
        config.command_timeout = Some(Duration::from_millis(500));
        config.connect_timeout = Duration::from_millis(500);
        config.failover_timeout = Duration::from_millis(500);
    })
    .await;
    let master = deployment.master();
    let load = Load::of(&pool, true, false);
    load.goes_on(20).await;
    let before = pool.topology();
    let millis = PAUSE.as_millis().to_string();
    block_in_place(|| master.cmd(&["CLIENT", "PAUSE", &millis, what]));
    let paused = Instant::now();
    eventually("writes meet the pause", FAILOVER_LIMIT, || async {
        load.failures() >= 6
    })
    .await;
    assert!(paused.elapsed() < PAUSE, "or what follows shows nothing");
    // It ends by itself.
    load.goes_on(20).await;
    let history = load.finish().await;

    // A dial that hangs, and a command that hangs on the connection that was made in the end.
    history.assert_none_took_longer_than(Duration::from_millis(1000) + SLACK);
    for call in history.failed() {
        let (fate, text) = call.failure.as_ref().unwrap();
        assert_ne!(*fate, Fate::Refused, "{text}");
    }
    // What was given up may be executed when the pause ends, and nothing else may.
    history.assert_nothing_lost_and_nothing_twice(master);
    let after = pool.topology();
    assert_eq!((&after.master, after.epoch), (&before.master, before.epoch));
    assert_conserved(&pool, &deployment, &name).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_master_that_pauses_all_clients_holds_nobody_beyond_the_deadline() {
    a_paused_master("ALL").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_master_that_pauses_writes_holds_nobody_beyond_the_deadline() {
    a_paused_master("WRITE").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_full_of_clients_serves_over_the_connections_there_are_and_is_not_stormed() {
    const CALLS: usize = 40;
    let stage = Stage::own(Side::Write, |config| {
        config.write.max_active = 32;
        config.failover_timeout = LONG;
    })
    .await;
    let server = stage.server();
    let mut admin = server.connect().unwrap();
    // Four are there when the server turns all others away.
    drop(stage.take_many(4).await);
    stage.settled().await;
    let there = server.client_list().len() - 1;
    admin
        .call(&["CONFIG", "SET", "maxclients", &there.to_string()])
        .unwrap();
    let before = turned_away(&mut admin);
    let began = Instant::now();
    let mut callers = JoinSet::new();
    for _ in 0..64 {
        let pool = stage.pool.clone();
        callers.spawn(async move {
            for _ in 0..CALLS {
                let mut conn = pool.write().await.unwrap();
                let pong: String = ask(&mut conn, "PING").await;
                assert_eq!(pong, "PONG");
                drop(conn);
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        });
    }
    callers.join_all().await;
    let rejected = turned_away(&mut admin) - before;
    let took = began.elapsed();
    assert!(rejected > 0, "nobody was turned away");
    // A few at once, and then ever more rarely.
    let few = 40 + took.as_millis() / 10;
    assert!(u128::from(rejected) < few, "{rejected} dials in {took:?}");
    admin
        .call(&["CONFIG", "SET", "maxclients", "1000"])
        .unwrap();
    stage.assert_conserved().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn servers_that_close_idle_connections_fail_no_read_and_no_write_that_was_not_sent() {
    const CALLERS: u64 = 48;
    let (deployment, pool, name) = stage(|config| {
        for limits in [&mut config.write, &mut config.read] {
            limits.max_active = usize::try_from(CALLERS).unwrap();
            limits.test_idle_after = None;
        }
    })
    .await;
    for node in deployment.nodes() {
        node.cmd(&["CONFIG", "SET", "timeout", "1"]);
    }
    let together = Arc::new(Barrier::new(usize::try_from(CALLERS).unwrap()));
    let mut callers = JoinSet::new();
    for caller in 0..CALLERS {
        let (pool, together) = (pool.clone(), Arc::clone(&together));
        callers.spawn(async move {
            let (mut done, mut unknown) = (0, 0);
            for round in 0..3 {
                let mut read = pool.read().await.unwrap();
                let mut write = pool.write().await.unwrap();
                let _: Option<String> = read.get("seed:0").await.unwrap();
                let _: Option<String> = pool.reader().get("seed:0").await.unwrap();
                let counted: RedisResult<i64> = write.incr("count", 1).await;
                match counted {
                    Ok(_) => done += 1,
                    Err(error) => {
                        assert!(error.to_string().contains("outcome is unknown"), "{error}");
                        unknown += 1;
                    }
                }
                // All at once, so that each connection is in use.
                together.wait().await;
                drop((read, write));
                // The servers count in whole seconds: they close what was idle for one and a bit,
                // up to three, and that is when these come back.
                let idle = 1300 + (caller * 3 + round) * 29 % 1300;
                tokio::time::sleep(Duration::from_millis(idle)).await;
            }
            (done, unknown)
        });
    }
    let (mut done, mut unknown) = (0, 0);
    for (of_one, unknown_to_one) in callers.join_all().await {
        done += of_one;
        unknown += unknown_to_one;
    }
    let counted = deployment.master().cmd(&["GET", "count"]).as_int();
    assert!(
        (done..=done + unknown).contains(&counted),
        "{counted}: {done}, {unknown}"
    );
    let closed = |status: &PoolStatus| status.discards.get(Discard::Broken);
    let status = pool.status();
    assert!(closed(&status.write) >= CALLERS, "{status:?}");
    assert!(closed(&status.read) >= CALLERS, "{status:?}");
    assert_conserved(&pool, &deployment, &name).await;
}

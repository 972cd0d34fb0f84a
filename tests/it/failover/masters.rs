//! Masters that die, freeze, stall, leave and come back, under load: what a caller meets of it.

use std::{fs, thread, time::Duration};

use redis::AsyncCommands;
use redis_rw_pool::{Config, Pool};
use testkit::{Builder, Deployment, Proxies, Server, proxy::Flow};
use tokio::{task::block_in_place, time::Instant};

use crate::support::{
    self, FAILOVER_LIMIT, eventually,
    load::{Load, SLACK, assert_conserved, in_step, seed},
    local, unique_name,
};

/// Where deadlines are not what is shown: only a hang exceeds it, also on a busy machine.
const PATIENT: Duration = Duration::from_secs(20);

/// Where they are.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(3);
const FAILOVER_TIMEOUT: Duration = Duration::from_secs(30);

/// The user that the pool is, where its rights are to differ from those of others.
const USER: &str = "app";

/// A deployment, a pool on it that knows what is read under load, and its name.
async fn stage(builder: Builder, change: impl FnOnce(&mut Config)) -> (Deployment, Pool, String) {
    let deployment = block_in_place(|| builder.start());
    let name = unique_name();
    let pool = support::pool(&deployment, |config| {
        config.client_name = Some(name.clone());
        config.command_timeout = Some(PATIENT);
        config.failover_timeout = FAILOVER_TIMEOUT;
        change(config);
    })
    .await;
    seed(&pool, deployment.nodes().len() - 1).await;
    (deployment, pool, name)
}

async fn follows(pool: &Pool, master: &Server) {
    let node = local(master.port());
    eventually(
        &format!("the pool knows {node}"),
        FAILOVER_LIMIT,
        || async { pool.topology().master.as_ref() == Some(&node) },
    )
    .await;
}

fn successor<'a>(deployment: &'a Deployment, old: &Server) -> &'a Server {
    block_in_place(|| deployment.wait_for_master_other_than(old.port(), FAILOVER_LIMIT))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_master_costs_only_the_writes_on_their_way_and_no_read() {
    let (deployment, pool, name) = stage(Deployment::builder(), |_| {}).await;
    let old = deployment.master();
    let load = Load::start(&pool);
    load.goes_on(20).await;
    block_in_place(|| old.kill());
    let killed = Instant::now();
    let new = successor(&deployment, old);
    follows(&pool, new).await;
    load.goes_on(20).await;
    let history = load.finish().await;

    history.assert_only_writes_on_their_way_failed(1);
    history.assert_no_read_failed();
    // What was acknowledged before and not yet replicated is gone, as no client can help.
    let lost = history.lost_since(Some(killed), new);
    assert!(lost.is_empty(), "{lost:#?}");
    assert_conserved(&pool, &deployment, &name).await;
}

/// What must hold where a master is silent for longer than the Sentinels wait, and wakes up as a
/// master when another one has taken its place.
async fn a_master_that_falls_silent(silence: impl FnOnce(&Server), wake: impl FnOnce(&Server)) {
    let (deployment, pool, name) = stage(Deployment::builder(), |config| {
        config.command_timeout = Some(COMMAND_TIMEOUT);
    })
    .await;
    let old = deployment.master();
    let load = Load::start(&pool);
    load.goes_on(20).await;
    // One that is lent already, and whose command is among the first to meet the silence.
    let mut held = pool.write().await.unwrap();
    block_in_place(|| silence(old));
    let (silent, error) = loop {
        let begun = Instant::now();
        if let Err(error) = held.set::<_, _, ()>("met", "silence").await {
            break (begun, error);
        }
    };
    let took = silent.elapsed();
    let text = error.to_string();
    assert!(text.contains("the outcome is unknown"), "{text}");
    assert!(took < COMMAND_TIMEOUT + SLACK, "{took:?}");
    drop(held);

    let new = successor(&deployment, old);
    follows(&pool, new).await;
    load.goes_on(20).await;
    block_in_place(|| wake(old));
    let awake = Instant::now();
    load.goes_on(20).await;
    block_in_place(|| deployment.wait_healthy(FAILOVER_LIMIT));
    load.goes_on(20).await;
    let history = load.finish().await;

    history.assert_none_took_longer_than(FAILOVER_TIMEOUT + COMMAND_TIMEOUT + SLACK);
    history.assert_none_acknowledged_by(&local(old.port()), awake);
    // It throws away what it took meanwhile, so whatever it had acknowledged would be missing.
    let lost = history.lost_since(Some(silent), new);
    assert!(lost.is_empty(), "{lost:#?}");
    history.assert_no_read_failed();
    assert_conserved(&pool, &deployment, &name).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frozen_master_holds_nobody_beyond_the_deadline_and_acknowledges_nothing_when_it_thaws() {
    a_master_that_falls_silent(Server::pause, Server::resume).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_master_that_stalls_until_it_is_replaced_acknowledges_nothing_afterwards() {
    a_master_that_falls_silent(
        |old| {
            let mut client = old.connect().unwrap();
            // It wakes up by itself; the connection ends without a reply.
            thread::spawn(move || client.call(&["DEBUG", "SLEEP", "6"]));
        },
        |old| while old.try_cmd(&["PING"]).is_err() {},
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_master_that_stalls_for_less_than_that_changes_nothing() {
    let patient = Deployment::builder().down_after(Duration::from_secs(60));
    let (deployment, pool, name) = stage(patient, |_| {}).await;
    let master = deployment.master();
    let load = Load::start(&pool);
    load.goes_on(20).await;
    let (topology, before) = (pool.topology(), pool.status());
    block_in_place(|| master.cmd(&["DEBUG", "SLEEP", "0.5"]));
    load.goes_on(20).await;
    let (now, after) = (pool.topology(), pool.status());
    let history = load.finish().await;

    assert_eq!(history.failed().count(), 0, "{:?}", history.failed().next());
    assert_eq!((&now.master, now.epoch), (&topology.master, topology.epoch));
    assert_eq!(after.write.discards, before.write.discards);
    assert_eq!(after.writer.created, before.writer.created);
    history.assert_nothing_lost_and_nothing_twice(master);
    assert_conserved(&pool, &deployment, &name).await;
}

async fn a_master_that_leaves_in_good_order(leave: impl FnOnce(&Server)) {
    let (deployment, pool, name) = stage(Deployment::builder(), |_| {}).await;
    let load = Load::start(&pool);
    load.goes_on(20).await;
    in_step(&pool, 2).await;
    let old = deployment.master();
    block_in_place(|| leave(old));
    let new = successor(&deployment, old);
    follows(&pool, new).await;
    load.goes_on(20).await;
    let history = load.finish().await;

    history.assert_only_writes_on_their_way_failed(1);
    history.assert_no_read_failed();
    history.assert_nothing_lost_and_nothing_twice(new);
    assert_conserved(&pool, &deployment, &name).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_master_that_is_terminated_takes_no_acknowledged_write_with_it() {
    a_master_that_leaves_in_good_order(Server::shutdown).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_master_that_is_told_to_shut_down_takes_no_acknowledged_write_with_it() {
    a_master_that_leaves_in_good_order(|old| {
        // The reply is the end of the connection.
        let _ = old.try_cmd(&["SHUTDOWN", "NOSAVE"]);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn failovers_back_to_back_fail_no_call_and_lose_no_acknowledged_write() {
    let (deployment, pool, name) = stage(Deployment::builder(), |_| {}).await;
    let load = Load::start(&pool);
    for _ in 0..3 {
        load.goes_on(10).await;
        in_step(&pool, 2).await;
        let old = deployment.master();
        block_in_place(|| {
            deployment.failover();
        });
        follows(&pool, successor(&deployment, old)).await;
        block_in_place(|| deployment.wait_healthy(FAILOVER_LIMIT));
    }
    load.goes_on(10).await;
    let master = local(deployment.master().port());
    let history = load.finish().await;

    let failed = history.failed_writes();
    assert!(failed.is_empty(), "{failed:#?}");
    history.assert_no_read_failed();
    history.assert_nothing_lost_and_nothing_twice(deployment.node(master.port()));
    let topology = pool.topology();
    assert_eq!((&topology.master, &topology.fence), (&Some(master), &None));
    assert_conserved(&pool, &deployment, &name).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_planned_failover_over_a_slow_network_loses_no_acknowledged_write() {
    let deployment = block_in_place(Deployment::start);
    let proxies = Proxies::before(&deployment);
    let name = unique_name();
    let mut config = support::config_through(&proxies, &deployment);
    config.client_name = Some(name.clone());
    config.command_timeout = Some(PATIENT);
    config.failover_timeout = FAILOVER_TIMEOUT;
    let pool = Pool::connect(config).await.unwrap();
    seed(&pool, 2).await;
    // The word that the master is being replaced takes its time, and so does what was written until
    // it came; the Sentinel gives some 60 ms.
    for proxy in proxies.nodes().iter().chain(proxies.sentinels()) {
        proxy.set_both(Flow::Delay(Duration::from_millis(5)));
    }
    let load = Load::start(&pool);
    load.goes_on(20).await;
    in_step(&pool, 2).await;
    let old = deployment.master();
    block_in_place(|| {
        deployment.failover();
    });
    let new = successor(&deployment, old);
    follows(&pool, new).await;
    load.goes_on(20).await;
    block_in_place(|| deployment.wait_healthy(FAILOVER_LIMIT));
    load.goes_on(20).await;
    let history = load.finish().await;

    let failed = history.failed_writes();
    assert!(failed.is_empty(), "{failed:#?}");
    history.assert_no_read_failed();
    history.assert_nothing_lost_and_nothing_twice(new);
    assert_conserved(&pool, &deployment, &name).await;
}

/// Kills the master; the Sentinel that leads the failover dies at this point of it.
async fn a_leader_that_dies(at: &str) {
    let builder = Deployment::builder().failover_timeout(Duration::from_millis(1500));
    let (deployment, pool, name) = stage(builder, |_| {}).await;
    let old = deployment.master();
    let load = Load::start(&pool);
    load.goes_on(20).await;
    let tell = |how: &[&str]| {
        for sentinel in deployment.sentinels().iter().filter(|s| s.is_running()) {
            let reply = sentinel.cmd(&[&["SENTINEL", "SIMULATE-FAILURE"], how].concat());
            assert!(!reply.is_error(), "{reply:?}");
        }
    };
    block_in_place(|| {
        tell(&[at]);
        old.kill();
    });
    let killed = Instant::now();
    let dead = || {
        deployment
            .sentinels()
            .iter()
            .filter(|s| !s.is_running())
            .count()
    };
    eventually("the leader dies", FAILOVER_LIMIT, || async { dead() == 1 }).await;
    // The next one shall live, so this clears the flag; it begins only when twice the failover-timeout has passed.
    block_in_place(|| tell(&["help"]));
    assert_eq!(
        dead(),
        1,
        "or two leaders have died and nobody can be elected"
    );
    let new = successor(&deployment, old);
    follows(&pool, new).await;
    load.goes_on(20).await;
    let history = load.finish().await;

    history.assert_only_writes_on_their_way_failed(1);
    history.assert_no_read_failed();
    for node in deployment
        .nodes()
        .iter()
        .filter(|node| node.port() != new.port())
    {
        history.assert_none_acknowledged_by(&local(node.port()), killed + SLACK);
    }
    let lost = history.lost_since(Some(killed), new);
    assert!(lost.is_empty(), "{lost:#?}");
    assert_conserved(&pool, &deployment, &name).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_dies_when_it_is_elected_delays_the_failover_and_nothing_else() {
    a_leader_that_dies("crash-after-election").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_on_a_node_that_a_dying_leader_has_promoted() {
    a_leader_that_dies("crash-after-promotion").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replaced_master_that_starts_as_a_master_is_never_written_to() {
    let user = Deployment::builder().username_acl(USER, "secret", "~* &* +@all");
    let (deployment, pool, name) = stage(user, |config| {
        config.username = Some(USER.to_owned());
        config.password = Some("secret".into());
    })
    .await;
    let old = deployment.master();
    let load = Load::start(&pool);
    load.goes_on(20).await;
    block_in_place(|| old.kill());
    let new = successor(&deployment, old);
    follows(&pool, new).await;
    let followed = Instant::now();
    // It starts as the master that its file says it is, and notes every write that our user tries.
    block_in_place(|| {
        trap(old);
        old.restart();
    });
    load.goes_on(20).await;
    block_in_place(|| deployment.wait_healthy(FAILOVER_LIMIT));
    load.goes_on(20).await;
    let history = load.finish().await;

    assert_eq!(trapped(old), Vec::<String>::new());
    history.assert_none_acknowledged_by(&local(old.port()), followed);
    let lost = history.lost_since(Some(followed), new);
    assert!(lost.is_empty(), "{lost:#?}");
    assert_conserved(&pool, &deployment, &name).await;

    // The trap is one.
    let mut client = old.connect().unwrap();
    client.call(&["AUTH", USER, "secret"]).unwrap();
    assert!(client.call(&["SET", "k", "v"]).unwrap().is_error());
    assert_eq!(trapped(old), ["set"]);
}

/// Takes the right to write from our user, in the file of a server that does not run.
fn trap(server: &Server) {
    let path = server.config_path();
    let file = fs::read_to_string(&path).unwrap();
    let of_user = format!("user {USER} ");
    assert!(file.contains(&of_user), "{file}");
    let lines = file.lines().map(|line| match line.starts_with(&of_user) {
        true => format!("{line} -@write\n"),
        false => format!("{line}\n"),
    });
    fs::write(&path, lines.collect::<String>()).unwrap();
}

/// The commands that our user was denied.
fn trapped(server: &Server) -> Vec<String> {
    let log = server.cmd(&["ACL", "LOG"]);
    let entries = log.array().iter().map(|entry| entry.array());
    let of = |entry: &[testkit::Reply], field: &str| {
        let mut pairs = entry.chunks(2);
        let found = pairs.find(|pair| pair[0].as_str() == field);
        found.map_or_else(String::new, |pair| pair[1].as_str().to_owned())
    };
    entries
        .filter(|entry| of(entry, "username") == USER)
        .map(|entry| of(entry, "object"))
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_master_that_restarts_before_it_is_missed_is_written_to_again() {
    let patient = Deployment::builder().down_after(Duration::from_secs(60));
    let (deployment, pool, name) = stage(patient, |_| {}).await;
    let master = deployment.master();
    let load = Load::of(&pool, true, false);
    load.goes_on(20).await;
    let epoch = pool.topology().epoch;
    block_in_place(|| master.restart());
    let restarted = Instant::now();
    load.goes_on(20).await;
    let history = load.finish().await;

    history.assert_only_writes_on_their_way_failed(1);
    // It keeps nothing on disk: what was before is gone.
    let lost = history.lost_since(Some(restarted), master);
    assert!(lost.is_empty(), "{lost:#?}");
    let topology = pool.topology();
    assert_eq!(
        (&topology.master, topology.epoch),
        (&Some(local(master.port())), epoch)
    );
    assert_conserved(&pool, &deployment, &name).await;
}

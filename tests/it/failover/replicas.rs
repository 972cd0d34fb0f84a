//! Replicas that die, freeze and come back, under load: what a caller meets of it.

use std::time::Duration;

use redis_rw_pool::{Config, Error, Pool, ReadFrom, redis::AsyncCommands};
use testkit::{Builder, Deployment, Server};
use tokio::{task::block_in_place, time::Instant};

use crate::support::{
    self, FAILOVER_LIMIT, eventually,
    load::{CALLERS, Fate, Load, SLACK, assert_conserved, seed},
    local, readable_are, unique_name,
};

/// Where deadlines are not what is shown: only a hang exceeds it, also on a busy machine.
const PATIENT: Duration = Duration::from_secs(20);

/// Where they are.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(2);

async fn stage(builder: Builder, change: impl FnOnce(&mut Config)) -> (Deployment, Pool, String) {
    let deployment = block_in_place(|| builder.start());
    let name = unique_name();
    let pool = support::pool(&deployment, |config| {
        config.client_name = Some(name.clone());
        config.command_timeout = Some(PATIENT);
        config.refresh_interval = Duration::from_millis(300);
        change(config);
    })
    .await;
    seed(&pool, deployment.nodes().len() - 1).await;
    (deployment, pool, name)
}

/// Waits until reads arrive at this server.
async fn is_read_from(server: &Server) {
    let reads = || block_in_place(|| server.command_stat("get"));
    let before = reads();
    eventually(
        &format!("{} is read from", server.name()),
        FAILOVER_LIMIT,
        || async { reads() > before + 20 },
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_read_fails_when_a_replica_dies_and_it_is_read_from_when_it_is_back() {
    let (deployment, pool, name) = stage(Deployment::builder(), |_| {}).await;
    let load = Load::start(&pool);
    load.goes_on(20).await;
    let replica = deployment.replicas()[0];
    block_in_place(|| replica.kill());
    readable_are(&pool, 1, FAILOVER_LIMIT).await;
    load.goes_on(20).await;
    block_in_place(|| replica.restart());
    readable_are(&pool, 2, FAILOVER_LIMIT).await;
    is_read_from(replica).await;
    let history = load.finish().await;

    assert_eq!(
        history.failed().collect::<Vec<_>>().len(),
        0,
        "{history:#?}"
    );
    history.assert_nothing_lost_and_nothing_twice(deployment.master());
    assert_conserved(&pool, &deployment, &name).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_read_fails_when_all_replicas_die_where_the_master_may_be_read() {
    let (deployment, pool, name) = stage(Deployment::builder(), |_| {}).await;
    let strict = support::pool(&deployment, |config| config.read_from = ReadFrom::Replica).await;
    readable_are(&strict, 2, FAILOVER_LIMIT).await;
    let master = deployment.master();
    let replicas = deployment.replicas();
    let load = Load::start(&pool);
    load.goes_on(20).await;
    assert_eq!(master.command_stat("get"), 0);
    block_in_place(|| replicas.iter().for_each(|replica| replica.kill()));
    is_read_from(master).await;
    load.goes_on(20).await;

    // Those who said that they want no other nodes are told at once why there is none.
    readable_are(&strict, 0, FAILOVER_LIMIT).await;
    let error = strict.read().await.unwrap_err();
    assert!(matches!(error, Error::NoReplica { .. }), "{error}");
    let text = error.to_string();
    for replica in &replicas {
        assert!(text.contains(&replica.addr()), "{text}");
    }

    block_in_place(|| replicas.iter().for_each(|replica| replica.restart()));
    for replica in &replicas {
        is_read_from(replica).await;
    }
    readable_are(&pool, 2, FAILOVER_LIMIT).await;
    // And the master is left alone again.
    eventually("no read reaches the master", FAILOVER_LIMIT, || async {
        let before = block_in_place(|| master.command_stat("get"));
        load.goes_on(20).await;
        block_in_place(|| master.command_stat("get")) == before
    })
    .await;
    readable_are(&strict, 2, FAILOVER_LIMIT).await;
    let lent = strict.read().await.unwrap().node();
    assert!(replicas.iter().any(|replica| local(replica.port()) == lent));
    let history = load.finish().await;

    assert_eq!(
        history.failed().collect::<Vec<_>>().len(),
        0,
        "{history:#?}"
    );
    history.assert_nothing_lost_and_nothing_twice(master);
    assert_conserved(&pool, &deployment, &name).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reads_that_prefer_the_master_go_on_at_replicas_while_it_is_dead() {
    // Nobody replaces it.
    let builder = Deployment::builder().down_after(Duration::from_secs(60));
    let (deployment, pool, _) = stage(builder, |config| {
        config.read_from = ReadFrom::MasterPreferred;
    })
    .await;
    let master = deployment.master();
    let count = |server: &Server| block_in_place(|| server.command_stat("exists"));
    let mut lent = pool.read().await.unwrap();
    let mut shared = pool.reader();
    let mut read_both = async |times| {
        for _ in 0..times {
            let _: bool = shared.exists("k").await.unwrap();
            let _: bool = lent.exists("k").await.unwrap();
        }
    };
    read_both(20).await;
    assert_eq!(count(master), 40);
    for replica in deployment.replicas() {
        assert_eq!(count(replica), 0);
    }

    block_in_place(|| master.kill());
    read_both(20).await;
    let at_replicas: u64 = deployment.replicas().iter().map(|it| count(it)).sum();
    assert_eq!(at_replicas, 40);

    block_in_place(|| master.restart());
    eventually("the master is read from again", FAILOVER_LIMIT, || async {
        let _: bool = pool.reader().exists("k").await.unwrap();
        count(master) > 0
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reads_leave_a_frozen_master_for_the_replicas_until_it_thaws() {
    for read_from in [ReadFrom::Any, ReadFrom::MasterPreferred] {
        // Nobody replaces it.
        let builder = Deployment::builder().down_after(Duration::from_secs(60));
        let (deployment, pool, _) = stage(builder, |config| {
            config.read_from = read_from;
            config.connect_timeout = Duration::from_millis(500);
            config.refresh_interval = Duration::from_millis(500);
        })
        .await;
        let master = deployment.master();
        // Connections that are open while it freezes.
        for _ in 0..6 {
            drop(pool.read().await.unwrap());
        }
        block_in_place(|| master.pause());
        eventually("the master is lost", FAILOVER_LIMIT, || async {
            !pool.status().master.reachable
        })
        .await;
        let mut lent = Vec::new();
        for _ in 0..6 {
            let _: bool = pool.reader().exists("k").await.unwrap();
            lent.push(pool.read().await.unwrap());
        }
        for conn in &mut lent {
            assert_ne!(conn.node(), local(master.port()), "{read_from:?}");
            let _: bool = conn.exists("k").await.unwrap();
        }
        drop(lent);
        block_in_place(|| master.resume());
        eventually("the master is read from again", FAILOVER_LIMIT, || async {
            pool.read().await.unwrap().node() == local(master.port())
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frozen_replica_costs_the_reads_it_has_and_is_left_out_until_it_thaws() {
    let (deployment, pool, name) = stage(Deployment::builder(), |config| {
        config.command_timeout = Some(COMMAND_TIMEOUT);
    })
    .await;
    let load = Load::start(&pool);
    load.goes_on(20).await;
    let replica = deployment.replicas()[0];
    block_in_place(|| replica.pause());
    readable_are(&pool, 1, FAILOVER_LIMIT).await;
    let left_out = Instant::now();
    load.goes_on(100).await;
    block_in_place(|| replica.resume());
    readable_are(&pool, 2, FAILOVER_LIMIT).await;
    is_read_from(replica).await;
    let history = load.finish().await;

    assert!(history.failed_writes().is_empty(), "{history:#?}");
    history.assert_none_took_longer_than(COMMAND_TIMEOUT + SLACK);
    // A reader can meet it once more, before one that met it has told of it.
    let failed: Vec<_> = history.failed().collect();
    assert!(failed.len() <= 2 * 2 * CALLERS, "{failed:#?}");
    for call in failed {
        assert!(call.begun < left_out, "{call:?}");
        let text = &call.failure.as_ref().unwrap().1;
        assert!(text.contains("no complete reply within"), "{text}");
    }
    assert_conserved(&pool, &deployment, &name).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_master_without_the_replicas_it_needs_refuses_writes_until_they_are_back() {
    let needy = Deployment::builder().node_config("min-replicas-to-write 1");
    let (deployment, pool, name) = stage(needy, |_| {}).await;
    let master = deployment.master();
    let replicas = deployment.replicas();
    let load = Load::of(&pool, true, false);
    load.goes_on(20).await;
    block_in_place(|| replicas.iter().for_each(|replica| replica.kill()));
    readable_are(&pool, 0, FAILOVER_LIMIT).await;
    let (began, looks) = (Instant::now(), pool.status().sentinel.refreshes);
    let refused = load.failures();
    eventually("many writes are refused", FAILOVER_LIMIT, || async {
        load.failures() >= refused + 50
    })
    .await;
    let looks = pool.status().sentinel.refreshes - looks;
    let took = began.elapsed();
    // Nobody was told to wait for another master, as there will be none.
    let topology = pool.topology();
    assert_eq!(
        (&topology.master, &topology.fence),
        (&Some(local(master.port())), &None)
    );

    block_in_place(|| replicas.iter().for_each(|replica| replica.restart()));
    load.goes_on(20).await;
    let history = load.finish().await;
    for call in history.failed() {
        let (fate, text) = call.failure.as_ref().unwrap();
        assert_eq!(*fate, Fate::Refused, "{text}");
        assert!(text.contains("NOREPLICAS"), "{text}");
    }
    history.assert_nothing_lost_and_nothing_twice(master);
    // However long that took on this machine, so many looks fit into a second and not more.
    let few = 5 + took.as_millis() / 20;
    assert!(u128::from(looks) <= few, "{looks} looks, more than {few}");
    assert_conserved(&pool, &deployment, &name).await;
}

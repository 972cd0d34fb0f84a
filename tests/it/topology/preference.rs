//! Which of the nodes that reads may go to they go to: the preferred ones, and others only where these
//! cannot serve.

use std::{collections::BTreeSet, time::Duration};

use redis_rw_pool::{
    AddressMap, Config, Discard, Node, Pool, Prefer, ReadFrom, redis::AsyncCommands,
};
use testkit::{
    Deployment, Proxy, Server,
    proxy::{Flow, Toward},
};
use tokio::task::{JoinSet, block_in_place};

use super::silent_replicas::By;
use crate::support::{self, LONG, SOON, eventually, local, readable_are};

fn only(servers: &[&Server]) -> Prefer {
    let pattern = |server: &&Server| server.addr().parse().expect("it is an address");
    Prefer::Hosts(servers.iter().map(pattern).collect())
}

/// A master with two replicas, one of which is preferred, and a pool that has found them.
async fn stage(change: impl FnOnce(&mut Config)) -> (Deployment, Pool) {
    let builder = Deployment::builder().sentinels(1);
    let deployment = block_in_place(|| builder.down_after(LONG).start());
    let pool = pool(&deployment, |config| {
        config.prefer = only(&[deployment.replicas()[0]]);
        change(config);
    })
    .await;
    (deployment, pool)
}

async fn pool(deployment: &Deployment, change: impl FnOnce(&mut Config)) -> Pool {
    let pool = support::pool(deployment, |config| {
        config.refresh_interval = Duration::from_millis(500);
        change(config);
    })
    .await;
    readable_are(&pool, 2, LONG).await;
    pool
}

/// Which of the servers so many reads of both kinds came to. None of them fails.
async fn readers(deployment: &Deployment, pool: &Pool, reads: usize) -> BTreeSet<u16> {
    let count = |server: &Server| server.command_stat("get");
    let alive = || deployment.nodes().iter().filter(|node| node.is_running());
    let before: Vec<u64> = block_in_place(|| alive().map(count).collect());
    for by in By::BOTH {
        for _ in 0..reads {
            by.read(pool)
                .await
                .expect("a preference makes no read fail");
        }
    }
    let after: Vec<u64> = block_in_place(|| alive().map(count).collect());
    let grown = alive().zip(before.iter().zip(&after));
    grown
        .filter(|(_, (before, after))| before != after)
        .map(|(node, _)| node.port())
        .collect()
}

async fn read_from(what: &str, deployment: &Deployment, pool: &Pool, expected: &[&Server]) {
    let expected: BTreeSet<u16> = expected.iter().map(|server| server.port()).collect();
    eventually(what, LONG, || async {
        readers(deployment, pool, 20).await == expected
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reads_go_to_the_preferred_replica_and_elsewhere_only_while_it_is_away() {
    let (deployment, pool) = stage(|config| config.read.max_active = 3).await;
    let [near, far] = deployment.replicas()[..] else {
        panic!("there are two replicas");
    };
    assert_eq!(pool.topology().preferred, [local(near.port())]);
    read_from("all is well", &deployment, &pool, &[near]).await;

    block_in_place(|| near.kill());
    read_from("it is dead", &deployment, &pool, &[far]).await;

    // All connections lead elsewhere, and there is no room for more.
    let mut lent = Vec::new();
    for _ in 0..3 {
        let conn = pool.read().await.expect("there is room");
        assert_eq!(conn.node(), local(far.port()));
        lent.push(conn);
    }
    drop(lent);
    block_in_place(|| near.restart());
    let readable = || async {
        pool.topology()
            .readable()
            .any(|node| *node == local(near.port()))
    };
    eventually("it is readable", LONG, readable).await;
    read_from("it is back", &deployment, &pool, &[near]).await;
    assert!(pool.status().read.discards.get(Discard::Rebalance) > 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_reads_go_to_the_preferred_replica_although_another_answers_sooner() {
    let (deployment, _) = stage(|_| {}).await;
    let [near, far] = deployment.replicas()[..] else {
        panic!("there are two replicas");
    };
    let slow = Proxy::to(near.port());
    slow.set(Toward::Client, Flow::Delay(Duration::from_millis(10)));
    let dialled: AddressMap = [(local(near.port()), local(slow.port()))]
        .into_iter()
        .collect();
    for by in By::BOTH {
        let pool = pool(&deployment, |config| {
            config.prefer = only(&[near]);
            config.address_map = Some(dialled.clone());
        })
        .await;
        let before = block_in_place(|| far.command_stat("get"));
        let mut callers = JoinSet::new();
        for _ in 0..8 {
            let pool = pool.clone();
            callers.spawn(async move { by.read(&pool).await.expect("no read fails") });
        }
        callers.join_all().await;
        assert_eq!(block_in_place(|| far.command_stat("get")), before, "{by:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_preferred_replica_that_takes_no_connections_is_passed_over() {
    let (deployment, pool) = stage(|config| {
        // The first dial that fails is the call's error, where there is no other way.
        config.failover_timeout = Duration::ZERO;
    })
    .await;
    let [near, far] = deployment.replicas()[..] else {
        panic!("there are two replicas");
    };
    let mut admin = block_in_place(|| near.connect()).expect("it runs");
    let mut limit = |clients: &str| {
        let set = block_in_place(|| admin.call(&["CONFIG", "SET", "maxclients", clients]));
        assert!(!set.expect("it is open").is_error());
    };
    limit("1");
    for _ in 0..10 {
        let conn = pool.read().await.expect("the other replica serves");
        assert_eq!(conn.node(), local(far.port()));
    }
    limit("1000");
    read_from("it takes connections", &deployment, &pool, &[near]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_preferred_replica_that_is_frozen_holds_up_a_checkout_for_a_moment_only() {
    let (deployment, pool) = stage(|config| {
        // So nobody says for a long time that it is silent.
        config.connect_timeout = LONG;
        config.refresh_interval = LONG;
    })
    .await;
    let [near, far] = deployment.replicas()[..] else {
        panic!("there are two replicas");
    };
    block_in_place(|| near.pause());
    let conn = tokio::time::timeout(SOON, pool.read()).await;
    let conn = conn.expect("another dial begins").expect("it succeeds");
    assert_eq!(conn.node(), local(far.port()));
    block_in_place(|| near.resume());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn preferred_nodes_share_the_reads_evenly_and_the_master_is_one_where_reads_may_go_there() {
    let (deployment, pool) = stage(|config| {
        config.read_from = ReadFrom::Any;
        config.read.max_active = 8;
    })
    .await;
    let near = deployment.replicas()[0];
    let master = deployment.master();
    read_from("the replica alone", &deployment, &pool, &[near]).await;

    let both = only(&[near, master]);
    let pool = self::pool(&deployment, |config| {
        config.read_from = ReadFrom::Any;
        config.prefer = both.clone();
        config.read.max_active = 8;
    })
    .await;
    let preferred: BTreeSet<Node> = pool.topology().preferred.iter().cloned().collect();
    assert_eq!(
        preferred,
        BTreeSet::from([near, master].map(|it| local(it.port())))
    );
    read_from("both", &deployment, &pool, &[near, master]).await;
    eventually("each has half of the connections", LONG, || async {
        let mut lent = Vec::new();
        for _ in 0..8 {
            lent.push(pool.read().await.expect("there is room"));
        }
        let at_master = lent
            .iter()
            .filter(|conn| conn.node() == local(master.port()));
        let others = lent.iter().filter(|conn| conn.node() == local(near.port()));
        at_master.count() == 4 && others.count() == 4
    })
    .await;

    // By default reads do not go to the master, however near it is.
    let pool = self::pool(&deployment, |config| config.prefer = both).await;
    read_from("the replica of the two", &deployment, &pool, &[near]).await;
    let nowhere = self::pool(&deployment, |config| {
        config.prefer = Prefer::Zone("nowhere".to_owned());
    })
    .await;
    assert!(nowhere.topology().preferred.is_empty());
    read_from(
        "all replicas",
        &deployment,
        &nowhere,
        &deployment.replicas(),
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_read_that_must_have_seen_something_leaves_a_preferred_replica_that_is_behind() {
    let (deployment, pool) = stage(|config| config.read_from = ReadFrom::Replica).await;
    let near = deployment.replicas()[0];
    read_from("all is well", &deployment, &pool, &[near]).await;
    // It executes nothing that its master sends from now on, and goes on to serve reads.
    let paused = block_in_place(|| near.cmd(&["CLIENT", "PAUSE", "120000", "WRITE"]));
    assert!(!paused.is_error(), "{paused:?}");
    let session = pool.session();
    for round in 0..20 {
        let () = session
            .writer()
            .set("k", round)
            .await
            .expect("the master is there");
        let seen: i64 = session
            .reader()
            .get("k")
            .await
            .expect("the other replica has it");
        assert_eq!(seen, round);
        let mut conn = session.read().await.expect("there is a replica");
        let seen: i64 = conn.get("k").await.expect("the other replica has it");
        assert_eq!(seen, round);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reads_go_to_the_nearest_replica_until_another_one_is_as_near() {
    let builder = Deployment::builder().sentinels(1);
    let deployment = block_in_place(|| builder.down_after(LONG).start());
    let [near, far] = deployment.replicas()[..] else {
        panic!("there are two replicas");
    };
    let network = Proxy::to(far.port());
    network.set(Toward::Client, Flow::Delay(Duration::from_millis(200)));
    let pool = pool(&deployment, |config| {
        config.prefer = Prefer::Nearest {
            within: Duration::from_millis(100),
        };
        let pair = (local(far.port()), local(network.port()));
        config.address_map = Some([pair].into_iter().collect());
        config.refresh_interval = Duration::from_millis(100);
    })
    .await;
    let is_preferred = |server: &Server| pool.topology().is_preferred(&local(server.port()));
    eventually("the distance is known", LONG, || async {
        is_preferred(near) && !is_preferred(far)
    })
    .await;
    read_from("one is far away", &deployment, &pool, &[near]).await;

    network.heal();
    eventually("it has come near", LONG, || async { is_preferred(far) }).await;
    read_from("both are near", &deployment, &pool, &[near, far]).await;
}

/// Redis knows no zones: `make test REDIS_SERVER=…/valkey-server` tries it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reads_stay_in_the_zone_that_the_servers_say_they_are_in() {
    if !testkit::program().is_valkey() || !testkit::provides("availability-zone", (8, 0)) {
        eprintln!(
            "left out: zones need Valkey 8.0, and this is {}",
            testkit::program()
        );
        return;
    }
    let set = |server: &Server, zone: &str| {
        let reply = block_in_place(|| server.cmd(&["CONFIG", "SET", "availability-zone", zone]));
        assert!(!reply.is_error(), "{reply:?}");
    };
    let (deployment, pool) = stage(|config| config.prefer = Prefer::Zone("zone a".into())).await;
    let [one, other] = deployment.replicas()[..] else {
        panic!("there are two replicas");
    };
    read_from("nobody tells its zone", &deployment, &pool, &[one, other]).await;
    set(one, "zone a");
    set(other, "zone b");
    set(deployment.master(), "zone a");
    read_from("the zone's replica", &deployment, &pool, &[one]).await;
    set(one, "zone b");
    set(other, "zone a");
    read_from(
        "they have changed their places",
        &deployment,
        &pool,
        &[other],
    )
    .await;
    block_in_place(|| other.kill());
    read_from("it is dead", &deployment, &pool, &[one]).await;
}

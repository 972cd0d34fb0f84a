//! Sentinels that are frozen, cut off, out of date, or point nowhere: what they last said counts for
//! no more than it is worth, and the pool is with the others.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::Duration,
};

use parking_lot::Mutex;
use redis_rw_pool::{AddressMap, Config, Node, Pool};
use testkit::{
    Deployment, Proxy, Server,
    fake::FakeServer,
    proxy::{Door, Ending, Flow},
};
use tokio::task::block_in_place;

use crate::support::{self, FAILOVER_LIMIT, eventually, local, write};

pub(super) fn to(sentinels: &[&FakeServer]) -> Config {
    let sentinels = sentinels.iter().map(|sentinel| sentinel.addr());
    let mut config = Config::new(sentinels, "mymaster");
    config.connect_timeout = Duration::from_secs(10);
    config
}

/// An epoch and its master.
type Held = (u64, Option<Node>);

/// The masters that a pool has had, in their order.
struct Masters {
    seen: Arc<Mutex<Vec<Held>>>,
}

impl Masters {
    fn of(pool: &Pool) -> Self {
        let mut topologies = pool.watch();
        let seen = Arc::new(Mutex::new(Vec::new()));
        tokio::spawn({
            let seen = Arc::clone(&seen);
            async move {
                loop {
                    let now = topologies.borrow_and_update().clone();
                    seen.lock().push((now.epoch, now.master.clone()));
                    if topologies.changed().await.is_err() {
                        return;
                    }
                }
            }
        });
        Self { seen }
    }

    /// Epochs never fell, and the old master never came back.
    fn moved_once(&self, old: u16, new: u16) {
        let mut seen = self.seen.lock().clone();
        assert!(seen.is_sorted_by_key(|(epoch, _)| *epoch), "{seen:?}");
        seen.dedup_by(|b, a| a.1 == b.1);
        let masters: Vec<_> = seen.into_iter().map(|(_, master)| master).collect();
        assert_eq!(masters, [Some(local(old)), Some(local(new))]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sentinel_frozen_during_a_failover_brings_nobody_back_when_it_thaws() {
    let deployment = block_in_place(Deployment::start);
    let old = deployment.master().port();
    let pool = support::pool(&deployment, |config| {
        config.refresh_interval = Duration::from_millis(200);
        config.failover_timeout = FAILOVER_LIMIT;
    })
    .await;
    let masters = Masters::of(&pool);
    assert_eq!(write(&pool, "k").await, Ok(local(old)));
    let frozen = &deployment.sentinels()[2];
    block_in_place(|| frozen.pause());
    block_in_place(|| deployment.failover());
    eventually("the pool follows the other two", FAILOVER_LIMIT, || async {
        let master = pool.topology().master.clone();
        master.is_some_and(|master| master != local(old))
    })
    .await;
    let new = pool.topology().master.clone().expect("there is one").port();
    assert_eq!(write(&pool, "k").await, Ok(local(new)));

    // It wakes up where it stopped, with the old master's name on its lips.
    let looks = pool.status().sentinel.refreshes;
    block_in_place(|| frozen.resume());
    eventually(
        "it has been heard, and looks went by",
        FAILOVER_LIMIT,
        || async {
            let status = pool.status().sentinel;
            assert_eq!(write(&pool, "k").await, Ok(local(new)));
            status.reachable == 3 && status.refreshes > looks + 5
        },
    )
    .await;
    block_in_place(|| deployment.wait_healthy(FAILOVER_LIMIT));
    assert_eq!(write(&pool, "k").await, Ok(local(new)));
    masters.moved_once(old, new);
}

/// A deployment whose Sentinels the pool sees through a proxy each.
async fn behind_proxies(refresh_interval: Duration) -> (Deployment, Vec<Proxy>, Pool) {
    let deployment = block_in_place(Deployment::start);
    let ports = deployment.sentinels().iter().map(Server::port);
    let proxies: Vec<Proxy> = ports.map(Proxy::to).collect();
    let table: Vec<_> = proxies
        .iter()
        .map(|proxy| (proxy.upstream(), proxy.port()))
        .collect();
    let mut config = Config::new(proxies.iter().map(Proxy::addr), deployment.master_name());
    config.refresh_interval = refresh_interval;
    config.failover_timeout = FAILOVER_LIMIT;
    config.address_map = Some(AddressMap::new(move |node| {
        let port = table.iter().find(|(upstream, _)| *upstream == node.port());
        local(port.map_or_else(|| node.port(), |(_, proxy)| *proxy))
    }));
    let pool = Pool::connect(config).await.expect("all is well");
    eventually("it hears all three", FAILOVER_LIMIT, || async {
        let listens = |proxy: &Proxy| {
            let mut links = proxy.links().into_iter();
            links.any(|link| link.has_said(b"SUBSCRIBE"))
        };
        // Those that were learned before their seeds had told their ids are asked twice.
        pool.status().sentinel.reachable >= 3 && proxies.iter().all(listens)
    })
    .await;
    (deployment, proxies, pool)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failover_out_of_sight_of_all_sentinels_is_followed_by_what_the_nodes_report() {
    let (deployment, proxies, pool) = behind_proxies(Duration::from_millis(500)).await;
    let old = deployment.master().port();
    for proxy in &proxies {
        proxy.set_door(Door::Refuse);
        proxy.end_connections(Ending::Reset);
    }
    eventually("no Sentinel can be reached", FAILOVER_LIMIT, || async {
        pool.status().sentinel.reachable == 0
    })
    .await;
    assert_eq!(write(&pool, "k").await, Ok(local(old)));
    block_in_place(|| deployment.failover());
    let new = block_in_place(|| {
        deployment
            .wait_for_master_other_than(old, FAILOVER_LIMIT)
            .port()
    });
    block_in_place(|| deployment.wait_healthy(FAILOVER_LIMIT));

    // The old master says that it follows the new one, and that one that it is a master.
    eventually("the pool has followed", FAILOVER_LIMIT, || async {
        write(&pool, "k").await == Ok(local(new))
    })
    .await;
    assert_eq!(pool.status().sentinel.reachable, 0);
    proxies.iter().for_each(Proxy::heal);
    eventually("the Sentinels say the same", FAILOVER_LIMIT, || async {
        let topology = pool.topology();
        topology.master == Some(local(new)) && topology.previous_master.is_none()
    })
    .await;
    assert_eq!(write(&pool, "k").await, Ok(local(new)));
    eventually("all three are heard again", FAILOVER_LIMIT, || async {
        pool.status().sentinel.reachable >= 3
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_poll_follows_a_failover_when_subscriptions_go_silent_without_an_end() {
    let (deployment, proxies, pool) = behind_proxies(Duration::from_millis(500)).await;
    let old = deployment.master().port();
    let stop = AtomicBool::new(false);
    let listeners = || {
        let links = proxies.iter().flat_map(Proxy::links);
        let listeners = links.filter(|link| link.has_said(b"SUBSCRIBE"));
        listeners.collect::<Vec<_>>()
    };
    let silence = || {
        let listeners = listeners();
        for link in &listeners {
            link.set_both(Flow::Drop);
        }
        listeners.len()
    };
    let silent = silence();
    assert!(silent >= 3, "{silent}");
    // Those that take their place go silent too.
    let hush = async {
        while !stop.load(SeqCst) {
            silence();
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let failover = async {
        block_in_place(|| deployment.failover());
        let new = block_in_place(|| {
            deployment
                .wait_for_master_other_than(old, FAILOVER_LIMIT)
                .port()
        });
        eventually(
            "the poll has found the new master",
            FAILOVER_LIMIT,
            || async { write(&pool, "k").await == Ok(local(new)) },
        )
        .await;
        // Dead links are found out by a PING, and others made in their place.
        eventually(
            "it subscribes anew at each of them",
            FAILOVER_LIMIT,
            || async { listeners().len() >= 2 * silent },
        )
        .await;
        stop.store(true, SeqCst);
    };
    tokio::join!(hush, failover);
    proxies.iter().for_each(Proxy::heal);
    for proxy in &proxies {
        proxy.end_connections(Ending::Reset);
    }
    let events = pool.status().sentinel.events;
    block_in_place(|| deployment.wait_healthy(FAILOVER_LIMIT));
    block_in_place(|| deployment.failover());
    eventually("events are heard again", FAILOVER_LIMIT, || async {
        pool.status().sentinel.events > events
    })
    .await;
}

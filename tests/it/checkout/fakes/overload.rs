//! The tests of `checkout::overload` that need no redis-server.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::Duration,
};

use redis::cmd;
use redis_rw_pool::{Config, Pool};
use testkit::fake::{self, NodeRole, SentinelView};
use tokio::task::JoinSet;

use super::super::overload::no_caller_is_stranded;
use crate::support::{LONG, PROBE, eventually, local};

/// The master changes again and again under callers who take and return connections.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_retired_while_they_are_taken_and_returned_are_all_accounted_for() {
    let nodes = [NodeRole::Master, NodeRole::Master].map(fake::node);
    let sentinel = fake::sentinel(SentinelView::of_master(nodes[0].port()));
    let mut config = Config::new([sentinel.addr()], "mymaster");
    config.refresh_interval = Duration::from_secs(3600);
    config.connect_timeout = Duration::from_secs(10);
    config.failover_timeout = LONG;
    config.write.max_active = 4;
    let pool = Pool::connect(config).await.unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let mut callers = JoinSet::new();
    for _ in 0..8 {
        let (pool, stop) = (pool.clone(), Arc::clone(&stop));
        callers.spawn(async move {
            while !stop.load(SeqCst) {
                let mut conn = pool.write().await.unwrap();
                let result = cmd("PING").exec_async(&mut conn).await;
                result.expect("it moves to the new master, or was there already");
            }
        });
    }
    for epoch in 1..=30 {
        let node = &nodes[usize::from(epoch % 2 == 1)];
        sentinel.update(|view| (view.master.1, view.epoch) = (node.port(), epoch));
        pool.refresh().await.unwrap();
        let master = Some(local(node.port()));
        eventually("the pool has followed", LONG, || async {
            pool.topology().master == master
        })
        .await;
        let served = node.count("PING");
        eventually("callers use it", LONG, || async {
            node.count("PING") > served + 20
        })
        .await;
    }
    stop.store(true, SeqCst);
    no_caller_is_stranded(callers).await;
    eventually("the old one is rid of us", LONG, || async {
        nodes[1].open_connections() == 0
    })
    .await;
    eventually("all is accounted for", LONG, || async {
        let status = pool.status().write;
        status.active == status.idle
            && status.active + PROBE == nodes[0].open_connections()
            && status.created == status.active as u64 + status.discards.total()
    })
    .await;
    let lent = [(); 4].map(|()| pool.write());
    for conn in lent {
        drop(tokio::time::timeout(LONG, conn).await.unwrap().unwrap());
    }
}

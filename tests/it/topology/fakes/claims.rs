//! The tests of `topology::claims` that need no redis-server.

use std::time::Duration;

use redis_rw_pool::{Config, Pool};
use testkit::{
    fake::{self, Action, FakeNode, NodeRole, SentinelView},
    proxy::{Flow, Proxy, Toward},
};

use crate::support::{local, sentinel_with_id};

#[tokio::test(flavor = "multi_thread")]
async fn the_first_master_is_not_that_of_the_sentinel_that_answers_first() {
    let (ours, theirs) = (fake::node(NodeRole::Master), fake::node(NodeRole::Master));
    let confused = sentinel_with_id(SentinelView::of_master(theirs.port()));
    let right = [(); 2].map(|()| sentinel_with_id(SentinelView::of_master(ours.port())));
    let far: Vec<Proxy> = right.iter().map(|s| Proxy::to(s.port())).collect();
    for proxy in &far {
        proxy.set_for_new(Toward::Client, Flow::Delay(Duration::from_millis(20)));
    }
    let seeds = [confused.addr()]
        .into_iter()
        .chain(far.iter().map(Proxy::addr));
    let seeds: Vec<String> = seeds.collect();
    for _ in 0..20 {
        let pool = Pool::connect(Config::new(seeds.clone(), "mymaster"))
            .await
            .unwrap();
        assert_eq!(pool.topology().master, Some(local(ours.port())));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_single_sentinel_that_can_answer_is_enough_to_start() {
    let node = fake::node(NodeRole::Master);
    let alive = sentinel_with_id(SentinelView::of_master(node.port()));
    let silent = SentinelView::of_master(node.port()).with_override("SENTINEL", Action::Silence);
    let silent = [(); 2].map(|()| sentinel_with_id(silent.clone()));
    let seeds = silent.iter().chain([&alive]).map(|s| s.addr());
    let pool = Pool::connect(Config::new(seeds, "mymaster")).await.unwrap();
    assert_eq!(pool.topology().master, Some(local(node.port())));
}

#[tokio::test(flavor = "multi_thread")]
async fn sentinels_that_name_three_masters_lead_all_pools_to_the_one_with_replicas() {
    let masters: [FakeNode; 3] = [(); 3].map(|()| fake::node(NodeRole::Master));
    let replica = fake::node(NodeRole::replica_of(masters[1].port()));
    let view = |i: usize| {
        let view = SentinelView::of_master(masters[i].port());
        sentinel_with_id(if i == 1 {
            view.with_replica(replica.port())
        } else {
            view
        })
    };
    let sentinels = [view(0), view(1), view(2)];
    for turn in 0..9 {
        let mut seeds: Vec<String> = sentinels.iter().map(|s| s.addr()).collect();
        seeds.rotate_left(turn % 3);
        let pool = Pool::connect(Config::new(seeds, "mymaster")).await.unwrap();
        let topology = pool.topology();
        assert_eq!(topology.master, Some(local(masters[1].port())));
        let doubt = topology
            .unproven
            .as_ref()
            .expect("it is said that they disagree");
        assert!(doubt.contains("3 masters"), "{doubt}");
    }
}

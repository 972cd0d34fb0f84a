//! The tests of `topology::balanced` that need no redis-server.

use redis::AsyncCommands;
use redis_rw_pool::{AddressMap, Pool};
use testkit::{
    Proxy,
    fake::{self, Action, FakeNode, FakeSentinel, NodeRole, SentinelView},
    ports,
};

use super::super::balanced::{LIMIT, config, counts};
use crate::support::{eventually, local};

/// Sentinels of this master that know each other.
fn sentinels_of<const N: usize>(master: &FakeNode) -> [FakeSentinel; N] {
    let sentinels = [(); N].map(|()| fake::sentinel(SentinelView::of_master(master.port())));
    let ports: Vec<u16> = sentinels.iter().map(|sentinel| sentinel.port()).collect();
    for sentinel in &sentinels {
        let others = ports.iter().filter(|port| **port != sentinel.port());
        let view = others.fold(sentinel.view(), |view, port| view.with_sentinel(*port));
        sentinel.set(view);
        let id = format!("{:040x}", sentinel.port());
        sentinel.update(|view| view.id = id);
    }
    sentinels
}

/// Of the Sentinels only the balancer can be reached.
fn map_only(balancer: &Proxy, master: u16) -> AddressMap {
    let nowhere = ports::unused();
    let reachable = [balancer.port(), master];
    AddressMap::new(move |node| {
        if reachable.contains(&node.port()) {
            node.clone()
        } else {
            local(nowhere)
        }
    })
}

async fn subscribers(sentinels: &[FakeSentinel], expected: usize) {
    eventually("each has its subscribers", LIMIT, || async {
        let mut counts = sentinels.iter().map(FakeSentinel::subscribers);
        counts.all(|count| count == expected)
    })
    .await;
}

async fn write(pool: &Pool) -> redis::RedisResult<()> {
    let mut conn = pool.write().await?;
    conn.set("k", "v").await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_balanced_address_that_moves_on_leaves_nobody_out() {
    let master = fake::node(NodeRole::Master);
    let sentinels: [FakeSentinel; 3] = sentinels_of(&master);
    let ports = sentinels.each_ref().map(|sentinel| sentinel.port());
    let balancer = Proxy::balancing(&ports);
    let pool = Pool::connect(config([balancer.addr()]))
        .await
        .expect("all is well");
    subscribers(&sentinels, 1).await;
    for _ in 0..4 {
        balancer.end_connections(testkit::proxy::Ending::Reset);
        counts(&pool, 3, 3, 3).await;
        subscribers(&sentinels, 1).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_only_the_balanced_address_can_be_reached_the_others_are_counted() {
    let master = fake::node(NodeRole::Master);
    let sentinels: [FakeSentinel; 3] = sentinels_of(&master);
    let ports = sentinels.each_ref().map(|sentinel| sentinel.port());
    let balancer = Proxy::balancing(&ports);
    let mut config = config([balancer.addr()]);
    config.address_map = Some(map_only(&balancer, master.port()));
    let pool = Pool::connect(config).await.expect("one is enough");
    counts(&pool, 3, 1, 1).await;
    let unheard = pool.status().sentinel.unheard;
    assert_eq!(unheard.iter().count(), 2, "{unheard}");

    // It is asked where it is listened to: a sign holds as long as that Sentinel states it.
    let heard = sentinels.iter().find(|sentinel| sentinel.subscribers() > 0);
    let heard = heard.expect("one is listened to");
    heard.update(|view| view.flags = "master,failover_in_progress".to_owned());
    heard.publish(
        "+try-failover",
        &format!("master mymaster 127.0.0.1 {}", master.port()),
    );
    let looks = pool.status().sentinel.refreshes;
    eventually("looks went by", LIMIT, || async {
        pool.status().sentinel.refreshes > looks + 10
    })
    .await;
    let sign = pool.status().fence.sign;
    assert!(sign.is_some_and(|sign| sign.contains("+try-failover")));
    heard.update(|view| view.flags = "master".to_owned());
    heard.publish(
        "-failover-abort-not-elected",
        &format!("master mymaster 127.0.0.1 {}", master.port()),
    );
    assert_eq!(write(&pool).await, Ok(()));
    assert_eq!(pool.status().fence.false_signs, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_configured_sentinel_announced_by_another_name_is_asked_and_listened_to_once() {
    let master = fake::node(NodeRole::Master);
    let sentinels: [FakeSentinel; 3] = sentinels_of(&master);
    let seeds = sentinels
        .each_ref()
        .map(|sentinel| format!("localhost:{}", sentinel.port()));
    let pool = Pool::connect(config(seeds)).await.expect("all is well");
    counts(&pool, 3, 3, 3).await;
    subscribers(&sentinels, 1).await;
    eventually("each has said once who is master", LIMIT, || async {
        pool.status().sentinel.reports.iter().count() == 3
    })
    .await;
}

/// Before 6.2 they tell nobody their id. Then the address has to do, and for those that others list,
/// what they say.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sentinels_that_do_not_tell_their_ids_are_told_apart_by_their_addresses() {
    let master = fake::node(NodeRole::Master);
    let sentinels: [FakeSentinel; 3] = sentinels_of(&master);
    for sentinel in &sentinels {
        let unknown = Action::reply("-ERR Unknown sentinel subcommand 'MYID'\r\n");
        sentinel.set(sentinel.view().with_override("SENTINEL MYID", unknown));
    }
    let seeds = [sentinels[0].addr()];
    let pool = Pool::connect(config(seeds)).await.expect("all is well");
    counts(&pool, 3, 3, 3).await;
    subscribers(&sentinels, 1).await;
    let refused = pool.status().sentinel.refused;
    assert_eq!(refused.iter().count(), 0, "{refused}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sentinel_that_comes_back_with_another_id_is_one_sentinel() {
    let master = fake::node(NodeRole::Master);
    let sentinels: [FakeSentinel; 3] = sentinels_of(&master);
    let seeds = sentinels.each_ref().map(|sentinel| sentinel.addr());
    let pool = Pool::connect(config(seeds)).await.expect("all is well");
    counts(&pool, 3, 3, 3).await;
    sentinels[0].update(|view| view.id = "f".repeat(40));
    sentinels[0].close_connections();
    let looks = pool.status().sentinel.refreshes;
    eventually("looks went by", LIMIT, || async {
        pool.status().sentinel.refreshes > looks + 5
    })
    .await;
    counts(&pool, 3, 3, 3).await;
    subscribers(&sentinels, 1).await;
}

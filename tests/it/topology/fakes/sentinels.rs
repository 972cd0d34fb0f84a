//! The tests of `topology::sentinels` that need no redis-server.

use std::time::Duration;

use redis_rw_pool::{Error, Pool};
use testkit::fake::{self, NodeRole};
use tokio::time::Instant;

use super::super::sentinels::to;
use crate::support::{FAILOVER_LIMIT, eventually, local, sentinel_at, write};

/// A name that nobody monitors, at the start or later, is asked for again at the pace of the poll.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unknown_name_leads_to_no_storm_of_questions() {
    let master = fake::node(NodeRole::Master);
    let sentinel = sentinel_at(1, master.port());
    let mut config = to(&[&sentinel]);
    config.refresh_interval = Duration::from_secs(3600);
    let asked = || sentinel.count("SENTINEL");

    let mut wrong = config.clone();
    wrong.master_name = "nobodys".to_owned();
    let error = Pool::connect(wrong).await.expect_err("an unknown name");
    assert!(matches!(error, Error::UnknownMaster { .. }), "{error:?}");
    let at_connect = asked();
    assert!(at_connect <= 3 * 5, "{at_connect} questions");

    let pool = Pool::connect(config).await.expect("this one is known");
    eventually("it has subscribed and looked", FAILOVER_LIMIT, || async {
        sentinel.subscribers() == 1 && pool.status().sentinel.refreshes >= 2
    })
    .await;
    sentinel.update(|view| view.known = false);
    let error = pool.refresh().await.expect_err("not monitored any more");
    assert!(matches!(error, Error::UnknownMaster { .. }), "{error:?}");
    let (before, began) = (asked(), Instant::now());
    let mut writes = 0;
    while began.elapsed() < Duration::from_millis(500) {
        assert_eq!(write(&pool, "k").await, Ok(local(master.port())));
        writes += 1;
    }
    let more = asked() - before;
    assert!(more <= 2 * 5, "{more} questions during {writes} writes");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_address_under_the_same_epoch_from_a_minority_moves_nothing() {
    let (master, old) = (fake::node(NodeRole::Master), fake::node(NodeRole::Master));
    let sentinels = [(); 3].map(|()| sentinel_at(5, master.port()));
    let mut config = to(&sentinels.each_ref().map(|sentinel| &**sentinel));
    config.refresh_interval = Duration::from_millis(200);
    for liar in &sentinels {
        let pool = Pool::connect(config.clone()).await.expect("all is well");
        liar.update(|view| view.master.1 = old.port());
        let looks = pool.status().sentinel.refreshes;
        while pool.status().sentinel.refreshes < looks + 5 {
            assert_eq!(write(&pool, "k").await, Ok(local(master.port())));
        }
        let topology = pool.topology();
        assert_eq!((topology.epoch, &topology.fence), (5, &None));
        liar.update(|view| view.master.1 = master.port());
    }
    assert_eq!(old.count("SET"), 0);
}

/// One of three points to an address at which nobody answers, under an epoch that beats all others.
async fn points_nowhere(nowhere: u16) {
    let master = fake::node(NodeRole::Master);
    let sentinels = [(); 3].map(|()| sentinel_at(5, master.port()));
    let mut config = to(&sentinels.each_ref().map(|sentinel| &**sentinel));
    config.refresh_interval = Duration::from_millis(200);
    config.connect_timeout = Duration::from_secs(1);
    config.failover_timeout = Duration::from_secs(8);
    let pool = Pool::connect(config).await.expect("all is well");
    sentinels[2].update(|view| (view.master.1, view.epoch) = (nowhere, 999));
    let payload = format!("mymaster 127.0.0.1 {} 127.0.0.1 {nowhere}", master.port());
    sentinels[2].publish("+switch-master", &payload);
    let looks = pool.status().sentinel.refreshes;
    let mut longest = Duration::ZERO;
    while pool.status().sentinel.refreshes < looks + 20 {
        let began = Instant::now();
        assert_eq!(write(&pool, "k").await, Ok(local(master.port())));
        longest = longest.max(began.elapsed());
    }
    eprintln!("the longest write took {longest:?}");
    assert_eq!(pool.topology().master, Some(local(master.port())));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_forged_epoch_that_points_to_a_closed_port_holds_up_no_write_for_long() {
    points_nowhere(testkit::ports::unused()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_forged_epoch_that_points_to_a_silent_address_holds_up_no_write_for_long() {
    let silent = fake::hung();
    points_nowhere(silent.port()).await;
}

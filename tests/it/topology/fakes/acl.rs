//! The tests of `topology::acl` that need no redis-server.

use std::time::Duration;

use redis_rw_pool::{Config, Pool};
use testkit::fake::{self, Action, FakeSentinel, NodeRole, SentinelView};

use super::super::acl::{LIMIT, listens_to, refused};
use crate::support::{eventually, read_along, sentinel_with_id};

const NOPERM: &str = "-NOPERM User app has no permissions to run the 'subscribe' command\r\n";

/// The logs of other threads cannot be read, hence one thread.
#[tokio::test]
async fn what_is_refused_is_warned_of_once_for_each_sentinel_and_not_at_every_try() {
    let (seen, _guard) = read_along();
    let master = fake::node(NodeRole::Master);
    let sentinels = [(); 2].map(|()| sentinel_with_id(SentinelView::of_master(master.port())));
    for sentinel in &sentinels {
        let view = sentinel.view();
        let refuse = |command| (command, Action::reply(NOPERM));
        let refused = ["SUBSCRIBE", "SENTINEL REPLICAS", "SENTINEL MYID"].map(refuse);
        let refused = refused.into_iter();
        sentinel.set(refused.fold(view, |view, (command, action)| {
            view.with_override(command, action)
        }));
    }
    let mut config = Config::new(sentinels.each_ref().map(|s| s.addr()), "mymaster");
    config.refresh_interval = Duration::from_millis(50);
    let pool = Pool::connect(config).await.expect("it names the master");
    let tries = |sentinel: &FakeSentinel| sentinel.count("SUBSCRIBE") / 38;
    eventually("it tried again and again", LIMIT, || async {
        sentinels.iter().all(|sentinel| tries(sentinel) > 3)
            && pool.status().sentinel.refreshes > 10
    })
    .await;
    for command in ["SUBSCRIBE", "SENTINEL REPLICAS", "SENTINEL MYID"] {
        for sentinel in &sentinels {
            let warned = seen.count(&[&format!("{command} is refused"), &sentinel.addr()]);
            assert_eq!(warned, 1, "{command}");
        }
    }
    assert_eq!(pool.status().sentinel.listening, 0);

    // The permission is given, and that is noticed.
    for sentinel in &sentinels {
        sentinel.update(|view| view.overrides.clear());
    }
    listens_to(&pool, 2, 2).await;
    assert_eq!(refused(&pool), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn channels_that_are_granted_later_are_subscribed_to() {
    let master = fake::node(NodeRole::Master);
    let sentinel = sentinel_with_id(SentinelView::of_master(master.port()));
    let refuse = Action::reply("-NOPERM No permissions to access a channel\r\n");
    sentinel.set(sentinel.view().with_override("SUBSCRIBE +ODOWN", refuse));
    let mut config = Config::new([sentinel.addr()], "mymaster");
    config.refresh_interval = Duration::from_millis(50);
    let pool = Pool::connect(config).await.expect("it names the master");
    listens_to(&pool, 1, 1).await;
    let what = refused(&pool);
    assert!(what.len() == 1 && what[0].contains("+odown"), "{what:?}");
    sentinel.update(|view| view.overrides.clear());
    eventually("nothing is refused any more", LIMIT, || async {
        refused(&pool).is_empty()
    })
    .await;
    let payload = format!("master mymaster 127.0.0.1 {} #quorum 2/2", master.port());
    sentinel.publish("+odown", &payload);
    eventually("it is heard", LIMIT, || async {
        pool.status().sentinel.events == 1
    })
    .await;
}

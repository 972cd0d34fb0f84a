//! The tests of `topology::outages` that need no redis-server.

use std::time::Duration;

use redis_rw_pool::{Error, Pool, ReadFrom};
use testkit::fake::{self, Action, FakeNode, FakeSentinel, NodeRole, SentinelView};

use super::super::outages::{LIMIT, left_out, read, readable, reason, to};
use crate::support::{eventually, local, write};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failover_while_all_sentinels_are_out_of_reach_is_followed_by_what_the_nodes_report() {
    let old = fake::node(NodeRole::Master);
    let new = fake::node(NodeRole::replica_of(old.port()));
    let sentinel = fake::sentinel(SentinelView::of_master(old.port()).with_replica(new.port()));
    let port = sentinel.port();
    let pool = Pool::connect(to(&sentinel)).await.expect("all is well");
    assert_eq!(write(&pool, "k").await, Ok(local(old.port())));
    drop(sentinel);
    eventually("no Sentinel is reachable", LIMIT, || async {
        pool.status().sentinel.reachable == 0
    })
    .await;
    new.set_role(NodeRole::Master);
    old.set_role(NodeRole::replica_of(new.port()));
    assert_eq!(write(&pool, "k").await, Ok(local(new.port())));
    let old_node = Some(local(old.port()));
    assert_eq!(
        pool.topology().previous_master,
        old_node,
        "the Sentinels' last word"
    );

    let mut view = SentinelView::of_master(new.port()).with_replica(old.port());
    view.epoch = 1;
    let _sentinel = FakeSentinel::start_on(port, view);
    eventually("the Sentinels say the same", LIMIT, || async {
        pool.topology().previous_master.is_none()
    })
    .await;
    assert_eq!(write(&pool, "k").await, Ok(local(new.port())));
    readable(&pool, &local(old.port())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_poll_follows_where_no_event_arrives() {
    let old = fake::node(NodeRole::Master);
    let new = fake::node(NodeRole::replica_of(old.port()));
    let deaf = |view: SentinelView| view.with_override("SUBSCRIBE", Action::Silence);
    let sentinel = fake::sentinel(deaf(SentinelView::of_master(old.port())));
    let pool = Pool::connect(to(&sentinel)).await.expect("all is well");
    new.set_role(NodeRole::Master);
    let mut view = deaf(SentinelView::of_master(new.port()));
    view.epoch = 1;
    sentinel.set(view);
    eventually("the poll has found the new master", LIMIT, || async {
        pool.topology().master == Some(local(new.port()))
    })
    .await;
    assert_eq!(pool.status().sentinel.events, 0);
    assert_eq!(write(&pool, "k").await, Ok(local(new.port())));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_starts_a_refresh_long_before_the_poll() {
    let old = fake::node(NodeRole::Master);
    let new = fake::node(NodeRole::Master);
    let sentinel = fake::sentinel(SentinelView::of_master(old.port()));
    let mut config = to(&sentinel);
    config.refresh_interval = Duration::from_secs(3600);
    let pool = Pool::connect(config).await.expect("all is well");
    eventually("it has subscribed and looked", LIMIT, || async {
        sentinel.subscribers() == 1 && pool.status().sentinel.refreshes >= 2
    })
    .await;
    // Nothing that was asked before may still be unanswered.
    pool.refresh().await.expect("it answers");
    sentinel.update(|view| {
        view.master.1 = new.port();
        view.epoch = 1;
    });
    let payload = format!("mymaster 127.0.0.1 {} 127.0.0.1 {}", old.port(), new.port());
    sentinel.publish("+switch-master", &payload);
    eventually("the new master is known", LIMIT, || async {
        pool.topology().master == Some(local(new.port()))
    })
    .await;
    assert_eq!(pool.status().sentinel.events, 1);
}

/// A master, two replicas and a Sentinel, all fake, and a pool on them.
async fn fakes() -> (FakeNode, [FakeNode; 2], FakeSentinel, Pool) {
    let master = fake::node(NodeRole::Master);
    let replicas = [(); 2].map(|()| fake::node(NodeRole::replica_of(master.port())));
    let mut view = SentinelView::of_master(master.port());
    for replica in &replicas {
        view = view.with_replica(replica.port());
    }
    let sentinel = fake::sentinel(view);
    let mut config = to(&sentinel);
    config.command_timeout = Some(Duration::from_secs(10));
    let pool = Pool::connect(config).await.expect("all is well");
    for replica in &replicas {
        readable(&pool, &local(replica.port())).await;
    }
    (master, replicas, sentinel, pool)
}

/// How often a Sentinel was asked this.
fn asked(sentinel: &FakeSentinel, what: &str) -> usize {
    let commands = sentinel.commands();
    let is_this = |command: &&Vec<String>| {
        let word = command.get(1);
        word.is_some_and(|word| word.eq_ignore_ascii_case(what))
    };
    commands.iter().filter(is_this).count()
}

/// Waits until the Sentinel is asked no more than who is master.
async fn calm(sentinel: &FakeSentinel) {
    let short = || asked(sentinel, "MASTER") - asked(sentinel, "REPLICAS");
    let before = short();
    let goes_by = || async { short() > before };
    eventually("a refresh at which little is asked", LIMIT, goes_by).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_nothing_happens_little_is_asked_and_everything_at_every_fourth_refresh() {
    let (master, replicas, sentinel, pool) = fakes().await;
    calm(&sentinel).await;
    let counts = || {
        let questions = ["MASTER", "REPLICAS", "SENTINELS"].map(|what| asked(&sentinel, what));
        let [all, everything, peers] = questions;
        let probes = replicas.each_ref().map(|replica| replica.count("ROLE"));
        (all, everything, peers, sentinel.count("PING"), probes)
    };
    let before = counts();
    let dials = || [&master, &replicas[0], &replicas[1]].map(|node| node.connections().len());
    let dialled = dials();
    let refreshed = || async { counts().0 >= before.0 + 24 };
    eventually("two dozen refreshes went by", LIMIT, refreshed).await;
    let after = counts();
    let refreshes = after.0 - before.0;
    let everything = after.1 - before.1;
    // One that is answered late on a busy machine is followed by one at which everything is asked.
    assert!(everything >= 5 && everything <= refreshes / 2, "{after:?}");
    assert_eq!(after.2 - before.2, everything, "{after:?}");
    let pings = after.3 - before.3;
    assert!(
        (refreshes / 2..=refreshes + 1).contains(&pings),
        "{after:?}"
    );
    for (after, before) in after.4.iter().zip(before.4) {
        assert!(after - before >= refreshes - 2, "each replica is asked");
    }
    assert_eq!(dials(), dialled, "over the connections that were there");
    let answered = pool.status().sentinel.last_answer;
    assert!(answered.is_some_and(|ago| ago < LIMIT / 4), "{answered:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_changes_without_an_event_is_found_by_the_polls_of_a_calm_pool() {
    let (old, [new, other], sentinel, pool) = fakes().await;
    calm(&sentinel).await;
    let third = fake::node(NodeRole::replica_of(old.port()));
    sentinel.update(|view| *view = view.clone().with_replica(third.port()));
    readable(&pool, &local(third.port())).await;
    let second = fake::sentinel(sentinel.view());
    second.update(|view| view.id = "b".repeat(40));
    calm(&sentinel).await;
    sentinel.update(|view| *view = view.clone().with_sentinel(second.port()));
    eventually("the other Sentinel is known", LIMIT, || async {
        pool.status().sentinel.known == 2
    })
    .await;
    drop(second);
    sentinel.update(|view| view.sentinels.clear());
    eventually("and it is not any more", LIMIT, || async {
        pool.status().sentinel.known == 1
    })
    .await;
    calm(&sentinel).await;

    new.set_role(NodeRole::Master);
    for node in [&old, &other, &third] {
        node.set_role(NodeRole::replica_of(new.port()));
    }
    let mut view = SentinelView::of_master(new.port());
    for node in [&old, &other, &third] {
        view = view.with_replica(node.port());
    }
    view.epoch = 1;
    view.id = sentinel.view().id;
    sentinel.set(view);
    eventually("the new master is known", LIMIT, || async {
        pool.topology().master == Some(local(new.port()))
    })
    .await;
    assert_eq!(pool.status().sentinel.events, 0);
    readable(&pool, &local(old.port())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_in_trouble_is_left_out_with_its_reason_and_comes_back_by_itself() {
    let (master, [ill, well], _sentinel, pool) = fakes().await;
    let stranger = fake::node(NodeRole::Master);
    let link = |state: &str| NodeRole::Replica {
        master: ("127.0.0.1".to_owned(), master.port()),
        state: state.to_owned(),
    };
    let roles = [
        (link("sync"), "sync"),
        (link("connect"), "connect"),
        (link("connecting"), "connecting"),
        (
            NodeRole::replica_of(stranger.port()),
            "follows another master",
        ),
        (NodeRole::Master, "reports the role master"),
    ];
    let node = local(ill.port());
    for (role, because) in roles {
        ill.set_role(role);
        left_out(&pool, &node, because).await;
        for _ in 0..10 {
            assert_eq!(read(&pool).await, Ok(local(well.port())), "{because}");
        }
        ill.set_role(NodeRole::replica_of(master.port()));
        readable(&pool, &node).await;
    }

    let replies = [
        (
            "-LOADING Redis is loading the dataset in memory\r\n",
            "loading",
        ),
        (
            "-MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.\r\n",
            "Link with MASTER is down",
        ),
        ("+nonsense\r\n", ""),
    ];
    for (reply, because) in replies {
        ill.set_override(Some(Action::reply(reply)));
        left_out(&pool, &node, because).await;
        for _ in 0..10 {
            assert_eq!(read(&pool).await, Ok(local(well.port())), "{because}");
        }
        ill.set_override(None);
        readable(&pool, &node).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_whose_reads_say_that_it_is_loading_is_probed_at_once() {
    let (_master, [ill, well], sentinel, _) = fakes().await;
    let mut config = to(&sentinel);
    config.refresh_interval = Duration::from_secs(3600);
    let pool = Pool::connect(config).await.expect("all is well");
    let node = local(ill.port());
    readable(&pool, &node).await;
    readable(&pool, &local(well.port())).await;
    ill.set_override(Some(Action::reply(
        "-LOADING Redis is loading the dataset in memory\r\n",
    )));
    eventually("a read has met it and it is left out", LIMIT, || async {
        let _ = read(&pool).await;
        reason(&pool, &node).is_some()
    })
    .await;
    for _ in 0..10 {
        assert_eq!(read(&pool).await, Ok(local(well.port())));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_any_replica_reads_go_where_the_policy_says() {
    let master = fake::node(NodeRole::Master);
    let sentinel = fake::sentinel(SentinelView::of_master(master.port()));
    for policy in [ReadFrom::ReplicaPreferred, ReadFrom::Any, ReadFrom::Master] {
        let mut config = to(&sentinel);
        config.read_from = policy;
        let pool = Pool::connect(config).await.expect("no replicas is valid");
        assert_eq!(read(&pool).await, Ok(local(master.port())), "{policy:?}");
        assert!(pool.topology().replicas.is_empty());
    }
    let mut config = to(&sentinel);
    config.read_from = ReadFrom::Replica;
    config.failover_timeout = Duration::from_secs(600);
    let pool = Pool::connect(config).await.expect("no replicas is valid");
    let refused = tokio::time::timeout(LIMIT, pool.read()).await;
    let error = refused
        .expect("it is refused at once")
        .expect_err("no replica");
    assert!(matches!(error, Error::NoReplica { .. }), "{error:?}");
    assert_eq!(write(&pool, "k").await, Ok(local(master.port())));

    // The first one that turns up is read from.
    let replica = fake::node(NodeRole::replica_of(master.port()));
    sentinel.update(|view| *view = view.clone().with_replica(replica.port()));
    eventually("reads go to the new replica", LIMIT, || async {
        read(&pool).await == Ok(local(replica.port()))
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reads_go_to_the_master_while_no_replica_is_readable_and_leave_it_afterwards() {
    let (master, replicas, _sentinel, pool) = fakes().await;
    for replica in &replicas {
        replica.set_role(NodeRole::Replica {
            master: ("127.0.0.1".to_owned(), master.port()),
            state: "sync".to_owned(),
        });
    }
    for replica in &replicas {
        left_out(&pool, &local(replica.port()), "sync").await;
    }
    assert_eq!(read(&pool).await, Ok(local(master.port())));
    for replica in &replicas {
        replica.set_role(NodeRole::replica_of(master.port()));
    }
    for replica in &replicas {
        readable(&pool, &local(replica.port())).await;
    }
    for _ in 0..10 {
        assert_ne!(read(&pool).await, Ok(local(master.port())));
    }
}

//! The tests of `topology::discovery` that need no redis-server.

use std::{collections::BTreeSet, time::Duration};

use redis_rw_pool::{Error, Pool};
use testkit::{
    fake::{self, Action, FakeSentinel, FakeServer, NodeRole, SentinelView},
    ports,
};
use tokio::time::Instant;

use super::super::discovery::{LIMIT, NEVER, master, to, whole_text, write};
use crate::support::{eventually, local, sentinel_at, sentinel_with_id};

/// Peers that are no working Sentinel of ours, each in its own way.
fn bad_sentinels() -> Vec<(&'static str, FakeServer)> {
    let locked = || FakeServer::start(|_, _| Action::reply("-NOAUTH Authentication required.\r\n"));
    let garbage = || FakeServer::start(|_, _| Action::reply("$-77\r\n\0\u{1}*9999999999\r\n"));
    let not_sentinel = |_: &_, words: &[Vec<u8>]| match words[0].as_slice() {
        b"SENTINEL" => Action::reply("-ERR unknown command 'SENTINEL'\r\n"),
        _ => Action::reply("+OK\r\n"),
    };
    vec![
        ("hung", fake::hung()),
        ("locked", locked()),
        ("not Redis", fake::not_redis()),
        ("garbage", garbage()),
        ("closing", FakeServer::start(|_, _| Action::Close)),
        ("data node", FakeServer::start(not_sentinel)),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_bad_sentinel_in_any_position_changes_nothing() {
    let master = master();
    let (one, two) = (sentinel_at(1, master.port()), sentinel_at(1, master.port()));
    for (kind, bad) in &bad_sentinels() {
        for position in 0..3 {
            let mut sentinels: Vec<&FakeServer> = vec![&one, &two];
            sentinels.insert(position, bad);
            let mut config = to(&sentinels);
            config.sentinel_timeout = NEVER;
            let began = Instant::now();
            let pool = Pool::connect(config).await.expect(kind);
            assert_eq!(write(&pool).await, local(master.port()), "{kind}");
            let refreshed = pool.refresh().await.expect(kind);
            assert_eq!(refreshed.master, Some(local(master.port())), "{kind}");
            assert!(began.elapsed() < LIMIT, "{kind} in position {position}");
            eventually("both good ones are counted", LIMIT, || async {
                pool.status().sentinel.reachable == 2
            })
            .await;
            assert_eq!(pool.status().sentinel.known, 3, "{kind}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_sentinel_in_any_position_changes_nothing() {
    let master = master();
    let (one, two) = (sentinel_at(1, master.port()), sentinel_at(1, master.port()));
    let dead = format!("127.0.0.1:{}", ports::unused());
    for position in 0..3 {
        let mut config = to(&[&one, &two]);
        config.sentinel_timeout = NEVER;
        config.sentinels.insert(position, dead.clone());
        let pool = Pool::connect(config).await.expect("two are alive");
        assert_eq!(write(&pool).await, local(master.port()));
        pool.refresh().await.expect("two are alive");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_no_sentinel_answers_the_error_says_what_each_did_instead() {
    let bad = bad_sentinels();
    let dead = format!("127.0.0.1:{}", ports::unused());
    let mut config = to(&bad.iter().map(|(_, server)| server).collect::<Vec<_>>());
    config.sentinels.push(dead);
    let sentinels = config.sentinels.clone();
    // One that does not answer in time at all must not change what kind of failure it is.
    for sentinel_timeout in [Duration::from_millis(200), NEVER] {
        let mut config = config.clone();
        config.sentinel_timeout = sentinel_timeout;
        config.connect_timeout = Duration::from_secs(1);
        config.failover_timeout = Duration::from_secs(1);
        config.password = Some("hunter2-data".into());
        config.sentinel_password = Some("hunter2-sentinel".into());
        let began = Instant::now();
        let error = Pool::connect(config).await.expect_err("nobody answers");
        assert!(began.elapsed() < LIMIT);
        let Error::NoSentinel { reports, .. } = &error else {
            panic!("{error:?}");
        };
        let who: BTreeSet<_> = reports.iter().map(|(who, _)| who.to_owned()).collect();
        assert_eq!(who, sentinels.iter().cloned().collect());
        assert!(reports.iter().all(|(_, what)| !what.is_empty()), "{error}");
        assert!(error.is_transient());
        let text = whole_text(&error);
        assert!(!text.contains("hunter2"), "{text}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_no_sentinel_knows_the_name_the_error_says_so() {
    let master = master();
    let (one, two) = (sentinel_at(1, master.port()), sentinel_at(1, master.port()));
    let hung = fake::hung();
    for sentinel_timeout in [Duration::from_millis(200), NEVER] {
        let mut config = to(&[&one, &hung, &two]);
        config.master_name = "nobodys".into();
        config.sentinel_timeout = sentinel_timeout;
        config.connect_timeout = Duration::from_secs(1);
        config.failover_timeout = Duration::from_secs(1);
        config.password = Some("hunter2-data".into());
        let error = Pool::connect(config).await.expect_err("an unknown name");
        let Error::UnknownMaster {
            master_name,
            reports,
            ..
        } = &error
        else {
            panic!("{error:?}");
        };
        assert_eq!(master_name, "nobodys");
        assert_eq!(reports.iter().count(), 3);
        let silent = reports
            .iter()
            .filter(|(_, what)| what.contains("not monitor"));
        assert_eq!(silent.count(), 2, "{error}");
        assert!(!error.is_transient());
        assert!(!whole_text(&error).contains("hunter2"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_nobody_proves_to_be_master_the_error_says_what_all_of_them_said() {
    let replica = fake::node(NodeRole::replica_of(1));
    let hung = fake::hung();
    let dead = ports::unused();
    let sentinels = [replica.port(), hung.port(), dead]
        .map(|port| sentinel_with_id(SentinelView::of_master(port)));
    let mut config = to(&sentinels
        .iter()
        .map(|sentinel| &**sentinel)
        .collect::<Vec<_>>());
    config.connect_timeout = Duration::from_millis(800);
    config.failover_timeout = Duration::from_millis(800);
    config.password = Some("hunter2-data".into());
    let began = Instant::now();
    let error = Pool::connect(config).await.expect_err("no master");
    assert!(began.elapsed() < LIMIT);
    let Error::NoMaster { reports, .. } = &error else {
        panic!("{error:?}");
    };
    let who: BTreeSet<_> = reports.iter().map(|(who, _)| who.to_owned()).collect();
    for sentinel in &sentinels {
        assert!(who.contains(&sentinel.addr()), "{error}");
    }
    for node in [replica.addr(), format!("127.0.0.1:{dead}")] {
        assert!(who.contains(&node), "{node} in: {error}");
    }
    assert!(error.is_timeout() && error.is_transient());
    assert!(!whole_text(&error).contains("hunter2"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sentinels_are_learned_from_the_configured_one_which_is_never_forgotten() {
    let master = master();
    let (seed, other) = (sentinel_at(1, master.port()), sentinel_at(1, master.port()));
    let (seed_port, other_port) = (seed.port(), other.port());
    seed.update(|view| *view = view.clone().with_sentinel(other_port));
    other.update(|view| *view = view.clone().with_sentinel(seed_port));
    let mut config = to(&[&seed]);
    config.sentinel_timeout = Duration::from_millis(300);
    let pool = Pool::connect(config).await.expect("one seed is enough");
    let stands_at = |known, reachable| {
        let pool = pool.clone();
        async move {
            let text = format!("{known} known, {reachable} reachable");
            eventually(&text, LIMIT, || async {
                let sentinel = pool.status().sentinel;
                (sentinel.known, sentinel.reachable) == (known, reachable)
            })
            .await;
        }
    };
    stands_at(2, 2).await;

    // The learned one takes over where the seed is gone, and the seed is still asked.
    let view = seed.view();
    drop(seed);
    other.update(|view| view.sentinels.clear());
    stands_at(2, 1).await;
    pool.refresh().await.expect("the learned one answers");
    let seed = FakeSentinel::start_on(seed_port, view);
    stands_at(2, 2).await;

    // A learned one that is dead and that nobody lists any more is let go.
    seed.update(|view| view.sentinels.clear());
    drop(other);
    stands_at(1, 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stale_sentinel_is_ignored_and_counted() {
    let (master, old) = (master(), master());
    let (one, two) = (sentinel_at(5, master.port()), sentinel_at(5, master.port()));
    let stale = sentinel_at(4, old.port());
    for position in 0..3 {
        let mut sentinels: Vec<&FakeServer> = vec![&one, &two];
        sentinels.insert(position, &stale);
        let pool = Pool::connect(to(&sentinels)).await.expect("there is one");
        assert_eq!(write(&pool).await, local(master.port()));
        eventually("the stale answer is counted", LIMIT, || async {
            pool.status().sentinel.stale_answers > 0
        })
        .await;
        let topology = pool.topology();
        assert_eq!(topology.master, Some(local(master.port())));
        assert_eq!(topology.epoch, 5);
    }
    assert_eq!(old.count("SET"), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_forged_epoch_that_points_to_a_replica_moves_nothing() {
    let master = master();
    let replica = fake::node(NodeRole::replica_of(master.port()));
    let (one, two) = (sentinel_at(5, master.port()), sentinel_at(5, master.port()));
    let liar = sentinel_at(5, master.port());
    for sentinel in [&one, &two, &liar] {
        sentinel.update(|view| *view = view.clone().with_replica(replica.port()));
    }
    let pool = Pool::connect(to(&[&one, &two, &liar]))
        .await
        .expect("all is well");
    let asked = replica.count("ROLE");
    liar.update(|view| {
        view.master.1 = replica.port();
        view.epoch = 999;
    });
    liar.publish(
        "+switch-master",
        &format!(
            "mymaster 127.0.0.1 {} 127.0.0.1 {}",
            master.port(),
            replica.port()
        ),
    );
    eventually("the replica has been asked", LIMIT, || async {
        replica.count("ROLE") > asked
    })
    .await;
    pool.refresh().await.expect("they answer");
    let topology = pool.topology();
    assert_eq!(topology.master, Some(local(master.port())));
    assert_eq!(topology.epoch, 5);
    assert_eq!(write(&pool).await, local(master.port()));
    assert_eq!(replica.count("SET"), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hostile_answers_leave_the_last_good_topology_in_place() {
    let master = master();
    let replica = fake::node(NodeRole::replica_of(master.port()));
    let sentinel = sentinel_at(5, master.port());
    let replica_port = replica.port();
    sentinel.update(|view| *view = view.clone().with_replica(replica_port));
    let mut config = to(&[&sentinel]);
    config.sentinel_timeout = Duration::from_secs(2);
    let pool = Pool::connect(config).await.expect("all is well");
    eventually("the replica is readable", LIMIT, || async {
        pool.topology().readable().count() == 1
    })
    .await;
    let good = pool.topology();

    let addr = |host: &[u8], port: &str| {
        let mut bytes = format!("*2\r\n${}\r\n", host.len()).into_bytes();
        bytes.extend(host);
        bytes.extend(format!("\r\n${}\r\n{port}\r\n", port.len()).bytes());
        bytes
    };
    let port = replica.port().to_string();
    let ask_addr = "SENTINEL GET-MASTER-ADDR-BY-NAME";
    let million = |entry: &str| {
        let mut bytes = b"*1000000\r\n".to_vec();
        bytes.extend(entry.repeat(1_000_000).bytes());
        bytes
    };
    let table: Vec<(&str, Vec<u8>)> = vec![
        (ask_addr, addr(b"127.0.0.1", "0")),
        (ask_addr, addr(b"127.0.0.1", "65536")),
        (ask_addr, addr(b"127.0.0.1", "-1")),
        (ask_addr, addr(b"127.0.0.1", "+7")),
        (ask_addr, addr(b"127.0.0.1", "")),
        (ask_addr, addr(b"", &port)),
        (ask_addr, addr(b"?", &port)),
        (ask_addr, addr(b"0.0.0.0", &port)),
        (ask_addr, addr(b"169.254.169.254", "80")),
        (ask_addr, addr(b"\xff\xfe", &port)),
        (ask_addr, addr(b"127.0.0.1\r\nX", &port)),
        (ask_addr, addr(&[b'a'; 100_000], &port)),
        (ask_addr, b"*-1\r\n".to_vec()),
        (ask_addr, b"*0\r\n".to_vec()),
        (ask_addr, b"*1\r\n$1\r\nx\r\n".to_vec()),
        (ask_addr, b"$-1\r\n".to_vec()),
        (ask_addr, b":1\r\n".to_vec()),
        (ask_addr, b"$9223372036854775807\r\n".to_vec()),
        (ask_addr, b"*2147483647\r\n".to_vec()),
        (ask_addr, b"*1\r\n".repeat(10_000)),
        (ask_addr, b"-TRYAGAIN \xff\xff\r\n".to_vec()),
        ("SENTINEL MASTER", b"*-1\r\n".to_vec()),
        ("SENTINEL MASTER", b"*0\r\n".to_vec()),
        (
            "SENTINEL MASTER",
            b"*3\r\n$1\r\na\r\n$1\r\nb\r\n$1\r\nc\r\n".to_vec(),
        ),
        ("SENTINEL MASTER", b"-ERR no\r\n".to_vec()),
        ("SENTINEL REPLICAS", b"$3\r\nfoo\r\n".to_vec()),
        ("SENTINEL REPLICAS", b"-ERR no\r\n".to_vec()),
        ("SENTINEL REPLICAS", million("*0\r\n")),
        ("SENTINEL REPLICAS", b"*1\r\n*1\r\n$2\r\nip\r\n".to_vec()),
        ("SENTINEL SENTINELS", million(":1\r\n")),
        ("SENTINEL SENTINELS", b"+OK\r\n".to_vec()),
        ("SENTINEL MYID", million(":1\r\n")),
    ];
    for (words, bytes) in table {
        let text = String::from_utf8_lossy(&bytes[..bytes.len().min(80)]).into_owned();
        let asked = sentinel.count("SENTINEL");
        sentinel.update(|view| {
            view.overrides = vec![(words.to_owned(), Action::Reply(bytes))];
        });
        // Ours may answer or fail; what matters is what is believed afterwards.
        let _ = pool.refresh().await;
        assert!(sentinel.count("SENTINEL") > asked, "{words} {text:?}");
        let now = pool.topology();
        assert_eq!(now.master, good.master, "{words} {text:?}");
        assert_eq!(now.epoch, good.epoch, "{words} {text:?}");
        let readable: Vec<_> = now.readable().collect();
        assert_eq!(
            readable,
            good.readable().collect::<Vec<_>>(),
            "{words} {text:?}"
        );
        assert_eq!(write(&pool).await, local(master.port()));
    }
    sentinel.update(|view| {
        view.overrides.clear();
        view.epoch = 6;
    });
    eventually("it is believed again", LIMIT, || async {
        pool.topology().epoch == 6
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connecting_takes_one_pipeline_to_each_sentinel_and_one_handshake_with_the_master() {
    let master = master();
    let sentinels = [1, 2, 3].map(|_| sentinel_at(1, master.port()));
    let config = to(&sentinels
        .iter()
        .map(|sentinel| &**sentinel)
        .collect::<Vec<_>>());
    let pool = Pool::connect(config.clone()).await.expect("all is well");
    let handshakes = master.connections().len();
    assert_eq!(handshakes, 1, "{:?}", master.commands());
    drop(pool);

    // Questions that are sent before the first answer are one pipeline.
    let mute = sentinel_at(1, master.port());
    mute.update(|view| {
        *view = view
            .clone()
            .with_override("SENTINEL GET-MASTER-ADDR-BY-NAME", Action::Silence);
    });
    let mut config = to(&[&mute]);
    config.connect_timeout = Duration::from_secs(1);
    let connecting = tokio::spawn(Pool::connect(config));
    tokio::task::block_in_place(|| mute.wait_for_command("SENTINEL", 5, LIMIT));
    connecting.abort();

    // And so is the handshake with the master.
    let silent = fake::hung();
    let sentinel = fake::sentinel(SentinelView::of_master(silent.port()));
    let mut config = to(&[&sentinel]);
    config.password = Some("secret".into());
    config.client_name = Some("app".into());
    config.db = 2;
    let connecting = tokio::spawn(Pool::connect(config));
    tokio::task::block_in_place(|| silent.wait_for_command("SELECT", 1, LIMIT));
    tokio::task::block_in_place(|| silent.wait_for_command("ROLE", 1, LIMIT));
    connecting.abort();
    let commands = silent.connections()[0].commands();
    assert_eq!(commands[0][0], "HELLO", "{commands:?}");
}

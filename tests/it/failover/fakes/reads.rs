//! The tests of `failover::reads` that need no redis-server.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use redis::{AsyncCommands, Value, pipe};
use redis_rw_pool::{Config, Pool};
use testkit::fake::{self, Action, FakeSentinel, FakeServer, SentinelView};
use tokio::time::Instant;

use super::super::reads::value;
use crate::support::{
    SOON, ask, eventually, failure, local, node_with, run, sentinel_of, watched_by,
};

/// A replica that does what `special` says.
fn replica_with(
    master: u16,
    special: impl Fn(&[String]) -> Option<Action> + Send + Sync + 'static,
) -> FakeServer {
    node_with(move |conn, words| {
        use fake::Value;
        let text = |text: &str| Value::bulk(text);
        let reply = match words[0].as_str() {
            "HELLO" => {
                let protocol = words[1].parse().unwrap();
                conn.set_protocol(protocol);
                let fields = [
                    ("proto", Value::Int(protocol.into())),
                    ("role", text("replica")),
                ];
                Value::Map(fields.map(|(key, value)| (text(key), value)).into())
            }
            "ROLE" => Value::Array(vec![
                text("slave"),
                text("127.0.0.1"),
                Value::Int(master.into()),
                text("connected"),
                Value::Int(1),
            ]),
            _ => return special(words),
        };
        Some(Action::Reply(reply.encode(conn.protocol())))
    })
}

struct Stage {
    nodes: [FakeServer; 2],
    _master: FakeServer,
    _sentinel: FakeSentinel,
    pool: Pool,
}

/// Two replicas that do what `special` says. It is told which one it speaks for.
async fn stage(
    change: impl FnOnce(&mut Config),
    special: impl Fn(usize, &[String]) -> Option<Action> + Send + Sync + 'static,
) -> Stage {
    let master = node_with(|_, _| None);
    let special = Arc::new(special);
    let nodes = [0, 1].map(|which| {
        let special = Arc::clone(&special);
        replica_with(master.port(), move |words| special(which, words))
    });
    let mut view = SentinelView::of_master(master.port());
    for node in &nodes {
        view = view.with_replica(node.port());
    }
    let sentinel = fake::sentinel(view);
    let mut config = watched_by(&sentinel);
    config.read.max_active = 2;
    change(&mut config);
    let pool = Pool::connect(config).await.unwrap();
    eventually("both are readable", SOON, || async {
        pool.topology().readable().count() == 2
    })
    .await;
    Stage {
        nodes,
        _master: master,
        _sentinel: sentinel,
        pool,
    }
}

#[tokio::test]
async fn a_read_whose_connection_is_lost_is_sent_to_the_other_replica() {
    for lost in [
        Action::Close,
        Action::Reset,
        Action::ReplyThenClose(b"$5\r\nva".to_vec()),
    ] {
        let stage = stage(
            |_| {},
            move |which, words| {
                (words[0] == "GET").then(|| if which == 0 { lost.clone() } else { value() })
            },
        )
        .await;
        let [bad, good] = &stage.nodes;
        // Whichever they begin with: two guards, one to each.
        let mut guards = [
            stage.pool.read().await.unwrap(),
            stage.pool.read().await.unwrap(),
        ];
        for guard in &mut guards {
            assert_eq!(guard.get::<_, String>("k").await.unwrap(), "value");
            assert_eq!(guard.node(), local(good.port()));
        }
        let mut reader = stage.pool.reader();
        for _ in 0..20 {
            assert_eq!(reader.get::<_, String>("k").await.unwrap(), "value");
        }
        assert!(bad.count("GET") >= 2, "it was tried");
    }
}

#[tokio::test]
async fn what_may_write_is_not_sent_again_by_a_reader_either() {
    let stage = stage(
        |_| {},
        |_, words| match words[0].as_str() {
            "GET" | "GETDEL" | "EVAL" | "SORT" => Some(Action::Close),
            _ => None,
        },
    )
    .await;
    let mut sent = 0;
    let count = |name| {
        stage
            .nodes
            .iter()
            .map(|node| node.count(name))
            .sum::<usize>()
    };
    let mut reader = stage.pool.reader();
    for line in ["GETDEL k", "EVAL x 0", "SORT k"] {
        let mut conn = stage.pool.read().await.unwrap();
        for result in [
            run::<Value>(&mut conn, line).await,
            run::<Value>(&mut reader, line).await,
        ] {
            let (_, text) = failure(result);
            assert!(text.contains("the outcome is unknown"), "{text}");
        }
        sent += 2;
        assert_eq!(count("GETDEL") + count("EVAL") + count("SORT"), sent);
    }
    let mut mixed = pipe();
    mixed.get_del("k").get("k");
    let mut conn = stage.pool.read().await.unwrap();
    failure(mixed.query_async::<Value>(&mut conn).await);
    failure(mixed.query_async::<Value>(&mut reader).await);
    assert_eq!(count("GETDEL"), 4);
}

#[tokio::test]
async fn a_read_that_costs_every_connection_ends_with_what_it_met() {
    let stage = stage(
        |_| {},
        |_, words| (words[0] == "GET").then_some(Action::Close),
    )
    .await;
    let count = || {
        stage
            .nodes
            .iter()
            .map(|node| node.count("GET"))
            .sum::<usize>()
    };
    let mut conn = stage.pool.read().await.unwrap();
    let (_, text) = failure(conn.get::<_, Value>("k").await);
    assert!(
        text.contains("closed the connection; the outcome"),
        "{text}"
    );
    assert_eq!(count(), 9);
    let (_, text) = failure(stage.pool.reader().get::<_, Value>("k").await);
    assert!(
        text.contains("closed the connection; the outcome"),
        "{text}"
    );
    assert_eq!(count(), 18);
}

#[tokio::test]
async fn all_attempts_of_a_read_have_one_command_timeout_together() {
    const TIMEOUT: Duration = Duration::from_secs(2);
    // The first takes most of the time before it goes, and the other says nothing at all.
    let first = AtomicBool::new(true);
    let stage = stage(
        |config| config.command_timeout = Some(TIMEOUT),
        move |_, words| {
            (words[0] == "GET").then(|| {
                if first.swap(false, SeqCst) {
                    std::thread::sleep(TIMEOUT * 3 / 4);
                    Action::Close
                } else {
                    Action::Silence
                }
            })
        },
    )
    .await;
    let mut conn = stage.pool.read().await.unwrap();
    let began = Instant::now();
    let (error, text) = failure(conn.get::<_, Value>("k").await);
    assert!(error.is_timeout(), "{text}");
    assert!(text.contains("the outcome is unknown"), "{text}");
    let count: usize = stage.nodes.iter().map(|node| node.count("GET")).sum();
    assert_eq!(count, 2);
    // Twice as much were the second given the whole time anew.
    assert!(began.elapsed() < TIMEOUT * 7 / 4, "{:?}", began.elapsed());
    // And the reply that may still come reaches nobody.
    assert_eq!(ask::<String>(&mut conn, "ECHO next").await, "next");
}

#[tokio::test]
async fn a_replica_that_is_loading_is_passed_over() {
    for refusal in [
        "-LOADING Redis is loading the dataset in memory\r\n",
        "-MASTERDOWN Link with MASTER is down\r\n",
    ] {
        let stage = stage(
            |_| {},
            move |which, words| {
                (words[0] == "GET").then(|| match which {
                    0 => Action::reply(refusal),
                    _ => value(),
                })
            },
        )
        .await;
        let mut guards = [
            stage.pool.read().await.unwrap(),
            stage.pool.read().await.unwrap(),
        ];
        for guard in &mut guards {
            assert_eq!(guard.get::<_, String>("k").await.unwrap(), "value");
        }
        let mut reader = stage.pool.reader();
        for _ in 0..10 {
            assert_eq!(reader.get::<_, String>("k").await.unwrap(), "value");
        }
    }
}

#[tokio::test]
async fn a_scan_does_not_go_on_with_the_cursor_of_another_node() {
    let stage = stage(
        |_| {},
        |which, words| match words {
            [scan, cursor, ..] if scan == "SCAN" => Some(match (which, cursor.as_str()) {
                (0, "0") => Action::Close,
                (_, "0") => Action::reply("*2\r\n$1\r\n7\r\n*0\r\n"),
                _ => Action::Close,
            }),
            _ => None,
        },
    )
    .await;
    let count = || {
        stage
            .nodes
            .iter()
            .map(|node| node.count("SCAN"))
            .sum::<usize>()
    };
    let mut conn = stage.pool.read().await.unwrap();
    let (cursor, _): (u64, Vec<String>) = ask(&mut conn, "SCAN 0").await;
    assert_eq!((cursor, conn.node()), (7, local(stage.nodes[1].port())));
    let before = count();
    let (_, text) = failure(run::<Value>(&mut conn, "SCAN 7").await);
    assert!(text.contains("the outcome is unknown"), "{text}");
    // At most at the same node again.
    let elsewhere = stage.nodes[0].commands();
    let goes_on = |words: &&Vec<String>| words[0] == "SCAN" && words[1] == "7";
    assert_eq!(elsewhere.iter().filter(goes_on).count(), 0);
    assert!(count() > before);
}

#[tokio::test]
async fn a_read_through_the_write_pool_is_sent_again_and_a_write_is_not() {
    let lost = Arc::new(AtomicUsize::new(0));
    let node = node_with({
        let lost = Arc::clone(&lost);
        move |_, words| match words[0].as_str() {
            "GET" if lost.fetch_add(1, SeqCst) % 3 < 2 => Some(Action::Close),
            "GET" => Some(value()),
            "INCR" => Some(Action::Close),
            _ => None,
        }
    });
    let sentinel = sentinel_of(node.port());
    let pool = Pool::connect(watched_by(&sentinel)).await.unwrap();
    let mut conn = pool.write().await.unwrap();
    assert_eq!(conn.get::<_, String>("k").await.unwrap(), "value");
    assert_eq!(pool.writer().get::<_, String>("k").await.unwrap(), "value");
    assert_eq!(node.count("GET"), 6);
    let (_, text) = failure(run::<Value>(&mut conn, "INCR n").await);
    assert!(text.contains("the outcome is unknown"), "{text}");
    let (_, text) = failure(run::<Value>(&mut pool.writer(), "INCR n").await);
    assert!(text.contains("the outcome is unknown"), "{text}");
    assert_eq!(node.count("INCR"), 2);
}

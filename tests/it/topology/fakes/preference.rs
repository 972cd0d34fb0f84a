//! The tests of `topology::preference` that need no redis-server.

use std::time::Duration;

use redis_rw_pool::{Config, Pool, Prefer};
use testkit::fake::{Action, Conn, FakeServer, Value};

use crate::support::{LONG, eventually, node_with, read_along, sentinel_of};

/// A master that tells its zone in one of these answers, or in none.
fn node(hello: Option<&'static str>, info: Option<&'static str>) -> FakeServer {
    node_with(
        move |conn: &Conn, words: &[String]| match (words[0].as_str(), hello, info) {
            ("HELLO", Some(zone), _) => {
                conn.set_protocol(3);
                let fields = [
                    ("proto", Value::Int(3)),
                    ("mode", Value::bulk("standalone")),
                    ("role", Value::bulk("master")),
                    ("availability_zone", Value::bulk(zone)),
                ];
                let fields = fields.map(|(key, value)| (Value::bulk(key), value));
                Some(Action::Reply(Value::Map(fields.into()).encode(3)))
            }
            ("INFO", _, Some(zone)) => {
                let text = format!("run_id:1\r\navailability_zone:{zone}\r\n");
                Some(Action::Reply(
                    Value::bulk(text.as_str()).encode(conn.protocol()),
                ))
            }
            _ => None,
        },
    )
}

/// The logs of other threads cannot be read, hence one thread.
#[tokio::test]
async fn a_zone_is_heard_from_either_answer_and_that_nobody_is_in_it_is_warned_of_once() {
    for (hello, info, is_in_it) in [
        (Some("a"), None, true),
        (None, Some("a"), true),
        (None, None, false),
        (Some(""), Some(""), false),
        (None, Some("b"), false),
    ] {
        let (seen, _guard) = read_along();
        let node = node(hello, info);
        let sentinel = sentinel_of(node.port());
        let mut config = Config::new([sentinel.addr()], "mymaster");
        config.prefer = Prefer::Zone("a".to_owned());
        config.refresh_interval = Duration::from_millis(50);
        let pool = Pool::connect(config).await.expect("it is a master");
        eventually("it is known, and asked again", LONG, || async {
            let preferred = pool.topology().preferred.len();
            preferred == usize::from(is_in_it) && pool.status().sentinel.refreshes > 5
        })
        .await;
        let warned = seen.count(&[
            "no node is preferred",
            "no node says that it is in this zone",
        ]);
        assert_eq!(warned, usize::from(!is_in_it), "{hello:?} {info:?}");
    }
}

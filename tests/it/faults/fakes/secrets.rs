//! The tests of `faults::secrets` that need no redis-server.

use redis::{AsyncCommands, RedisResult};
use redis_rw_pool::{Config, Pool};
use testkit::fake::{self, Action, FakeServer, SentinelView};

use super::super::secrets::{CANARY, NODE_SECRET, SENTINEL_SECRET, SHORT, STORED, with_secrets};
use crate::support::{node_with, read_along, watched_by};

fn impatient(config: &mut Config) {
    config.connect_timeout = SHORT;
    config.failover_timeout = SHORT;
    config.sentinel_timeout = SHORT;
}

/// A hostile server: it repeats what it was sent wherever it can.
fn echoing(reply: &'static str) -> FakeServer {
    node_with(move |_, words| {
        let last = words.last()?;
        (words[0] == "SET").then(|| Action::Reply(reply.replace('@', last).into_bytes()))
    })
}

#[tokio::test]
async fn a_server_that_breaks_the_protocol_with_what_it_was_sent_is_not_quoted() {
    let (seen, _guard) = read_along();
    for reply in [
        ":@\r\n",
        "$@\r\n",
        "*@\r\n",
        "%@\r\n",
        "~@\r\n",
        ">@\r\n",
        ",@\r\n",
        "#@\r\n",
        "(@\r\n",
        "_@\r\n",
        "@\r\n",
        "$1\r\n@\r\n",
        "=5\r\n@\r\n",
        "!@\r\n",
        "|@\r\n",
        "*1\r\n:@\r\n",
        // A reply of its own accord after the one that was asked for.
        "+OK\r\n+@\r\n",
        "+OK\r\n:@\r\n",
    ] {
        let node = echoing(reply);
        let sentinel = fake::sentinel(SentinelView::of_master(node.port()));
        let mut config = watched_by(&sentinel);
        config.command_timeout = Some(SHORT);
        let pool = Pool::connect(config).await.unwrap();
        let mut conn = pool.write().await.unwrap();
        for _ in 0..2 {
            let set: RedisResult<()> = conn.set("k", STORED).await;
            if let Err(error) = set {
                seen.error(&error);
            }
            let set: RedisResult<()> = pool.writer().set("k", STORED).await;
            if let Err(error) = set {
                seen.error(&error);
            }
        }
        seen.debug(&(&pool, &conn, pool.writer(), pool.status()));
    }
    seen.assert_hidden(CANARY);
}

#[tokio::test]
async fn a_server_that_repeats_the_password_later_on_is_not_quoted() {
    let (seen, _guard) = read_along();
    let says = |what: &str| Action::reply(format!("-ERR what is {what} to me\r\n"));
    let (of_node, of_sentinel) = (says(NODE_SECRET), says(SENTINEL_SECRET));
    for questioned in ["HELLO", "AUTH", "SELECT", "ROLE"] {
        let answer = of_node.clone();
        let node = node_with(move |_, words| (words[0] == questioned).then(|| answer.clone()));
        let sentinel = fake::sentinel(SentinelView::of_master(node.port()));
        let mut config = watched_by(&sentinel);
        with_secrets(&mut config);
        config.sentinel_password = None;
        impatient(&mut config);
        config.db = 1;
        match Pool::connect(config).await {
            Ok(pool) => {
                pool.write()
                    .await
                    .map(drop)
                    .unwrap_or_else(|error| seen.error(&error));
                seen.debug(&(&pool, pool.topology(), pool.status()));
            }
            Err(error) => seen.refusal(Err::<(), _>(error)),
        }
    }
    let node = node_with(|_, _| None);
    for questioned in [
        "HELLO",
        "AUTH",
        "SENTINEL GET-MASTER-ADDR-BY-NAME",
        "SENTINEL MASTER",
        "SENTINEL REPLICAS",
        "SENTINEL SENTINELS",
        "SENTINEL MYID",
        "PSUBSCRIBE",
        "SUBSCRIBE",
    ] {
        let view = SentinelView {
            password: Some(SENTINEL_SECRET.to_owned()),
            ..SentinelView::of_master(node.port())
        };
        let sentinel = fake::sentinel(view.with_override(questioned, of_sentinel.clone()));
        let mut config = watched_by(&sentinel);
        with_secrets(&mut config);
        impatient(&mut config);
        match Pool::connect(config).await {
            Ok(pool) => {
                let refreshed = pool.refresh().await;
                refreshed
                    .map(drop)
                    .unwrap_or_else(|error| seen.error(&error));
                seen.debug(&(&pool, pool.topology(), pool.status()));
            }
            Err(error) => seen.refusal(Err::<(), _>(error)),
        }
    }
    assert!(seen.contains("what is *** to me"), "some of it was said");
    seen.assert_hidden(CANARY);
}

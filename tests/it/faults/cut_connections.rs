//! Connections that end at every byte of a command and of its reply: what the caller is told is
//! true, and nobody gets a reply that is not his.

use std::sync::Arc;

use redis::RedisResult;
use redis_rw_pool::{AddressMap, Pool};
use testkit::proxy::{Ending, Flow, Link, Proxy, Toward};

use crate::support::{
    self, SOON, ask, cmd, deployment, eventually, failure, master, patient, redirect,
};

const ENDINGS: [Ending; 3] = [Ending::Fin, Ending::Reset, Ending::HalfClose];

#[derive(Debug, Clone, Copy)]
enum By {
    Exclusive,
    Shared,
}

/// What a caller knows of his increment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Done,
    Unknown,
    NotExecuted,
}

fn through(proxy: &Proxy) -> AddressMap {
    redirect(proxy.upstream(), proxy.port())
}

fn fate(result: RedisResult<i64>) -> Fate {
    if let Ok(count) = result {
        assert_eq!(count, 1, "somebody else's reply");
        return Fate::Done;
    }
    let (error, text) = failure(result);
    assert!(!error.is_timeout(), "nobody noticed the end: {text}");
    match (
        text.contains("the outcome is unknown"),
        text.contains("not executed"),
    ) {
        (true, false) => Fate::Unknown,
        (false, true) => Fate::NotExecuted,
        _ => panic!("it does not say what became of the command: {text}"),
    }
}

/// The connection through the proxy that carried these words.
fn link_with(proxy: &Proxy, words: &str) -> Arc<Link> {
    let mut links = proxy.links().into_iter();
    links
        .find(|link| link.has_said(words.as_bytes()))
        .expect("it is open")
}

/// Increments `key` over a connection that ends after so many bytes in one direction.
async fn increment(
    proxy: &Proxy,
    pool: &Pool,
    by: By,
    key: &str,
    toward: Toward,
    cut: Flow,
) -> Fate {
    let (echo, increment) = (format!("ECHO mark:{key}"), cmd(&format!("INCR {key}")));
    let result = match by {
        By::Exclusive => {
            let mut conn = pool.write().await.unwrap();
            let _: String = ask(&mut conn, &echo).await;
            link_with(proxy, &echo[5..]).set(toward, cut);
            increment.query_async(&mut conn).await
        }
        By::Shared => {
            let mut writer = pool.writer();
            let _: String = ask(&mut writer, &echo).await;
            link_with(proxy, &echo[5..]).set(toward, cut);
            increment.query_async(&mut writer).await
        }
    };
    fate(result)
}

/// He may be the first to notice an end that came after the reply.
async fn next_caller_is_served(pool: &Pool, by: By, key: &str) {
    let echo = format!("ECHO next:{key}");
    let mut ends = 0;
    let reply: String = loop {
        let result = match by {
            By::Exclusive => {
                let mut conn = pool.write().await.unwrap();
                cmd(&echo).query_async(&mut conn).await
            }
            By::Shared => cmd(&echo).query_async(&mut pool.writer()).await,
        };
        match result {
            Ok(reply) => break reply,
            Err(error) => {
                ends += 1;
                assert_eq!(ends, 1, "{key}: {error}");
            }
        }
    };
    assert_eq!(reply, echo[5..]);
}

async fn cut_everywhere(by: By) {
    let proxy = Proxy::to(master().port());
    // All keys are of one length.
    let key = |number: usize| format!("cut:{by:?}:{number:03}");
    let request = cmd(&format!("INCR {}", key(0))).get_packed_command().len();
    let mut fates = Vec::new();
    for toward in Toward::BOTH {
        // One byte more than there are: the end comes when the command is over.
        let length = match toward {
            Toward::Server => request,
            Toward::Client => ":1\r\n".len(),
        };
        for ending in ENDINGS {
            for after in 0..=length {
                // A pool each: one whose connections end again and again takes a rest.
                let pool = support::pool(deployment(), |config| {
                    patient(config);
                    config.client_name = Some("cuts".to_owned());
                    config.write.max_active = 1;
                    config.address_map = Some(through(&proxy));
                })
                .await;
                let key = key(fates.len());
                let cut = Flow::Cut { after, ending };
                let fate = increment(&proxy, &pool, by, &key, toward, cut).await;
                next_caller_is_served(&pool, by, &key).await;
                let whole = after == length;
                let what = format!("{by:?} toward the {toward:?}, {ending:?} after {after}");
                match (toward, whole, ending) {
                    (Toward::Server, false, _) => assert_ne!(fate, Fate::Done, "{what}"),
                    (Toward::Client, false, _) => assert_eq!(fate, Fate::Unknown, "{what}"),
                    (Toward::Client, true, Ending::Fin | Ending::HalfClose)
                    | (Toward::Server, true, Ending::HalfClose) => {
                        assert_eq!(fate, Fate::Done, "{what}");
                    }
                    // The end may come before the reply, or before it is read.
                    _ => {}
                }
                fates.push((key, what, toward, whole, fate));
            }
        }
    }
    drop(proxy);
    eventually("the server has seen all of them end", SOON, || async {
        master().client_count_named("cuts") == 0
    })
    .await;
    for (key, what, toward, whole, fate) in fates {
        let count = match master().cmd(&["GET", key.as_str()]) {
            testkit::Reply::Nil => 0,
            reply => reply.as_str().parse().unwrap(),
        };
        let possible = match (fate, toward) {
            (Fate::Done, _) => 1..=1,
            (Fate::NotExecuted, _) => 0..=0,
            // Half a command is none, a whole one with half a reply was executed.
            (Fate::Unknown, Toward::Server) if !whole => 0..=0,
            (Fate::Unknown, Toward::Client) => 1..=1,
            (Fate::Unknown, _) => 0..=1,
        };
        assert!(possible.contains(&count), "{what}: {count} after {fate:?}");
    }
}

#[tokio::test]
async fn a_connection_that_ends_at_any_byte_of_a_command_or_its_reply_tells_no_lie() {
    cut_everywhere(By::Exclusive).await;
}

#[tokio::test]
async fn a_shared_connection_that_ends_at_any_byte_tells_no_lie_either() {
    cut_everywhere(By::Shared).await;
}

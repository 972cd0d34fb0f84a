//! The tests of `session::handshake` that need no redis-server.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::Duration,
};

use redis_rw_pool::{Error, Pool};
use testkit::fake::{self, Action, SentinelView};

use super::super::handshake::SECRET;
use crate::support::{SOON, assert_hidden, chain, eventually, node_with, sentinel_of, watched_by};

#[tokio::test]
async fn a_server_that_repeats_its_arguments_does_not_give_the_password_away() {
    // As Redis answers what `rename-command` took away, and as many a proxy does.
    fn unknown(words: &[String]) -> Option<Action> {
        let arguments = words[1..].iter().map(|word| format!("'{word:.100}' "));
        let arguments: String = arguments.collect();
        let command = &words[0];
        matches!(command.as_str(), "HELLO" | "AUTH").then(|| {
            let text = format!(
                "-ERR unknown command '{command}', with args beginning with: {arguments}\r\n"
            );
            Action::Reply(text.into_bytes())
        })
    }
    fn spiteful(words: &[String]) -> Option<Action> {
        let text = format!("-ERR\tbad\nline '{}'\r\n", words.last().unwrap());
        matches!(words[0].as_str(), "HELLO" | "AUTH").then(|| Action::Reply(text.into_bytes()))
    }
    let long = "long-canary-".repeat(20);
    for password in [SECRET.to_owned(), long] {
        for bad in [unknown, spiteful] {
            let node = node_with(move |_, words| bad(words));
            let sentinel = fake::sentinel(
                SentinelView::of_master(node.port())
                    .with_override("AUTH", bad(&["AUTH".to_owned(), password.clone()]).unwrap()),
            );
            let mut config = watched_by(&sentinel);
            config.connect_timeout = Duration::from_millis(500);
            config.failover_timeout = Duration::from_millis(500);
            config.password = Some(password.clone().into());
            let error = Pool::connect(config.clone()).await.unwrap_err();
            let of_node = format!("{} {error:?} {error:#?}", chain(&error));
            assert!(of_node.contains(&node.addr()), "{of_node}");

            config.sentinel_password = Some(password.clone().into());
            let error = Pool::connect(config).await.unwrap_err();
            let of_sentinel = format!("{} {error:?}", chain(&error));
            assert!(matches!(error, Error::NoSentinel { .. }), "{of_sentinel}");
            for text in [of_node, of_sentinel] {
                assert_hidden(&text, "canary");
                assert!(!chain_has_control_characters(&text), "{text}");
            }
        }
    }
}

/// Line ends that `{:#?}` makes itself aside.
fn chain_has_control_characters(text: &str) -> bool {
    text.chars().any(|c| c.is_control() && c != '\n')
}

#[tokio::test]
async fn a_sentinel_gets_neither_select_nor_the_credentials_of_the_nodes() {
    let node = node_with(|_, _| None);
    let view = SentinelView {
        password: Some("for-sentinels".to_owned()),
        ..SentinelView::of_master(node.port())
    };
    let sentinel = fake::sentinel(view);
    let mut config = watched_by(&sentinel);
    config.username = Some("user-canary".to_owned());
    config.password = Some(SECRET.into());
    config.sentinel_password = Some("for-sentinels".into());
    config.client_name = Some("handshake".to_owned());
    config.db = 5;
    let pool = Pool::connect(config).await.unwrap();
    drop(pool.write().await.unwrap());
    pool.refresh().await.unwrap();
    eventually("a subscription", SOON, || async {
        sentinel.subscribers() > 0
    })
    .await;
    let commands = sentinel.commands();
    for command in &commands {
        let line = command.join(" ");
        assert!(!line.contains("canary"), "{line}");
        assert!(!command[0].eq_ignore_ascii_case("SELECT"), "{line}");
        let harmless = ["AUTH", "SENTINEL", "PSUBSCRIBE", "SUBSCRIBE", "PING"];
        assert!(harmless.contains(&command[0].as_str()), "{line}");
    }
    assert!(
        commands
            .iter()
            .any(|command| command[..] == ["AUTH", "for-sentinels"])
    );
    let to_node = node.commands();
    assert!(
        to_node.iter().any(|command| command[..] == ["SELECT", "5"]),
        "{to_node:?}"
    );
    assert!(!to_node.iter().flatten().any(|word| word == "for-sentinels"));
}

/// What a node may say at each step that makes it unfit, and what the caller reads then.
const TROUBLES: [(&str, &str, &str); 9] = [
    (
        "HELLO",
        "-LOADING Redis is loading the dataset in memory\r\n",
        "loading",
    ),
    (
        "HELLO",
        "-ERR max number of clients reached\r\n",
        "max number of clients",
    ),
    ("HELLO", "+OK\r\n", "HELLO was answered with something else"),
    ("HELLO", "$-1\r\n", "HELLO was answered with something else"),
    (
        "HELLO",
        "%1\r\n$4\r\nrole\r\n$5\r\nslave\r\n",
        "it is a replica, not a master",
    ),
    (
        "HELLO",
        "%1\r\n$4\r\nmode\r\n$8\r\nsentinel\r\n",
        "this is a Sentinel",
    ),
    (
        "HELLO",
        "%1\r\n$4\r\nrole\r\n:1\r\n",
        "does not tell its role",
    ),
    (
        "HELLO",
        "!20\r\nERR a\nFORGED\x1b[31m\r\nb\r\n",
        "a\\nFORGED\\u{1b}[31m\\r\\nb",
    ),
    (
        "SELECT",
        "-ERR DB index is out of range\r\n",
        "out of range",
    ),
];

#[tokio::test]
async fn whatever_goes_wrong_in_the_handshake_closes_the_socket_and_is_said() {
    let mut tasks = tokio::task::JoinSet::new();
    for (command, reply, expected) in TROUBLES {
        tasks.spawn(async move {
            let failing = Arc::new(AtomicBool::new(false));
            let node = node_with({
                let failing = Arc::clone(&failing);
                move |_, words| {
                    let hit = failing.load(SeqCst) && words[0] == command;
                    hit.then(|| Action::Reply(reply.as_bytes().to_vec()))
                }
            });
            let sentinel = sentinel_of(node.port());
            let mut config = watched_by(&sentinel);
            config.db = 1;
            config.connect_timeout = Duration::from_secs(1);
            config.failover_timeout = Duration::from_secs(1);
            let pool = Pool::connect(config).await.unwrap();
            failing.store(true, SeqCst);
            let error = pool.write().await.expect_err(reply);
            let text = chain(&error);
            assert!(text.contains(expected), "{reply:?}: {text}");
            assert!(text.contains(&node.addr()), "{reply:?}: {text}");
            assert!(!text.chars().any(char::is_control), "{text:?}");
            // Not one dial after the other without a pause.
            let dials = node.connections().len();
            assert!(dials < 60, "{reply:?}: {dials} dials in a second");
            failing.store(false, SeqCst);
            let patience = tokio::time::timeout(SOON, async {
                while let Err(error) = pool.write().await {
                    assert!(error.is_transient(), "{error}");
                }
            });
            patience.await.expect("the node is well again");
            pool.close();
            eventually("the sockets to be closed", SOON, || async {
                node.open_connections() == 0
            })
            .await;
        });
    }
    while let Some(result) = tasks.join_next().await {
        result.unwrap();
    }
}

//! The tests of `faults::turned_away` that need no redis-server.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use redis_rw_pool::{Config, Error, Pool};
use testkit::fake::{self, Action, SentinelView};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    task::JoinSet,
};

use super::super::turned_away::{DENIED, FULL};
use crate::support::{eventually, node_with, sentinel_of, watched_by};

/// What a caller must read of each, and whether it may pass.
const LINES: [(&str, &str, bool); 2] = [
    (DENIED, "protected mode", false),
    (FULL, "max number of clients", true),
];

/// When a server closes a connection that it has turned away.
#[derive(Debug, Clone, Copy)]
enum Close {
    AtOnce,
    Later,
    /// With something unread, which resets the connection.
    OnCommand,
    /// After a line that came in two parts.
    InPieces,
}

const CLOSES: [Close; 4] = [
    Close::AtOnce,
    Close::Later,
    Close::OnCommand,
    Close::InPieces,
];

/// Takes every connection, says one line and closes it.
struct Door {
    port: u16,
    accepted: Arc<AtomicUsize>,
    _task: JoinSet<()>,
}

impl Door {
    async fn open(line: &'static str, close: Close) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let accepted = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&accepted);
        let mut task = JoinSet::new();
        task.spawn(async move {
            let mut guests = JoinSet::new();
            while let Ok((mut guest, _)) = listener.accept().await {
                count.fetch_add(1, SeqCst);
                let _ = guest.set_nodelay(true);
                guests.spawn(async move {
                    let (first, rest) = match close {
                        Close::InPieces => line.split_at(10),
                        _ => (line, ""),
                    };
                    if matches!(close, Close::OnCommand) {
                        let _ = guest.read(&mut [0]).await;
                    }
                    let _ = guest.write_all(first.as_bytes()).await;
                    if matches!(close, Close::Later | Close::InPieces) {
                        tokio::time::sleep(Duration::from_millis(20)).await;
                    }
                    let _ = guest.write_all(rest.as_bytes()).await;
                });
                while guests.try_join_next().is_some() {}
            }
        });
        Self {
            port,
            accepted,
            _task: task,
        }
    }

    fn addr(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }
}

#[tokio::test]
async fn a_sentinel_that_turns_everybody_away_is_quoted() {
    for (line, words, _) in LINES {
        for close in CLOSES {
            for password in [None, Some("for-sentinels")] {
                let door = Door::open(line, close).await;
                let mut config = Config::new([door.addr()], "mymaster");
                config.sentinel_password = password.map(Into::into);
                config.connect_timeout = Duration::from_millis(100);
                config.failover_timeout = Duration::from_millis(100);
                for _ in 0..3 {
                    let error = Pool::connect(config.clone()).await.unwrap_err();
                    let text = error.to_string();
                    assert!(matches!(error, Error::NoSentinel { .. }), "{text}");
                    assert!(text.contains(words), "{close:?}: {text}");
                }
            }
        }
    }
}

#[tokio::test]
async fn a_node_that_turns_everybody_away_is_quoted_to_every_caller_that_connects() {
    let mut cases = JoinSet::new();
    for (line, words, transient) in LINES {
        for close in CLOSES {
            for password in [None, Some("for-nodes")] {
                cases.spawn(async move {
                    let door = Door::open(line, close).await;
                    let sentinel = sentinel_of(door.port);
                    let mut config = watched_by(&sentinel);
                    config.connect_timeout = Duration::from_secs(2);
                    config.failover_timeout = Duration::from_secs(2);
                    config.password = password.map(Into::into);
                    for round in 1..=3 {
                        let error = Pool::connect(config.clone()).await.unwrap_err();
                        let text = error.to_string();
                        assert!(text.contains(words), "{close:?}: {text}");
                        assert!(text.contains(&door.addr()), "{close:?}: {text}");
                        assert_eq!(error.is_transient(), transient, "{close:?}: {text}");
                        if transient {
                            assert!(matches!(error, Error::NoMaster { .. }), "{text}");
                        } else {
                            assert!(matches!(error, Error::Connect { .. }), "{text}");
                            // At once: what the first connection met is enough.
                            assert_eq!(door.accepted.load(SeqCst), round, "{close:?}");
                        }
                    }
                });
            }
        }
    }
    while let Some(case) = cases.join_next().await {
        case.unwrap();
    }
}

/// A server that closes only after it has answered a part of a handshake, with the error that ends it.
#[tokio::test]
async fn the_first_complaint_is_the_reason_of_a_handshake_that_ends_early() {
    for action in [
        Action::ReplyThenClose(FULL.into()),
        Action::ReplyThenReset(FULL.into()),
    ] {
        let node = node_with(move |_, words| (words[0] == "HELLO").then(|| action.clone()));
        let sentinel = sentinel_of(node.port());
        let mut config = watched_by(&sentinel);
        config.connect_timeout = Duration::from_secs(2);
        config.failover_timeout = Duration::from_secs(2);
        let error = Pool::connect(config).await.unwrap_err();
        assert!(
            error.to_string().contains("max number of clients"),
            "{error}"
        );
    }
}

#[tokio::test]
async fn the_last_complaint_of_a_node_is_told_while_it_is_being_asked_again() {
    let asked = Arc::new(AtomicUsize::new(0));
    let node = node_with({
        let asked = Arc::clone(&asked);
        move |_, words| {
            (words[0] == "HELLO").then(|| match asked.fetch_add(1, SeqCst) {
                0 => Action::ReplyThenClose(FULL.into()),
                _ => Action::Silence,
            })
        }
    });
    let sentinel = fake::sentinel(SentinelView::of_master(node.port()));
    let mut config = watched_by(&sentinel);
    config.connect_timeout = Duration::from_secs(2);
    config.failover_timeout = Duration::from_secs(2);
    let connecting = tokio::spawn(Pool::connect(config));
    eventually("it is asked again", Duration::from_secs(2), || async {
        asked.load(SeqCst) > 1
    })
    .await;
    let error = connecting.await.unwrap().unwrap_err();
    assert!(matches!(error, Error::NoMaster { .. }), "{error}");
    assert!(
        error.to_string().contains("max number of clients"),
        "{error}"
    );
}

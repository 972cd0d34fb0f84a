//! One deployment for all tests that do not disturb it, and what the tests of a single connection
//! have in common.

use std::{
    collections::BTreeMap,
    fmt::Debug,
    future::Future,
    io,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    task::Poll,
    time::Duration,
};

use redis::{FromRedisValue, RedisError, RedisResult, Value, aio::ConnectionLike};
use redis_rw_pool::{AddressMap, Config, Connection, Discard, Node, Pool};
use testkit::{
    Deployment, Server,
    fake::{self, Action, Conn, FakeSentinel, FakeServer, SentinelView},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinSet,
};

use crate::support;

/// Generous, for a machine that is busy with other things.
pub(crate) const SOON: Duration = Duration::from_secs(20);

/// A master, a replica and a Sentinel that nobody stops, promotes or blocks.
pub(crate) fn deployment() -> &'static Deployment {
    static SHARED: OnceLock<Deployment> = OnceLock::new();
    SHARED.get_or_init(|| {
        Deployment::builder()
            .replicas(1)
            .sentinels(1)
            // Under the load of many tests a silent second is no failure.
            .down_after(Duration::from_secs(60))
            .start()
    })
}

pub(crate) fn master() -> &'static Server {
    &deployment().nodes()[0]
}

/// A pool on the shared deployment with one write connection, known to the server by `name`.
pub(crate) async fn single(name: &str, change: impl FnOnce(&mut Config)) -> Pool {
    support::pool(deployment(), |config| {
        config.client_name = Some(name.to_owned());
        config.write.max_active = 1;
        patient(config);
        change(config);
    })
    .await
}

/// Timeouts that only a hang exceeds.
pub(crate) fn patient(config: &mut Config) {
    config.connect_timeout = SOON;
    config.sentinel_timeout = SOON;
    config.command_timeout = Some(SOON);
    config.write.wait_timeout = Some(SOON);
    config.read.wait_timeout = Some(SOON);
}

/// Whether this version of the server has a command.
pub(crate) fn knows(server: &Server, command: &str) -> bool {
    let info = server.cmd(&["COMMAND", "INFO", command]);
    matches!(info.array(), [entry] if !entry.is_nil())
}

/// A command from a line of words.
pub(crate) fn cmd(line: &str) -> redis::Cmd {
    let mut cmd = redis::Cmd::new();
    line.split_whitespace().for_each(|word| {
        cmd.arg(word);
    });
    cmd
}

pub(crate) async fn run<T: FromRedisValue>(
    conn: &mut impl ConnectionLike,
    line: &str,
) -> RedisResult<T> {
    cmd(line).query_async(conn).await
}

/// As `run`, where the reply must not be an error.
pub(crate) async fn ask<T: FromRedisValue>(conn: &mut impl ConnectionLike, line: &str) -> T {
    run(conn, line)
        .await
        .unwrap_or_else(|error| panic!("{line}: {error}"))
}

pub(crate) async fn id(conn: &mut impl ConnectionLike) -> i64 {
    ask(conn, "CLIENT ID").await
}

/// `CLIENT INFO` without what differs between two connections that are equally clean. That includes
/// `multi`: outside of a transaction Redis says -1, and Valkey 0 after one. Inside, `flags` has an `x`.
pub(crate) async fn identity(conn: &mut Connection) -> BTreeMap<String, String> {
    let text: String = ask(conn, "CLIENT INFO").await;
    let wanted = [
        "name", "flags", "db", "sub", "psub", "ssub", "watch", "redir", "user", "resp",
    ];
    text.split_whitespace()
        .filter_map(|field| field.split_once('='))
        .filter(|(key, _)| wanted.contains(key))
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect()
}

pub(crate) fn discarded(pool: &Pool, reason: Discard) -> u64 {
    pool.status().write.discards.get(reason)
}

/// The texts of an error and of all its causes.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

/// The text under an I/O error of the redis crate, where our own error is.
pub(crate) fn failure<T: Debug>(result: RedisResult<T>) -> (RedisError, String) {
    let error = result.expect_err("this must fail");
    let text = chain(&error);
    (error, text)
}

/// Polls a future at most `polls` times and then drops it; its output if it got that far.
pub(crate) async fn polled<F: Future>(polls: usize, future: F) -> Option<F::Output> {
    let mut future = Box::pin(future);
    let mut left = polls;
    std::future::poll_fn(|cx| {
        if left == 0 {
            return Poll::Ready(None);
        }
        left -= 1;
        match future.as_mut().poll(cx) {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            Poll::Pending if left == 0 => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}

/// Small, and the same in every run.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}

/// A TCP relay to one server that hands on what the server says in pieces, late.
pub(crate) struct Relay {
    port: u16,
    upstream: u16,
    pace: Arc<Pace>,
    // Aborted, with all their sockets, when the relay is dropped.
    _tasks: JoinSet<()>,
}

#[derive(Default)]
struct Pace {
    /// The most bytes in one piece; 0 for no limit.
    piece: AtomicUsize,
    /// Microseconds before each piece.
    delay: AtomicU64,
    accepted: AtomicUsize,
}

impl Relay {
    pub(crate) async fn to(upstream: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let pace = Arc::new(Pace::default());
        let mut tasks = JoinSet::new();
        tasks.spawn({
            let pace = Arc::clone(&pace);
            async move {
                let mut links = JoinSet::new();
                while let Ok((client, _)) = listener.accept().await {
                    pace.accepted.fetch_add(1, Relaxed);
                    links.spawn(link(client, upstream, Arc::clone(&pace)));
                    while links.try_join_next().is_some() {}
                }
            }
        });
        Self {
            port,
            upstream,
            pace,
            _tasks: tasks,
        }
    }

    pub(crate) fn set(&self, piece: usize, delay: Duration) {
        let micros = u64::try_from(delay.as_micros()).unwrap();
        self.pace.piece.store(piece, Relaxed);
        self.pace.delay.store(micros, Relaxed);
    }

    /// Leads connections to the server through the relay.
    pub(crate) fn map(&self) -> AddressMap {
        let (upstream, port) = (self.upstream, self.port);
        AddressMap::new(move |node| match node.port() {
            announced if announced == upstream => Node::new("127.0.0.1", port),
            _ => node.clone(),
        })
    }
}

async fn link(client: TcpStream, upstream: u16, pace: Arc<Pace>) {
    let Ok(server) = TcpStream::connect(("127.0.0.1", upstream)).await else {
        return;
    };
    let _ = client.set_nodelay(true);
    let _ = server.set_nodelay(true);
    let (mut client_in, client_out) = client.into_split();
    let (server_in, mut server_out) = server.into_split();
    // Whichever side ends, the other is told at once: both sockets are dropped.
    tokio::select! {
        _ = tokio::io::copy(&mut client_in, &mut server_out) => {}
        _ = slowly(server_in, client_out, &pace) => {}
    }
}

async fn slowly(
    mut from: impl AsyncReadExt + Unpin,
    mut to: impl AsyncWriteExt + Unpin,
    pace: &Pace,
) -> io::Result<()> {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let count = from.read(&mut buffer).await?;
        if count == 0 {
            return Ok(());
        }
        let mut rest = &buffer[..count];
        while !rest.is_empty() {
            let piece = match pace.piece.load(Relaxed) {
                0 => rest.len(),
                piece => piece.min(rest.len()),
            };
            let delay = pace.delay.load(Relaxed);
            if delay > 0 {
                tokio::time::sleep(Duration::from_micros(delay)).await;
            } else if piece < rest.len() {
                tokio::task::yield_now().await;
            }
            to.write_all(&rest[..piece]).await?;
            rest = &rest[piece..];
        }
    }
}

/// A value that says whose it is.
pub(crate) fn value_of(key: &str, length: usize) -> String {
    let mut value = format!("value of {key}:");
    value.extend(std::iter::repeat_n('x', length.saturating_sub(value.len())));
    value
}

/// Whether two results of the same command are the same in everything a caller can see.
pub(crate) fn seen<T: Debug>(result: RedisResult<T>) -> String {
    match result {
        Ok(value) => format!("{value:?}"),
        Err(error) => format!(
            "{error} | {:?} | {:?} | {:?} | {} | {:?}",
            error.kind(),
            error.code(),
            error.detail(),
            error.category(),
            error.clone().into_server_errors()
        ),
    }
}

pub(crate) fn is_text(value: &Value, text: &str) -> bool {
    matches!(value, Value::BulkString(bytes) if bytes == text.as_bytes())
}

/// A master that answers a few commands as Redis would, except those that `evil` takes on.
pub(crate) fn node_with(
    evil: impl Fn(&Conn, &[String]) -> Option<Action> + Send + Sync + 'static,
) -> FakeServer {
    FakeServer::start(move |conn, words| {
        let words = words.iter().map(|word| String::from_utf8_lossy(word));
        let words: Vec<String> = words.map(std::borrow::Cow::into_owned).collect();
        evil(conn, &words).unwrap_or_else(|| {
            let reply = answer(conn, &words);
            Action::Reply(reply.encode(conn.protocol()))
        })
    })
}

fn answer(conn: &Conn, words: &[String]) -> fake::Value {
    use fake::Value;
    let own_id = i64::try_from(conn.id()).unwrap();
    let command = words[0].to_ascii_uppercase();
    match (command.as_str(), &words[1..]) {
        ("HELLO", arguments) => {
            let protocol = arguments
                .first()
                .map_or(2, |version| version.parse().unwrap());
            conn.set_protocol(protocol);
            let fields = [
                ("server", Value::bulk("redis")),
                ("proto", Value::Int(protocol.into())),
                ("mode", Value::bulk("standalone")),
                ("role", Value::bulk("master")),
            ];
            Value::Map(fields.map(|(key, value)| (Value::bulk(key), value)).into())
        }
        ("ROLE", _) => Value::Array(vec![
            Value::bulk("master"),
            Value::Int(0),
            Value::Array(Vec::new()),
        ]),
        ("PING", _) => Value::Status("PONG".to_owned()),
        ("ECHO", [text]) => Value::bulk(text.as_str()),
        ("CLIENT", [id]) if id == "ID" => Value::Int(own_id),
        ("SELECT" | "AUTH" | "SET", _) => Value::ok(),
        _ => Value::error(format!("ERR unknown command '{}'", words[0])),
    }
}

/// A Sentinel that names this node as the master, and nothing else.
pub(crate) fn sentinel_of(port: u16) -> FakeSentinel {
    fake::sentinel(SentinelView::of_master(port))
}

/// A configuration for this Sentinel, with a look at it only when something is wrong.
pub(crate) fn watched_by(sentinel: &FakeServer) -> Config {
    let mut config = Config::new([sentinel.addr()], "mymaster");
    patient(&mut config);
    config.refresh_interval = Duration::from_secs(60);
    config.write.max_active = 1;
    config
}

/// Where the tests look for secrets that got out.
pub(crate) fn assert_hidden(text: &str, secret: &str) {
    assert!(!text.contains(secret), "a secret is in: {text}");
}

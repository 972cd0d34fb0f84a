//! A shared connection and its driver, beside a server in the same test. Time is paused: it moves
//! when everybody waits, and to the next timer exactly.

use std::{future::Future, ops::RangeInclusive};

use redis::{Value, cmd, pipe};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream},
    task::{JoinHandle, JoinSet},
    time::{Instant, sleep, timeout},
};

use super::*;
use crate::{
    config::ReplyLimits,
    failure::{Fate, Peer},
    node::{Node, Role},
    wire::stream::Stream,
};

const LIMIT: Duration = Duration::from_secs(4);
const HOUR: Duration = Duration::from_secs(3600);

fn limits(max_in_flight: usize) -> MultiplexedLimits {
    MultiplexedLimits {
        max_in_flight,
        ..MultiplexedLimits::default()
    }
}

/// A connection whose socket holds so many bytes, and the server's end of it.
fn connection(room: usize, timeout: Option<Duration>) -> (Exclusive, DuplexStream) {
    let (ours, theirs) = tokio::io::duplex(room);
    let connection = Exclusive::new(
        Stream::Memory(Box::new(ours)),
        Node::new("127.0.0.1", 6379),
        Peer::Node(Role::Master),
        0,
        ReplyLimits::default(),
        timeout,
    );
    (connection, theirs)
}

type Ended = JoinHandle<Result<(), Cause>>;

/// An open connection with its driver at work.
fn open(limits: MultiplexedLimits) -> (Arc<Shared>, DuplexStream, Ended) {
    let (connection, server) = connection(64 * 1024, Some(LIMIT));
    let (shared, driver) = Shared::open(connection, limits, || true);
    (shared, server, tokio::spawn(driver))
}

/// The server's end, command by command.
struct Server {
    stream: DuplexStream,
    read: Vec<u8>,
}

impl Server {
    fn new(stream: DuplexStream) -> Self {
        let read = Vec::new();
        Self { stream, read }
    }

    /// The next command's arguments; `None` when the client has left.
    async fn command(&mut self) -> Option<Vec<String>> {
        let count = self.header().await?;
        let mut words = Vec::new();
        for _ in 0..count {
            let length = self.header().await?;
            let mut word = self.take(length + 2).await?;
            word.truncate(length);
            words.push(String::from_utf8(word).unwrap());
        }
        Some(words)
    }

    async fn header(&mut self) -> Option<usize> {
        let end = loop {
            match self.read.windows(2).position(|two| two == b"\r\n") {
                Some(end) => break end,
                None => self.fill().await?,
            }
        };
        let line = self.take(end + 2).await?;
        Some(std::str::from_utf8(&line[1..end]).unwrap().parse().unwrap())
    }

    async fn take(&mut self, count: usize) -> Option<Vec<u8>> {
        while self.read.len() < count {
            self.fill().await?;
        }
        let rest = self.read.split_off(count);
        Some(std::mem::replace(&mut self.read, rest))
    }

    async fn fill(&mut self) -> Option<()> {
        let read = self.stream.read_buf(&mut self.read).await;
        read.is_ok_and(|count| count > 0).then_some(())
    }

    async fn say(&mut self, bytes: &[u8]) {
        // The client may be gone.
        let _ = self.stream.write_all(bytes).await;
    }

    /// Answers every command with its last argument.
    async fn echo(mut self) {
        while let Some(words) = self.command().await {
            let word = words.last().unwrap();
            let reply = format!("${}\r\n{word}\r\n", word.len());
            self.say(reply.as_bytes()).await;
        }
    }
}

fn echoing(stream: DuplexStream) {
    tokio::spawn(Server::new(stream).echo());
}

fn text(word: impl ToString) -> Value {
    Value::BulkString(word.to_string().into_bytes())
}

fn echo(word: impl ToString) -> Cmd {
    let mut cmd = cmd("ECHO");
    cmd.arg(word.to_string());
    cmd
}

/// What it gives, in time.
async fn soon<T>(future: impl Future<Output = T>) -> T {
    timeout(HOUR, future).await.expect("this must end")
}

async fn all(calls: JoinSet<()>) {
    soon(calls.join_all()).await;
}

fn assert_within(waited: Duration, range: RangeInclusive<Duration>) {
    assert!(range.contains(&waited), "{waited:?} is not in {range:?}");
}

#[tokio::test(start_paused = true)]
async fn callers_that_waited_in_line_get_their_replies() {
    let (shared, server, _driver) = open(limits(1));
    echoing(server);
    let mut calls = JoinSet::new();
    for word in 0..10 {
        let shared = Arc::clone(&shared);
        calls.spawn(async move {
            assert_eq!(shared.command(&echo(word)).await, Ok(text(word)));
        });
    }
    all(calls).await;
    assert_eq!(shared.in_flight(), 0);
}

#[tokio::test(start_paused = true)]
async fn portions_of_long_values_are_counted_command_by_command() {
    let (shared, server, _driver) = open(MultiplexedLimits::default());
    echoing(server);
    let word = |place: usize| format!("{place}:{}", "x".repeat(3000));
    let mut pipeline = pipe();
    for place in 0..200 {
        pipeline.add_command(echo(word(place)));
    }
    let expected: Vec<_> = (0..200).map(|place| text(word(place))).collect();
    assert_eq!(soon(shared.pipeline(&pipeline)).await, Ok(expected));
    assert_eq!(soon(shared.command(&echo("mine"))).await, Ok(text("mine")));
    assert_eq!(shared.in_flight(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_pipeline_keeps_to_the_limit_on_commands_in_flight() {
    let (shared, stream, _driver) = open(limits(8));
    let mut pipeline = pipe();
    for place in 0..50 {
        pipeline.add_command(echo(place));
    }
    let mut server = Server::new(stream);
    let serving = async {
        let mut answered = 0;
        while answered < 50 {
            let mut come = Vec::new();
            // What comes without an answer to any of it.
            while let Ok(Some(words)) = timeout(LIMIT / 64, server.command()).await {
                come.push(words[1].clone());
            }
            assert!((1..=8).contains(&come.len()), "{} at once", come.len());
            for word in come {
                answered += 1;
                let reply = format!("${}\r\n{word}\r\n", word.len());
                server.say(reply.as_bytes()).await;
            }
        }
    };
    let (replies, ()) = soon(async { tokio::join!(shared.pipeline(&pipeline), serving) }).await;
    assert_eq!(replies, Ok((0..50).map(text).collect()));
}

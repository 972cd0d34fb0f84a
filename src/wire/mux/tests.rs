//! A shared connection and its driver, beside a server in the same test. Time is paused: it moves
//! when everybody waits, and to the next timer exactly.

use std::{future::Future, ops::RangeInclusive};

use redis::{Value, cmd, pipe};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream},
    task::{JoinHandle, JoinSet},
    time::{Instant, advance, sleep, timeout},
};

use super::*;
use crate::{
    config::ReplyLimits,
    error::failure::{Fate, Peer},
    node::{Node, Role},
    wire::{position_question::Answer, stream::Stream},
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
fn connection(room: usize, timeout: Option<Duration>) -> (WireConnection, DuplexStream) {
    let (ours, theirs) = tokio::io::duplex(room);
    let connection = WireConnection::new(
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
fn open(limits: MultiplexedLimits) -> (Arc<Mux>, DuplexStream, Ended) {
    let (connection, server) = connection(64 * 1024, Some(LIMIT));
    let (mux, driver) = Mux::open(connection, limits, || Admission::Open);
    (mux, server, tokio::spawn(driver))
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

/// For those who ask for no position.
impl Mux {
    pub(crate) async fn reply_to(&self, cmd: &Cmd) -> Result<Value, MuxError> {
        let placed = self.command(cmd, Want::NOTHING, None).await?;
        assert_eq!(placed.answers, Answers::default());
        Ok(placed.reply)
    }

    pub(crate) async fn replies_to(&self, pipeline: &Pipeline) -> Result<Vec<Value>, MuxError> {
        let placed = self.pipeline(pipeline, 0, Want::NOTHING, None).await?;
        assert_eq!(placed.answers, Answers::default());
        Ok(placed.reply)
    }
}

/// The future's output, within an hour.
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
    let (mux, server, _driver) = open(limits(1));
    echoing(server);
    let mut calls = JoinSet::new();
    for word in 0..10 {
        let mux = Arc::clone(&mux);
        calls.spawn(async move {
            assert_eq!(mux.reply_to(&echo(word)).await, Ok(text(word)));
        });
    }
    all(calls).await;
    assert_eq!(mux.in_flight(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_gives_up_its_place_in_line_lets_the_next_one_in_at_once() {
    let (mux, stream, _driver) = open(limits(2));
    let mut server = Server::new(stream);
    let unanswered = echo("unanswered");
    let mut first = Box::pin(mux.reply_to(&unanswered));
    assert!(timeout(Duration::ZERO, first.as_mut()).await.is_err());
    assert_eq!(server.command().await.unwrap()[1], "unanswered");
    let mut two = pipe();
    two.add_command(echo("a")).add_command(echo("b"));
    let next = echo("next");
    let mut wide = Box::pin(mux.replies_to(&two));
    let mut behind = Box::pin(mux.reply_to(&next));
    assert!(timeout(Duration::ZERO, wide.as_mut()).await.is_err());
    // Not the end of a tick, at which the driver looks by itself.
    assert!(timeout(LIMIT / 5, behind.as_mut()).await.is_err());
    let given_up = Instant::now();
    drop(wide);
    assert_eq!(server.command().await.unwrap()[1], "next");
    assert_within(
        given_up.elapsed(),
        Duration::ZERO..=Duration::from_millis(1),
    );
}

#[tokio::test(start_paused = true)]
async fn portions_of_long_values_are_counted_command_by_command() {
    let (mux, server, _driver) = open(MultiplexedLimits::default());
    echoing(server);
    let word = |place: usize| format!("{place}:{}", "x".repeat(3000));
    let mut pipeline = pipe();
    for place in 0..200 {
        pipeline.add_command(echo(word(place)));
    }
    let expected: Vec<_> = (0..200).map(|place| text(word(place))).collect();
    assert_eq!(soon(mux.replies_to(&pipeline)).await, Ok(expected));
    assert_eq!(soon(mux.reply_to(&echo("mine"))).await, Ok(text("mine")));
    assert_eq!(mux.in_flight(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_pipeline_keeps_to_the_limit_on_commands_in_flight() {
    let (mux, stream, _driver) = open(limits(8));
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
    let (replies, ()) = soon(async { tokio::join!(mux.replies_to(&pipeline), serving) }).await;
    assert_eq!(replies, Ok((0..50).map(text).collect()));
}

#[tokio::test(start_paused = true)]
async fn the_replies_of_dropped_calls_go_to_nobody() {
    let (mux, server, _driver) = open(limits(2));
    let mut server = Server::new(server);
    let dropped = timeout(LIMIT / 4, mux.reply_to(&echo("dropped"))).await;
    assert!(dropped.is_err());
    assert_eq!(mux.in_flight(), 1, "the server still owes its reply");
    server.command().await;
    server.say(b"$7\r\ndropped\r\n").await;
    tokio::spawn(server.echo());
    assert_eq!(soon(mux.reply_to(&echo("kept"))).await, Ok(text("kept")));
    assert_eq!(mux.in_flight(), 0);
}

#[tokio::test(start_paused = true)]
async fn room_that_a_dropped_call_was_given_goes_to_the_next() {
    let (mux, server, _driver) = open(limits(1));
    let mut server = Server::new(server);
    let mut calls = ["first", "second", "third"].map(|word| {
        let mux = Arc::clone(&mux);
        Box::pin(async move { mux.reply_to(&echo(word)).await })
    });
    for call in &mut calls {
        assert!(timeout(Duration::ZERO, call).await.is_err());
    }
    let [first, second, third] = calls;
    server.command().await;
    server.say(b"$5\r\nfirst\r\n").await;
    assert_eq!(soon(first).await, Ok(text("first")));
    // It has been admitted by now, and never comes to hand in.
    drop(second);
    tokio::spawn(server.echo());
    assert_eq!(soon(third).await, Ok(text("third")));
    assert_eq!(mux.in_flight(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_reply_that_nobody_asked_for_ends_the_connection() {
    let (mux, mut server, driver) = open(MultiplexedLimits::default());
    server.write_all(b"+SURPRISE\r\n").await.unwrap();
    assert!(matches!(soon(driver).await, Ok(Err(Cause::Protocol(_)))));
    assert!(!mux.is_open());
    let call = soon(mux.reply_to(&echo("late"))).await;
    assert_eq!(call, Err(MuxError::NotWritten));
}

/// How long a call waits that comes at any time of a tick.
async fn waited(limit: Duration, come: Duration) -> Duration {
    let (connection, stream) = connection(64 * 1024, Some(limit));
    let (mux, driver) = Mux::open(connection, MultiplexedLimits::default(), || Admission::Open);
    let driver = tokio::spawn(driver);
    let server = tokio::spawn(async move {
        let mut server = Server::new(stream);
        // A server at work, that answers nothing.
        while driver_is_there(&mut server).await {
            sleep(limit / 8).await;
        }
    });
    let earlier = tokio::spawn({
        let mux = Arc::clone(&mux);
        async move { mux.reply_to(&echo("earlier")).await }
    });
    sleep(come).await;
    let began = Instant::now();
    let ended = soon(mux.reply_to(&echo("late"))).await;
    let waited = began.elapsed();
    assert_eq!(
        ended,
        Err(MuxError::Failed(Cause::Timeout(limit), Fate::Unknown))
    );
    assert!(mux.is_open(), "the server was heard");
    assert!(soon(earlier).await.unwrap().is_err());
    driver.abort();
    soon(server).await.unwrap();
    waited
}

async fn driver_is_there(server: &mut Server) -> bool {
    server.stream.write_all(b">1\r\n+still\r\n").await.is_ok()
}

#[tokio::test(start_paused = true)]
async fn deadlines_pass_never_early_and_a_sixteenth_late_at_most() {
    for limit in [20, 100, 333, 4000, 60_000].map(Duration::from_millis) {
        for part in 0..40 {
            let waited = waited(limit, limit * part / 64).await;
            let latest = limit + limit / 16 + Duration::from_millis(4);
            assert_within(waited, limit..=latest);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_falls_silent_loses_the_connection() {
    let (mux, server, driver) = open(limits(2));
    let mut calls = JoinSet::new();
    for word in 0..5 {
        let mux = Arc::clone(&mux);
        calls.spawn(async move { mux.reply_to(&echo(word)).await });
    }
    let began = Instant::now();
    let mut ended = soon(calls.join_all()).await;
    assert_within(began.elapsed(), LIMIT..=LIMIT + LIMIT / 8);
    let unknown = Err(MuxError::Failed(Cause::Timeout(LIMIT), Fate::Unknown));
    ended.retain(|end| *end != unknown);
    assert_eq!(ended, [const { Err(MuxError::NotWritten) }; 3]);
    assert_eq!(soon(driver).await.unwrap(), Err(Cause::Timeout(LIMIT)));
    drop(server);
}

/// A driver in the test's own task, which the test can inspect.
fn driven(room: usize) -> (Arc<Mux>, Driver<impl FnMut() -> Admission>, DuplexStream) {
    let (connection, server) = connection(room, Some(LIMIT));
    let (mux, driver) = Mux::driven(connection, MultiplexedLimits::default(), || Admission::Open);
    (mux, driver, server)
}

#[tokio::test(start_paused = true)]
async fn an_idle_driver_has_no_timer_and_works_again_afterwards() {
    let (mux, mut driver, server) = driven(1 << 20);
    echoing(server);
    for round in 0..3 {
        let word = format!("{round}:{}", "x".repeat(100_000));
        let call = echo(&word);
        let busy = async { assert_eq!(mux.reply_to(&call).await, Ok(text(&word))) };
        tokio::select! {
            () = soon(busy) => {}
            _ = &mut driver => panic!("the connection is lost"),
        }
        assert!(driver.is_ticking());
        assert!(timeout(LIMIT, &mut driver).await.is_err());
        assert!(!driver.is_ticking());
        let before = Instant::now();
        assert!(timeout(HOUR, &mut driver).await.is_err());
        assert_eq!(before.elapsed(), HOUR);
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_before_the_end_of_its_command_keeps_the_driver_in_order() {
    let (mux, mut driver, mut server) = driven(1000);
    let big = echo("x".repeat(100_000));
    // The server answers what it has seen the beginning of.
    let refusal = async {
        server.read_u8().await.unwrap();
        server.write_all(b"-ERR too long\r\n").await.unwrap();
    };
    let (answer, ()) = tokio::select! {
        ended = soon(async { tokio::join!(mux.reply_to(&big), refusal) }) => ended,
        _ = &mut driver => panic!("the connection is lost"),
    };
    assert!(matches!(answer, Ok(Value::ServerError(_))));
    assert!(timeout(LIMIT * 2, &mut driver).await.is_err());
    assert!(driver.is_ticking(), "there is something to write still");
    let next = soon(async { tokio::join!(mux.reply_to(&big), &mut driver) }).await;
    let ended = Err(Cause::Timeout(LIMIT));
    assert_eq!(next, (Err(MuxError::NotWritten), ended));
}

#[tokio::test(start_paused = true)]
async fn long_pipelines_leave_room_for_others_between_their_portions() {
    let (mux, server, _driver) = open(limits(64));
    let mut server = Server::new(server);
    let mut pipeline = pipe();
    for place in 0..1000 {
        pipeline.add_command(echo(place));
    }
    let heard = tokio::spawn(async move {
        let mut heard = Vec::new();
        while heard.len() < 1010 {
            let word = server.command().await.unwrap().pop().unwrap();
            let reply = format!("${}\r\n{word}\r\n", word.len());
            server.say(reply.as_bytes()).await;
            heard.push(word);
        }
        heard
    });
    let others = async {
        for word in 0..10 {
            let word = format!("other {word}");
            assert_eq!(mux.reply_to(&echo(&word)).await, Ok(text(&word)));
        }
    };
    let (replies, ()) = soon(async { tokio::join!(mux.replies_to(&pipeline), others) }).await;
    assert_eq!(replies, Ok((0..1000).map(text).collect()));
    let heard = soon(heard).await.unwrap();
    let last = heard.iter().rposition(|word| word.starts_with("other"));
    // One portion and one other command in turn.
    assert!(last.unwrap() < 10 * 65 + 64, "{last:?}");
}

#[tokio::test(start_paused = true)]
async fn retiring_answers_what_was_written_and_gives_back_the_rest() {
    let (mux, server, driver) = open(limits(2));
    let mut server = Server::new(server);
    let mut calls = ["first", "second", "third"].map(|word| {
        let mux = Arc::clone(&mux);
        tokio::spawn(async move { mux.reply_to(&echo(word)).await })
    });
    server.command().await;
    server.command().await;
    assert!(mux.retire());
    assert!(!mux.retire(), "it was retired before");
    let [first, second, third] = &mut calls;
    assert_eq!(soon(third).await.unwrap(), Err(MuxError::NotWritten));
    server.say(b"$5\r\nfirst\r\n$6\r\nsecond\r\n").await;
    assert_eq!(soon(first).await.unwrap(), Ok(text("first")));
    assert_eq!(soon(second).await.unwrap(), Ok(text("second")));
    assert_eq!(soon(driver).await.unwrap(), Ok(()));
    assert!(server.command().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn retiring_does_not_wait_for_a_socket_that_takes_nothing() {
    let (connection, server) = connection(10, None);
    let (mux, driver) = Mux::open(connection, MultiplexedLimits::default(), || Admission::Open);
    let driver = tokio::spawn(driver);
    let calls = ["first", "second"].map(|word| {
        let mux = Arc::clone(&mux);
        tokio::spawn(async move { mux.reply_to(&echo(word)).await })
    });
    advance(Duration::from_millis(1)).await;
    let before = Instant::now();
    mux.retire();
    let [first, second] = calls;
    assert_eq!(
        soon(first).await.unwrap(),
        Err(MuxError::Failed(Cause::Withdrawn, Fate::Unknown))
    );
    assert_eq!(soon(second).await.unwrap(), Err(MuxError::NotWritten));
    assert_eq!(soon(driver).await.unwrap(), Ok(()));
    assert_eq!(before.elapsed(), Duration::ZERO);
    drop(server);
}

#[tokio::test(start_paused = true)]
async fn a_connection_fenced_in_the_middle_of_a_command_ends() {
    // Room for the first command and a part of the second.
    let (connection, server) = connection(30, None);
    let mut server = Server::new(server);
    let fenced = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&fenced);
    let (mux, driver) = Mux::open(connection, MultiplexedLimits::default(), move || {
        if seen.load(Relaxed) {
            Admission::Fenced
        } else {
            Admission::Open
        }
    });
    let driver = tokio::spawn(driver);
    let calls = ["1", "longer than there is room"].map(|word| {
        let mux = Arc::clone(&mux);
        tokio::spawn(async move { mux.reply_to(&echo(word)).await })
    });
    advance(Duration::from_millis(1)).await;
    fenced.store(true, Relaxed);
    mux.nudge();
    let [whole, part] = calls;
    let unknown = MuxError::Failed(Cause::Withdrawn, Fate::Unknown);
    assert_eq!(soon(part).await.unwrap(), Err(unknown));
    mux.nudge();
    advance(Duration::from_millis(1)).await;
    server.say(b"$1\r\n1\r\n").await;
    assert_eq!(soon(whole).await.unwrap(), Ok(text("1")));
    assert_eq!(soon(driver).await.unwrap(), Ok(()));
    assert!(mux.is_leaving());
}

#[tokio::test(start_paused = true)]
async fn a_connection_retired_under_the_fence_ends() {
    let (connection, server) = connection(1024, None);
    let (mux, driver) = Mux::open(connection, MultiplexedLimits::default(), || {
        Admission::Fenced
    });
    let driver = tokio::spawn(driver);
    tokio::task::yield_now().await;
    assert!(!mux.is_open());
    mux.retire();
    assert_eq!(soon(driver).await.unwrap(), Ok(()));
    drop(server);
}

#[tokio::test(start_paused = true)]
async fn a_driver_that_is_dropped_leaves_nobody_waiting() {
    let (mux, server, driver) = open(limits(1));
    let calls = ["first", "second"].map(|word| {
        let mux = Arc::clone(&mux);
        tokio::spawn(async move { mux.reply_to(&echo(word)).await })
    });
    Server::new(server).command().await;
    driver.abort();
    let [first, second] = calls;
    assert_eq!(
        soon(first).await.unwrap(),
        Err(MuxError::Failed(Cause::RuntimeEnded, Fate::Unknown))
    );
    assert_eq!(soon(second).await.unwrap(), Err(MuxError::NotWritten));
    assert!(!mux.is_open());
}

/// The maintainer may reopen a connection at the very moment at which it is lost.
#[tokio::test]
async fn a_connection_that_is_lost_while_it_is_reopened_stays_closed() {
    for _ in 0..200 {
        let (connection, _server) = connection(1024, Some(LIMIT));
        let (mux, driver) = Mux::open(connection, limits(1), || Admission::Open);
        let (began, begun) = std::sync::mpsc::channel();
        let maintainer = std::thread::spawn({
            let mux = Arc::clone(&mux);
            move || {
                mux.reopen();
                let _ = began.send(());
                while !mux.is_leaving() {
                    mux.reopen();
                }
                mux.reopen();
            }
        });
        begun.recv().unwrap();
        drop(driver);
        maintainer.join().unwrap();
        assert!(!mux.is_open(), "it takes nothing any more");
    }
}

fn set(word: &str) -> Cmd {
    let mut cmd = cmd("SET");
    cmd.arg("key").arg(word);
    cmd
}

/// The text of a master that has executed so many commands.
fn position(executed: u64) -> Vec<u8> {
    let text = format!(
        "role:master\r\nmaster_replid:0123456789abcdef0123456789abcdef01234567\r\n\
         master_repl_offset:{executed}\r\n"
    );
    format!("${}\r\n{text}\r\n", text.len()).into_bytes()
}

fn offset(answer: Option<&Answer>) -> Option<u64> {
    let report = answer?.as_ref();
    Some(report.expect("it is a position").position.offset)
}

impl Server {
    /// Answers every command with `OK`, and says how many there were when it is asked. Returns the names
    /// of all commands.
    async fn count(mut self) -> Vec<String> {
        let (mut names, mut executed) = (Vec::new(), 0);
        while let Some(words) = self.command().await {
            if words[0] == "INFO" {
                self.say(&position(executed)).await;
            } else {
                executed += 1;
                self.say(b"+OK\r\n").await;
            }
            names.push(words[0].clone());
        }
        names
    }
}

#[tokio::test(start_paused = true)]
async fn positions_are_asked_around_the_calls_that_want_them() {
    let (mux, stream, driver) = open(MultiplexedLimits::default());
    let server = tokio::spawn(Server::new(stream).count());
    for (place, (want, expected)) in [
        (Want::NOTHING, (None, None)),
        (Want::AHEAD, (Some(1), None)),
        (Want::BEHIND, (None, Some(3))),
        (Want::BOTH, (Some(3), Some(4))),
    ]
    .into_iter()
    .enumerate()
    {
        let placed = soon(mux.command(&set("word"), want, None)).await.unwrap();
        let Answers { ahead, behind } = &placed.answers;
        let found = (offset(ahead.as_ref()), offset(behind.as_ref()));
        assert_eq!((placed.reply, found), (Value::Okay, expected), "{place}");
    }
    mux.retire();
    assert_eq!(soon(driver).await.unwrap(), Ok(()));
    let names = soon(server).await.unwrap();
    assert_eq!(names.join(" "), "SET INFO SET SET INFO INFO SET INFO");
}

#[tokio::test(start_paused = true)]
async fn a_question_never_comes_between_multi_and_exec() {
    let (mux, stream, driver) = open(MultiplexedLimits::default());
    let server = tokio::spawn(Server::new(stream).count());
    let mut atomic = pipe();
    atomic.atomic();
    for word in ["one", "two"] {
        atomic.add_command(set(word));
    }
    let single = set("single");
    let (transaction, write) = soon(async {
        tokio::join!(
            mux.pipeline(&atomic, 0, Want::BOTH, None),
            mux.command(&single, Want::BEHIND, None)
        )
    })
    .await;
    let answers = transaction.unwrap().answers;
    assert_eq!(offset(answers.ahead.as_ref()), Some(0));
    assert_eq!(offset(answers.behind.as_ref()), Some(5));
    assert_eq!(offset(write.unwrap().answers.behind.as_ref()), Some(5));
    mux.retire();
    assert_eq!(soon(driver).await.unwrap(), Ok(()));
    let names = soon(server).await.unwrap();
    assert_eq!(names.join(" "), "INFO MULTI SET SET EXEC SET INFO");
}

#[tokio::test(start_paused = true)]
async fn a_long_pipeline_that_wants_a_position_has_all_its_replies() {
    let (mux, stream, _driver) = open(limits(8));
    tokio::spawn(Server::new(stream).count());
    let mut pipeline = pipe();
    for _ in 0..50 {
        pipeline.add_command(set("word"));
    }
    let placed = soon(mux.pipeline(&pipeline, 0, Want::BOTH, None))
        .await
        .unwrap();
    assert_eq!(placed.reply, vec![Value::Okay; 50]);
    assert_eq!(offset(placed.answers.ahead.as_ref()), Some(0));
    assert_eq!(offset(placed.answers.behind.as_ref()), Some(50));
    assert_eq!(mux.in_flight(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_write_whose_position_never_comes_has_its_reply_when_time_is_up() {
    let limit = Limit {
        left: LIMIT / 2,
        whole: LIMIT,
    };
    for (limit, waits) in [
        (None, LIMIT..=LIMIT * 9 / 8),
        (Some(limit), LIMIT / 2..=LIMIT / 2),
    ] {
        let (mux, stream, driver) = open(MultiplexedLimits::default());
        let mut server = Server::new(stream);
        let began = Instant::now();
        let write = tokio::spawn({
            let mux = Arc::clone(&mux);
            async move { mux.command(&set("word"), Want::BEHIND, limit).await }
        });
        assert_eq!(soon(server.command()).await.unwrap()[0], "SET");
        assert_eq!(soon(server.command()).await.unwrap()[0], "INFO");
        server.say(b"+OK\r\n").await;
        let placed = soon(write).await.unwrap().unwrap();
        assert_eq!(placed, Placed::nowhere(Value::Okay));
        let latest = *waits.end() + Duration::from_millis(4);
        assert_within(began.elapsed(), *waits.start()..=latest);
        driver.abort();
    }
}

#[tokio::test(start_paused = true)]
async fn a_position_is_no_crowd() {
    let (mux, mut driver, stream) = driven(1 << 20);
    tokio::spawn(Server::new(stream).count());
    for want in [Want::NOTHING, Want::AHEAD, Want::BEHIND, Want::BOTH] {
        let word = set("alone");
        tokio::select! {
            placed = soon(mux.command(&word, want, None)) => assert!(placed.is_ok()),
            _ = &mut driver => panic!("the connection is lost"),
        }
        assert!(!driver.expects_a_crowd());
    }
    // A question may stand for many, though.
    let words = [set("one"), set("two")];
    let [first, second] = words
        .each_ref()
        .map(|word| mux.command(word, Want::BEHIND, None));
    tokio::select! {
        placed = soon(async { tokio::join!(first, second) }) => assert!(placed.0.is_ok()),
        _ = &mut driver => panic!("the connection is lost"),
    }
    assert!(driver.expects_a_crowd());
}

//! Callers, driver and server in every order that a scheduler can think of.
//!
//! All the code is the real one; what it runs on is not: shuttle decides after each step who goes
//! next, where a step ends whenever somebody is about to take the lock, has just left it, uses the
//! socket or wakes somebody. It fails when all that are left wait for each other, which is what a
//! lost wake-up comes to.
//!
//! It was seen to fail when the driver sleeps after a look at the desk that is not its last, when
//! handing in wakes no driver, when the desk wakes nobody whom it lets in, when a call that was let
//! in has no waker for its reply, when a call dropped then lets nobody else in, and when somebody is
//! woken under the lock. It does not find a `retire` that is a flag beside the lock: the window is
//! too small for so few orders.

use std::{
    collections::BTreeSet,
    io,
    pin::Pin,
    sync::atomic::Ordering::SeqCst,
    task::{Wake, ready},
};

use redis::{Value, cmd, pipe};
use shuttle::{
    Config, Runner,
    future::{JoinHandle, block_on, spawn},
    scheduler::{DfsScheduler, PctScheduler, RandomScheduler, Scheduler},
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::*;
use crate::{
    config::ReplyLimits,
    failure::Peer,
    node::{Node, Role},
    wire::stream::Stream,
};

/// Somebody else may go first.
fn step() {
    shuttle::sync::atomic::AtomicBool::new(false).load(SeqCst);
}

/// A future whose every poll is a step, and every call of its waker one too.
struct Steps<F> {
    future: Pin<Box<F>>,
    shared: Arc<Shared>,
}

struct Careful {
    waker: Waker,
    shared: Arc<Shared>,
}

impl Wake for Careful {
    fn wake(self: Arc<Self>) {
        let free = self.shared.desk.try_lock().is_some();
        assert!(free, "woken under the lock");
        step();
        self.waker.wake_by_ref();
    }
}

impl<F: Future> Future for Steps<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let waker = Waker::from(Arc::new(Careful {
            waker: cx.waker().clone(),
            shared: Arc::clone(&self.shared),
        }));
        step();
        let polled = self.future.as_mut().poll(&mut Context::from_waker(&waker));
        step();
        polled
    }
}

fn go<T: Send + 'static>(
    shared: &Arc<Shared>,
    future: impl Future<Output = T> + Send + 'static,
) -> JoinHandle<T> {
    let shared = Arc::clone(shared);
    let future = Box::pin(future);
    spawn(Steps { future, shared })
}

/// A socket that takes a few bytes at a time.
#[derive(Debug, Default)]
struct Wire {
    commands: Vec<u8>,
    replies: Vec<u8>,
    client: Option<Waker>,
    server: Option<Waker>,
    closed: bool,
    answered: bool,
    onlooker: Option<Waker>,
}

const ROOM: usize = 40;

#[derive(Debug, Clone, Default)]
struct Socket(Arc<Mutex<Wire>>);

impl AsyncWrite for Socket {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        step();
        let mut wire = self.0.lock();
        let taken = bytes.len().min(ROOM - wire.commands.len());
        if taken == 0 {
            wire.client = Some(cx.waker().clone());
            return Poll::Pending;
        }
        wire.commands.extend_from_slice(&bytes[..taken]);
        let server = wire.server.take();
        drop(wire);
        wake(server);
        Poll::Ready(Ok(taken))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        step();
        let mut wire = self.0.lock();
        if wire.replies.is_empty() {
            wire.client = Some(cx.waker().clone());
            return Poll::Pending;
        }
        buf.put_slice(&wire.replies);
        wire.replies.clear();
        Poll::Ready(Ok(()))
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        let mut wire = self.0.lock();
        wire.closed = true;
        let server = wire.server.take();
        drop(wire);
        wake(server);
    }
}

/// Answers each `ECHO` until the client has closed; gives what it was told.
async fn serve(wire: Arc<Mutex<Wire>>) -> Vec<String> {
    let (mut heard, mut lines) = (Vec::new(), String::new());
    poll_fn(|cx| {
        loop {
            ready!(poll_serve(&wire, cx, &mut lines));
            let Some(word) = next(&mut lines) else {
                return Poll::Ready(());
            };
            heard.push(word);
        }
    })
    .await;
    heard
}

/// Ready when there is a whole command, answered already, or none will come.
fn poll_serve(wire: &Mutex<Wire>, cx: &mut Context<'_>, lines: &mut String) -> Poll<()> {
    let mut wire = wire.lock();
    lines.push_str(std::str::from_utf8(&wire.commands).unwrap());
    let read = !wire.commands.is_empty();
    wire.commands.clear();
    let whole = lines.matches("\r\n").count() >= 5;
    if whole {
        let reply = lines.splitn(4, "\r\n").nth(3).unwrap();
        let end = reply.match_indices("\r\n").nth(1).unwrap().0;
        let reply = format!("{}\r\n", &reply[..end]);
        wire.replies.extend_from_slice(reply.as_bytes());
        wire.answered = true;
    }
    let onlooker = wire.answered.then(|| wire.onlooker.take()).flatten();
    let closed = wire.closed;
    if !whole && !closed {
        wire.server = Some(cx.waker().clone());
    }
    let client = (whole || read).then(|| wire.client.take()).flatten();
    drop(wire);
    wake(client);
    wake(onlooker);
    if whole || closed {
        Poll::Ready(())
    } else {
        Poll::Pending
    }
}

/// Takes one command off: its argument.
fn next(lines: &mut String) -> Option<String> {
    let (end, _) = lines.match_indices("\r\n").nth(4)?;
    let word = lines[..end].rsplit("\r\n").next().map(str::to_owned);
    lines.drain(..end + 2);
    word
}

struct Model {
    wire: Arc<Mutex<Wire>>,
    shared: Arc<Shared>,
    driver: JoinHandle<Result<(), Cause>>,
    server: JoinHandle<Vec<String>>,
}

impl Model {
    fn new(max_in_flight: usize) -> Self {
        let wire: Arc<Mutex<Wire>> = Arc::default();
        let connection = Exclusive::new(
            Stream::Memory(Box::new(Socket(Arc::clone(&wire)))),
            Node::new("127.0.0.1", 6379),
            Peer::Node(Role::Master),
            0,
            ReplyLimits::default(),
            None,
        );
        let limits = MultiplexedLimits {
            max_in_flight,
            ..MultiplexedLimits::default()
        };
        let (shared, driver) = Shared::open(connection, limits, || {
            step();
            Standing::Current
        });
        let driver = go(&shared, driver);
        let server = go(&shared, serve(Arc::clone(&wire)));
        Self {
            wire,
            shared,
            driver,
            server,
        }
    }

    fn call(&self, word: usize) -> JoinHandle<Result<Value, Fault>> {
        let shared = Arc::clone(&self.shared);
        go(
            &self.shared,
            async move { shared.command(&echo(word)).await },
        )
    }

    /// A call that is dropped after so many polls.
    fn impatient(&self, word: usize, mut polls: usize) -> JoinHandle<()> {
        let shared = Arc::clone(&self.shared);
        go(&self.shared, async move {
            let cmd = echo(word);
            let mut call = Box::pin(shared.command(&cmd));
            poll_fn(|cx| {
                if polls == 0 {
                    return Poll::Ready(());
                }
                polls -= 1;
                if polls == 0 {
                    // It may have been let in by then, and is dropped all the same.
                    cx.waker().wake_by_ref();
                }
                call.as_mut().poll(cx).map(drop)
            })
            .await;
        })
    }

    fn pipeline(&self, words: std::ops::Range<usize>) -> JoinHandle<Result<Vec<Value>, Fault>> {
        let shared = Arc::clone(&self.shared);
        go(&self.shared, async move {
            let mut pipeline = pipe();
            for word in words {
                pipeline.add_command(echo(word));
            }
            shared.pipeline(&pipeline, 0).await
        })
    }

    /// Ends when the server has answered something, which the driver may not have seen yet.
    async fn answered(&self) {
        poll_fn(|cx| {
            let mut wire = self.wire.lock();
            if wire.answered {
                return Poll::Ready(());
            }
            wire.onlooker = Some(cx.waker().clone());
            Poll::Pending
        })
        .await;
    }

    /// Everybody has gone: nothing may be left. Gives what the server was told.
    async fn end(self) -> Vec<String> {
        self.shared.retire();
        assert_eq!(self.driver.await.unwrap(), Ok(()));
        let heard = self.server.await.unwrap();
        let desk = self.shared.desk.lock();
        assert!(desk.is_empty(), "{desk:?}");
        let once: BTreeSet<_> = heard.iter().collect();
        assert_eq!(once.len(), heard.len(), "told twice: {heard:?}");
        heard
    }
}

fn echo(word: usize) -> Cmd {
    let mut cmd = cmd("ECHO");
    cmd.arg(word);
    cmd
}

fn text(word: usize) -> Value {
    Value::BulkString(word.to_string().into_bytes())
}

/// Its own reply, or the word that it never went out.
fn assert_own(ended: &Result<Value, Fault>, word: usize, heard: &[String]) {
    let told = heard.contains(&word.to_string());
    match ended {
        Ok(value) => assert_eq!(*value, text(word)),
        Err(Fault::NotWritten) => assert!(!told, "{word} was written"),
        Err(Fault::Failed(..)) => assert!(!told, "{word} was written whole and has a reply"),
    }
}

fn run<S: Scheduler + 'static, F: Future<Output = ()> + 'static>(scheduler: S, model: fn() -> F) {
    // For the driver's timer, which never fires: no time passes here.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    let _guard = runtime.enter();
    let mut config = Config::new();
    config.stack_size = 1 << 18;
    Runner::new(scheduler, config).run(move || block_on(model()));
}

fn explore<F: Future<Output = ()> + 'static>(model: fn() -> F) {
    run(RandomScheduler::new_from_seed(7, 400), model);
    run(PctScheduler::new_from_seed(7, 3, 400), model);
    run(DfsScheduler::new(Some(400), false), model);
}

#[test]
fn every_call_in_a_crowd_gets_its_own_reply() {
    explore(|| async {
        let model = Model::new(1);
        let calls = [0, 1, 2].map(|word| model.call(word));
        for (word, call) in calls.into_iter().enumerate() {
            assert_eq!(call.await.unwrap(), Ok(text(word)));
        }
        assert_eq!(model.end().await.len(), 3);
    });
}

#[test]
fn calls_that_are_dropped_hold_up_nobody() {
    explore(|| async {
        let model = Model::new(1);
        let dropped = [(10, 1), (11, 1), (12, 2)].map(|(word, polls)| model.impatient(word, polls));
        let calls = [0, 1].map(|word| model.call(word));
        for (word, call) in calls.into_iter().enumerate() {
            assert_eq!(call.await.unwrap(), Ok(text(word)));
        }
        for call in dropped {
            call.await.unwrap();
        }
        model.end().await;
    });
}

#[test]
fn portions_and_single_calls_take_turns() {
    explore(|| async {
        let model = Model::new(2);
        let pipeline = model.pipeline(10..15);
        let calls = [0, 1].map(|word| model.call(word));
        for (word, call) in calls.into_iter().enumerate() {
            assert_eq!(call.await.unwrap(), Ok(text(word)));
        }
        let replies = (10..15).map(text).collect();
        assert_eq!(pipeline.await.unwrap(), Ok(replies));
        assert_eq!(model.end().await.len(), 7);
    });
}

#[test]
fn a_connection_retired_under_load_ends_and_says_what_was_written() {
    explore(|| async {
        let model = Model::new(2);
        let calls = [0, 1, 2].map(|word| model.call(word));
        let dropped = model.impatient(10, 1);
        model.shared.retire();
        let mut ended = Vec::new();
        for call in calls {
            ended.push(call.await.unwrap());
        }
        dropped.await.unwrap();
        let heard = model.end().await;
        for (word, end) in ended.iter().enumerate() {
            assert_own(end, word, &heard);
        }
    });
}

#[test]
fn a_connection_retired_at_rest_ends() {
    explore(|| async {
        let model = Model::new(1);
        assert_eq!(model.call(0).await.unwrap(), Ok(text(0)));
        assert_eq!(model.end().await, ["0"]);
    });
}

#[test]
fn a_connection_retired_beside_its_last_call_ends() {
    explore(|| async {
        let model = Model::new(1);
        let call = model.call(0);
        model.answered().await;
        model.shared.retire();
        let ended = call.await.unwrap();
        let heard = model.end().await;
        assert_own(&ended, 0, &heard);
    });
}

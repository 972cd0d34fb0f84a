//! The base of the concurrency models: tasks, sockets and servers on shuttle, which decides after each
//! step who goes next.
//!
//! A step ends when a task is polled, uses a socket or calls [`step`], and mostly when it wakes another
//! task. The code between two steps runs as one. So the models do not test what others synchronise:
//! deadpool and tokio's channels.

use std::{
    cell::Cell,
    collections::BTreeSet,
    fmt,
    future::{Future, poll_fn},
    io,
    pin::Pin,
    sync::{Arc, atomic::Ordering::SeqCst},
    task::{Context, Poll, Wake, Waker, ready},
};

use parking_lot::Mutex;
use redis::{Cmd, Value, cmd};
use shuttle::{
    Config, Runner,
    future::{JoinHandle, block_on, spawn},
    scheduler::{DfsScheduler, PctScheduler, RandomScheduler, Scheduler},
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::{
    config::ReplyLimits,
    error::failure::Peer,
    node::{Node, Role},
    wire::{connection::WireConnection, stream::Stream},
};

thread_local! {
    static RUNNING: Cell<bool> = const { Cell::new(false) };
}

/// Lets another task go first. Does nothing outside of a model.
pub(crate) fn step() {
    if RUNNING.get() {
        shuttle::sync::atomic::AtomicBool::new(false).load(SeqCst);
    }
}

/// A future whose every poll is a step.
struct Steps<F> {
    future: Pin<Box<F>>,
    before_wake: Arc<dyn Fn() + Send + Sync>,
}

struct Careful {
    waker: Waker,
    before_wake: Arc<dyn Fn() + Send + Sync>,
}

impl Wake for Careful {
    fn wake(self: Arc<Self>) {
        if RUNNING.get() {
            (self.before_wake)();
            self.waker.wake_by_ref();
        }
    }
}

impl<F: Future> Future for Steps<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let waker = Waker::from(Arc::new(Careful {
            waker: cx.waker().clone(),
            before_wake: Arc::clone(&self.before_wake),
        }));
        step();
        let polled = self.future.as_mut().poll(&mut Context::from_waker(&waker));
        step();
        polled
    }
}

/// Starts a task. `before_wake` is called when the task is about to be woken. It should be a [`step`],
/// unless the task is woken under a lock.
pub(crate) fn go<T: Send + 'static>(
    before_wake: impl Fn() + Send + Sync + 'static,
    future: impl Future<Output = T> + Send + 'static,
) -> JoinHandle<T> {
    spawn(Steps {
        future: Box::pin(future),
        before_wake: Arc::new(before_wake),
    })
}

/// The two ends of a connection. Its socket takes at most `room` bytes until the server reads them.
#[derive(Default)]
pub(crate) struct Wire {
    room: usize,
    commands: Vec<u8>,
    replies: Vec<u8>,
    client: Option<Waker>,
    server: Option<Waker>,
    closed: bool,
    answered: bool,
    onlooker: Option<Waker>,
    /// Called just before something is written.
    witness: Option<Arc<dyn Fn() + Send + Sync>>,
}

pub(crate) struct Socket(Arc<Mutex<Wire>>);

impl Socket {
    pub(crate) fn new(room: usize) -> Self {
        Self(Arc::new(Mutex::new(Wire {
            room,
            ..Wire::default()
        })))
    }

    /// As [`new`](Self::new), with a function that is called just before anything is written.
    pub(crate) fn witnessed(room: usize, witness: impl Fn() + Send + Sync + 'static) -> Self {
        let socket = Self::new(room);
        socket.0.lock().witness = Some(Arc::new(witness));
        socket
    }

    pub(crate) fn wire(&self) -> Arc<Mutex<Wire>> {
        Arc::clone(&self.0)
    }

    pub(crate) fn connection(self) -> WireConnection {
        WireConnection::new(
            Stream::Memory(Box::new(self)),
            Node::new("127.0.0.1", 6379),
            Peer::Node(Role::Master),
            0,
            ReplyLimits::default(),
            None,
        )
    }
}

impl fmt::Debug for Socket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Socket").finish_non_exhaustive()
    }
}

/// Never called under the lock: a waker may run code of the task that it wakes.
fn wake(woken: Option<Waker>) {
    if let Some(waker) = woken {
        waker.wake();
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        step();
        let mut wire = self.0.lock();
        if let Some(witness) = &wire.witness {
            witness();
        }
        let taken = bytes.len().min(wire.room - wire.commands.len());
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

/// Answers each `ECHO`, and each question with its last word, until the client has closed the connection.
/// Returns what it was told to echo.
pub(crate) async fn serve(wire: Arc<Mutex<Wire>>) -> Vec<String> {
    let (mut heard, mut lines) = (Vec::new(), String::new());
    poll_fn(|cx| {
        loop {
            ready!(poll_serve(&wire, cx, &mut lines));
            let Some(word) = next(&mut lines) else {
                return Poll::Ready(());
            };
            if word != "replication" {
                heard.push(word);
            }
        }
    })
    .await;
    let once: BTreeSet<_> = heard.iter().collect();
    assert_eq!(once.len(), heard.len(), "told twice: {heard:?}");
    heard
}

/// Ready when there is a whole command, which is then answered, or when none will come.
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

/// Removes one command and returns its argument.
fn next(lines: &mut String) -> Option<String> {
    let (end, _) = lines.match_indices("\r\n").nth(4)?;
    let word = lines[..end].rsplit("\r\n").next().map(str::to_owned);
    lines.drain(..end + 2);
    word
}

/// Ends when the server has answered something. The client may not have read it yet.
pub(crate) async fn answered(wire: &Mutex<Wire>) {
    poll_fn(|cx| {
        let mut wire = wire.lock();
        if wire.answered {
            return Poll::Ready(());
        }
        wire.onlooker = Some(cx.waker().clone());
        Poll::Pending
    })
    .await;
}

pub(crate) fn echo(word: usize) -> Cmd {
    let mut cmd = cmd("ECHO");
    cmd.arg(word);
    cmd
}

pub(crate) fn text(word: usize) -> Value {
    Value::BulkString(word.to_string().into_bytes())
}

fn run<S: Scheduler + 'static, F: Future<Output = ()> + 'static>(scheduler: S, model: fn() -> F) {
    // For timers. They never fire: no time passes here.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    let _guard = runtime.enter();
    let mut config = Config::new();
    config.stack_size = 1 << 18;
    let _running = Running::start();
    Runner::new(scheduler, config).run(move || block_on(model()));
}

/// Marks that a model runs. Dropped before the timers that the model has left can wake a task.
struct Running;

impl Running {
    fn start() -> Self {
        RUNNING.set(true);
        Self
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        RUNNING.set(false);
    }
}

/// Runs a model in random orders, in orders with few switches between tasks, and in the first 400 orders
/// of a systematic search. Fails when all tasks that are left wait for each other: a wake-up was lost.
pub(crate) fn explore<F: Future<Output = ()> + 'static>(model: fn() -> F) {
    explore_by_chance(model);
    run(DfsScheduler::new(Some(400), false), model);
}

/// As [`explore`], for models with random choices, which cannot be searched systematically.
pub(crate) fn explore_by_chance<F: Future<Output = ()> + 'static>(model: fn() -> F) {
    run(RandomScheduler::new_from_seed(7, 400), model);
    run(PctScheduler::new_from_seed(7, 3, 400), model);
}

//! One connection on one socket, shared by many callers at once.
//!
//! Callers hand in encoded commands at a [`RequestQueue`] and wait there for their replies; a driver, one
//! task a socket, writes whatever was handed in since its last turn with one system call and reads
//! as many replies with another. Under load the cost of a command is that of two short turns at the
//! queue.

mod driver;
mod encoder;
#[cfg(test)]
mod model;
mod queue;
pub(crate) mod ticks;

use std::{
    fmt,
    future::poll_fn,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
    task::{Context, Poll, Waker},
    time::Duration,
};

use parking_lot::Mutex;
use redis::{Cmd, Pipeline, Value};

pub(crate) use crate::wire::mux::queue::MuxError;
use crate::{
    config::MultiplexedLimits,
    error::failure::{Cause, Fate},
    topology::admission::Admission,
    wire::{
        connection::WireConnection,
        mux::{
            driver::Driver,
            encoder::Encoder,
            queue::{Answer, Progress, RequestQueue},
        },
    },
};

/// Deadlines are kept in ticks of this part of the time limit: no command pays for a clock reading
/// or a timer, and none fails early. The latest fails two ticks late, which is a sixteenth, and the
/// runtime's timers may add a millisecond to each.
const TICKS: u32 = 32;
const SHORTEST_TICK: Duration = Duration::from_millis(1);
const LONGEST_TICK: Duration = Duration::from_millis(250);

/// What is left of the time for a call that other connections have used a part of.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limit {
    pub(crate) left: Duration,
    pub(crate) whole: Duration,
}

pub(crate) struct Mux {
    queue: Mutex<RequestQueue>,
    /// A copy for the choice between connections, which takes no lock.
    in_flight: AtomicUsize,
    open: AtomicBool,
    /// It will take no commands any more.
    leaving: AtomicBool,
    max_in_flight: usize,
}

impl fmt::Debug for Mux {
    /// Without what callers store.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mux")
            .field("in_flight", &self.in_flight)
            .field("open", &self.open)
            .finish_non_exhaustive()
    }
}

impl Mux {
    /// Shares this connection from now on. The driver is to be run until it ends; `current` says
    /// before every write whether the node may still be written to.
    pub(crate) fn open(
        connection: WireConnection,
        limits: MultiplexedLimits,
        current: impl FnMut() -> Admission + Send + Unpin + 'static,
    ) -> (
        Arc<Self>,
        impl Future<Output = Result<(), Cause>> + Send + 'static,
    ) {
        let (channel, timeout) = connection.into_channel();
        let tick = timeout
            .map_or(LONGEST_TICK, |timeout| timeout / TICKS)
            .clamp(SHORTEST_TICK, LONGEST_TICK);
        let shared = Arc::new(Self {
            queue: Mutex::new(RequestQueue::new(limits, timeout)),
            in_flight: AtomicUsize::new(0),
            open: AtomicBool::new(true),
            leaving: AtomicBool::new(false),
            max_in_flight: limits.max_in_flight,
        });
        let limit = timeout.unwrap_or_default();
        let driver = Driver::new(Arc::clone(&shared), channel, tick, limit, current);
        (shared, driver)
    }

    /// Whether it takes commands now.
    pub(crate) fn is_open(&self) -> bool {
        self.open.load(Relaxed)
    }

    /// Whether it will take no commands any more.
    pub(crate) fn is_leaving(&self) -> bool {
        self.leaving.load(Relaxed)
    }

    /// Has the driver look whether the node may still be written to.
    pub(crate) fn nudge(&self) {
        let driver = self.queue.lock().driver();
        wake(driver);
    }

    /// Takes commands again after the fence was lifted.
    pub(crate) fn reopen(&self) {
        let mut queue = self.queue.lock();
        if queue.reopen() {
            self.open.store(true, Relaxed);
        }
    }

    /// Commands on their way, as of a moment ago.
    pub(crate) fn in_flight(&self) -> usize {
        self.in_flight.load(Relaxed)
    }

    /// Callers in line for room.
    pub(crate) fn waiting(&self) -> usize {
        self.queue.lock().waiting()
    }

    /// Takes and writes nothing more, and ends when what was written is answered. False when it was
    /// about to end already.
    pub(crate) fn retire(&self) -> bool {
        self.open.store(false, Relaxed);
        let was_leaving = self.leaving.swap(true, Relaxed);
        let driver = self.queue.lock().retire();
        wake(driver);
        !was_leaving
    }

    /// For the choice between connections.
    fn show(&self, queue: &RequestQueue) {
        self.in_flight.store(queue.in_flight(), Relaxed);
    }

    /// Sends one command and waits for its reply. An error reply is a [`Value::ServerError`].
    /// Where it has a limit of its own, that holds beside the one of the connection.
    pub(crate) async fn command(&self, cmd: &Cmd, limit: Option<Limit>) -> Result<Value, MuxError> {
        match self.call(Encoder::one(cmd), limit).await {
            Answer::One(value) => Ok(value),
            Answer::Lost(fault) => Err(fault),
            Answer::Many(_) => unreachable!("BUG: one command has one reply"),
        }
    }

    /// Sends a pipeline from the command at `next` on and waits for its replies, those to `MULTI` and
    /// `EXEC` included. Where they are fewer, nothing of the rest was written.
    pub(crate) async fn pipeline(
        &self,
        pipeline: &Pipeline,
        next: usize,
        limit: Option<Limit>,
    ) -> Result<Vec<Value>, MuxError> {
        let encoder = Encoder::many(pipeline, next, self.max_in_flight);
        match self.call(encoder, limit).await {
            Answer::Many(values) => Ok(values),
            Answer::Lost(fault) => Err(fault),
            Answer::One(_) => unreachable!("BUG: a pipeline's replies come together"),
        }
    }

    async fn call(&self, mut encoder: Encoder<'_>, limit: Option<Limit>) -> Answer {
        let mut future = RequestFuture {
            shared: self,
            key: None,
        };
        let answer = poll_fn(|cx| future.poll(cx, &mut encoder));
        let Some(limit) = limit else {
            return answer.await;
        };
        // Boxed, or every call would have room for a timer.
        match Box::pin(tokio::time::timeout(limit.left, answer)).await {
            Ok(answer) => answer,
            Err(_) => future.late(Cause::Timeout(limit.whole)),
        }
    }
}

/// One call. When it is dropped, its reply is read and thrown away.
struct RequestFuture<'a> {
    shared: &'a Mux,
    key: Option<usize>,
}

impl RequestFuture<'_> {
    /// How the call ends when it is given up now.
    fn late(&self, cause: Cause) -> Answer {
        let queue = self.shared.queue.lock();
        let fate = self.key.map_or(Fate::NotExecuted, |key| queue.fate(key));
        Answer::Lost(MuxError::Failed(cause, fate))
    }

    fn poll(&mut self, cx: &mut Context<'_>, encoder: &mut Encoder<'_>) -> Poll<Answer> {
        encoder.prepare();
        let mut queue = self.shared.queue.lock();
        let key = match self.key {
            None => match queue.enter(encoder.wanted(), encoder.total(), cx.waker()) {
                Some(key) => key,
                None => return Poll::Ready(Answer::Lost(MuxError::NotWritten)),
            },
            Some(key) => match queue.progress(key, cx.waker()) {
                Progress::Waiting => return Poll::Pending,
                Progress::Admitted => key,
                Progress::Done(answer) => {
                    self.key = None;
                    return Poll::Ready(answer);
                }
            },
        };
        self.key = Some(key);
        if !queue.is_admitted(key) {
            return Poll::Pending;
        }
        let driver = encoder.hand_in(&mut queue, key);
        // The rest of a long pipeline goes to the end of the line.
        let more = encoder.wanted();
        if more > 0 {
            queue.ask(key, more);
        }
        let granted = queue.is_admitted(key);
        self.shared.show(&queue);
        let silent = encoder.is_silent();
        drop(queue);
        wake(driver);
        if granted {
            cx.waker().wake_by_ref();
        }
        if silent {
            return Poll::Ready(Answer::One(Value::Nil));
        }
        Poll::Pending
    }
}

impl Drop for RequestFuture<'_> {
    fn drop(&mut self) {
        if let Some(key) = self.key {
            let mut woken = Vec::new();
            let mut queue = self.shared.queue.lock();
            let _received = queue.abandon(key, &mut woken);
            self.shared.show(&queue);
            drop(queue);
            wake(woken);
        }
    }
}

/// Never under the lock: a waker may run code of whoever waits.
fn wake(woken: impl IntoIterator<Item = Waker>) {
    for waker in woken {
        waker.wake();
    }
}

#[cfg(test)]
mod tests;

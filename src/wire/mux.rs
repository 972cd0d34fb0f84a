//! One connection on one socket, shared by many callers at once.
//!
//! Callers hand in encoded commands to the [`MuxState`], behind a lock, and wait there for their replies.
//! The [`Driver`], one task for each socket, writes all that was handed in since its last turn with one
//! system call, and reads many replies with another. Under load a command costs its caller two
//! short turns under the lock.

mod call;
mod driver;
mod encoder;
mod in_flight;
#[cfg(test)]
mod model;
mod outbox;
mod queue;
mod state;
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

pub(crate) use crate::wire::mux::call::MuxError;
use crate::{
    config::MultiplexedLimits,
    error::failure::{Cause, Fate},
    topology::admission::Admission,
    wire::{
        connection::WireConnection,
        mux::{
            call::Completion,
            driver::Driver,
            encoder::Encoder,
            state::{MuxState, Progress},
        },
    },
};

/// How many ticks the time limit of a command has. No command pays for a clock reading or a timer of
/// its own, and none fails early. The latest fails two ticks late, a sixteenth of the limit, and
/// the runtime's timers may add a millisecond to each tick.
const TICKS: u32 = 32;
const SHORTEST_TICK: Duration = Duration::from_millis(1);
const LONGEST_TICK: Duration = Duration::from_millis(250);

/// The time for a call, of which other connections may have used a part.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limit {
    pub(crate) left: Duration,
    pub(crate) whole: Duration,
}

pub(crate) struct Mux {
    state: Mutex<MuxState>,
    /// A copy for the choice between connections, which takes no lock.
    in_flight: AtomicUsize,
    open: AtomicBool,
    /// No command will be taken in any more.
    leaving: AtomicBool,
    max_in_flight: usize,
}

impl fmt::Debug for Mux {
    /// Without buffers: they hold what callers store.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mux")
            .field("in_flight", &self.in_flight)
            .field("open", &self.open)
            .finish_non_exhaustive()
    }
}

impl Mux {
    /// Shares this connection from now on. The future is the driver, to be polled until it ends.
    /// `current` says before every write whether the node may still be written to.
    pub(crate) fn open(
        connection: WireConnection,
        limits: MultiplexedLimits,
        current: impl FnMut() -> Admission + Send + Unpin + 'static,
    ) -> (
        Arc<Self>,
        impl Future<Output = Result<(), Cause>> + Send + 'static,
    ) {
        let (framed, timeout) = connection.into_framed();
        let tick = timeout
            .map_or(LONGEST_TICK, |timeout| timeout / TICKS)
            .clamp(SHORTEST_TICK, LONGEST_TICK);
        let mux = Arc::new(Self {
            state: Mutex::new(MuxState::new(limits, timeout)),
            in_flight: AtomicUsize::new(0),
            open: AtomicBool::new(true),
            leaving: AtomicBool::new(false),
            max_in_flight: limits.max_in_flight,
        });
        let limit = timeout.unwrap_or_default();
        let driver = Driver::new(Arc::clone(&mux), framed, tick, limit, current);
        (mux, driver)
    }

    /// Whether it takes commands now.
    pub(crate) fn is_open(&self) -> bool {
        self.open.load(Relaxed)
    }

    /// Whether it will take no commands any more.
    pub(crate) fn is_leaving(&self) -> bool {
        self.leaving.load(Relaxed)
    }

    /// Has the driver check whether the node may still be written to.
    pub(crate) fn nudge(&self) {
        let driver = self.state.lock().driver();
        wake(driver);
    }

    /// Takes commands again after the fence was lifted.
    pub(crate) fn reopen(&self) {
        let mut state = self.state.lock();
        if state.reopen() {
            self.open.store(true, Relaxed);
        }
    }

    /// How many commands are in flight, as of a moment ago.
    pub(crate) fn in_flight(&self) -> usize {
        self.in_flight.load(Relaxed)
    }

    /// How many calls wait for room.
    pub(crate) fn waiting(&self) -> usize {
        self.state.lock().waiting()
    }

    /// Takes in and writes nothing more, and ends when what was written is answered. False when it was
    /// about to end already.
    pub(crate) fn retire(&self) -> bool {
        self.open.store(false, Relaxed);
        let was_leaving = self.leaving.swap(true, Relaxed);
        let driver = self.state.lock().retire();
        wake(driver);
        !was_leaving
    }

    /// Publishes the count for the choice between connections.
    fn publish(&self, state: &MuxState) {
        self.in_flight.store(state.in_flight(), Relaxed);
    }

    /// Sends one command and waits for its reply. An error reply is a [`Value::ServerError`].
    /// `limit` applies in addition to the connection's own.
    pub(crate) async fn command(&self, cmd: &Cmd, limit: Option<Limit>) -> Result<Value, MuxError> {
        match self.call(Encoder::one(cmd), limit).await {
            Completion::One(value) => Ok(value),
            Completion::Error(error) => Err(error),
            Completion::Many(_) => unreachable!("BUG: one command has one reply"),
        }
    }

    /// Sends a pipeline from the command at `next` on and waits for its replies, those to `MULTI` and
    /// `EXEC` included. Where there are fewer replies than commands, nothing of the rest was written.
    pub(crate) async fn pipeline(
        &self,
        pipeline: &Pipeline,
        next: usize,
        limit: Option<Limit>,
    ) -> Result<Vec<Value>, MuxError> {
        let encoder = Encoder::many(pipeline, next, self.max_in_flight);
        match self.call(encoder, limit).await {
            Completion::Many(values) => Ok(values),
            Completion::Error(error) => Err(error),
            Completion::One(_) => unreachable!("BUG: a pipeline's replies come together"),
        }
    }

    async fn call(&self, mut encoder: Encoder<'_>, limit: Option<Limit>) -> Completion {
        let mut future = RequestFuture {
            mux: self,
            key: None,
        };
        let completion = poll_fn(|cx| future.poll(cx, &mut encoder));
        let Some(limit) = limit else {
            return completion.await;
        };
        // Boxed, or every call would have room for a timer.
        match Box::pin(tokio::time::timeout(limit.left, completion)).await {
            Ok(completion) => completion,
            Err(_) => future.timed_out(limit),
        }
    }
}

/// A call that is under way. When it is dropped, replies that still come for it go to nobody.
struct RequestFuture<'a> {
    mux: &'a Mux,
    /// Where its call is, once it has entered.
    key: Option<usize>,
}

impl RequestFuture<'_> {
    fn timed_out(&self, limit: Limit) -> Completion {
        let state = self.mux.state.lock();
        let fate = self.key.map_or(Fate::NotExecuted, |key| state.fate(key));
        Completion::Error(MuxError::Failed(Cause::Timeout(limit.whole), fate))
    }

    fn poll(&mut self, cx: &mut Context<'_>, encoder: &mut Encoder<'_>) -> Poll<Completion> {
        encoder.prepare();
        let mut state = self.mux.state.lock();
        let key = match self.key {
            None => match state.enter(encoder.wanted(), encoder.total(), cx.waker()) {
                Some(key) => key,
                None => return Poll::Ready(Completion::Error(MuxError::NotWritten)),
            },
            Some(key) => match state.progress(key, cx.waker()) {
                Progress::Waiting => return Poll::Pending,
                Progress::Admitted => key,
                Progress::Done(completion) => {
                    self.key = None;
                    return Poll::Ready(completion);
                }
            },
        };
        self.key = Some(key);
        if !state.is_admitted(key) {
            return Poll::Pending;
        }
        let driver = encoder.hand_in(&mut state, key);
        // The rest of a long pipeline waits behind the calls that have come meanwhile.
        let more = encoder.wanted();
        if more > 0 {
            state.ask(key, more);
        }
        let admitted = state.is_admitted(key);
        self.mux.publish(&state);
        let silent = encoder.is_silent();
        drop(state);
        wake(driver);
        if admitted {
            cx.waker().wake_by_ref();
        }
        if silent {
            return Poll::Ready(Completion::One(Value::Nil));
        }
        Poll::Pending
    }
}

impl Drop for RequestFuture<'_> {
    fn drop(&mut self) {
        if let Some(key) = self.key {
            let mut woken = Vec::new();
            let mut state = self.mux.state.lock();
            let _received = state.abandon(key, &mut woken);
            self.mux.publish(&state);
            drop(state);
            wake(woken);
        }
    }
}

/// Never called under the lock: a waker may run code of the caller that it wakes.
fn wake(woken: impl IntoIterator<Item = Waker>) {
    for waker in woken {
        waker.wake();
    }
}

#[cfg(test)]
mod tests;

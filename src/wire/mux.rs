//! One connection on one socket, shared by many callers at once.
//!
//! A caller encodes its command into a [`Call`](call::Call) of its own, leaves a pointer to it at the
//! [`Intake`], and waits. The [`Driver`], one task for each socket, takes all that was left there since its
//! last turn, writes it with one system call, reads many replies with another, and puts each into its
//! call. So under load a command costs its caller one short turn under a lock that others use, too. What
//! the driver knows of the calls, the [`MuxState`], nobody else sees.

mod call;
mod driver;
mod encoder;
mod in_flight;
mod intake;
#[cfg(test)]
mod model;
mod outbox;
mod questions;
mod queue;
mod room;
mod state;
pub(crate) mod ticks;

use std::{
    fmt,
    future::poll_fn,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    task::{Context, Poll, Waker},
    time::Duration,
};

use parking_lot::{Mutex, MutexGuard};
use redis::{Cmd, Pipeline, Value};

pub(crate) use crate::wire::mux::call::{MuxError, Slot};
use crate::{
    config::MultiplexedLimits,
    error::failure::{Cause, Fate},
    topology::admission::Admission,
    wire::{
        connection::WireConnection,
        mux::{
            call::{Completion, Progress},
            driver::Driver,
            encoder::Encoder,
            intake::{Arrival, Intake, Phase},
            state::MuxState,
        },
        position_question::{Answers, Placed, Want},
    },
};

#[cfg(test)]
use crate::util::schedule_model::step;

/// A point at which the models let another task go first.
#[cfg(not(test))]
#[inline(always)]
fn step() {}

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

/// What callers and the driver share of a connection.
pub(crate) struct Mux {
    intake: Apart<Mutex<Intake>>,
    load: Apart<Load>,
    open: AtomicBool,
    /// No command will be taken in any more.
    leaving: AtomicBool,
    max_in_flight: usize,
}

/// On cache lines of its own: what is written for every command takes its whole line away from the
/// other cores, and with it what they only read. Processors fetch lines in pairs.
#[repr(align(128))]
struct Apart<T>(T);

/// How much the driver had to do after its last turn, and how much it has done.
#[derive(Default)]
struct Load {
    in_flight: AtomicUsize,
    waiting: AtomicUsize,
    answered: AtomicU64,
}

impl fmt::Debug for Mux {
    /// Without buffers: they hold what callers store.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mux")
            .field("in_flight", &self.in_flight())
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
        Self::driven(connection, limits, current)
    }

    fn driven<F: FnMut() -> Admission>(
        connection: WireConnection,
        limits: MultiplexedLimits,
        current: F,
    ) -> (Arc<Self>, Driver<F>) {
        let (framed, timeout) = connection.into_framed();
        let tick = timeout
            .map_or(LONGEST_TICK, |timeout| timeout / TICKS)
            .clamp(SHORTEST_TICK, LONGEST_TICK);
        let mux = Arc::new(Self {
            intake: Apart(Mutex::new(Intake::new())),
            load: Apart(Load::default()),
            open: AtomicBool::new(true),
            leaving: AtomicBool::new(false),
            max_in_flight: limits.max_in_flight,
        });
        let limit = timeout.unwrap_or_default();
        let state = MuxState::new(limits, timeout);
        let driver = Driver::new(Arc::clone(&mux), framed, state, tick, limit, current);
        (mux, driver)
    }

    #[inline]
    fn intake(&self) -> MutexGuard<'_, Intake> {
        step();
        self.intake.0.lock()
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
        let driver = self.intake().driver();
        wake(driver);
    }

    /// Takes commands again after the fence was lifted.
    pub(crate) fn reopen(&self) {
        let mut intake = self.intake();
        if intake.reopen() {
            self.open.store(true, Relaxed);
        }
    }

    /// How many commands are in flight, as of a moment ago.
    pub(crate) fn in_flight(&self) -> usize {
        self.load.0.in_flight.load(Relaxed)
    }

    /// How many commands were answered, as of a moment ago. It only grows.
    pub(crate) fn answered(&self) -> u64 {
        self.load.0.answered.load(Relaxed)
    }

    /// How many calls wait for room.
    pub(crate) fn waiting(&self) -> usize {
        self.load.0.waiting.load(Relaxed) + self.intake().len()
    }

    /// Takes in and writes nothing more, and ends when what was written is answered. False when it was
    /// about to end already.
    pub(crate) fn retire(&self) -> bool {
        self.open.store(false, Relaxed);
        let was_leaving = self.leaving.swap(true, Relaxed);
        let driver = self.intake().retire();
        wake(driver);
        !was_leaving
    }
}

/// The callers' side.
impl Mux {
    /// Begins a single command in this slot. To be followed by [`poll_reply`](Self::poll_reply) until it
    /// is ready, or by [`abandon`](Self::abandon).
    #[inline]
    pub(crate) fn begin(
        &self,
        slot: &mut Slot,
        cmd: &Cmd,
        want: Want,
        waker: &Waker,
    ) -> Result<(), MuxError> {
        let mut encoder = Encoder::One(cmd);
        let count = encoder.begin(slot.renew(), waker);
        match self.leave(slot, count, want, None) {
            Some(_) => Ok(()),
            None => Err(MuxError::NotWritten),
        }
    }

    /// Leaves the call at the intake; returns the tick in which it came, or `None` if nothing is taken in.
    #[inline]
    fn leave(&self, slot: &Slot, count: usize, want: Want, since: Option<u32>) -> Option<u32> {
        let call = Arc::clone(slot.call());
        let left = self.intake().leave(call, count, want, since);
        step();
        match left {
            Ok((since, driver)) => {
                wake(driver);
                Some(since)
            }
            // It is dropped without the lock.
            Err(_call) => None,
        }
    }

    /// The reply to the command in this slot. An error reply is a [`Value::ServerError`].
    #[inline]
    pub(crate) fn poll_reply(slot: &Slot, cx: &mut Context<'_>) -> Poll<Result<Value, MuxError>> {
        let progress = slot.call().lock().progress(cx.waker());
        match progress {
            Progress::Waiting => Poll::Pending,
            Progress::Done(completion) => Poll::Ready(completion.one()),
            Progress::More => unreachable!("BUG: a single command has one portion"),
        }
    }

    /// The caller of the command in this slot does not wait any longer. Replies that still come for it
    /// go to nobody. Returns what is known of the command.
    pub(crate) fn abandon(&self, slot: &Slot) -> Fate {
        let abandoned = slot.call().lock().abandon();
        if abandoned.untaken {
            let driver = self.intake().abandoned();
            wake(driver);
        }
        abandoned.fate
    }

    /// Sends one command and waits for its reply. An error reply is a [`Value::ServerError`].
    /// `limit` applies in addition to the connection's own.
    pub(crate) async fn command(
        &self,
        cmd: &Cmd,
        want: Want,
        limit: Option<Limit>,
    ) -> Result<Placed<Value>, MuxError> {
        let (completion, answers) = self.call(Encoder::One(cmd), want, limit).await;
        let reply = completion.one()?;
        Ok(Placed { reply, answers })
    }

    /// Sends a pipeline from the command at `next` on and waits for its replies, those to `MULTI` and
    /// `EXEC` included. Where there are fewer replies than commands, nothing of the rest was written.
    pub(crate) async fn pipeline(
        &self,
        pipeline: &Pipeline,
        next: usize,
        want: Want,
        limit: Option<Limit>,
    ) -> Result<Placed<Vec<Value>>, MuxError> {
        let encoder = Encoder::many(pipeline, next, self.max_in_flight);
        let (completion, answers) = self.call(encoder, want, limit).await;
        let reply = completion.many()?;
        Ok(Placed { reply, answers })
    }

    async fn call(
        &self,
        mut encoder: Encoder<'_>,
        want: Want,
        limit: Option<Limit>,
    ) -> (Completion, Answers) {
        let mut future = RequestFuture {
            mux: self,
            slot: Slot::default(),
            want,
            since: None,
        };
        let completion = poll_fn(|cx| future.poll(cx, &mut encoder));
        let completion = match limit {
            None => completion.await,
            // Boxed, or every call would have room for a timer.
            Some(limit) => match Box::pin(tokio::time::timeout(limit.left, completion)).await {
                Ok(completion) => completion,
                Err(_) => future.timed_out(limit),
            },
        };
        let answers = if want == Want::NOTHING {
            Answers::default()
        } else {
            future.slot.take_answers()
        };
        (completion, answers)
    }
}

/// The driver's side.
impl Mux {
    /// Takes nothing in until it is reopened. Returns what the driver has not seen.
    fn pause(&self) -> Vec<Arrival> {
        let mut intake = self.intake();
        // Under the lock, or it might be reopened in between: a connection that looks closed and is
        // not would never be used again.
        self.open.store(false, Relaxed);
        intake.stop(Phase::Paused)
    }

    /// Takes nothing in any more. Returns what the driver has not seen.
    fn close(&self) -> Vec<Arrival> {
        let mut intake = self.intake();
        // Under the lock, or the maintainer might reopen it in between: a connection that looks open
        // and takes nothing in would have callers try it again and again.
        self.open.store(false, Relaxed);
        self.leaving.store(true, Relaxed);
        intake.stop(Phase::Closed)
    }

    /// The driver has ended: nobody is to wake it.
    fn forget_driver(&self) {
        let driver = self.intake().forget_driver();
        drop(driver);
    }

    /// Publishes the counts for the choice between connections.
    #[inline]
    fn publish(&self, state: &MuxState) {
        self.load.0.in_flight.store(state.in_flight(), Relaxed);
        self.load.0.waiting.store(state.waiting(), Relaxed);
        self.load.0.answered.store(state.answered(), Relaxed);
    }
}

/// A call that is under way, in portions if it is a pipeline. When it is dropped, replies that still come
/// for it go to nobody.
struct RequestFuture<'a> {
    mux: &'a Mux,
    slot: Slot,
    want: Want,
    /// The tick in which it came, once it has begun.
    since: Option<u32>,
}

impl RequestFuture<'_> {
    fn timed_out(&self, limit: Limit) -> Completion {
        let fate = match self.since {
            None => Fate::NotExecuted,
            Some(_) => {
                // Perhaps it only waits for a position: the command was executed, and its reply is here.
                if let Some(completion) = self.slot.call().lock().finish() {
                    return completion;
                }
                self.mux.abandon(&self.slot)
            }
        };
        Completion::Error(MuxError::Failed(Cause::Timeout(limit.whole), fate))
    }

    fn poll(&mut self, cx: &mut Context<'_>, encoder: &mut Encoder<'_>) -> Poll<Completion> {
        let count = if self.since.is_none() {
            encoder.begin(self.slot.renew(), cx.waker())
        } else {
            let mut call = self.slot.call().lock();
            match call.progress(cx.waker()) {
                Progress::Waiting => return Poll::Pending,
                Progress::Done(completion) => return Poll::Ready(completion),
                // The rest of a long pipeline waits behind the calls that have come meanwhile.
                Progress::More => encoder.encode(&mut call),
            }
        };
        if let Some(since) = self.mux.leave(&self.slot, count, self.want, self.since) {
            self.since = Some(since);
            return Poll::Pending;
        }
        if self.since.is_none() {
            return Poll::Ready(Completion::Error(MuxError::NotWritten));
        }
        let mut call = self.slot.call().lock();
        // The caller is here, and needs no waking.
        let _waker = call.shorten();
        match call.progress(cx.waker()) {
            Progress::Done(completion) => Poll::Ready(completion),
            Progress::Waiting | Progress::More => Poll::Pending,
        }
    }
}

impl Drop for RequestFuture<'_> {
    fn drop(&mut self) {
        if self.since.is_some() {
            self.mux.abandon(&self.slot);
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

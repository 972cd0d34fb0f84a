//! Moves bytes between the calls and the socket.

use std::{
    mem,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll, Waker, ready},
    time::Duration,
};

use redis::Value;
use tokio::{
    task::unconstrained,
    time::{Instant, Sleep},
};

use crate::{
    error::failure::Cause,
    topology::admission::Admission,
    wire::{
        framed::Framed,
        mux::{
            Mux,
            intake::{Arrival, Orders, Phase},
            room::ROOM,
            state::{Delivered, MuxState, Ticked},
            wake,
        },
    },
};

/// How many replies are delivered together: an eighth of what is in flight, within these bounds. The
/// callers that they wake hand in their next commands while the server still has the rest to answer. If
/// all were woken at once, the server would wait for the client and the client for the server, in turns:
/// with 64 callers a quarter at a time serves 1.3 to 1.6 times as many commands, with 256 callers 1.5 to
/// 1.8 times, measured on two cores.
///
/// Fewer than 16 do not pay for their own write. tokio has room for 256 tasks in the queue of a worker.
/// Those beyond it wait until that queue is empty, which under load may take 20 ms.
const FEWEST: usize = 16;
const MOST: usize = 128;
const SHARE: usize = 8;

/// How often the driver lets callers hand in first before it writes a question, which costs the server as much
/// as ten or twenty commands. Measured with two replicas on two cores: with 256 callers who want proofs this
/// keeps 92 % of the operations of those who want none instead of 75 %, with 64 callers 82 % instead of
/// 73 %. One who is alone never waits.
const YIELDS_FOR_A_QUESTION: u32 = 3;

/// The one task that uses the socket.
pub(super) struct Driver<F> {
    mux: Arc<Mux>,
    current: F,
    io: Io,
    tick: Duration,
    limit: Duration,
    /// Set while calls are under way, and for a tick after that.
    timer: Option<Pin<Box<Sleep>>>,
    over: bool,
}

/// The socket, and what is known of the calls.
struct Io {
    framed: Framed,
    state: MuxState,
    /// How many of the bytes that `framed` has written `state` knows of.
    reported: usize,
    /// What was handed in and is not in `state` yet.
    arrived: Vec<Arrival>,
    woken: Vec<Waker>,
    /// Several callers were just answered, so several commands are likely to come.
    crowd: bool,
    /// How often in a row it has let callers hand in first.
    yields: u32,
    /// How many replies are delivered together.
    batch: usize,
}

/// What the driver does after its turn.
enum Next {
    Sleep,
    Write,
    /// Has another turn at once.
    Again,
    /// Lets the callers who are about to come hand in first, so that all goes out with one write.
    Yield,
    Close(Result<(), Cause>),
}

impl<F: FnMut() -> Admission> Driver<F> {
    pub(super) fn new(
        mux: Arc<Mux>,
        mut framed: Framed,
        state: MuxState,
        tick: Duration,
        limit: Duration,
        current: F,
    ) -> Self {
        framed.widen();
        framed.begin();
        Self {
            mux,
            current,
            io: Io {
                framed,
                state,
                reported: 0,
                arrived: Vec::new(),
                woken: Vec::new(),
                crowd: false,
                yields: 0,
                batch: FEWEST,
            },
            tick,
            limit,
            timer: None,
            over: false,
        }
    }

    /// Goes on until it needs the socket, a caller, or time to pass; ends when the connection does.
    fn run(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Cause>> {
        loop {
            let read = self.io.read(cx);
            let admission = (self.current)();
            let (next, more) = match read {
                Ok(more) => (self.turn(cx, admission, more), more),
                Err(cause) => (Next::Close(Err(cause)), false),
            };
            wake(self.io.woken.drain(..));
            match next {
                Next::Close(ended) => return Poll::Ready(ended),
                Next::Again => continue,
                Next::Sleep => return Poll::Pending,
                Next::Yield => {}
                Next::Write => match self.io.framed.poll_write(cx) {
                    Poll::Ready(Err(cause)) => return Poll::Ready(Err(cause)),
                    // More may have been handed in meanwhile.
                    Poll::Ready(Ok(())) if !more => continue,
                    Poll::Pending if !more => return Poll::Pending,
                    _ => {}
                },
            }
            // Behind all tasks that are ready to run. `yield_now` would come back after 61 of them:
            // by then it would only write less and wake more.
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
    }

    /// Its turn: takes what callers have handed in, and what is to be written. `more` says whether there
    /// are more replies to deliver.
    fn turn(&mut self, cx: &mut Context<'_>, admission: Admission, more: bool) -> Next {
        let io = &mut self.io;
        io.note_written();
        let orders = self.mux.intake().take(cx.waker(), &mut io.arrived);
        if orders.abandoned > 0 {
            io.state.abandoned(orders.abandoned);
        }
        io.state.admit(&mut io.arrived, &mut io.woken);
        let stopped = io.stop(&self.mux, orders, admission);
        io.batch = (io.state.in_flight() / SHARE).clamp(FEWEST, MOST);
        self.mux.publish(&io.state);
        if let Some(next) = stopped {
            return next;
        }
        let (next, taken) = io.take(&self.mux, more);
        if taken {
            let tick = self.tick;
            self.timer
                .get_or_insert_with(|| Box::pin(tokio::time::sleep(tick)));
        }
        next
    }

    /// Counts the time that calls have been waiting.
    fn keep_time(&mut self, cx: &mut Context<'_>) -> Poll<Cause> {
        loop {
            let Some(timer) = &mut self.timer else {
                return Poll::Pending;
            };
            // As in `framed`: a peer that always has more to read must not hold up time.
            ready!(pin!(unconstrained(timer.as_mut())).poll(cx));
            let now = Instant::now();
            let io = &mut self.io;
            let tick = io.state.advance(now);
            self.mux.intake().tick(tick, &mut io.arrived);
            io.state.admit(&mut io.arrived, &mut io.woken);
            let ticked = io.state.expire(&mut io.woken);
            self.mux.publish(&io.state);
            wake(io.woken.drain(..));
            if io.state.has_out() {
                // It may have been let in just now.
                cx.waker().wake_by_ref();
            }
            match ticked {
                Ticked::Busy => timer.as_mut().reset(now + self.tick),
                Ticked::Idle => {
                    self.timer = None;
                    io.trim();
                    self.mux.intake().shrink();
                }
                Ticked::Stalled => return Poll::Ready(Cause::Timeout(self.limit)),
            }
        }
    }
}

impl Io {
    /// Reads replies and delivers them, as many as go together; says whether there may be more.
    #[inline]
    fn read(&mut self, cx: &mut Context<'_>) -> Result<bool, Cause> {
        self.note_written();
        let mut delivered = 0;
        loop {
            while let Some(next) = self.deliver_next()? {
                let Delivered::To(count) = next else {
                    return Err(Cause::unasked());
                };
                delivered += count;
                if delivered >= self.batch {
                    self.crowd = true;
                    return Ok(true);
                }
            }
            match self.framed.poll_fill(cx) {
                Poll::Ready(Ok(())) => self.state.heard(),
                Poll::Ready(Err(cause)) => return Err(cause),
                Poll::Pending => break,
            }
        }
        if delivered > 0 {
            self.crowd = delivered > 1;
        }
        Ok(false)
    }

    /// Delivers the next reply that is here.
    #[inline]
    fn deliver_next(&mut self) -> Result<Option<Delivered>, Cause> {
        let (state, woken) = (&mut self.state, &mut self.woken);
        if let Some(concluded) = state.conclude(woken) {
            return Ok(Some(concluded));
        }
        let short = |reply: &[u8]| state.deliver_short(reply, woken);
        if let Some(delivered) = self.framed.decode_short(ROOM, short) {
            return Ok(Some(delivered));
        }
        while let Some(reply) = self.framed.decode()? {
            if !matches!(reply, Value::Push { .. }) {
                return Ok(Some(self.state.deliver(reply, &mut self.woken)));
            }
        }
        Ok(None)
    }

    /// Tells the state what the socket has taken.
    #[inline]
    fn note_written(&mut self) {
        let written = self.framed.written();
        self.state.wrote(written - self.reported);
        self.reported = written;
    }

    /// Writes nothing more for now, or ever, where that is asked for.
    #[inline]
    fn stop(&mut self, mux: &Mux, orders: Orders, admission: Admission) -> Option<Next> {
        let mut paused = orders.phase == Phase::Paused;
        if admission == Admission::Fenced && orders.phase == Phase::Open {
            paused = self.state.is_between_commands();
            if paused {
                let arrived = mux.pause();
                let cause = &Cause::Withdrawn;
                self.state.hand_back(arrived, cause, &mut self.woken);
                self.begin();
                // The fence may have been lifted meanwhile, and nobody would check again.
                return Some(Next::Again);
            }
        }
        let stays = admission == Admission::Open || paused;
        let closed = orders.phase == Phase::Closed;
        if admission == Admission::Revoked || !stays || orders.retired || closed {
            if !closed {
                let arrived = mux.close();
                let cause = &Cause::Withdrawn;
                self.state.drain(arrived, cause, &mut self.woken);
                self.begin();
            }
            if !self.state.is_owed() {
                return Some(Next::Close(Ok(())));
            }
        }
        None
    }

    /// Takes what is to be written next; whether there was any.
    #[inline]
    fn take(&mut self, mux: &Mux, more: bool) -> (Next, bool) {
        if !self.framed.is_flushed() {
            return (Next::Write, false);
        }
        self.begin();
        if !self.state.has_out() {
            if more {
                return (Next::Yield, false);
            }
            let asleep = mux.intake().sleep();
            return (if asleep { Next::Sleep } else { Next::Again }, false);
        }
        let most = if self.state.has_asked() {
            YIELDS_FOR_A_QUESTION
        } else {
            1
        };
        if (self.crowd || self.state.is_busy()) && self.yields < most {
            self.yields += 1;
            return (Next::Yield, false);
        }
        self.yields = 0;
        self.crowd = false;
        self.state.take_out(self.framed.begin());
        (Next::Write, true)
    }

    /// Empties the buffer of what is being written.
    #[inline]
    fn begin(&mut self) {
        self.framed.begin();
        self.reported = 0;
    }

    /// Gives back what grew under load.
    fn trim(&mut self) {
        self.framed.trim();
        self.woken = Vec::new();
        if self.arrived.is_empty() {
            self.arrived = Vec::new();
        }
    }
}

impl<F> Driver<F> {
    #[cfg(test)]
    pub(super) fn is_ticking(&self) -> bool {
        self.timer.is_some()
    }

    #[cfg(test)]
    pub(super) fn expects_a_crowd(&self) -> bool {
        self.io.crowd
    }

    fn finish(&mut self, cause: &Cause) {
        self.over = true;
        let io = &mut self.io;
        io.note_written();
        let mut arrived = mem::take(&mut io.arrived);
        arrived.extend(self.mux.close());
        self.mux.forget_driver();
        io.state.fail(arrived, cause, &mut io.woken);
        self.mux.publish(&io.state);
        wake(io.woken.drain(..));
    }
}

impl<F: FnMut() -> Admission + Unpin> Future for Driver<F> {
    /// An error where the connection was lost, as opposed to retired.
    type Output = Result<(), Cause>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let ended = match this.run(cx) {
            Poll::Ready(ended) => ended,
            Poll::Pending => Err(ready!(this.keep_time(cx))),
        };
        this.finish(ended.as_ref().err().unwrap_or(&Cause::Closed));
        Poll::Ready(ended)
    }
}

impl<F> Drop for Driver<F> {
    /// The runtime ends, or the task panics: no caller may wait for ever.
    fn drop(&mut self) {
        if !self.over {
            let cause = if std::thread::panicking() {
                Cause::Closed
            } else {
                Cause::RuntimeEnded
            };
            self.finish(&cause);
        }
    }
}

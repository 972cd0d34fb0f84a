//! Moves bytes between the shared state and the socket.

use std::{
    mem,
    pin::{Pin, pin},
    sync::{Arc, atomic::Ordering::Relaxed},
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
            state::{MuxState, Ticked},
            wake,
        },
    },
};

/// How many replies are delivered together: a quarter of what is in flight, within these bounds. The
/// callers that they wake hand in their next commands while the server still has the rest to answer. If
/// all were woken at once, the server would wait for the client and the client for the server, in turns:
/// with 64 callers a quarter at a time serves 1.3 to 1.6 times as many commands, with 256 callers 1.5 to
/// 1.8 times, measured on two cores.
///
/// Fewer than 16 do not pay for their own write. tokio has room for 256 tasks in the queue of a worker.
/// Those beyond it wait until that queue is empty, which under load may take 20 ms.
const FEWEST: usize = 16;
const MOST: usize = 128;
const SHARE: usize = 4;

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

/// The socket's side: what was read and not delivered, what is being written.
struct Io {
    framed: Framed,
    /// How many of the bytes that `framed` has written the shared state knows of.
    reported: usize,
    replies: Vec<Value>,
    woken: Vec<Waker>,
    /// Something was read since the last turn.
    heard: bool,
    /// Several callers were just answered, so several commands are likely to come.
    crowd: bool,
    yielded: bool,
    /// How many replies are delivered together.
    batch: usize,
}

/// What the driver does after its turn under the lock.
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
                reported: 0,
                replies: Vec::new(),
                woken: Vec::new(),
                heard: false,
                crowd: false,
                yielded: false,
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
            let more = matches!(read, Ok(true));
            let next = self.turn(cx, admission, more);
            wake(self.io.woken.drain(..));
            // Those that nobody waited for.
            self.io.replies.clear();
            if let Err(cause) = read {
                return Poll::Ready(Err(cause));
            }
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

    /// Its turn under the lock: delivers what was read and takes what is to be written.
    fn turn(&mut self, cx: &mut Context<'_>, admission: Admission, more: bool) -> Next {
        let mut state = self.mux.state.lock();
        state.greet(cx.waker());
        let stopped = match self.io.deliver(&mut state) {
            None => self.io.stop(&self.mux, &mut state, admission),
            ended => ended,
        };
        if let Some(next) = stopped {
            return next;
        }
        self.io.batch = (state.in_flight() / SHARE).clamp(FEWEST, MOST);
        self.mux.publish(&state);
        let (next, taken) = self.io.take(&mut state, more);
        drop(state);
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
            let mut state = self.mux.state.lock();
            let ticked = state.tick(now, &mut self.io.woken);
            self.mux.publish(&state);
            drop(state);
            wake(self.io.woken.drain(..));
            match ticked {
                Ticked::Busy => timer.as_mut().reset(now + self.tick),
                Ticked::Idle => {
                    self.timer = None;
                    self.io.trim();
                }
                Ticked::Stalled => return Poll::Ready(Cause::Timeout(self.limit)),
            }
        }
    }
}

impl Io {
    /// Reads replies; says whether there may be more.
    #[inline]
    fn read(&mut self, cx: &mut Context<'_>) -> Result<bool, Cause> {
        loop {
            while let Some(value) = self.framed.decode()? {
                if !matches!(value, Value::Push { .. }) {
                    self.replies.push(value);
                }
                if self.replies.len() >= self.batch {
                    return Ok(true);
                }
            }
            match self.framed.poll_fill(cx) {
                Poll::Ready(Ok(())) => self.heard = true,
                Poll::Ready(Err(cause)) => return Err(cause),
                Poll::Pending => return Ok(false),
            }
        }
    }

    /// Tells the state what was written, and delivers what was read.
    #[inline]
    fn deliver(&mut self, state: &mut MuxState) -> Option<Next> {
        let written = self.framed.written();
        state.wrote(written - self.reported, &mut self.woken);
        self.reported = written;
        if mem::take(&mut self.heard) {
            state.heard();
        }
        if !self.replies.is_empty() {
            self.crowd = self.replies.len() > 1;
            if !state.deliver(&mut self.replies, &mut self.woken) {
                return Some(Next::Close(Err(Cause::unasked())));
            }
        }
        None
    }

    /// Writes nothing more for now, or ever, where that is asked for.
    #[inline]
    fn stop(&mut self, mux: &Mux, state: &mut MuxState, admission: Admission) -> Option<Next> {
        if admission == Admission::Fenced && !state.is_paused() {
            mux.open.store(false, Relaxed);
            if state.pause(&Cause::Withdrawn, &mut self.woken) {
                self.begin();
                mux.publish(state);
                // The fence may have been lifted meanwhile, and nobody would check again.
                return Some(Next::Again);
            }
        }
        let stays = admission == Admission::Open || state.is_paused();
        if admission == Admission::Revoked || !stays || state.is_retired() {
            mux.open.store(false, Relaxed);
            mux.leaving.store(true, Relaxed);
            state.drain(&Cause::Withdrawn, &mut self.woken);
            self.begin();
            if !state.is_owed() {
                return Some(Next::Close(Ok(())));
            }
        }
        None
    }

    /// Takes what is to be written next; whether there was any.
    #[inline]
    fn take(&mut self, state: &mut MuxState, more: bool) -> (Next, bool) {
        if !self.framed.is_flushed() {
            return (Next::Write, false);
        }
        self.begin();
        if !state.has_out() {
            if more {
                return (Next::Yield, false);
            }
            state.sleep();
            return (Next::Sleep, false);
        }
        if (self.crowd || state.is_busy()) && !self.yielded {
            self.yielded = true;
            return (Next::Yield, false);
        }
        self.yielded = false;
        self.crowd = false;
        state.take_out(self.framed.begin());
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
        (self.replies, self.woken) = (Vec::new(), Vec::new());
    }
}

impl<F> Driver<F> {
    #[cfg(test)]
    pub(super) fn is_ticking(&self) -> bool {
        self.timer.is_some()
    }

    fn finish(&mut self, cause: &Cause) {
        self.over = true;
        let io = &mut self.io;
        let mut state = self.mux.state.lock();
        // Under the lock, or the maintainer might reopen it in between: a connection that looks open
        // and takes nothing in would have callers try it again and again.
        self.mux.open.store(false, Relaxed);
        self.mux.leaving.store(true, Relaxed);
        state.wrote(io.framed.written() - io.reported, &mut io.woken);
        state.fail(cause, &mut io.woken);
        self.mux.publish(&state);
        drop(state);
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

//! Moves bytes between the request queue and the socket.

use std::{
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
        mux::{Mux, queue::Ticked, wake},
    },
};

/// So many replies are handed out together at most, and then those whom they woke have their turn.
/// tokio has room for 256 tasks in the queue of a worker; those beyond it wait until that is empty,
/// which under load may be 20 ms.
const BATCH: usize = 128;

/// The one task that uses the socket.
pub(super) struct Driver<F> {
    shared: Arc<Mux>,
    channel: Framed,
    /// How much of what is in the channel the queue knows to be written.
    told: usize,
    current: F,
    tick: Duration,
    limit: Duration,
    /// Set while somebody waits, and for a tick after that.
    timer: Option<Pin<Box<Sleep>>>,
    replies: Vec<Value>,
    woken: Vec<Waker>,
    /// Several callers were just answered, so several commands are likely to come.
    crowd: bool,
    yielded: bool,
    heard: bool,
    over: bool,
}

/// What the driver does after its turn at the queue.
enum Next {
    Sleep,
    Write,
    /// Has its turn at once again.
    Again,
    /// Lets the callers who are about to come hand in first, so that all goes out with one write.
    Yield,
    Close(Result<(), Cause>),
}

impl<F: FnMut() -> Admission> Driver<F> {
    pub(super) fn new(
        shared: Arc<Mux>,
        mut channel: Framed,
        tick: Duration,
        limit: Duration,
        current: F,
    ) -> Self {
        channel.widen();
        channel.begin();
        Self {
            shared,
            channel,
            told: 0,
            current,
            tick,
            limit,
            timer: None,
            replies: Vec::new(),
            woken: Vec::new(),
            crowd: false,
            yielded: false,
            heard: false,
            over: false,
        }
    }

    /// Goes on until it needs the socket, a caller, or time to pass; ends when the connection does.
    fn run(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Cause>> {
        loop {
            let read = self.read(cx);
            let admission = (self.current)();
            let more = matches!(read, Ok(true));
            let next = self.turn(cx, admission, more);
            wake(self.woken.drain(..));
            // Those that nobody waited for.
            self.replies.clear();
            if let Err(cause) = read {
                return Poll::Ready(Err(cause));
            }
            match next {
                Next::Close(ended) => return Poll::Ready(ended),
                Next::Again => continue,
                Next::Sleep => return Poll::Pending,
                Next::Yield => {}
                Next::Write => match self.channel.poll_write(cx) {
                    Poll::Ready(Err(cause)) => return Poll::Ready(Err(cause)),
                    // More may have been handed in meanwhile.
                    Poll::Ready(Ok(())) if !more => continue,
                    Poll::Pending if !more => return Poll::Pending,
                    _ => {}
                },
            }
            // Behind all who are ready to run, where `yield_now` would come back after 61 of them: by
            // then it would only write less and wake more.
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
    }

    /// Takes in replies; says whether there may be more.
    fn read(&mut self, cx: &mut Context<'_>) -> Result<bool, Cause> {
        loop {
            while let Some(value) = self.channel.decode()? {
                if !matches!(value, Value::Push { .. }) {
                    self.replies.push(value);
                }
                if self.replies.len() == BATCH {
                    return Ok(true);
                }
            }
            match self.channel.poll_fill(cx) {
                Poll::Ready(Ok(())) => self.heard = true,
                Poll::Ready(Err(cause)) => return Err(cause),
                Poll::Pending => return Ok(false),
            }
        }
    }

    /// Its turn at the queue: hands out what was read and takes what is to be written.
    fn turn(&mut self, cx: &mut Context<'_>, admission: Admission, more: bool) -> Next {
        let mut queue = self.shared.queue.lock();
        queue.greet(cx.waker());
        let written = self.channel.written();
        queue.wrote(written - self.told, &mut self.woken);
        self.told = written;
        if std::mem::take(&mut self.heard) {
            queue.heard();
        }
        if !self.replies.is_empty() {
            self.crowd = self.replies.len() > 1;
            if !queue.deliver(&mut self.replies, &mut self.woken) {
                return Next::Close(Err(Cause::unasked()));
            }
        }
        if admission == Admission::Fenced && !queue.is_held() {
            self.shared.open.store(false, Relaxed);
            if queue.hold(&Cause::Withdrawn, &mut self.woken) {
                self.channel.begin();
                self.told = 0;
                self.shared.show(&queue);
                // The fence may have been lifted meanwhile, and nobody would look again.
                return Next::Again;
            }
        }
        let stays = admission == Admission::Open || queue.is_held();
        if admission == Admission::Revoked || !stays || queue.is_retired() {
            self.shared.open.store(false, Relaxed);
            self.shared.leaving.store(true, Relaxed);
            queue.cut(&Cause::Withdrawn, &mut self.woken);
            self.channel.begin();
            self.told = 0;
            if !queue.is_owed() {
                return Next::Close(Ok(()));
            }
        }
        self.shared.show(&queue);
        if !self.channel.is_flushed() {
            return Next::Write;
        }
        self.channel.begin();
        self.told = 0;
        if !queue.has_out() {
            if more {
                return Next::Yield;
            }
            queue.sleep();
            return Next::Sleep;
        }
        if (self.crowd || queue.is_busy()) && !self.yielded {
            self.yielded = true;
            return Next::Yield;
        }
        self.yielded = false;
        self.crowd = false;
        queue.take_out(self.channel.begin());
        drop(queue);
        let tick = self.tick;
        self.timer
            .get_or_insert_with(|| Box::pin(tokio::time::sleep(tick)));
        Next::Write
    }

    /// Counts the time that calls have been waiting.
    fn keep_time(&mut self, cx: &mut Context<'_>) -> Poll<Cause> {
        loop {
            let Some(timer) = &mut self.timer else {
                return Poll::Pending;
            };
            // As in the channel: a peer that always has more to read must not hold up time.
            ready!(pin!(unconstrained(timer.as_mut())).poll(cx));
            let now = Instant::now();
            let mut queue = self.shared.queue.lock();
            let ticked = queue.tick(now, &mut self.woken);
            self.shared.show(&queue);
            drop(queue);
            wake(self.woken.drain(..));
            match ticked {
                Ticked::Busy => timer.as_mut().reset(now + self.tick),
                Ticked::Idle => {
                    self.timer = None;
                    self.channel.trim();
                    (self.replies, self.woken) = (Vec::new(), Vec::new());
                }
                Ticked::Stalled => return Poll::Ready(Cause::Timeout(self.limit)),
            }
        }
    }
}

impl<F> Driver<F> {
    #[cfg(test)]
    pub(super) fn is_ticking(&self) -> bool {
        self.timer.is_some()
    }

    fn finish(&mut self, cause: &Cause) {
        self.over = true;
        let mut queue = self.shared.queue.lock();
        // Under the lock, or the keeper might reopen it in between: a connection that looks open and
        // takes nothing would have callers try it again and again.
        self.shared.open.store(false, Relaxed);
        self.shared.leaving.store(true, Relaxed);
        queue.wrote(self.channel.written() - self.told, &mut self.woken);
        queue.fail(cause, &mut self.woken);
        self.shared.show(&queue);
        drop(queue);
        wake(self.woken.drain(..));
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
    /// The runtime ends, or the task panics: nobody must wait for ever.
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

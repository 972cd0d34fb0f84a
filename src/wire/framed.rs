//! Bytes out, replies in: the buffers and the clock of one socket.
//!
//! Nothing here knows what a command is or whose reply comes next.

use std::{
    future::poll_fn,
    io,
    net::SocketAddr,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use redis::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWrite},
    task::unconstrained,
    time::{Instant, Sleep, sleep_until},
};

use crate::{
    config::{ReplyLimits, edition::Edition},
    error::failure::{self, Cause},
    util::runtime::Runtime,
    wire::{codec::Decoder, stream::Stream},
};

/// What a write buffer may keep between commands; together with the reply buffer it stays well
/// under the 4 KiB that an idle connection is allowed.
const KEEP_OUT: usize = 1024;

pub(super) struct Framed {
    stream: Stream,
    out: Vec<u8>,
    written: usize,
    /// Why nothing can be written any more, while what the peer sent before may still be read.
    hangup: Option<Cause>,
    decoder: Decoder,
    /// The time limit of the current exchange, for the text of its error.
    limit: Duration,
    /// Registered once and moved on only when it fires, so that a command does not pay for a timer of
    /// its own.
    timer: Option<Pin<Box<Sleep>>>,
    /// Where the timer lives. `None` while only one runtime uses the connection.
    runtime: Option<Arc<Runtime>>,
    /// No error may show received bytes any more: they may be what callers store.
    discreet: bool,
}

impl Framed {
    pub(super) fn new(stream: Stream, limits: ReplyLimits) -> Self {
        Self {
            stream,
            out: Vec::new(),
            written: 0,
            hangup: None,
            decoder: Decoder::new(limits),
            limit: Duration::ZERO,
            timer: None,
            runtime: None,
            discreet: false,
        }
    }

    /// From now on callers on any runtime use it; its timer lives on `runtime`.
    pub(super) fn live_on(&mut self, runtime: &Arc<Runtime>) {
        self.runtime = Some(Arc::clone(runtime));
    }

    /// The empty buffer for what is to be written next.
    pub(super) fn begin(&mut self) -> &mut Vec<u8> {
        self.out.clear();
        self.written = 0;
        &mut self.out
    }

    /// Whether any byte of what was begun last may have reached the server.
    pub(super) fn has_written(&self) -> bool {
        self.written > 0
    }

    /// How many bytes of what was begun last the socket has taken, or the TLS session, which may keep
    /// one record for a moment and never gives it back. The server cannot have read any of the others.
    pub(super) fn written(&self) -> usize {
        self.written
    }

    /// Whether everything that was begun is on the socket.
    pub(super) fn is_flushed(&mut self) -> bool {
        self.written == self.out.len() && self.stream.is_flushed()
    }

    /// As [`Stream::peer_addr`].
    pub(super) fn peer_addr(&self) -> Option<SocketAddr> {
        self.stream.peer_addr()
    }

    /// As [`Stream::edition`].
    pub(super) fn edition(&self) -> Edition {
        self.stream.edition()
    }

    /// As [`Stream::is_outdated`].
    #[inline]
    pub(super) fn is_outdated(&self) -> bool {
        self.stream.is_outdated()
    }

    /// As [`Stream::closed_at_once`].
    pub(super) fn closed_at_once(&self) -> Option<&'static str> {
        self.stream.closed_at_once()
    }

    /// From now on many replies are expected at once.
    pub(super) fn widen(&mut self) {
        self.decoder.widen();
    }

    /// The moment by which an exchange that begins now must be over.
    #[inline]
    pub(super) fn deadline(&mut self, limit: Duration) -> Option<Instant> {
        self.limit = limit;
        Instant::now().checked_add(limit)
    }

    /// Reads what has arrived without waiting for more.
    #[inline]
    pub(super) fn read_available(&mut self) -> Result<(), Cause> {
        self.decoder.reserve();
        match self.stream.try_read(self.decoder.buf_mut()) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
            Err(error) => Err(self.io_cause(&error)),
            Ok(0) => Err(Cause::Closed),
            Ok(_) => Ok(()),
        }
    }

    /// As [`Decoder::decode_short`].
    #[inline]
    pub(super) fn decode_short<R>(
        &mut self,
        longest: usize,
        read: impl FnOnce(&[u8]) -> R,
    ) -> Option<R> {
        self.decoder.decode_short(longest, read)
    }

    /// The next reply that is here already.
    #[inline]
    pub(super) fn decode(&mut self) -> Result<Option<Value>, Cause> {
        self.decoder.decode().map_err(|error| {
            Cause::Protocol(if self.discreet {
                error.discreet()
            } else {
                error.to_string()
            })
        })
    }

    /// Whether everything that came has been decoded.
    pub(super) fn is_idle(&self) -> bool {
        self.decoder.is_idle()
    }

    /// Whether the server has closed the socket, or has sent something that nobody asked for. Costs no
    /// round trip. A stale connection must not be lent. It must be closed, since a byte may have been
    /// taken from the stream.
    pub(super) fn is_stale(&self) -> bool {
        let mut byte = [0_u8; 1];
        let looked = self.stream.try_read(&mut &mut byte[..]);
        !matches!(looked, Err(error) if error.kind() == io::ErrorKind::WouldBlock)
    }

    /// Gives back buffers that grew for one big command or reply.
    #[inline]
    pub(super) fn trim(&mut self) {
        self.decoder.shrink();
        if self.out.capacity() > KEEP_OUT {
            self.out = Vec::new();
        }
    }

    /// The handshake is over: gives back its buffer and timer. From now on no error shows received bytes.
    pub(super) fn forget(&mut self) {
        self.discreet = true;
        self.out = Vec::new();
        self.timer = None;
    }

    /// The error of a write that failed because the peer has closed the connection.
    pub(super) fn hangup(&self) -> Option<&Cause> {
        self.hangup.as_ref()
    }

    /// Writes what was begun. Where the peer closes the connection meanwhile this stays pending. A
    /// server that refuses says why and closes without reading on, so its reason is here or about to
    /// come. [`poll_fill`](Self::poll_fill) gives the reason first, and then the error.
    pub(super) fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Cause>> {
        if self.hangup.is_some() {
            return Poll::Pending;
        }
        while self.written < self.out.len() {
            let rest = &self.out[self.written..];
            let mut write = poll_fn(|cx| Pin::new(&mut self.stream).poll_write(cx, rest));
            let polled = if self.written == 0 {
                // tokio makes a task that has done much in one go wait its turn. A command must not
                // wait: by then its node may not be the master any more.
                pin!(unconstrained(write)).poll(cx)
            } else {
                Pin::new(&mut write).poll(cx)
            };
            match ready!(polled) {
                Ok(0) => return Poll::Ready(Err(Cause::Closed)),
                Ok(n) => self.written += n,
                Err(error) => return self.write_failed(&error),
            }
        }
        match ready!(Pin::new(&mut self.stream).poll_flush(cx)) {
            Ok(()) => Poll::Ready(Ok(())),
            Err(error) => self.write_failed(&error),
        }
    }

    #[cold]
    fn write_failed(&mut self, error: &io::Error) -> Poll<Result<(), Cause>> {
        let cause = self.io_cause(error);
        if failure::is_hangup(error.kind()) {
            self.hangup = Some(cause);
            return Poll::Pending;
        }
        Poll::Ready(Err(cause))
    }

    /// The next reply. Reads until it is complete.
    #[inline]
    pub(super) fn poll_decode(&mut self, cx: &mut Context<'_>) -> Poll<Result<Value, Cause>> {
        loop {
            match self.decode() {
                Ok(Some(value)) => return Poll::Ready(Ok(value)),
                Ok(None) => {}
                Err(cause) => return Poll::Ready(Err(cause)),
            }
            if let Err(cause) = ready!(self.poll_fill(cx)) {
                return Poll::Ready(Err(cause));
            }
        }
    }

    /// Reads once, as much as there is room for.
    #[inline]
    pub(super) fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Cause>> {
        self.decoder.reserve();
        let read = pin!(self.stream.read_buf(self.decoder.buf_mut()));
        let cause = match ready!(read.poll(cx)) {
            Ok(0) => Cause::Closed,
            Ok(_) => return Poll::Ready(Ok(())),
            Err(error) => self.io_cause(&error),
        };
        Poll::Ready(Err(self.hangup.take().unwrap_or(cause)))
    }

    /// Ready with the cause once the deadline has passed.
    pub(super) fn poll_deadline(
        &mut self,
        cx: &mut Context<'_>,
        deadline: Option<Instant>,
    ) -> Poll<Cause> {
        let Some(deadline) = deadline else {
            return Poll::Pending;
        };
        let timer = &mut self.timer;
        let passed = match &self.runtime {
            None => {
                let timer = timer.get_or_insert_with(|| Box::pin(sleep_until(deadline)));
                poll_timer(timer, deadline, cx)
            }
            Some(runtime) => {
                let passed = runtime.with_timers(|runtime| {
                    let timer = timer.get_or_insert_with(|| runtime.timer(deadline));
                    poll_timer(timer, deadline, cx)
                });
                match passed {
                    Some(passed) => passed,
                    None => return Poll::Ready(Cause::RuntimeEnded),
                }
            }
        };
        passed.map(|()| Cause::Timeout(self.limit))
    }

    fn io_cause(&self, error: &io::Error) -> Cause {
        // tokio's own text would not say which runtime, nor what to do.
        if self
            .runtime
            .as_ref()
            .is_some_and(|runtime| runtime.has_ended())
        {
            return Cause::RuntimeEnded;
        }
        self.stream.cause(error)
    }
}

fn poll_timer(timer: &mut Pin<Box<Sleep>>, deadline: Instant, cx: &mut Context<'_>) -> Poll<()> {
    if timer.deadline() > deadline {
        timer.as_mut().reset(deadline);
    }
    loop {
        // tokio makes a task that has read much in one go wait its turn, and its timers with it.
        // A peer that always has more to read would never be cut off.
        ready!(pin!(unconstrained(timer.as_mut())).poll(cx));
        if timer.deadline() >= deadline {
            return Poll::Ready(());
        }
        // It fired for an earlier command that has long been answered.
        timer.as_mut().reset(deadline);
    }
}

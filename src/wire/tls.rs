//! The encrypted stream.

mod explain;

use std::{
    io,
    net::SocketAddr,
    pin::{Pin, pin},
    task::{Context, Poll, Waker, ready},
    time::Duration,
};

use bytes::BufMut;
use parking_lot::{Mutex, MutexGuard};
use rustls::ClientConfig;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf},
    task::unconstrained,
    time::{Instant, timeout_at},
};
use tokio_rustls::{TlsConnector, client};

pub(crate) use crate::wire::tls::explain::cause;
use crate::{
    config::{
        edition::Edition,
        tls::{DialFacts, TlsDial},
    },
    wire::{stream::Stream, tls::explain::handshake_error},
};

/// The most that one record holds, and what its header adds (RFC 8446, section 5.1).
const LARGEST_RECORD: usize = 16 * 1024;
const HEADER: usize = 5;

/// A stream with TLS.
#[derive(Debug)]
pub(crate) struct TlsStream {
    /// An idle connection is looked at by whoever goes through the idle ones, without exclusive access,
    /// and the look changes the state of the session. Nobody ever waits for this lock.
    session: Mutex<client::TlsStream<Stream>>,
    /// How much of what is written fits into one record.
    record: usize,
    edition: Edition,
    facts: DialFacts,
}

impl TlsStream {
    /// Shakes hands, in what is left of `limit`.
    pub(super) async fn connect(
        stream: Stream,
        dial: TlsDial,
        deadline: Instant,
        limit: Duration,
    ) -> io::Result<Self> {
        let TlsDial {
            config,
            name,
            edition,
            facts,
        } = dial;
        let record = record(&config);
        let connected = TlsConnector::from(config).connect(name, stream);
        match timeout_at(deadline, connected).await {
            Ok(Ok(session)) => Ok(Self {
                session: Mutex::new(session),
                record,
                edition,
                facts,
            }),
            Ok(Err(error)) => Err(handshake_error(&error, facts)),
            // A plain Redis port takes what it gets for the beginning of a long command, and waits.
            Err(_) => Err(io::Error::new(
                io::ErrorKind::TimedOut,
                format!(
                    "no TLS handshake within {limit:?}: does it speak TLS on this port? Redis has \
                     `tls-port` beside `port`"
                ),
            )),
        }
    }

    pub(super) fn peer_addr(&self) -> Option<SocketAddr> {
        self.session.lock().get_ref().0.peer_addr()
    }

    pub(super) fn edition(&self) -> &Edition {
        &self.edition
    }

    pub(super) fn facts(&self) -> DialFacts {
        self.facts
    }

    /// Whether all that was written is on the socket. What the socket does not take at once stays in the
    /// session.
    pub(super) fn is_flushed(&mut self) -> bool {
        !self.session.get_mut().get_ref().1.wants_write()
    }

    /// Reads what is there without waiting.
    ///
    /// This asks the session and not the socket: after its handshake a server sends session tickets, and
    /// may renew keys at any time. Those bytes are no data, and none may be missing later.
    pub(super) fn try_read(&self, buf: &mut impl BufMut) -> io::Result<usize> {
        let mut session: MutexGuard<'_, _> = self.session.lock();
        // Nobody waits for an idle connection, and every wait to come leaves a waker of its own.
        let mut cx = Context::from_waker(Waker::noop());
        match pin!(unconstrained(session.read_buf(buf))).poll(&mut cx) {
            Poll::Ready(read) => read,
            Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
        }
    }

    fn session(&mut self) -> Pin<&mut client::TlsStream<Stream>> {
        Pin::new(self.session.get_mut())
    }
}

/// How much of what is written fits into one record.
fn record(config: &ClientConfig) -> usize {
    // The setting counts the header too.
    config
        .max_fragment_size
        .map_or(LARGEST_RECORD, |size| size.saturating_sub(HEADER))
        .clamp(1, LARGEST_RECORD)
}

impl AsyncRead for TlsStream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.get_mut().session().poll_read(cx, buf)
    }
}

impl AsyncWrite for TlsStream {
    /// Takes one record at most, and only when those before are on the socket.
    ///
    /// The session would take several, and where the connection breaks between two of them it would say
    /// only that it failed: the server may have executed what was in the first. So an error means that
    /// the server cannot read what was passed in: a record of which the end is missing does not decrypt.
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if !this.is_flushed() {
            ready!(this.session().poll_flush(cx))?;
        }
        let buf = &buf[..buf.len().min(this.record)];
        this.session().poll_write(cx, buf)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().session().poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().session().poll_shutdown(cx)
    }
}

#[cfg(test)]
#[cfg(feature = "tls-ring")]
mod tests;

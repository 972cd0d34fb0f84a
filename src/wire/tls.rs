//! The encrypted stream.

mod explain;

use std::{
    io,
    pin::{Pin, pin},
    task::{Context, Poll, Waker},
    time::Duration,
};

use bytes::BufMut;
use parking_lot::{Mutex, MutexGuard};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf},
    net::TcpStream,
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
    wire::tls::explain::handshake_error,
};

/// A TCP stream with TLS.
#[derive(Debug)]
pub(crate) struct TlsStream {
    /// An idle connection is looked at by whoever goes through the idle ones, without exclusive access,
    /// and the look changes the state of the session. Nobody ever waits for this lock.
    session: Mutex<client::TlsStream<TcpStream>>,
    edition: Edition,
    facts: DialFacts,
}

impl TlsStream {
    /// Shakes hands, in what is left of `limit`.
    pub(super) async fn connect(
        tcp: TcpStream,
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
        let connected = TlsConnector::from(config).connect(name, tcp);
        match timeout_at(deadline, connected).await {
            Ok(Ok(session)) => Ok(Self {
                session: Mutex::new(session),
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

    pub(super) fn edition(&self) -> &Edition {
        &self.edition
    }

    pub(super) fn facts(&self) -> DialFacts {
        self.facts
    }

    /// Whether all that was written is on the socket. What the socket does not take at once stays in the
    /// session.
    pub(super) fn is_flushed(&self) -> bool {
        !self.session.lock().get_ref().1.wants_write()
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

    fn session(&mut self) -> Pin<&mut client::TlsStream<TcpStream>> {
        Pin::new(self.session.get_mut())
    }
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
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.get_mut().session().poll_write(cx, buf)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().session().poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().session().poll_shutdown(cx)
    }
}

//! The byte stream under a connection: TCP, with or without TLS, or a Unix socket.

use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use socket2::{SockRef, TcpKeepalive};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpStream, lookup_host},
    time::{Instant, timeout_at},
};

use crate::{config::edition::Edition, error::failure::Cause, node::Node, wire::addresses};
#[cfg(feature = "tls")]
use crate::{
    config::tls::{Tls, TlsDial},
    error::failure::TlsRefusal,
    wire::tls::{self, TlsStream},
};

/// An idle connection whose peer has vanished fails after 15 + 3 * 5 seconds.
const KEEPALIVE_TIME: Duration = Duration::from_secs(15);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(5);
const KEEPALIVE_RETRIES: u32 = 3;
/// The same time for bytes that were sent and never acknowledged.
#[cfg(target_os = "linux")]
const USER_TIMEOUT: Duration = Duration::from_secs(30);

#[derive(Debug)]
pub(crate) enum Stream {
    Tcp(TcpStream),
    #[cfg(unix)]
    Unix(tokio::net::UnixStream),
    /// Boxed: a session is forty times as large as a socket.
    #[cfg(feature = "tls")]
    Tls(Box<TlsStream>),
    /// To a peer in the same test, where time may be paused.
    #[cfg(test)]
    Memory(Box<dyn Memory>),
}

#[cfg(test)]
pub(crate) trait Memory:
    AsyncRead + AsyncWrite + std::fmt::Debug + Send + Sync + Unpin
{
}

#[cfg(test)]
impl<T: AsyncRead + AsyncWrite + std::fmt::Debug + Send + Sync + Unpin> Memory for T {}

impl Stream {
    /// Connects. A host name is resolved each time, so a node may change its address. Of several
    /// addresses the first that answers is taken.
    pub(crate) async fn connect(node: &Node, deadline: Instant) -> io::Result<Self> {
        if node.is_unix() {
            return Self::connect_unix(node.host(), deadline).await;
        }
        let resolved = timeout_at(deadline, lookup_host((node.host(), node.port()))).await;
        let resolved =
            resolved.map_err(|_| late("the name was not resolved within the deadline"))??;
        addresses::connect(addresses::in_turns(resolved), deadline, Self::connect_tcp).await
    }

    #[cfg(unix)]
    async fn connect_unix(path: &str, deadline: Instant) -> io::Result<Self> {
        let connected = timeout_at(deadline, tokio::net::UnixStream::connect(path)).await;
        connected
            .map_err(|_| late("no connection within the deadline"))?
            .map(Self::Unix)
    }

    #[cfg(not(unix))]
    async fn connect_unix(_: &str, _: Instant) -> io::Result<Self> {
        Err(io::Error::new(
            io::ErrorKind::Unsupported,
            "this platform has no Unix sockets for tokio; give the host and the port of the server",
        ))
    }

    /// Encrypts what was just connected, unless it is a Unix socket. `announced` is the node's own
    /// address, of which `dialled` was made. `limit` is what `deadline` was made of.
    #[cfg(feature = "tls")]
    pub(crate) async fn encrypt(
        self,
        tls: &Tls,
        [announced, dialled]: [&Node; 2],
        deadline: Instant,
        limit: Duration,
    ) -> io::Result<Self> {
        #[cfg(unix)]
        if matches!(self, Self::Unix(_)) {
            return Ok(self);
        }
        let dial: TlsDial = tls.dial(announced, dialled).map_err(|reason| {
            let text = format!("its name for TLS (`tls.server_name`) {reason}");
            io::Error::new(io::ErrorKind::InvalidInput, TlsRefusal(text))
        })?;
        let tls = TlsStream::connect(self, dial, deadline, limit).await?;
        Ok(Self::Tls(Box::new(tls)))
    }

    /// The other end; `None` of a Unix socket.
    pub(crate) fn peer_addr(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(stream) => stream.peer_addr().ok(),
            #[cfg(unix)]
            Self::Unix(_) => None,
            #[cfg(feature = "tls")]
            Self::Tls(stream) => stream.peer_addr(),
            #[cfg(test)]
            Self::Memory(_) => None,
        }
    }

    /// Which certificates it was made with.
    pub(crate) fn edition(&self) -> Edition {
        #[cfg(feature = "tls")]
        if let Self::Tls(stream) = self {
            return stream.edition().clone();
        }
        Edition::default()
    }

    /// As [`Edition::is_outdated`].
    #[inline]
    pub(crate) fn is_outdated(&self) -> bool {
        #[cfg(feature = "tls")]
        if let Self::Tls(stream) = self {
            return stream.edition().is_outdated();
        }
        false
    }

    /// Whether all that was written is on its way. Plain sockets keep nothing back.
    #[inline]
    pub(crate) fn is_flushed(&mut self) -> bool {
        #[cfg(feature = "tls")]
        if let Self::Tls(stream) = self {
            return stream.is_flushed();
        }
        true
    }

    /// What it may mean that the server closes a connection before it has said anything.
    pub(crate) fn closed_at_once(&self) -> Option<&'static str> {
        Some(match self {
            #[cfg(unix)]
            Self::Unix(_) => return None,
            #[cfg(feature = "tls")]
            Self::Tls(stream) if stream.facts().client_cert => {
                "does it know the CA of our client certificate (its `tls-ca-cert-file`)?"
            }
            // Its reason may be lost, where it closes while we write.
            #[cfg(feature = "tls")]
            Self::Tls(_) => {
                "does it ask for a client certificate (`tls-auth-clients`, here `tls.client_files`)?"
            }
            _ => "does it expect TLS (`rediss://` or `rediss-sentinel://`, `Config::tls`)?",
        })
    }

    /// Why reading or writing failed.
    pub(crate) fn cause(&self, error: &io::Error) -> Cause {
        #[cfg(feature = "tls")]
        if let Self::Tls(_) = self {
            return tls::cause(error);
        }
        Cause::Io(error.to_string(), error.kind())
    }

    async fn connect_tcp(address: SocketAddr) -> io::Result<Self> {
        let tcp = TcpStream::connect(address).await?;
        tcp.set_nodelay(true)?;
        let socket = SockRef::from(&tcp);
        socket.set_tcp_keepalive(
            &TcpKeepalive::new()
                .with_time(KEEPALIVE_TIME)
                .with_interval(KEEPALIVE_INTERVAL)
                .with_retries(KEEPALIVE_RETRIES),
        )?;
        #[cfg(target_os = "linux")]
        socket.set_tcp_user_timeout(Some(USER_TIMEOUT))?;
        Ok(Self::Tcp(tcp))
    }

    /// Reads what is there without waiting. Costs no system call until tokio is told that the socket is
    /// readable, so the test at every checkout is free.
    #[inline]
    pub(crate) fn try_read(&self, buf: &mut impl bytes::BufMut) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.try_read_buf(buf),
            #[cfg(unix)]
            Self::Unix(stream) => stream.try_read_buf(buf),
            #[cfg(feature = "tls")]
            Self::Tls(stream) => stream.try_read(buf),
            #[cfg(test)]
            Self::Memory(_) => Err(io::ErrorKind::WouldBlock.into()),
        }
    }
}

fn late(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, what)
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_read(cx, buf),
            #[cfg(unix)]
            Self::Unix(stream) => Pin::new(stream).poll_read(cx, buf),
            #[cfg(feature = "tls")]
            Self::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
            #[cfg(test)]
            Self::Memory(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_write(cx, buf),
            #[cfg(unix)]
            Self::Unix(stream) => Pin::new(stream).poll_write(cx, buf),
            #[cfg(feature = "tls")]
            Self::Tls(stream) => Pin::new(stream).poll_write(cx, buf),
            #[cfg(test)]
            Self::Memory(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    #[cfg_attr(
        not(feature = "tls"),
        expect(unused_variables, reason = "a plain socket keeps nothing back")
    )]
    #[inline]
    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        #[cfg(feature = "tls")]
        if let Self::Tls(stream) = self.get_mut() {
            return Pin::new(stream).poll_flush(cx);
        }
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_shutdown(cx),
            #[cfg(unix)]
            Self::Unix(stream) => Pin::new(stream).poll_shutdown(cx),
            #[cfg(feature = "tls")]
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
            #[cfg(test)]
            Self::Memory(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

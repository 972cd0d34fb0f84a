//! The byte stream under a connection: TCP or a Unix socket. TLS will be added here.

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

use crate::{node::Node, wire::addresses};

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
    pub(crate) fn try_read(&self, buf: &mut impl bytes::BufMut) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.try_read_buf(buf),
            #[cfg(unix)]
            Self::Unix(stream) => stream.try_read_buf(buf),
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
            #[cfg(test)]
            Self::Memory(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_shutdown(cx),
            #[cfg(unix)]
            Self::Unix(stream) => Pin::new(stream).poll_shutdown(cx),
            #[cfg(test)]
            Self::Memory(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

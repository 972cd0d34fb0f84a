use std::{
    future::Future,
    sync::Arc,
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
};

use redis::{Cmd, cmd, pipe};
use rustls::{
    ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use testkit::Authority;
use tokio::{io::DuplexStream, task::JoinHandle};
use tokio_rustls::TlsAcceptor;

use super::*;
use crate::{
    config::{MultiplexedLimits, ReplyLimits, tls::Tls},
    error::failure::{Failure, Fate, Peer},
    node::{Node, Role},
    topology::admission::Admission,
    wire::{connection::WireConnection, mux::Mux, mux::MuxError},
};

/// What a record of TLS 1.3 adds to the text in it: header, type, tag.
const OVERHEAD: usize = 5 + 1 + 16;
const WHOLE: usize = LARGEST_RECORD + OVERHEAD;

/// A socket whose peer is killed after it has taken so many bytes.
#[derive(Debug)]
struct Cut {
    socket: DuplexStream,
    left: Arc<AtomicUsize>,
}

impl AsyncRead for Cut {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.left.load(Relaxed) == 0 {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        Pin::new(&mut self.socket).poll_read(cx, buf)
    }
}

impl AsyncWrite for Cut {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let left = self.left.load(Relaxed);
        if left == 0 {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        let buf = &buf[..buf.len().min(left)];
        let written = ready!(Pin::new(&mut self.socket).poll_write(cx, buf))?;
        self.left.fetch_sub(written, Relaxed);
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}

/// A lent connection of which the socket takes `room` more bytes, and what the server reads.
async fn cut_after(room: usize, fragment: Option<usize>) -> (WireConnection, JoinHandle<Vec<u8>>) {
    let ca = Authority::new("ours");
    let identity = ca.issue(&["localhost"]);
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let cert = CertificateDer::from_pem_slice(identity.cert.as_bytes()).unwrap();
    let key = PrivateKeyDer::from_pem_slice(identity.key.as_bytes()).unwrap();
    let server = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![cert], key)
        .unwrap();
    let mut roots = rustls::RootCertStore::empty();
    let root = CertificateDer::from_pem_slice(ca.pem().as_bytes()).unwrap();
    roots.add(root).unwrap();
    let mut client = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    client.max_fragment_size = fragment;
    let tls = Tls::from_rustls(Arc::new(client));

    let (ours, theirs) = tokio::io::duplex(1 << 20);
    let left = Arc::new(AtomicUsize::new(usize::MAX));
    let socket = Cut {
        socket: ours,
        left: Arc::clone(&left),
    };
    let node = Node::new("localhost", 6379);
    let limit = Duration::from_secs(20);
    let nodes = [&node, &node];
    let encrypted =
        Stream::Memory(Box::new(socket)).encrypt(&tls, nodes, Instant::now() + limit, limit);
    let accepted = TlsAcceptor::from(Arc::new(server)).accept(theirs);
    let (stream, accepted) = tokio::join!(encrypted, accepted);
    let (stream, mut accepted) = (stream.unwrap(), accepted.unwrap());
    let reading = tokio::spawn(async move {
        let mut read = Vec::new();
        // The end is no clean one.
        let _ = accepted.read_to_end(&mut read).await;
        read
    });
    left.store(room, Relaxed);
    let limits = ReplyLimits::default();
    let peer = Peer::Node(Role::Master);
    let wire = WireConnection::new(stream, node, peer, 0, limits, Some(limit));
    (wire.lend(), reading)
}

fn set(place: usize, size: usize) -> Cmd {
    cmd("SET").arg(place).arg("x".repeat(size)).take()
}

async fn soon<T>(future: impl Future<Output = T>) -> T {
    let limit = Duration::from_secs(20);
    let ended = tokio::time::timeout(limit, future).await;
    ended.expect("this must end")
}

#[tokio::test]
async fn a_pipeline_was_not_executed_exactly_if_its_first_record_did_not_go_out_whole() {
    use Fate::{NotExecuted, Unknown};
    let table = [
        // how much goes out, max_fragment_size, fate
        (1, None, NotExecuted),
        (WHOLE - 1, None, NotExecuted),
        (WHOLE + 1, None, Unknown),
        (2 * WHOLE + 100, None, Unknown),
        (1024 + OVERHEAD, Some(1024 + 5), Unknown),
        (1023 + OVERHEAD, Some(1024 + 5), NotExecuted),
        (1200, Some(1024 + 5), Unknown),
    ];
    for (room, fragment, fate) in table {
        let (mut wire, reading) = cut_after(room, fragment).await;
        let mut pipeline = pipe();
        for place in 0..40 {
            pipeline.add_command(set(place, 1000));
        }
        let error = soon(wire.pipeline(&pipeline)).await.expect_err("it is cut");
        let failure = Failure::of(&error).expect("the connection failed");
        assert_eq!(failure.fate, fate, "{room} {fragment:?}: {error}");
        drop(wire);
        let executed = !soon(reading).await.unwrap().is_empty();
        assert_eq!(executed, fate == Unknown, "{room} {fragment:?}");
    }
}

#[tokio::test]
async fn of_a_batch_every_call_in_a_record_that_went_out_whole_may_have_been_executed() {
    // Calls of about 10 000 bytes: the first record ends in the second call, the second in the fourth.
    for (room, written) in [(WHOLE - 1, 0), (WHOLE + 1, 2), (2 * WHOLE + 1, 4)] {
        let (wire, reading) = cut_after(room, None).await;
        let (mux, driver) = Mux::open(wire, MultiplexedLimits::default(), || Admission::Open);
        let cmds: Vec<_> = (0..5).map(|place| set(place, 10_000)).collect();
        let mut calls: Vec<_> = cmds.iter().map(|cmd| Box::pin(mux.reply_to(cmd))).collect();
        for call in &mut calls {
            let handed_in = tokio::time::timeout(Duration::ZERO, call).await;
            assert!(handed_in.is_err(), "the driver has not begun");
        }
        soon(driver).await.expect_err("it is cut");
        for (place, call) in calls.into_iter().enumerate() {
            let error = soon(call).await.expect_err("it is cut");
            let unknown = matches!(error, MuxError::Failed(_, Fate::Unknown));
            assert!(unknown || error == MuxError::NotWritten, "{error:?}");
            assert_eq!(unknown, place < written, "{room}, call {place}: {error:?}");
        }
        let read = soon(reading).await.unwrap();
        assert_eq!(read.len(), room / WHOLE * LARGEST_RECORD);
    }
}

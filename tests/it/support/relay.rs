//! A TCP relay to one server that hands on what the server says in pieces, late.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use redis_rw_pool::AddressMap;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinSet,
};

use super::redirect;

pub(crate) struct Relay {
    port: u16,
    upstream: u16,
    pace: Arc<Pace>,
    // Aborted, with all their sockets, when the relay is dropped.
    _tasks: JoinSet<()>,
}

#[derive(Default)]
struct Pace {
    /// The most bytes in one piece; 0 for no limit.
    piece: AtomicUsize,
    /// Microseconds before each piece.
    delay: AtomicU64,
    accepted: AtomicUsize,
}

impl Relay {
    pub(crate) async fn to(upstream: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let pace = Arc::new(Pace::default());
        let mut tasks = JoinSet::new();
        tasks.spawn({
            let pace = Arc::clone(&pace);
            async move {
                let mut links = JoinSet::new();
                while let Ok((client, _)) = listener.accept().await {
                    pace.accepted.fetch_add(1, Relaxed);
                    links.spawn(link(client, upstream, Arc::clone(&pace)));
                    while links.try_join_next().is_some() {}
                }
            }
        });
        Self {
            port,
            upstream,
            pace,
            _tasks: tasks,
        }
    }

    pub(crate) fn set(&self, piece: usize, delay: Duration) {
        let micros = u64::try_from(delay.as_micros()).unwrap();
        self.pace.piece.store(piece, Relaxed);
        self.pace.delay.store(micros, Relaxed);
    }

    /// Leads connections to the server through the relay.
    pub(crate) fn map(&self) -> AddressMap {
        redirect(self.upstream, self.port)
    }
}

async fn link(client: TcpStream, upstream: u16, pace: Arc<Pace>) {
    let Ok(server) = TcpStream::connect(("127.0.0.1", upstream)).await else {
        return;
    };
    let _ = client.set_nodelay(true);
    let _ = server.set_nodelay(true);
    let (mut client_in, client_out) = client.into_split();
    let (server_in, mut server_out) = server.into_split();
    // Whichever side ends, the other is told at once: both sockets are dropped.
    tokio::select! {
        _ = tokio::io::copy(&mut client_in, &mut server_out) => {}
        _ = slowly(server_in, client_out, &pace) => {}
    }
}

async fn slowly(
    mut from: impl AsyncReadExt + Unpin,
    mut to: impl AsyncWriteExt + Unpin,
    pace: &Pace,
) -> io::Result<()> {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let count = from.read(&mut buffer).await?;
        if count == 0 {
            return Ok(());
        }
        let mut rest = &buffer[..count];
        while !rest.is_empty() {
            let piece = match pace.piece.load(Relaxed) {
                0 => rest.len(),
                piece => piece.min(rest.len()),
            };
            let delay = pace.delay.load(Relaxed);
            if delay > 0 {
                tokio::time::sleep(Duration::from_micros(delay)).await;
            } else if piece < rest.len() {
                tokio::task::yield_now().await;
            }
            to.write_all(&rest[..piece]).await?;
            rest = &rest[piece..];
        }
    }
}

//! One connection through a proxy: two sockets, and a lane each way.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use parking_lot::Mutex;
use socket2::SockRef;

use super::lane::{Lane, Step};
use super::{Ending, Flow, Toward};

/// How long a side that does not read keeps a lane from noticing that the connection has ended.
const WRITE_PATIENCE: Duration = Duration::from_millis(20);

/// How much of what a client says is remembered.
const MEMORY: usize = 16 * 1024;

/// One connection that a [`Proxy`](super::Proxy) has accepted.
#[derive(Debug)]
pub struct Link {
    // Shared with the two lanes' threads; the descriptors close when all have let go of them, and
    // only a close (not a shutdown) can send a reset.
    sockets: Mutex<Option<Arc<Sockets>>>,
    lanes: [Lane; 2],
    said: Mutex<Vec<u8>>,
    bytes: Arc<[AtomicU64; 2]>,
}

#[derive(Debug)]
struct Sockets {
    client: TcpStream,
    /// None where the client hears nothing.
    server: Option<TcpStream>,
}

impl Sockets {
    fn target(&self, toward: Toward) -> Option<&TcpStream> {
        match toward {
            Toward::Server => self.server.as_ref(),
            Toward::Client => Some(&self.client),
        }
    }

    fn origin(&self, toward: Toward) -> Option<&TcpStream> {
        match toward {
            Toward::Server => Some(&self.client),
            Toward::Client => self.server.as_ref(),
        }
    }

    fn all(&self) -> impl Iterator<Item = &TcpStream> {
        [Some(&self.client), self.server.as_ref()]
            .into_iter()
            .flatten()
    }
}

impl Link {
    pub(super) fn silent(client: TcpStream) -> Arc<Self> {
        Arc::new(Self::new(client, None, [Flow::Hold; 2], Arc::default()))
    }

    pub(super) fn start(
        client: TcpStream,
        server: TcpStream,
        flows: [Flow; 2],
        bytes: &Arc<[AtomicU64; 2]>,
    ) -> Arc<Self> {
        let link = Arc::new(Self::new(client, Some(server), flows, Arc::clone(bytes)));
        for toward in Toward::BOTH {
            let link = Arc::clone(&link);
            thread::spawn(move || link.run(toward));
        }
        link
    }

    fn new(
        client: TcpStream,
        server: Option<TcpStream>,
        flows: [Flow; 2],
        bytes: Arc<[AtomicU64; 2]>,
    ) -> Self {
        let sockets = Sockets { client, server };
        for socket in sockets.all() {
            let _ = socket.set_nodelay(true);
            let _ = socket.set_write_timeout(Some(WRITE_PATIENCE));
        }
        Self {
            sockets: Mutex::new(Some(Arc::new(sockets))),
            lanes: flows.map(Lane::new),
            said: Mutex::default(),
            bytes,
        }
    }

    /// Whether it has not ended; one side may have closed its half.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.sockets.lock().is_some()
    }

    /// Whether these bytes are among the first 16 KiB that the client has sent, in either case: by
    /// them one tells a subscriber from the others.
    #[must_use]
    pub fn has_said(&self, bytes: &[u8]) -> bool {
        let said = self.said.lock();
        said.windows(bytes.len().max(1))
            .any(|window| window.eq_ignore_ascii_case(bytes))
    }

    /// Changes the flow of one direction of this connection.
    pub fn set(&self, toward: Toward, flow: Flow) {
        self.lane(toward).set(flow);
    }

    /// As [`set`](Self::set), for both directions.
    pub fn set_both(&self, flow: Flow) {
        Toward::BOTH
            .into_iter()
            .for_each(|toward| self.set(toward, flow));
    }

    /// Sends bytes to one side, as if they came from the other; never inside a chunk that is being
    /// handed on. Does nothing when the connection has ended.
    pub fn inject(&self, toward: Toward, bytes: &[u8]) {
        let _turn = self.lane(toward).turn();
        if let Some(sockets) = self.sockets() {
            self.write(&sockets, toward, bytes);
        }
    }

    /// Ends it; a half close is one of this direction.
    pub fn end(&self, toward: Toward, ending: Ending) {
        if ending == Ending::HalfClose {
            self.lane(toward).finish();
            if let Some(to) = self.sockets().as_ref().and_then(|all| all.target(toward)) {
                let _ = to.shutdown(Shutdown::Write);
            }
            return;
        }
        let Some(sockets) = self.sockets.lock().take() else {
            return;
        };
        for socket in sockets.all() {
            let _ = match ending {
                // Wakes the threads that read; the last to let go of the sockets closes them.
                Ending::Reset => SockRef::from(socket)
                    .set_linger(Some(Duration::ZERO))
                    .and_then(|()| socket.shutdown(Shutdown::Read)),
                _ => socket.shutdown(Shutdown::Both),
            };
        }
        self.lanes.iter().for_each(Lane::finish);
    }

    fn lane(&self, toward: Toward) -> &Lane {
        &self.lanes[toward as usize]
    }

    fn sockets(&self) -> Option<Arc<Sockets>> {
        self.sockets.lock().clone()
    }

    fn run(&self, toward: Toward) {
        let Some(sockets) = self.sockets() else {
            return;
        };
        self.carry(&sockets, toward);
        self.lane(toward).finish();
        if self.lanes.iter().all(Lane::is_finished) {
            drop(sockets);
            self.end(toward, Ending::Fin);
        }
    }

    /// Hands on what comes, until one side ends it.
    fn carry(&self, sockets: &Sockets, toward: Toward) {
        let Some(mut from) = sockets.origin(toward) else {
            return;
        };
        let mut chunk = vec![0; 64 * 1024];
        while self.lane(toward).await_reading() {
            match from.read(&mut chunk) {
                Ok(0) => {
                    if self.lane(toward).await_passing() {
                        self.end(toward, Ending::HalfClose);
                    }
                    return;
                }
                Ok(count) => self.hand_on(sockets, toward, &chunk[..count]),
                Err(_) => {
                    if self.lane(toward).await_passing() {
                        self.end(toward, Ending::Reset);
                    }
                    return;
                }
            }
        }
    }

    fn hand_on(&self, sockets: &Sockets, toward: Toward, chunk: &[u8]) {
        if toward == Toward::Server {
            let mut said = self.said.lock();
            let room = MEMORY.saturating_sub(said.len()).min(chunk.len());
            said.extend_from_slice(&chunk[..room]);
        }
        let lane = self.lane(toward);
        let mut rest = chunk;
        while !rest.is_empty() {
            match lane.next(rest.len()) {
                Step::Write(count) => {
                    let (piece, left) = rest.split_at(count);
                    let _turn = lane.turn();
                    if !self.write(sockets, toward, piece) {
                        return;
                    }
                    rest = left;
                }
                Step::End(ending) => return self.end(toward, ending),
                Step::Forget => return,
            }
        }
        if let Some(ending) = lane.used_up() {
            self.end(toward, ending);
        }
    }

    /// Whether all of it was written.
    fn write(&self, sockets: &Sockets, toward: Toward, mut bytes: &[u8]) -> bool {
        let Some(mut to) = sockets.target(toward) else {
            return false;
        };
        // Before, so that who has seen the bytes sees them counted.
        self.bytes[toward as usize].fetch_add(bytes.len() as u64, Ordering::SeqCst);
        while !bytes.is_empty() {
            match to.write(bytes) {
                Ok(count) => bytes = &bytes[count..],
                Err(error) if is_patience_over(&error) && !self.lane(toward).is_finished() => {}
                Err(_) => return false,
            }
        }
        true
    }
}

fn is_patience_over(error: &std::io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted
    )
}

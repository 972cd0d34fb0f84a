//! A TCP proxy that does to the traffic what a bad network does.

use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use parking_lot::Mutex;
use socket2::SockRef;

use crate::ports;

mod lane;
mod link;

pub use link::Link;

// A frozen server whose queue is full does not answer.
const CONNECT_TIMEOUT: Duration = Duration::from_millis(500);

/// One of the two directions of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Toward {
    /// What the client sends.
    Server,
    /// What the server sends.
    Client,
}

impl Toward {
    /// Both directions.
    pub const BOTH: [Self; 2] = [Self::Server, Self::Client];
}

/// What becomes of the bytes of one direction.
#[derive(Clone, Copy, Debug)]
pub enum Flow {
    /// They are handed on at once.
    Pass,
    /// They are read and thrown away, a FIN or a reset after them too.
    Drop,
    /// They are not read any more, as in a network that has gone silent; what was held goes on its
    /// way when the flow changes.
    Hold,
    /// Each chunk waits for so long.
    Delay(Duration),
    /// They are handed on in pieces.
    Trickle {
        /// The most bytes in one piece.
        piece: usize,
        /// The time before each piece.
        every: Duration,
    },
    /// So many more bytes of each connection are handed on, counted from when this flow was set (or
    /// the connection was made); then it ends. With 0 it ends at the first byte that arrives.
    Cut {
        /// The bytes.
        after: usize,
        /// The end.
        ending: Ending,
    },
}

/// How a connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// With a FIN to both sides.
    Fin,
    /// With a reset to both sides.
    Reset,
    /// With a FIN to the side that the direction leads to, and nothing more in that direction; the
    /// other direction goes on.
    HalfClose,
}

/// What happens to those who connect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Door {
    /// They get a connection to the upstream.
    Open,
    /// Nobody listens, so the system refuses them.
    Refuse,
    /// They are accepted and reset at once.
    Reset,
    /// They are accepted and hear nothing, ever.
    Silent,
}

/// A proxy on a loopback port in front of one port on the same host; ends, with its connections,
/// when it is dropped.
///
/// Begins with an open [`Door`] and a [`Flow`] that passes everything. A FIN or a reset of one side
/// is handed on to the other as soon as the flow of that direction lets anything pass. A client who
/// connects while nobody listens upstream is accepted and reset.
#[derive(Debug)]
pub struct Proxy {
    port: u16,
    shared: Arc<Shared>,
    acceptor: Mutex<Option<Acceptor>>,
}

#[derive(Debug)]
struct Acceptor {
    listener: Arc<TcpListener>,
    stopping: Arc<AtomicBool>,
    thread: thread::JoinHandle<()>,
}

#[derive(Debug)]
struct Shared {
    /// The next client gets the first of them.
    upstreams: Mutex<Vec<u16>>,
    accepted: AtomicUsize,
    bytes: Arc<[AtomicU64; 2]>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    door: Door,
    /// Of new connections.
    flows: [Flow; 2],
    links: Vec<Arc<Link>>,
}

impl Proxy {
    /// Starts a proxy in front of this port.
    #[must_use]
    pub fn to(upstream: u16) -> Self {
        Self::balancing(&[upstream])
    }

    /// Starts a balancer in front of these ports: each client gets the next of them, in turn, that
    /// can be reached.
    #[must_use]
    pub fn balancing(upstreams: &[u16]) -> Self {
        let proxy = Self {
            port: ports::unused(),
            shared: Arc::new(Shared {
                upstreams: Mutex::new(upstreams.to_vec()),
                accepted: AtomicUsize::new(0),
                bytes: Arc::default(),
                state: Mutex::new(State {
                    door: Door::Open,
                    flows: [Flow::Pass; 2],
                    links: Vec::new(),
                }),
            }),
            acceptor: Mutex::new(None),
        };
        proxy.set_door(Door::Open);
        proxy
    }

    /// The port it listens on.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// `127.0.0.1:port`
    #[must_use]
    pub fn addr(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// The port that it connects the next client to.
    #[must_use]
    pub fn upstream(&self) -> u16 {
        self.shared.upstreams.lock()[0]
    }

    /// Connects new clients to another port from now on; what is connected stays.
    pub fn set_upstream(&self, port: u16) {
        *self.shared.upstreams.lock() = vec![port];
    }

    /// What happens to those who connect from now on.
    pub fn set_door(&self, door: Door) {
        let mut acceptor = self.acceptor.lock();
        self.shared.state.lock().door = door;
        match (door, acceptor.take()) {
            (Door::Refuse, Some(old)) => old.stop(self.port),
            (Door::Refuse, None) => {}
            (_, Some(old)) => *acceptor = Some(old),
            (_, None) => *acceptor = Some(Acceptor::start(self.port, &self.shared)),
        }
    }

    /// The flow of one direction, of every connection that is open or comes.
    pub fn set(&self, toward: Toward, flow: Flow) {
        let mut state = self.shared.state.lock();
        state.flows[toward as usize] = flow;
        for link in &state.links {
            link.set(toward, flow);
        }
    }

    /// As [`set`](Self::set), for both directions.
    pub fn set_both(&self, flow: Flow) {
        Toward::BOTH
            .into_iter()
            .for_each(|toward| self.set(toward, flow));
    }

    /// As [`set`](Self::set), only for connections that come. [`links`](Self::links) has those that
    /// are open.
    pub fn set_for_new(&self, toward: Toward, flow: Flow) {
        self.shared.state.lock().flows[toward as usize] = flow;
    }

    /// Lets everybody in and everything pass again. What was dropped, cut or accepted in silence
    /// stays as it is.
    pub fn heal(&self) {
        self.set_both(Flow::Pass);
        self.set_door(Door::Open);
    }

    /// Ends every open connection; new ones are still accepted.
    pub fn end_connections(&self, ending: Ending) {
        for link in self.links() {
            Toward::BOTH
                .into_iter()
                .for_each(|toward| link.end(toward, ending));
        }
    }

    /// Sends bytes to one side of every open connection, as if they came from the other.
    pub fn inject(&self, toward: Toward, bytes: &[u8]) {
        for link in self.links() {
            link.inject(toward, bytes);
        }
    }

    /// The connections that are open now, in the order in which they came.
    #[must_use]
    pub fn links(&self) -> Vec<Arc<Link>> {
        let mut state = self.shared.state.lock();
        state.links.retain(|link| link.is_open());
        state.links.clone()
    }

    /// How many connections were accepted in all.
    #[must_use]
    pub fn accepted(&self) -> usize {
        self.shared.accepted.load(Ordering::SeqCst)
    }

    /// How many bytes were handed on in one direction in all.
    #[must_use]
    pub fn bytes(&self, toward: Toward) -> u64 {
        self.shared.bytes[toward as usize].load(Ordering::SeqCst)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.set_door(Door::Refuse);
        self.end_connections(Ending::Fin);
    }
}

impl Acceptor {
    fn start(port: u16, shared: &Arc<Shared>) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))
            .unwrap_or_else(|error| panic!("cannot listen on port {port}: {error}"));
        let (listener, stopping) = (Arc::new(listener), Arc::new(AtomicBool::new(false)));
        let thread = thread::spawn({
            let (shared, listener) = (Arc::clone(shared), Arc::clone(&listener));
            let stopping = Arc::clone(&stopping);
            move || {
                for stream in listener.incoming() {
                    if stopping.load(Ordering::SeqCst) {
                        return;
                    }
                    stream.map_or_else(drop, |stream| shared.admit(stream));
                }
            }
        });
        Self {
            listener,
            stopping,
            thread,
        }
    }

    fn stop(self, port: u16) {
        self.stopping.store(true, Ordering::SeqCst);
        // On Linux this refuses new connections at once and wakes the acceptor. Closing alone would
        // not: a process just forked by another thread may hold a copy until it execs.
        let _ = SockRef::from(&*self.listener).shutdown(Shutdown::Both);
        // Elsewhere the acceptor sits in accept until somebody comes.
        let _ = TcpStream::connect((Ipv4Addr::LOCALHOST, port));
        let _ = self.thread.join();
    }
}

impl Shared {
    fn admit(&self, client: TcpStream) {
        self.accepted.fetch_add(1, Ordering::SeqCst);
        // Held throughout, so that a change of flow misses no connection.
        let mut state = self.state.lock();
        let server = match state.door {
            Door::Reset | Door::Refuse => None,
            Door::Silent => {
                let link = Link::silent(client);
                return state.links.push(link);
            }
            Door::Open => {
                let mut upstreams = self.upstreams.lock();
                (0..upstreams.len()).find_map(|_| {
                    let upstream = (Ipv4Addr::LOCALHOST, upstreams[0]).into();
                    upstreams.rotate_left(1);
                    TcpStream::connect_timeout(&upstream, CONNECT_TIMEOUT).ok()
                })
            }
        };
        let Some(server) = server else {
            let _ = SockRef::from(&client).set_linger(Some(Duration::ZERO));
            return;
        };
        let link = Link::start(client, server, state.flows, &self.bytes);
        state.links.retain(|link| link.is_open());
        state.links.push(link);
    }
}

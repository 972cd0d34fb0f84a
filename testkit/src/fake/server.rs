//! A server that answers whatever a closure says.

use std::fmt;
use std::io::Read;
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use socket2::SockRef;

use super::command;
use super::conn::Conn;
use crate::ports;

/// What a fake server does with a command.
#[derive(Clone, Debug)]
pub enum Action {
    /// Send these bytes.
    Reply(Vec<u8>),
    /// Say nothing and keep the connection.
    Silence,
    /// Close with a FIN.
    Close,
    /// Close with a reset.
    Reset,
    /// Send these bytes, then close with a FIN.
    ReplyThenClose(Vec<u8>),
    /// Send these bytes, then close with a reset.
    ReplyThenReset(Vec<u8>),
    /// Send these bytes after a while; other commands of the connection wait meanwhile.
    Delay {
        /// The bytes.
        bytes: Vec<u8>,
        /// The while.
        after: Duration,
    },
    /// Send these bytes one by one.
    Trickle {
        /// The bytes.
        bytes: Vec<u8>,
        /// The time between two of them.
        every: Duration,
    },
}

impl Action {
    /// Reply with text, such as `"+OK\r\n"`.
    pub fn reply(text: impl Into<Vec<u8>>) -> Self {
        Self::Reply(text.into())
    }
}

type Handler = dyn Fn(&Conn, &[Vec<u8>]) -> Action + Send + Sync;

/// A server on a loopback port with a thread for each connection; stops when it is dropped.
#[derive(Debug)]
pub struct FakeServer {
    port: u16,
    shared: Arc<Shared>,
    listener: Arc<TcpListener>,
    acceptor: Option<thread::JoinHandle<()>>,
}

struct Shared {
    handler: Box<Handler>,
    stopping: AtomicBool,
    connections: Mutex<Vec<Arc<Conn>>>,
    commands: Mutex<Vec<Vec<String>>>,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared")
            .field("connections", &self.connections)
            .finish_non_exhaustive()
    }
}

impl FakeServer {
    /// Starts a server whose closure gets every command, as raw words.
    pub fn start<F>(handler: F) -> Self
    where
        F: Fn(&Conn, &[Vec<u8>]) -> Action + Send + Sync + 'static,
    {
        Self::start_on(ports::unused(), handler)
    }

    /// As [`start`](Self::start), on a port of choice: the one of a server that has gone.
    pub fn start_on<F>(port: u16, handler: F) -> Self
    where
        F: Fn(&Conn, &[Vec<u8>]) -> Action + Send + Sync + 'static,
    {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))
            .unwrap_or_else(|error| panic!("cannot listen on port {port}: {error}"));
        let shared = Arc::new(Shared {
            handler: Box::new(handler),
            stopping: AtomicBool::new(false),
            connections: Mutex::new(Vec::new()),
            commands: Mutex::new(Vec::new()),
        });
        let listener = Arc::new(listener);
        let acceptor = thread::spawn({
            let (shared, listener) = (Arc::clone(&shared), Arc::clone(&listener));
            move || shared.accept(&listener)
        });
        Self {
            port,
            shared,
            listener,
            acceptor: Some(acceptor),
        }
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

    /// Every command of every connection, in the order of arrival.
    #[must_use]
    pub fn commands(&self) -> Vec<Vec<String>> {
        self.shared.commands.lock().clone()
    }

    /// How often a command has arrived; only its first word counts, in either case.
    #[must_use]
    pub fn count(&self, name: &str) -> usize {
        let commands = self.shared.commands.lock();
        let is_named = |command: &&Vec<String>| command[0].eq_ignore_ascii_case(name);
        commands.iter().filter(is_named).count()
    }

    /// Every connection it has accepted, the closed ones too.
    #[must_use]
    pub fn connections(&self) -> Vec<Arc<Conn>> {
        self.shared.connections.lock().clone()
    }

    /// How many of its connections are open.
    #[must_use]
    pub fn open_connections(&self) -> usize {
        let connections = self.shared.connections.lock();
        connections.iter().filter(|conn| conn.is_open()).count()
    }

    /// Closes every connection with a FIN; new ones are still accepted.
    pub fn close_connections(&self) {
        self.connections().iter().for_each(|conn| conn.close());
    }

    /// Closes every connection with a reset; new ones are still accepted.
    pub fn reset_connections(&self) {
        self.connections().iter().for_each(|conn| conn.reset());
    }

    /// Waits for the `count`th arrival of a command; panics when it does not come in time.
    pub fn wait_for_command(&self, name: &str, count: usize, timeout: Duration) {
        let deadline = Instant::now() + timeout;
        while self.count(name) < count {
            assert!(
                Instant::now() < deadline,
                "waited {timeout:?} for {count} {name} on port {}; got {:?}",
                self.port,
                self.commands()
            );
            thread::sleep(Duration::from_millis(1));
        }
    }
}

impl Drop for FakeServer {
    fn drop(&mut self) {
        self.shared.stopping.store(true, Ordering::SeqCst);
        // On Linux this refuses new connections at once and wakes the acceptor. Closing alone would
        // not: a process just forked by another thread may hold a copy until it execs.
        let _ = SockRef::from(&*self.listener).shutdown(Shutdown::Both);
        // Elsewhere the acceptor sits in accept until somebody comes.
        let _ = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port));
        if let Some(acceptor) = self.acceptor.take() {
            let _ = acceptor.join();
        }
        self.close_connections();
    }
}

impl Shared {
    fn accept(self: &Arc<Self>, listener: &TcpListener) {
        for stream in listener.incoming() {
            if self.stopping.load(Ordering::SeqCst) {
                return;
            }
            let Ok(stream) = stream else { continue };
            let _ = stream.set_nodelay(true);
            let stream = Arc::new(stream);
            let mut connections = self.connections.lock();
            let conn = Arc::new(Conn::new(connections.len(), Arc::clone(&stream)));
            connections.push(Arc::clone(&conn));
            let shared = Arc::clone(self);
            thread::spawn(move || {
                shared.serve(&conn, stream);
            });
        }
    }

    // Owns the stream, so that a reset has taken place when this returns.
    #[expect(
        clippy::needless_pass_by_value,
        reason = "dropping it closes the socket"
    )]
    fn serve(&self, conn: &Conn, stream: Arc<TcpStream>) {
        let mut bytes = Vec::new();
        let mut chunk = [0; 16 * 1024];
        loop {
            match (&*stream).read(&mut chunk) {
                Ok(0) | Err(_) => return conn.close(),
                Ok(count) => bytes.extend_from_slice(&chunk[..count]),
            }
            loop {
                match command::parse(&bytes) {
                    Ok(None) => break,
                    Ok(Some((words, length))) => {
                        bytes.drain(..length);
                        if !words.is_empty() {
                            self.answer(conn, &words);
                        }
                    }
                    Err(problem) => {
                        let _ = conn.push(format!("-ERR Protocol error: {problem}\r\n").as_bytes());
                        return conn.close();
                    }
                }
                if !conn.is_open() {
                    return;
                }
            }
        }
    }

    fn answer(&self, conn: &Conn, words: &[Vec<u8>]) {
        let text = words
            .iter()
            .map(|word| String::from_utf8_lossy(word).into_owned());
        let text: Vec<String> = text.collect();
        conn.record(text.clone());
        self.commands.lock().push(text);
        let _turn = conn.turn();
        let outcome = match (self.handler)(conn, words) {
            Action::Reply(bytes) => conn.push(&bytes),
            Action::Silence => Ok(()),
            Action::Close => return conn.close(),
            Action::Reset => return conn.reset(),
            Action::ReplyThenClose(bytes) => {
                let _ = conn.push(&bytes);
                return conn.close();
            }
            Action::ReplyThenReset(bytes) => {
                let _ = conn.push(&bytes);
                return conn.reset();
            }
            Action::Delay { bytes, after } => {
                thread::sleep(after);
                conn.push(&bytes)
            }
            Action::Trickle { bytes, every } => conn.trickle(&bytes, every),
        };
        if outcome.is_err() {
            conn.close();
        }
    }
}

/// A server that accepts, reads, and never answers.
#[must_use]
pub fn hung() -> FakeServer {
    FakeServer::start(|_, _| Action::Silence)
}

/// A web server: it answers the first line of anything with its complaint and closes.
#[must_use]
pub fn not_redis() -> FakeServer {
    const BANNER: &str = "HTTP/1.1 400 Bad Request\r\nServer: nginx\r\nContent-Type: text/html\r\n\
                          Content-Length: 15\r\nConnection: close\r\n\r\n400 Bad Request";
    FakeServer::start(|_, _| Action::ReplyThenClose(BANNER.into()))
}

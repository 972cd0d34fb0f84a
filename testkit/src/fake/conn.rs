//! The fake's side of one connection.

use std::collections::BTreeSet;
use std::io::{self, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use parking_lot::{Mutex, ReentrantMutex, ReentrantMutexGuard};
use socket2::SockRef;

use super::value::Value;

/// One connection that a fake server has accepted.
#[derive(Debug)]
pub struct Conn {
    id: usize,
    // Shared with the thread that reads; the descriptor closes when both have let go of it, and
    // only a close (not a shutdown) can send a reset.
    stream: Mutex<Option<Arc<TcpStream>>>,
    // A published message must land neither inside a reply that trickles out nor before the
    // confirmation of the subscription it is for. Reentrant, so that a handler can push.
    turn: ReentrantMutex<()>,
    commands: Mutex<Vec<Vec<String>>>,
    protocol: AtomicU8,
    pub(super) session: Mutex<Session>,
}

/// What a connection has said about itself.
#[derive(Debug, Default)]
pub(super) struct Session {
    pub(super) authenticated: bool,
    pub(super) name: Option<String>,
    pub(super) channels: BTreeSet<String>,
    pub(super) patterns: BTreeSet<String>,
}

impl Session {
    pub(super) fn subscriptions(&self) -> usize {
        self.channels.len() + self.patterns.len()
    }
}

impl Conn {
    pub(super) fn new(id: usize, stream: Arc<TcpStream>) -> Self {
        Self {
            id,
            stream: Mutex::new(Some(stream)),
            turn: ReentrantMutex::new(()),
            commands: Mutex::new(Vec::new()),
            protocol: AtomicU8::new(2),
            session: Mutex::new(Session::default()),
        }
    }

    /// 0 for the first connection that was accepted, then 1, ...
    #[must_use]
    pub fn id(&self) -> usize {
        self.id
    }

    /// 2 until a `HELLO 3`.
    #[must_use]
    pub fn protocol(&self) -> u8 {
        self.protocol.load(Ordering::Relaxed)
    }

    /// Changes how replies are spelled from now on.
    pub fn set_protocol(&self, protocol: u8) {
        self.protocol.store(protocol, Ordering::Relaxed);
    }

    /// The commands it has received so far.
    #[must_use]
    pub fn commands(&self) -> Vec<Vec<String>> {
        self.commands.lock().clone()
    }

    /// Whether neither side has closed it.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.stream.lock().is_some()
    }

    /// Sends bytes that nobody asked for.
    ///
    /// # Errors
    ///
    /// When the connection is gone.
    pub fn push(&self, bytes: &[u8]) -> io::Result<()> {
        let stream = self.stream.lock().clone();
        let stream = stream.ok_or(io::ErrorKind::NotConnected)?;
        let _turn = self.turn();
        (&*stream).write_all(bytes)
    }

    /// Closes it with a FIN.
    pub fn close(&self) {
        if let Some(stream) = self.stream.lock().take() {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    /// Closes it with a reset.
    pub fn reset(&self) {
        if let Some(stream) = self.stream.lock().take() {
            let _ = SockRef::from(&*stream).set_linger(Some(Duration::ZERO));
            // Wakes the reading thread, whose letting go closes the socket.
            let _ = stream.shutdown(Shutdown::Read);
        }
    }

    pub(super) fn trickle(&self, bytes: &[u8], every: Duration) -> io::Result<()> {
        let stream = self.stream.lock().clone();
        let stream = stream.ok_or(io::ErrorKind::NotConnected)?;
        let _turn = self.turn();
        for byte in bytes {
            (&*stream).write_all(&[*byte])?;
            std::thread::sleep(every);
        }
        Ok(())
    }

    /// Nobody else writes meanwhile.
    pub(super) fn turn(&self) -> ReentrantMutexGuard<'_, ()> {
        self.turn.lock()
    }

    pub(super) fn record(&self, command: Vec<String>) {
        self.commands.lock().push(command);
    }

    /// Sends the message, once for each matching subscription, as Redis does.
    pub(super) fn deliver(&self, channel: &str, payload: &str) {
        let _turn = self.turn();
        let mut bytes = Vec::new();
        {
            let session = self.session.lock();
            let tail = [channel, payload].map(Value::bulk);
            if session.channels.contains(channel) {
                let message = [vec![Value::bulk("message")], tail.to_vec()].concat();
                bytes.extend(Value::Push(message).encode(self.protocol()));
            }
            for pattern in session
                .patterns
                .iter()
                .filter(|pattern| matches(pattern, channel))
            {
                let head = vec![Value::bulk("pmessage"), Value::bulk(pattern.as_str())];
                bytes.extend(Value::Push([head, tail.to_vec()].concat()).encode(self.protocol()));
            }
        }
        let _ = self.push(&bytes);
    }
}

/// Redis's glob, as far as Sentinel's clients use it: `*` for anything.
fn matches(pattern: &str, text: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == text,
        Some((head, rest)) => text.strip_prefix(head).is_some_and(|tail| {
            tail.char_indices()
                .map(|(at, _)| at)
                .chain([tail.len()])
                .any(|at| matches(rest, &tail[at..]))
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn globs_as_redis_does() {
        for (pattern, text, expected) in [
            ("*", "+sdown", true),
            ("+switch-master", "+switch-master", true),
            ("+switch*", "+switch-master", true),
            ("*master", "+switch-master", true),
            ("*down", "+odown ", false),
            ("+sdown", "-sdown", false),
        ] {
            assert_eq!(matches(pattern, text), expected, "{pattern} {text}");
        }
    }
}

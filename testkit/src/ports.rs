//! Ports that no other test process on this machine is using.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::ops::Range;

use parking_lot::Mutex;
use socket2::{Domain, SockAddr, Socket, Type};

// Below Linux's (32768) and macOS's (49152) ephemeral ranges, where any outgoing connection could
// take a port between two starts of the same server; and below 26379, where `make cluster` listens.
const FIRST: u16 = 10_000;
const BLOCKS: u16 = 800;
const BLOCK_SIZE: u16 = 20;

// Coprime to BLOCKS, so that the walk visits every block, and large, so that processes which start
// close together do not follow each other.
const STRIDE: u16 = 337;

static PORTS: Mutex<Option<Ports>> = Mutex::new(None);

/// Takes `count` ports that nobody listens on and that no other process which uses this function
/// will be given while this one lives.
///
/// A port is handed out once per process: a Sentinel that outlives its deployment for a moment must
/// not find a stranger of the same master name where its master used to be.
#[must_use]
pub fn take(count: usize) -> Vec<u16> {
    let mut ports = PORTS.lock();
    let ports = ports.get_or_insert_with(Ports::new);
    (0..count).map(|_| ports.next()).collect()
}

/// A port that nobody listens on: connecting to it is refused.
#[must_use]
pub fn unused() -> u16 {
    take(1)[0]
}

struct Ports {
    // The listener on a block's first port is the lock on the block: the kernel takes it back
    // however this process ends.
    locks: Vec<TcpListener>,
    block: Range<u16>,
    cursor: u16,
    claims_left: u16,
}

impl Ports {
    fn new() -> Self {
        let start = RandomState::new().build_hasher().finish() % u64::from(BLOCKS);
        Self {
            locks: Vec::new(),
            block: 0..0,
            cursor: u16::try_from(start).expect("a remainder of a u16 fits into one"),
            claims_left: BLOCKS,
        }
    }

    fn next(&mut self) -> u16 {
        loop {
            match self.block.next() {
                Some(port) if probe(port).is_ok() => return port,
                Some(_) => {}
                None => self.claim_block(),
            }
        }
    }

    fn claim_block(&mut self) {
        assert!(
            self.claims_left > 0,
            "no free ports left between {FIRST} and {}",
            FIRST + BLOCKS * BLOCK_SIZE
        );
        self.claims_left -= 1;
        let first = FIRST + self.cursor * BLOCK_SIZE;
        self.cursor = (self.cursor + STRIDE) % BLOCKS;
        if let Ok(lock) = TcpListener::bind((Ipv4Addr::LOCALHOST, first)) {
            self.locks.push(lock);
            self.block = first + 1..first + BLOCK_SIZE;
        }
    }
}

// Binds without listening: a process that another thread forks at this moment holds a copy of the
// socket until it execs, and a listening copy would keep the server off its port.
fn probe(port: u16) -> io::Result<()> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.bind(&SockAddr::from(SocketAddr::from((
        Ipv4Addr::LOCALHOST,
        port,
    ))))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::net::TcpStream;

    use super::*;

    #[test]
    fn never_hands_out_a_port_twice() {
        let ports = take(3 * usize::from(BLOCK_SIZE));
        assert_eq!(ports.iter().collect::<BTreeSet<_>>().len(), ports.len());
    }

    #[test]
    fn notices_a_port_that_somebody_listens_on() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, unused())).unwrap();
        assert!(probe(listener.local_addr().unwrap().port()).is_err());
    }

    #[test]
    fn an_unused_port_refuses() {
        assert!(TcpStream::connect((Ipv4Addr::LOCALHOST, unused())).is_err());
    }
}

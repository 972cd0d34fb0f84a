use super::*;
use crate::{
    config::Config,
    error::PoolName,
    freshness::Shared,
    node::Node,
    role_pool::{RolePool, slot::NodeSlot},
    topology::{Handle, Topology},
    util::{runtime::Runtime, schedule_model::Socket},
};

fn in_line(wait_queue: &Arc<WaitQueue>) -> (InLine<'_>, Option<Pending>) {
    match wait_queue.enter() {
        Arrival::InLine(place, dial) => (place, dial),
        other => panic!("the queue is open and empty, not {other:?}"),
    }
}

#[test]
fn a_caller_that_leaves_the_line_takes_its_ticket_and_leaves_its_dial() {
    let wait_queue = Arc::<WaitQueue>::default();
    let (first, first_dial) = in_line(&wait_queue);
    assert!(first_dial.is_some());
    let (_second, second_dial) = in_line(&wait_queue);
    assert!(second_dial.is_some());
    drop(first);
    assert_eq!(wait_queue.state.lock().waiters.len(), 1);
    let (_third, dial) = in_line(&wait_queue);
    assert!(dial.is_none(), "two dials are under way for two in line");
    assert!(wait_queue.missing_dial().is_none());
    assert_eq!(wait_queue.pending(), 2);
    drop(first_dial);
    assert_eq!(wait_queue.pending(), 1, "a dial was dropped in the middle");
    let dial = wait_queue.missing_dial();
    assert!(dial.is_some() && wait_queue.missing_dial().is_none());
}

#[test]
fn a_connection_that_is_being_closed_keeps_its_place_until_it_is() {
    let wait_queue = Arc::<WaitQueue>::default();
    let closing = wait_queue.count_closing();
    let (first, dial) = in_line(&wait_queue);
    let missing = wait_queue.missing_dial();
    assert!(dial.is_none() && missing.is_none(), "it is still open");
    let dial = closing.closed();
    assert!(dial.is_some(), "now a dial may begin");
    assert_eq!(wait_queue.pending(), 1);
    let closing = wait_queue.count_closing();
    drop(first);
    assert!(closing.closed().is_none(), "nobody wants one");
    assert_eq!(wait_queue.pending(), 1);
}

#[test]
fn a_dial_that_fails_is_tried_again_only_while_somebody_waits_for_it() {
    let wait_queue = Arc::<WaitQueue>::default();
    let (first, first_dial) = in_line(&wait_queue);
    let (_second, second_dial) = in_line(&wait_queue);
    let failed = |dial: Option<Pending>| dial.expect("a dial").failed(Error::Closed);
    let first_dial = failed(first_dial);
    assert!(first_dial.is_some());
    drop(first);
    assert!(failed(first_dial).is_none());
    let second_dial = failed(second_dial);
    assert!(second_dial.is_some());
    assert_eq!(wait_queue.pending(), 1);
}

const MAX_ACTIVE: usize = 4;

/// A wait queue, with simple stand-ins for deadpool and the dialer.
#[expect(clippy::vec_box, reason = "the wait queue takes and gives boxes")]
struct Pool<'a> {
    wait_queue: &'a Arc<WaitQueue>,
    role_pool: Arc<RolePool>,
    /// Lent connections and waiters have a permit each.
    lent: Vec<Box<Entry>>,
    waiters: Vec<InLine<'a>>,
    /// deadpool's queue.
    idle: Vec<Box<Entry>>,
    dials: Vec<Pending>,
    closing: Vec<(Box<Entry>, Pending)>,
}

impl<'a> Pool<'a> {
    fn new(wait_queue: &'a Arc<WaitQueue>) -> Self {
        let handle = Arc::new(Handle::new());
        handle.publish(Topology {
            master: Some(Node::new("127.0.0.1", 1)),
            ..Topology::default()
        });
        let config = Arc::new(Config::new(["127.0.0.1"], "mymaster"));
        let runtime = Runtime::current();
        let freshness = Shared::new(
            Arc::clone(&config),
            Arc::clone(&handle),
            Arc::clone(&runtime),
        );
        let role_pool = RolePool::new(
            PoolName::Write,
            config,
            handle,
            Arc::default(),
            runtime,
            Arc::default(),
            Arc::new(freshness),
        );
        Self {
            wait_queue,
            role_pool: Arc::new(role_pool),
            lent: Vec::new(),
            waiters: Vec::new(),
            idle: Vec::new(),
            dials: Vec::new(),
            closing: Vec::new(),
        }
    }

    fn connection(&self) -> Box<Entry> {
        let slot = NodeSlot::take(&self.role_pool, self.role_pool.allowed());
        let (target, slot) = slot.expect("there is a master");
        Entry::new(Socket::new(1).connection(), slot.opened(), target)
    }

    fn checkout(&mut self) {
        if self.lent.len() + self.waiters.len() == MAX_ACTIVE {
            return;
        }
        if let Some(entry) = self.idle.pop() {
            return self.lent.push(entry);
        }
        match self.wait_queue.enter() {
            Arrival::Here(entry) => self.lent.push(entry),
            Arrival::InLine(place, dial) => {
                self.waiters.push(place);
                self.dials.extend(dial);
            }
            Arrival::Closed => unreachable!("nobody closes it"),
        }
    }

    fn feed(&mut self) {
        while let Some(announced) = self.wait_queue.announce() {
            match self.idle.pop() {
                Some(entry) => announced.bring(entry),
                None => return,
            }
        }
    }

    fn dial_ahead(&mut self) {
        let room = |pending| self.role_pool.open() + pending < MAX_ACTIVE;
        self.dials.extend(self.wait_queue.reserve(room));
    }

    /// One random event; `lot` chooses which connection or waiter it happens to.
    fn step(&mut self, step: usize, lot: usize) {
        fn pick<T>(from: &mut Vec<T>, lot: usize) -> Option<T> {
            (!from.is_empty()).then(|| from.swap_remove(lot % from.len()))
        }
        match step {
            0..4 => self.checkout(),
            4 => self.idle.extend(pick(&mut self.lent, lot)),
            5 => drop(pick(&mut self.lent, lot)),
            6 => drop(pick(&mut self.waiters, lot)),
            7 => {
                if let Some(mut waiter) = pick(&mut self.waiters, lot) {
                    match waiter.arrival.try_recv() {
                        Ok(entry) => self.lent.push(entry.expect("no dial is refused")),
                        Err(_) => self.waiters.push(waiter),
                    }
                }
            }
            8 => {
                if let Some(dial) = pick(&mut self.dials, lot) {
                    dial.arrive(self.connection());
                }
            }
            9 => {
                let dial = pick(&mut self.dials, lot);
                self.dials
                    .extend(dial.and_then(|dial| dial.failed(Error::Closed)));
            }
            10 => drop(pick(&mut self.dials, lot)),
            11 => self.dials.extend(self.wait_queue.missing_dial()),
            12 => self.dial_ahead(),
            13 => self.feed(),
            14 => {
                let count = |entry| (entry, self.wait_queue.count_closing());
                self.closing.extend(pick(&mut self.idle, lot).map(count));
            }
            15 => {
                let pruned = self.wait_queue.prune(|_| Some(()));
                let pruned = pruned
                    .into_iter()
                    .map(|(entry, (), closing)| (entry, closing));
                self.closing.extend(pruned);
            }
            16 => {
                if let Some((entry, closing)) = pick(&mut self.closing, lot) {
                    drop(entry);
                    self.dials.extend(closing.closed());
                }
            }
            17 => {
                if let Some(entry) = self.idle.first_mut() {
                    self.wait_queue.exchange(entry);
                }
            }
            18 => {
                if let Some(entry) = self.lent.first_mut() {
                    self.wait_queue
                        .exchange_for(entry, |_| lot.is_multiple_of(2));
                }
            }
            _ => {
                if self.lent.is_empty() {
                    return;
                }
                // A guard goes on over a connection that was idle, and leaves its own to others.
                if let Some((mut other, counted)) = pick(&mut self.closing, lot) {
                    mem::swap(&mut self.lent[0], &mut other);
                    counted.bring(other);
                }
            }
        }
    }

    fn check(&self) {
        let pending = self.wait_queue.pending();
        assert_eq!(pending, self.dials.len() + self.closing.len());
        let held_and_untaken = self.role_pool.open() - self.closing.len();
        assert!(held_and_untaken + pending <= MAX_ACTIVE, "too many");
    }
}

#[tokio::test]
async fn held_untaken_and_pending_are_never_more_than_may_be_active() {
    for seed in 1..200 {
        let wait_queue = Arc::default();
        let mut pool = Pool::new(&wait_queue);
        let mut lot = seed;
        for _ in 0..500 {
            // A linear congruential generator, with the constants of Knuth's MMIX.
            lot = 6364136223846793005_usize
                .wrapping_mul(lot)
                .wrapping_add(1442695040888963407);
            pool.step((lot >> 33) % 20, lot >> 40);
            pool.check();
        }
        let role_pool = Arc::clone(&pool.role_pool);
        drop(pool);
        let untaken = wait_queue.close(&Error::Closed);
        assert_eq!((wait_queue.pending(), role_pool.open()), (0, untaken.len()));
    }
}

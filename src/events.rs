//! What happens to a pool, told to whoever listens.

use std::{
    fmt,
    future::{Future, poll_fn},
    pin::Pin,
    task::{Context, Poll, ready},
    time::{Duration, SystemTime},
};

use parking_lot::Mutex;
use tokio::sync::broadcast::{self, Receiver, Sender, error::RecvError};

use crate::{
    error::{PoolName, Reports},
    node::Node,
    status::{SignKind, discard::Discard},
    topology::excluded::Excluded,
};

/// So many events are kept for a listener that is busy. A failover has some ten.
const ROOM: usize = 256;

/// What happens to a pool, from [`Pool::events`](crate::Pool::events).
///
/// Any number may listen, and each gets every event, in order. Whoever is slow holds up nobody: 256 events
/// are kept, and a listener that missed older ones is told how many
/// ([`EventKind::Missed`]). The pool can be closed and dropped while somebody listens.
///
/// ```no_run
/// # async fn example(pool: redis_rw_pool::Pool) {
/// use redis_rw_pool::EventKind;
///
/// let mut events = pool.events();
/// while let Some(event) = events.next().await {
///     match event.kind {
///         EventKind::MasterChanged { new, .. } => println!("the master is {new}"),
///         EventKind::FenceLifted { held, .. } => println!("writes were held back for {held:?}"),
///         EventKind::Missed { count } => println!("{count} events were missed"),
///         _ => {}
///     }
/// }
/// # }
/// ```
///
/// With the feature `stream` it is a `Stream`.
pub struct Events {
    /// The wait for the next one; none after the last.
    next: Option<Waiting>,
    /// The topology of the event before.
    topology: u64,
}

type Waiting =
    Pin<Box<dyn Future<Output = (Result<Event, RecvError>, Receiver<Event>)> + Send + Sync>>;

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Event {
    /// When it happened.
    #[cfg_attr(feature = "serde", serde(serialize_with = "unix"))]
    pub at: SystemTime,
    /// The [version](crate::Topology::version) of the topology after it. [`Pool::topology`](crate::Pool::topology)
    /// has this one, or a newer one.
    pub topology: u64,
    /// What happened.
    #[cfg_attr(feature = "serde", serde(flatten))]
    pub kind: EventKind,
}

/// What happened. [`as_str`](Self::as_str) has the name of each kind.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[cfg_attr(feature = "serde", serde(tag = "event", rename_all = "snake_case"))]
#[non_exhaustive]
pub enum EventKind {
    /// From now on writes are held back, because the master is being replaced.
    FenceRaised {
        /// What kind of sign said so.
        kind: SignKind,
        /// The sign, for a human reader.
        sign: String,
    },
    /// Writes go on.
    FenceLifted {
        /// How long they were held back.
        #[cfg_attr(
            feature = "serde",
            serde(serialize_with = "crate::util::seconds::serialize")
        )]
        held: Duration,
        /// Why they go on.
        outcome: Lifted,
    },
    /// Another node is the master. Also the first one that a pool finds.
    MasterChanged {
        /// The one before.
        old: Option<Node>,
        /// The one now.
        new: Node,
        /// The epoch under which the Sentinels announced it, see [`Topology::epoch`](crate::Topology::epoch).
        epoch: u64,
    },
    /// The master cannot be reached. Writes wait for it, or for the next one.
    MasterLost {
        /// The master.
        node: Node,
        /// Why it cannot be reached.
        error: String,
    },
    /// The master that was lost can be reached again.
    MasterBack {
        /// The master.
        node: Node,
    },
    /// A replica is known from now on.
    ReplicaAdded {
        /// The replica.
        node: Node,
    },
    /// A replica is gone, or is the master now.
    ReplicaRemoved {
        /// The node that was a replica.
        node: Node,
    },
    /// A replica is not read from, or for another reason than before.
    ReplicaExcluded {
        /// The replica.
        node: Node,
        /// Why it is left out.
        why: Excluded,
    },
    /// A replica is read from.
    ReplicaReadable {
        /// The replica.
        node: Node,
    },
    /// No Sentinel answers any more. Commands go on, but no failover is seen.
    SentinelsLost {
        /// What each of them said last.
        reports: Reports,
    },
    /// Sentinels answer again.
    SentinelsBack {
        /// How many do so far.
        reachable: usize,
    },
    /// Callers have begun to wait in line for a connection, after a minute in which nobody did. Noticed
    /// within a second.
    Saturated {
        /// Which pool.
        pool: PoolName,
        /// How many wait now. Those that caused this may have their connections already.
        waiting: usize,
    },
    /// Connections were closed because of newer credentials or certificates.
    Retired {
        /// Which pool.
        pool: PoolName,
        /// [`Credentials`](Discard::Credentials) or [`Certificates`](Discard::Certificates).
        reason: Discard,
        /// How many.
        count: u64,
    },
    /// This listener was too slow: the oldest events that it had yet to get are lost to it.
    Missed {
        /// How many.
        count: u64,
    },
}

impl EventKind {
    /// Its name in lower snake case, for a metric's label or a log: `fence_raised`, `master_changed`, …
    ///
    /// Names are stable: a minor release adds names for new kinds and changes none.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::FenceRaised { .. } => "fence_raised",
            Self::FenceLifted { .. } => "fence_lifted",
            Self::MasterChanged { .. } => "master_changed",
            Self::MasterLost { .. } => "master_lost",
            Self::MasterBack { .. } => "master_back",
            Self::ReplicaAdded { .. } => "replica_added",
            Self::ReplicaRemoved { .. } => "replica_removed",
            Self::ReplicaExcluded { .. } => "replica_excluded",
            Self::ReplicaReadable { .. } => "replica_readable",
            Self::SentinelsLost { .. } => "sentinels_lost",
            Self::SentinelsBack { .. } => "sentinels_back",
            Self::Saturated { .. } => "saturated",
            Self::Retired { .. } => "retired",
            Self::Missed { .. } => "missed",
        }
    }
}

/// Why writes go on after they were held back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum Lifted {
    /// Another master was adopted.
    NewMaster,
    /// The Sentinel that gave the sign did not confirm it when it was asked.
    FalseSign,
    /// The failover was given up, or the master itself says that it is one: it stays.
    OwnWord,
}

impl Lifted {
    /// Its name in lower snake case, for a metric's label or a log: `new_master`, `false_sign` or
    /// `own_word`. These names are stable.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NewMaster => "new_master",
            Self::FalseSign => "false_sign",
            Self::OwnWord => "own_word",
        }
    }
}

impl fmt::Display for Lifted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Seconds since 1970, with their fraction.
#[cfg(feature = "serde")]
fn unix<S: serde::Serializer>(at: &SystemTime, to: S) -> Result<S::Ok, S::Error> {
    let since = at.duration_since(SystemTime::UNIX_EPOCH);
    to.serialize_f64(since.unwrap_or_default().as_secs_f64())
}

impl Events {
    fn of(receiver: Receiver<Event>) -> Self {
        Self {
            next: Some(wait(receiver)),
            topology: 0,
        }
    }

    /// The next event. `None` once the pool is closed and all events before that were taken.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses no event.
    pub async fn next(&mut self) -> Option<Event> {
        poll_fn(|cx| self.poll(cx)).await
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Event>> {
        let Some(next) = &mut self.next else {
            return Poll::Ready(None);
        };
        let (event, receiver) = ready!(next.as_mut().poll(cx));
        let event = match event {
            Ok(event) => event,
            Err(RecvError::Lagged(count)) => Event {
                at: SystemTime::now(),
                topology: self.topology,
                kind: EventKind::Missed { count },
            },
            Err(RecvError::Closed) => {
                self.next = None;
                return Poll::Ready(None);
            }
        };
        self.next = Some(wait(receiver));
        self.topology = event.topology;
        Poll::Ready(Some(event))
    }
}

fn wait(mut receiver: Receiver<Event>) -> Waiting {
    Box::pin(async move {
        let event = receiver.recv().await;
        (event, receiver)
    })
}

#[cfg(feature = "stream")]
impl futures_core::Stream for Events {
    type Item = Event;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Event>> {
        self.poll(cx)
    }
}

impl fmt::Debug for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Events")
            .field("ended", &self.next.is_none())
            .finish_non_exhaustive()
    }
}

/// Where the tasks of a pool tell what happens. Never used on the path of a command.
#[derive(Debug)]
pub(crate) struct Bus {
    /// None after the end of the pool.
    sender: Mutex<Option<Sender<Event>>>,
}

impl Default for Bus {
    fn default() -> Self {
        Self {
            sender: Mutex::new(Some(Sender::new(ROOM))),
        }
    }
}

impl Bus {
    /// Everything that is told from now on.
    pub(crate) fn listen(&self) -> Events {
        let sender = self.sender.lock();
        let receiver = match &*sender {
            Some(sender) => sender.subscribe(),
            // Its sender is dropped at once: there will be nothing to hear.
            None => broadcast::channel(1).1,
        };
        Events::of(receiver)
    }

    /// `topology` is the version that has what is told.
    pub(crate) fn tell(&self, topology: u64, kind: EventKind) {
        let sender = self.sender.lock().clone();
        let Some(sender) = sender else { return };
        if sender.receiver_count() > 0 {
            let at = SystemTime::now();
            // An error says that the last listener has just gone.
            let _ = sender.send(Event { at, topology, kind });
        }
    }

    /// Nothing is told any more.
    pub(crate) fn close(&self) {
        let sender = self.sender.lock().take();
        // Without the lock: this wakes the listeners.
        drop(sender);
    }
}

#[cfg(test)]
mod tests;

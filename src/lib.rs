//! A read/write-splitting connection pool for Redis behind Sentinel.
//!
//! [`Pool::write`] lends a connection to the master, [`Pool::read`] one to a replica. Which node is
//! which comes from the Sentinels and from the nodes themselves, and is followed through failovers.
//!
//! ```no_run
//! use redis_rw_pool::{Config, Pool, redis::AsyncCommands};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let sentinels = ["10.0.0.1:26379", "10.0.0.2:26379", "10.0.0.3:26379"];
//! let pool = Pool::connect(Config::new(sentinels, "mymaster")).await?;
//!
//! let mut master = pool.write().await?;
//! let () = master.set("greeting", "hello").await?;
//! drop(master); // back to its pool
//!
//! let mut replica = pool.read().await?;
//! let greeting: Option<String> = replica.get("greeting").await?;
//! println!("{greeting:?} says the replica {}", replica.node());
//! # Ok(())
//! # }
//! ```
//!
//! All settings are fields of [`Config`]; everything that can go wrong with the pool is an
//! [`Error`]. Commands come from the redis crate, re-exported as [`redis`] so that the versions
//! match.
//!
//! # Two ways to send a command
//!
//! [`Pool::write`] and [`Pool::read`] lend an *exclusive* connection: nobody else uses it until it is
//! dropped, so everything that Redis knows works on it, `BLPOP`, `WATCH` and `SUBSCRIBE` included, and
//! a slow command holds up nobody else.
//!
//! [`Pool::writer`] and [`Pool::reader`] give [`Multiplexed`] handles: all their callers share one
//! socket a node, and commands sent at the same time travel together. Many small commands at once
//! cost a fraction of what they cost one by one, and nobody waits for a free connection. In return
//! a command waits for those before it, and what would disturb the others is refused.
//!
//! # Routing
//!
//! - [`Pool::write`] and [`Pool::writer`] go to the master only: the node that the Sentinels name, or that
//!   the master has handed over to, and that says of itself, on that very connection, that it is a master.
//! - [`Pool::read`] and [`Pool::reader`] go to the nodes that [`Config::read_from`] allows. By default
//!   these are the readable replicas, each with an even share, and the master while there is none.
//! - A replica is readable while it says itself that it follows our master and that its link is up, and
//!   once it has applied what the master had when the link came up; or, while the master itself cannot be
//!   reached, that it has only lost this link. [`Topology`] has the reason for every one that is left out.
//! - Replication is asynchronous: a read may not see yet what was just written. What must be read
//!   fresh is read through [`Pool::write`].
//!
//! The command decides nothing: a write sent through [`Pool::read`] is refused by the replica.
//!
//! # Failover
//!
//! The pool listens to all Sentinels and asks them at every event, every sign of trouble and every
//! [`refresh_interval`](Config::refresh_interval). It keeps one connection of its own to each node, over
//! which it asks for the role; in `CLIENT LIST` its name is the [`client_name`](Config::client_name) with
//! `-probe`.
//!
//! **The fence.** At the first sign that the master is being replaced, no more commands are written
//! to it: not at a checkout, not on a connection that is lent already, not on a multiplexed handle.
//! They wait, up to [`failover_timeout`](Config::failover_timeout). The Sentinel that leads a failover
//! publishes such a sign before it promotes the replica, while the old master goes on acknowledging
//! for seconds what it will throw away. These are signs, and [`Topology::fence`] has the one that counts:
//!
//! - an event that a Sentinel publishes, or a flag that it answers with, of a failover of our master.
//!   `o_down` alone, which says that the Sentinels cannot see it, is none while the master says that it is
//!   one and a replica is connected to it; [`SentinelStatus::claim`] has it;
//! - a replica of ours that says that it is a master. Where no event is heard this is the first sign: the
//!   promotion closes the connection over which the pool asks for the role, so it asks at once;
//! - a Sentinel that names another master under a higher epoch;
//! - the master, when it says that it is a replica.
//!
//! So a planned failover loses no acknowledged write where [`SentinelStatus::listening`] is as many as are
//! `known`, and those of a few milliseconds where the leader is not heard. The fence is lifted
//!
//! - onto the new master, when a Sentinel names it and it says itself that it is one;
//! - back onto the old one, when the Sentinel that gave the sign, asked after it, does not bear it out
//!   and the master stands to its role. So a false sign costs one question, and a Sentinel that gives
//!   several is only believed what it answers; [`Status::fence`] counts them. For a replica that says it
//!   is a master all Sentinels have to answer that they know of no failover;
//! - back onto the old one, where a Sentinel states a failover whose candidate still follows the master
//!   after twelve seconds: nobody has told it, for instance because the Sentinels' user may not;
//! - where the Sentinels are gone, by what the nodes say among themselves, after some twelve seconds in
//!   which any failover that had begun would have come to its promotion.
//!
//! **When to believe.** By default ([`Adopt::Announced`]) writes go on when the new master is announced,
//! about a second after its promotion. With [`Adopt::Promoted`] they go on as soon as the replica that
//! the leading Sentinel promotes says that it is a master, which makes a planned failover a matter of a
//! fifth of a second. The price: if the leader dies in that second, the others know nothing of the
//! promotion, and what was written since may be gone. Where the old master hands over by itself there is no
//! such risk, and with either setting writes go on before the announcement: in a coordinated failover of
//! Valkey 9 as soon as the new master says that it is one, after a bare `FAILOVER` as soon as the old one
//! also says that it follows it.
//!
//! **Who may become the master.** A node that was seen to follow our master, by the word of any Sentinel
//! with a higher epoch or by that of the master itself; any other node only if most of the Sentinels that
//! answer know it. So a single Sentinel that is confused or lies leads to nobody else's master. The first
//! master of all waits until most of the known Sentinels name it or know it, or the others have failed to
//! answer within [`sentinel_timeout`](Config::sentinel_timeout). If no node is known to most of them it is
//! the one that most replicas follow, the same for every pool, and [`Topology::unproven`] says so.
//!
//! Nodes are compared by run id, resolved address and replication id, whatever a Sentinel calls them.
//!
//! A guard is a lease on a role and not on a socket: where the master moved, or the connection was lost,
//! the next command goes over a fresh connection in the same place of the pool. Only a connection in the
//! middle of something (`MULTI`, `WATCH`, a subscription) cannot be replaced; its next command fails,
//! *not executed*.
//!
//! What a node refused to execute because it takes no writes any more (`READONLY`), loads its data
//! (`LOADING`) or has lost its master (`MASTERDOWN`) is sent again, to whoever can. So is a command that
//! only reads and whose connection was lost, to another replica where there is one, or to the next
//! master where only a master may serve it; [`Connection`] has the rules.
//!
//! Any other command that went out and whose reply never came is *unknown*: it may or may not have been
//! executed. It is never sent again for the caller, and its error says so.
//!
//! # Limits
//!
//! Each of the two pools has its own [`PoolLimits`]. `max_active` is hard; callers beyond it wait
//! in line, at most `wait_timeout`, and are served in the order in which they came. `idle_timeout`
//! counts from a connection's return, `max_lifetime` from its creation, and both hold without
//! traffic too. [`Pool::status`] has the numbers, with the reason of every connection that was
//! closed.
//!
//! Hold one connection at a time: a caller that keeps one while it waits for another of the same
//! pool can, with others like it, wait in vain.
//!
//! # Cancellation
//!
//! Any future of this crate may be dropped at any point. A checkout loses its place in line and
//! nothing else. A command leaves a connection on which a reply is still to come: no other caller
//! gets it, it is closed before its guard is used again. On a multiplexed handle the others go on, and the
//! reply is dropped when it comes. Whether the command was executed is then unknown.
//!
//! The same holds for state: a connection that comes back with `MULTI`, `WATCH`, `SELECT`,
//! `SUBSCRIBE` or the like left behind is closed instead of lent again.
//!
//! # Words
//!
//! | word | meaning |
//! |---|---|
//! | *master*, *replica* | what a node is, see [`Role`] |
//! | *master name* | the name by which Sentinels know a master with its replicas |
//! | *topology* | who is master and who is replica; its `version` grows with every change seen here, its `epoch` is the Sentinels' |
//! | *refresh* | to ask the Sentinels and bring the topology up to date |
//! | *checkout*, *return* | to take a connection out of its pool, to give it back |
//! | *active*, *idle* | open at all, open and not lent |
//! | *exclusive*, *multiplexed* | a connection for one caller at a time, one that many share |
//! | *prune* | to close idle or aged connections in the background; the *reaper* does it |
//! | *discard* | to close a connection instead of lending it again; [`Discard`] has the reasons |
//! | *fence* | to write nothing to a master that is being replaced |
//! | *not executed*, *unknown* | what is known of a command that failed |
//!
//! How it is built inside is in `docs/architecture.md` of the repository.
#![forbid(unsafe_code)]
#![doc(test(attr(deny(warnings), allow(dead_code, unused_variables))))]

// What callers see.
mod config;
mod error;
mod node;
mod pool;
mod status;

// Who is master, who is replica.
mod refresh;
mod sentinel;
mod topology;

// Lending connections, and sharing them.
mod exclusive;
mod multiplexed;
mod retry;
mod role_pool;

// One connection.
mod wire;

// Small tools.
#[cfg(any(test, feature = "unstable-internals"))]
#[doc(hidden)]
pub mod internals;
mod util;

pub use config::{
    AddressMap, Adopt, Config, ConfigError, MultiplexedLimits, PoolLimits, Protocol, ReadFrom,
    ReplyLimits,
};
pub use error::{
    DialState, Error, PoolName, Reports,
    outcome::{Outcome, outcome},
};
pub use exclusive::{connection::Connection, retry_write::Retry};
pub use multiplexed::Multiplexed;
pub use node::{Node, Role};
pub use pool::Pool;
pub use redis;
pub use status::{
    FenceStatus, MultiplexedStatus, PoolStatus, SentinelStatus, SignKind, Status,
    discard::{Discard, Discards},
};
pub use topology::{Replica, Topology, excluded::Excluded};

/// Compiles the README's examples.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct ReadmeDoctests;

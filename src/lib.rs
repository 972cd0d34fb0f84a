//! A read/write-splitting connection pool for Redis behind Sentinel, and for plain Redis.
//!
//! [`Pool::write`] lends a connection to the master, [`Pool::read`] one to a replica. Which node is
//! which comes from the Sentinels and from the nodes themselves, and is followed through failovers.
//! [Without Sentinels](#without-sentinels) the nodes alone are asked.
//!
//! ```no_run
//! use redis_rw_pool::{Config, Pool, redis::AsyncTypedCommands};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! // `REDIS_URL`: redis-sentinel://10.0.0.1,10.0.0.2,10.0.0.3#mymaster, or redis://127.0.0.1
//! let pool = Pool::connect(Config::from_env("REDIS")?).await?;
//!
//! // Handles, which all callers share.
//! let visits = pool.writer().incr("visits", 1).await?; // to the master
//! let seen = pool.reader().get("visits").await?; // from a replica, perhaps a moment behind
//!
//! // A connection of one's own, for what blocks, or is slow or large.
//! let mut master = pool.write().await?;
//! let job = master.blpop("jobs", 1.0).await?;
//! println!("visit {visits} of {seen:?}, job {job:?} from {}", master.node());
//! # Ok(())
//! # }
//! ```
//!
//! Commands come from the redis crate, re-exported as [`redis`] so that the versions match. With
//! `AsyncTypedCommands` a command has the type of its reply; with `AsyncCommands` the caller names it
//! (`let n: i64 = …`, or `let () = …`).
//!
//! # Settings
//!
//! All settings are fields of [`Config`]. They come from a URL ([`Config::from_url`]), from the environment
//! ([`Config::from_env`]), from a file (feature `serde`) or from code ([`Config::new`],
//! [`Config::standalone`], [`Config::nodes`], [`Config::with`]). Passwords are [`Secret`]s. Credentials that
//! change come from a [`CredentialsSource`].
//!
//! # Errors
//!
//! Everything that can go wrong with the pool is an [`Error`], and it converts into the
//! [`redis::RedisError`] with which commands fail. [`outcome`] tells from either whether the command was
//! executed. A web backend answers 503 where it was not, 504 where that is unknown, and 500 otherwise.
//! [`Pool::retry_write`] and [`Pool::retry_writer`] repeat work that does no harm when it is done twice.
//!
//! # Two ways to send a command
//!
//! [`Pool::write`] and [`Pool::read`] lend an *exclusive* connection: nobody else uses it until it is
//! dropped, so `BLPOP`, `WATCH` and everything else that needs a connection of its own works on it, and
//! a slow command holds up nobody else. Only `SUBSCRIBE` is refused, see [pub/sub](#pubsub).
//!
//! [`Pool::writer`] and [`Pool::reader`] give [`Multiplexed`] handles: all their callers share one
//! socket to each node (or a few), and commands sent at the same time travel together. Many small
//! commands at once cost a fraction of what they cost one by one, and nobody waits for a free
//! connection. In return a command waits for those before it, and what would disturb the others is
//! refused.
//!
//! # Routing
//!
//! - [`Pool::write`] and [`Pool::writer`] go to the master only: the node that the Sentinels name, or that
//!   the master has handed over to. On that very connection the node must say that it is a master.
//! - [`Pool::read`] and [`Pool::reader`] go to the nodes that [`Config::read_from`] allows. By default
//!   these are the readable replicas, each with an even share, and the master while there is none.
//! - A replica is readable while it says that it follows our master and that its link to the master is up.
//!   After the link has come up, the replica must first have applied what the master had at that moment.
//!   While the master itself cannot be reached, a replica that has lost only this link stays readable.
//!   [`Topology`] has the reason for every replica that is left out.
//! - Replication is asynchronous: a read may not see yet what was just written. A [`Session`] sees its own
//!   writes, and [`Pool::read_with`] and [`Multiplexed::with`] say how fresh a read must be, see
//!   [Fresh reads](#fresh-reads). If a read must see the latest write of anybody, send it
//!   through [`Pool::writer`] or [`Pool::write`].
//!
//! The command decides nothing: a write sent through [`Pool::read`] or [`Pool::reader`] is refused
//! by a replica, and executed by the master if [`Config::read_from`] leads there.
//!
//! # Fresh reads
//!
//! A session reads its own writes, and reads them from replicas: over shared handles, and with
//! [`Session::write`] and [`Session::read`] over connections of one's own.
//!
//! ```no_run
//! use redis_rw_pool::redis::AsyncTypedCommands;
//!
//! # async fn example(pool: redis_rw_pool::Pool) -> redis_rw_pool::redis::RedisResult<()> {
//! let session = pool.session();
//! let visits = session.writer().incr("visits", 1).await?;
//! let seen = session.reader().get("visits").await?; // this visit is in it
//! let token = session.token(); // for a cookie or a message: another process goes on with it
//! # Ok(())
//! # }
//! ```
//!
//! A node says in `INFO replication` how far its data goes: its *position*. That question travels in the
//! same write as the command, behind a write and ahead of a read. So a write brings back the master's
//! position, as a [`Token`], and a read brings back the proof that its node had got so far when the read
//! ran. A reply without proof is dropped, and the read goes elsewhere: to another replica, after up to
//! [`patience`](FreshnessLimits::patience) to the master. Commands that travel together share a question,
//! and where nobody asks for freshness none is sent.
//!
//! | | a read sees |
//! |---|---|
//! | [`Pool::session`] | the session's writes, and all that the master had executed before them |
//! | [`Multiplexed::after`] a token | all that the master had when the token was made |
//! | [`Multiplexed::within`] a time | all that was acknowledged longer ago than that |
//! | [`Freshness::Master`] | what the master has |
//! | [`Pool::read_with`] a [`Freshness`] | the same over a connection of one's own |
//!
//! [`Pool::token`] is the master's position now, and [`Pool::confirm`] waits until replicas have a token.
//! A text from anywhere may be given to [`Session::resume`]: what is no token is ignored, and with one that
//! is forged or very old, reads see what the master had when it was asked. If a failover loses a write, reads see what is left,
//! and [`Session::state`] says so. [`Session`] says what no token can know.
//!
//! The user needs the permission `+info`. Without it reads that ask for freshness, [`Pool::token`] and
//! [`Pool::confirm`] fail with [`Error::PositionRefused`], and nothing else does.
//!
//! # Failover
//!
//! The pool listens to all Sentinels. It asks them at every event, at every sign of trouble and
//! every [`refresh_interval`](Config::refresh_interval). To each node it keeps one connection of
//! its own, over which it asks for the role. In `CLIENT LIST` that connection's name is the
//! [`client_name`](Config::client_name) with `-probe`.
//!
//! **The fence.** At the first sign that the master is being replaced, no more commands of the
//! write pool are written to it: not at a checkout, not on a lent connection, not on a multiplexed
//! handle. They wait, up to [`failover_timeout`](Config::failover_timeout). The Sentinel that leads
//! a failover publishes such a sign before it promotes the replica. Meanwhile, for seconds, the old
//! master still acknowledges writes that will be lost. [`Topology::fence`] has the sign that raised
//! the fence.
//!
//! The fence covers [`Pool::write`] and [`Pool::writer`] only. Reads go on, also those that
//! [`Config::read_from`] sends to the master. So a write that is sent to the master through
//! [`Pool::read`] or [`Pool::reader`] is not held back, and may be lost. Send writes through
//! [`Pool::write`] or [`Pool::writer`].
//!
//! These are signs:
//!
//! - a Sentinel's event, or a flag in its answer, about a failover of our master. `o_down` alone says that
//!   the Sentinels cannot see the master. It is no sign while the master says that it is one and a replica
//!   is connected to it; [`SentinelStatus::claim`] shows it then;
//! - a replica of our master reports the role `master`. If no event arrives, this is the first
//!   sign: the promotion closes the connection over which the pool asks for the role, so the pool
//!   asks again at once;
//! - a Sentinel that names another master under a higher epoch;
//! - the master, when it says that it is a replica.
//!
//! So a planned failover loses no acknowledged write where [`SentinelStatus::listening`] equals
//! [`known`](SentinelStatus::known), and where the replica that is promoted executes what it lacks between
//! the sign and its promotion: Sentinel does not wait for it. Where the leading Sentinel is not heard, it loses
//! the writes of a few milliseconds. The fence is lifted
//!
//! - onto the new master, when a Sentinel names it and the node itself reports `master`;
//! - back onto the old master, when the Sentinel that gave the sign is asked and does not confirm
//!   it, and the old master still reports `master`. So a false sign costs one query. A Sentinel
//!   with several false signs can no longer raise the fence by an event, only by an answer;
//!   [`Status::fence`] counts them. If the sign is a replica that reports `master`, every Sentinel
//!   must answer that it knows of no failover;
//! - back onto the old master, when a Sentinel reports a failover whose candidate still follows the
//!   old master after twelve seconds. The promotion never reached that candidate, for instance
//!   because the Sentinels' user lacks the permission;
//! - if no Sentinel can be reached: after about twelve seconds, by what the nodes report. By then
//!   any failover that had begun would have promoted its replica.
//!
//! **When a new master is accepted.** By default ([`Adopt::Announced`]) writes go on when the new
//! master is announced, about a second after its promotion. With [`Adopt::Promoted`] they go on as
//! soon as the replica that the leading Sentinel promotes says that it is a master. A planned
//! failover then takes about a fifth of a second. The price: if the leading Sentinel dies in that
//! second, the other Sentinels know nothing of the promotion, and what was written since may be
//! lost. If the old master hands over by itself there is no such risk, and with either setting
//! writes go on before the announcement. In a coordinated failover of Valkey 9 they go on as soon
//! as the new master reports `master`; after a plain `FAILOVER`, as soon as the old master also
//! reports that it follows the new one.
//!
//! **Which node may become the master.** A node that was seen to follow our master may, if any
//! Sentinel names it under a higher epoch, or if the master itself hands over to it. Any other node
//! may only if most of the Sentinels that answer know it. So a single Sentinel that is confused or
//! lies cannot lead the pool to the master of another deployment. The very first master must be
//! named or listed by most of the known Sentinels. Once each Sentinel has answered or has failed to
//! answer within [`sentinel_timeout`](Config::sentinel_timeout), most of those that answered are
//! enough. If most of them know no node in common, the pool takes the node that most replicas
//! follow, the same for every pool, and [`Topology::unproven`] says so.
//!
//! Nodes are compared by run id, resolved address and replication id, not by the name that a Sentinel uses.
//!
//! A guard is a lease on a role and not on a socket. Where the master moved, or the connection was lost,
//! the next command goes over a fresh connection in the same place of the pool. Only a connection in the
//! middle of something (`MULTI`, `WATCH`, another database) cannot be replaced; its next command fails,
//! *not executed*.
//!
//! A node may refuse a command because it takes no writes any more (`READONLY`), loads its data
//! (`LOADING`) or has lost its master (`MASTERDOWN`). The command was not executed, and is sent again to a
//! node that can execute it. A command that only reads and whose connection was lost is sent again too:
//! to another replica where there is one, or to the next master where only a master may serve it.
//! [`Connection`] has the rules.
//!
//! Any other command that was sent and whose reply never came is *unknown*: it may or may not have been
//! executed. It is never sent again for the caller, and its error says so.
//!
//! # Pub/sub
//!
//! [`Pool::subscriber`] receives messages over a connection of its own, which follows the master: it is
//! subscribed to everything on the new one before it leaves the old one. Where messages may be missing a
//! [`Notice::Gap`] says so, after the new node has confirmed every subscription and before its first
//! message. No message is thrown away here. Publish through [`Pool::writer`].
//!
//! # Without Sentinels
//!
//! [`Config::standalone`] is for one Redis, on a laptop or in CI, and [`Config::nodes`] for a master
//! with replicas or a managed service with a primary and a reader endpoint. In a URL only the scheme
//! differs: `redis://host` instead of `redis-sentinel://host#master_name`. Everything else is the same:
//! pools, limits, guards, status. With one node, reads go to it by default as well.
//!
//! Who is master is what the nodes say themselves, and a promotion by hand is followed. What only
//! Sentinels can give is missing: somebody who replaces a dead master, and a sign before a promotion.
//! [`Config::nodes`] says what is promised.
//!
//! # At the start
//!
//! [`Pool::connect`] waits for a master while there may be one soon, and fails at once where waiting is
//! useless: wrong credentials, an unknown master name or database. [`Pool::connect_lazy`] needs no
//! server at all, and [`Pool::connected`] waits for the master later.
//!
//! # Encryption
//!
//! With `Config::tls`, or a URL that begins with `rediss-sentinel://` or `rediss://`, connections to
//! nodes and Sentinels are encrypted. `Tls::builder` has the settings. Certificates may be renewed while the
//! pool runs.
//!
//! # Features
//!
//! None is on by default.
//!
//! | feature | adds |
//! |---|---|
//! | `tls-ring`, `tls-aws-lc-rs` | TLS, with the cryptography of that crate |
//! | `tls-native-roots`, `tls-webpki-roots` | CAs to trust where the settings name none: those of the system, or Mozilla's list |
//! | `tls` | TLS without either, for an application that brings both |
//! | `serde` | `Deserialize` for [`Config`] and what is in it, `Serialize` for [`Status`] and [`Topology`] |
//! | `metrics` | `Pool::push_metrics`, for the recorder of the [`metrics`](https://docs.rs/metrics/0.24) crate |
//! | `json` | `Json<T>`: values of serde, stored as JSON text |
//! | `stream` | `Stream` for [`Events`] and [`Subscriber`] |
//!
//! # Limits
//!
//! Each of the two pools has its own [`PoolLimits`]. `max_active` is hard. Callers beyond it wait
//! in line, at most `wait_timeout`, and are served in the order in which they came. `idle_timeout`
//! counts from a connection's return, `max_lifetime` from its creation, and both hold without
//! traffic too. [`Pool::status`] has the numbers, and counts the closed connections by reason.
//!
//! Hold one connection at a time: callers that each keep one while they wait for another of the same
//! pool can block each other until `wait_timeout`.
//!
//! # Cancellation
//!
//! Any future of this crate may be dropped at any point. A checkout loses its place in line and
//! nothing else. A command that is dropped leaves behind a connection on which its reply is still to come.
//! No other caller gets that connection: it is closed before its guard is used again. On a multiplexed
//! handle the other callers go on, and the reply is dropped when it comes. Whether the command was executed
//! is then unknown.
//!
//! The same holds for state: a connection that is returned with `MULTI`, `WATCH`, `SELECT`,
//! `CLIENT TRACKING` or the like left behind is closed instead of lent again.
//!
//! # Seen from outside
//!
//! [`Pool::status`] has every number: the limits, what is going on now, and what happened since the pool was
//! made, with histograms of how long callers waited. [`Status::openmetrics`] is the same as text for
//! Prometheus, and the feature `metrics` hands it to that crate's recorder. [`Pool::health`] says what can be
//! done now, for the probes of an orchestrator; [`Health`] says which of them should ask what.
//! [`Pool::events`] tells what happens: another master, a fence, replicas that come and go.
//!
//! # Logging
//!
//! The crate emits [`tracing`](https://docs.rs/tracing) events, none on the path of a command or a
//! checkout that goes well. `warn`: the fence goes up, the master or a node cannot be reached, a caller
//! waited for a connection in vain, a Sentinel refuses something. `info`: the pool connects and closes, the
//! master changes or is back, the fence goes down, a replica is left out or read from again. `debug`: a connection is closed and why, a
//! command is sent again, every event and every topology.
//!
//! # Words
//!
//! | word | meaning |
//! |---|---|
//! | *node* | one Redis or Valkey server, see [`Node`] |
//! | *master*, *replica* | what a node is, see [`Role`] |
//! | *Sentinel* | a process that watches a master and replaces it when it fails |
//! | *master name* | the name by which Sentinels know a master with its replicas |
//! | *topology* | who is master and who is replica; its `version` grows with every change seen here, its `epoch` is the Sentinels' |
//! | *refresh* | to ask the Sentinels and bring the topology up to date |
//! | *probe* | to ask a node for its role |
//! | *read pool*, *write pool* | the connections behind [`Pool::read`], and those behind [`Pool::write`] |
//! | *guard* | a lent [`Connection`]; dropping it returns the connection |
//! | *checkout*, *return* | to take a connection out of its pool, to give it back |
//! | *active*, *idle* | open, whether lent or not; open and not lent |
//! | *exclusive*, *multiplexed* | a connection for one caller at a time, one that many share |
//! | *dial* | to open a connection and finish its handshake |
//! | *prune* | to close idle or aged connections in the background; the *reaper* does it |
//! | *discard* | to close a connection instead of lending it again; [`Discard`] has the reasons |
//! | *fence* | to write nothing of the write pool to a master that is being replaced |
//! | *sign* | evidence that the master is being replaced, see [`SignKind`] |
//! | *promote*, *announce* | to make a replica the master, to publish that it is; see [`Adopt`] |
//! | *timeline* | one uninterrupted history of the data, known by the master's replication id; a failover begins another |
//! | *position* | how far a node's data goes: a timeline, and the bytes of replication stream up to there |
//! | *token* | a position that a read must have reached, see [`Token`] |
//! | *not executed*, *unknown*, *executed* | what is known of a command that failed, see [`Outcome`] |
//!
//! The repository has pages with [recipes], [every setting], [what callers get when something fails], and
//! [how it is built inside].
//!
//! [recipes]: https://github.com/redis-rw-pool/redis-rw-pool/blob/main/docs/cookbook.md
//! [every setting]: https://github.com/redis-rw-pool/redis-rw-pool/blob/main/docs/configuration.md
//! [what callers get when something fails]: https://github.com/redis-rw-pool/redis-rw-pool/blob/main/docs/failures.md
//! [how it is built inside]: https://github.com/redis-rw-pool/redis-rw-pool/blob/main/docs/architecture.md
#![forbid(unsafe_code)]
#![cfg_attr(docsrs, feature(doc_cfg))]
#![doc(test(attr(deny(warnings), allow(dead_code, unused_variables))))]

// What callers see.
mod config;
mod error;
mod events;
mod health;
#[cfg(feature = "json")]
mod json;
mod node;
mod pool;
mod retry_write;
mod session;
mod status;
mod subscriber;

// Who is master, who is replica.
mod position;
mod refresh;
mod sentinel;
mod topology;

// Lending connections, and sharing them.
mod exclusive;
mod freshness;
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

#[cfg(feature = "tls")]
pub use config::tls::{SentinelTls, ServerName, Tls, TlsBuilder, TlsError, Verify};
pub use config::{
    AddressMap, Adopt, Ask, Config, ConfigError, Credentials, CredentialsSource, FreshnessLimits,
    HostPattern, Measure, MultiplexedLimits, OnLost, Otherwise, PoolLimits, Prefer, Protocol,
    ReadFrom, ReplyLimits, Secret, Trace,
};
pub use error::{
    DialState, Error, PoolName, Reports,
    outcome::{Outcome, outcome},
};
pub use events::{Event, EventKind, Events, Lifted};
pub use exclusive::connection::Connection;
pub use freshness::{confirm::Copies, requirement::Freshness, session_state::SessionState};
pub use health::{Ability, Health, Need};
#[cfg(feature = "json")]
pub use json::Json;
pub use multiplexed::Multiplexed;
pub use node::{Node, Role};
pub use pool::{Pool, weak::WeakPool};
pub use position::token::{Token, TokenError};
pub use redis;
pub use retry_write::{Retry, work_error::WorkError};
#[cfg(feature = "tls")]
pub use rustls;
pub use session::Session;
pub use status::{
    Durations, FenceStatus, MasterStatus, MultiplexedStatus, PoolStatus, SentinelStatus, SignKind,
    Status, TlsStatus,
    dials::FailedDial,
    discard::{Discard, Discards},
    failures::Failures,
    freshness::{FreshnessStatus, NodeLag},
    histogram::Histogram,
    subscriber::SubscriberStatus,
};
pub use subscriber::{
    Subscriber, SubscriberHandle,
    notice::{Gap, GapCause, Message, Notice, Refusal},
    options::{Source, SubscriberOptions},
};
pub use topology::{Replica, Topology, excluded::Excluded};

/// Compiles the README's examples.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct ReadmeDoctests;

/// Compiles the examples of the pages in `docs/`.
#[cfg(all(doctest, feature = "json", feature = "serde", feature = "tls-ring"))]
mod docs {
    #[doc = include_str!("../docs/configuration.md")]
    struct Configuration;

    #[doc = include_str!("../docs/cookbook.md")]
    struct Cookbook;

    #[doc = include_str!("../docs/failures.md")]
    struct Failures;

    #[doc = include_str!("../docs/migrating.md")]
    struct Migrating;
}

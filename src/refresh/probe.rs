//! Asks a node itself what it is: Sentinels nominate, the node proves.
//!
//! Each known node has one connection that stays open for this. A promotion closes the connections
//! of the promoted node's clients (Sentinel sends `CLIENT KILL TYPE normal` with it). Where no
//! event is heard, the end of this connection is the earliest sign of a promotion, so the node is
//! asked again at once.

use std::{sync::Arc, time::Duration};

use redis::{Cmd, ErrorKind, RedisError, Value, cmd};
use tokio::{
    sync::{mpsc, watch},
    time::Instant,
};

use crate::{
    config::{Config, Prefer},
    error::{self, is_refusal},
    node::{Node, Role},
    refresh::decide::node_report::NodeReport,
    util::abort_on_drop::AbortOnDrop,
    wire::{
        connection::WireConnection,
        handshake::{self, Greeting},
        info,
        role::RoleReply,
    },
};

/// A connection that lasted this long was a good one. After one that did not, the node is asked
/// after ever longer pauses: a proxy that closes idle connections must not be dialled in a loop.
const HELD: Duration = Duration::from_secs(1);
const FIRST_BACKOFF: Duration = Duration::from_millis(50);

/// What a node tells besides its role. Its ACL may forbid it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Identity {
    /// The server draws a new one at each start.
    pub(crate) run_id: Option<String>,
    /// `master_replid`: a replica whose link is up has that of its master.
    pub(crate) timeline: Option<String>,
    /// The zone that it says it is in: `availability_zone` of `INFO server` from Valkey 8.0 on, and of `HELLO`
    /// from 8.1 on. Redis has neither.
    pub(crate) zone: Option<String>,
}

#[derive(Debug)]
pub(crate) struct Probed {
    pub(crate) node: Node,
    pub(crate) report: NodeReport,
    pub(crate) identity: Identity,
    /// Its replication offset: how much it wrote as a master, or applied as a replica.
    pub(crate) offset: Option<u64>,
    /// How long it took to answer over a connection that was open.
    pub(crate) round_trip: Option<Duration>,
    /// Whether it is a master that says that replicas are connected to it.
    pub(crate) has_replicas: bool,
    /// The error of a node that is alive and refuses us: bad credentials, no permission, another
    /// encryption.
    pub(crate) refusal: Option<RedisError>,
    pub(crate) reason: Reason,
}

/// Why a node was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reason {
    /// Its report was missing.
    Asked,
    /// It was asked until it said that it is a master.
    Awaited,
    /// It had closed the connection.
    Closed,
}

/// What a prober has been asked for so far.
#[derive(Debug, Clone, Copy, Default)]
struct Question {
    /// How many times it must not have used an open connection.
    redials: u64,
}

/// The task that asks one node, and keeps a connection to it.
#[derive(Debug)]
pub(crate) struct Prober {
    asked: watch::Sender<Question>,
    _task: AbortOnDrop,
}

impl Prober {
    pub(crate) fn spawn(config: Arc<Config>, node: Node, out: mpsc::Sender<Probed>) -> Self {
        let (asked, questions) = watch::channel(Question::default());
        Self {
            asked,
            _task: AbortOnDrop::spawn(run(config, node, questions, out)),
        }
    }

    /// Asks once more. Questions that are put while one is under way are one. `redial`: not over the
    /// connection that is open.
    pub(crate) fn ask(&self, redial: bool) {
        self.asked
            .send_modify(|question| question.redials += u64::from(redial));
    }
}

async fn run(
    config: Arc<Config>,
    node: Node,
    mut questions: watch::Receiver<Question>,
    out: mpsc::Sender<Probed>,
) {
    let mut conn: Option<WireConnection> = None;
    let mut backoff = Duration::ZERO;
    let mut redials = 0;
    loop {
        let since = Instant::now();
        let reason = tokio::select! {
            asked = questions.changed() => match asked {
                Ok(()) => Reason::Asked,
                Err(_) => return,
            },
            () = closed(&mut conn, backoff) => Reason::Closed,
        };
        if reason == Reason::Closed {
            conn = None;
            backoff = next_backoff(backoff, since.elapsed(), config.refresh_interval);
        }
        let wanted = questions.borrow().redials;
        if std::mem::replace(&mut redials, wanted) != wanted {
            conn = None;
        }
        let probed = probe(&config, &node, &mut conn, reason).await;
        if out.send(probed).await.is_err() {
            return;
        }
    }
}

/// The pause after the next time that the node closes the connection. `held` is how long the
/// connection lasted that it has just closed.
fn next_backoff(backoff: Duration, held: Duration, longest: Duration) -> Duration {
    if held >= HELD {
        return Duration::ZERO;
    }
    (backoff * 2).max(FIRST_BACKOFF).min(longest)
}

/// Ends when the connection is closed, and some time has passed.
async fn closed(conn: &mut Option<WireConnection>, backoff: Duration) {
    match conn {
        Some(conn) => {
            conn.closed().await;
            tokio::time::sleep(backoff).await;
        }
        None => std::future::pending().await,
    }
}

async fn probe(
    config: &Config,
    node: &Node,
    conn: &mut Option<WireConnection>,
    reason: Reason,
) -> Probed {
    let deadline = Instant::now() + config.connect_timeout;
    let mut probed = Probed {
        node: node.clone(),
        report: NodeReport::Failed(String::new()),
        identity: Identity::default(),
        offset: None,
        round_trip: None,
        has_replicas: false,
        refusal: None,
        reason,
    };
    match greet(config, node, conn.take(), deadline).await {
        Ok((mut kept, greeting, told)) => {
            probed.report = judge(&greeting);
            // Sentinels do not watch clusters, so only a list of nodes may hold one.
            if greeting.in_cluster_mode && !config.nodes.is_empty() {
                let error = cluster_mode();
                probed.report = NodeReport::Failed(error::reason(&error));
                probed.refusal = Some(error);
                return probed;
            }
            probed.offset = offset(&greeting);
            probed.has_replicas = matches!(
                greeting.detail,
                Some(RoleReply::Master { replicas: 1.., .. })
            );
            let told = match told {
                Some(told) => Some(told),
                None => Told::ask(config, &mut kept, deadline).await.ok(),
            };
            if let Some(told) = told {
                probed.round_trip = Some(told.round_trip);
                probed.identity = identity(&told.replies);
                if probed.identity.zone.is_none() {
                    probed.identity.zone = greeting.zone;
                }
                kept.trim();
                *conn = Some(kept);
            }
        }
        Err(error) => {
            probed.report = NodeReport::Failed(error::reason(&error));
            probed.refusal = is_refusal(&error).then_some(error);
        }
    }
    probed
}

/// What a node said besides its greeting.
struct Told {
    /// To [`identity_questions`].
    replies: Vec<Value>,
    round_trip: Duration,
}

impl Told {
    async fn ask(
        config: &Config,
        conn: &mut WireConnection,
        deadline: Instant,
    ) -> Result<Self, RedisError> {
        let questions = identity_questions(config, false);
        let asked = Instant::now();
        let replies = conn.exchange(&questions, deadline).await?;
        Ok(Self {
            replies,
            round_trip: asked.elapsed(),
        })
    }
}

/// Greets over the connection that is there, and asks all else along with it; or greets over a fresh one
/// where that has been closed meanwhile.
async fn greet(
    config: &Config,
    node: &Node,
    conn: Option<WireConnection>,
    deadline: Instant,
) -> Result<(WireConnection, Greeting, Option<Told>), RedisError> {
    if let Some(mut conn) = conn.filter(|conn| !conn.is_stale()) {
        if conn.edition().has_successor() {
            // Where the node does not take the new certificates yet, it still answers over these.
            let half = Instant::now() + config.connect_timeout / 2;
            let half = half.min(deadline);
            if let Ok((conn, greeting)) =
                handshake::connect(config, node, Role::Replica, half).await
            {
                return Ok((conn, greeting, None));
            }
        }
        // Newer credentials are tried here first.
        let login = config.node_logins().newest().unwrap_or_default();
        let login = login.again(conn.login());
        let more = identity_questions(config, true);
        let asked = Instant::now();
        match handshake::greet(config, &login, &mut conn, Role::Replica, &more, deadline).await {
            Ok((greeting, replies)) => {
                let round_trip = asked.elapsed();
                let told = Told {
                    replies,
                    round_trip,
                };
                return Ok((conn, greeting, Some(told)));
            }
            Err(error) if error.is_timeout() => return Err(error),
            // A server closes connections for many reasons, and that says nothing about its role.
            // So a fresh one is tried.
            Err(_) => {}
        }
    }
    // For a replica the handshake includes ROLE.
    let (conn, greeting) = handshake::connect(config, node, Role::Replica, deadline).await?;
    Ok((conn, greeting, None))
}

fn cluster_mode() -> RedisError {
    (
        ErrorKind::InvalidClientConfig,
        "the node is in cluster mode (cluster-enabled yes)",
        "this crate does not speak to a Redis Cluster".to_owned(),
    )
        .into()
}

fn judge(greeting: &Greeting) -> NodeReport {
    match (greeting.role, &greeting.detail) {
        (_, Some(RoleReply::Replica { master, state, .. })) => NodeReport::Replica {
            link: state.trouble().map(str::to_owned),
            master: master.clone(),
            unclear: false,
        },
        (_, Some(RoleReply::Sentinel)) => NodeReport::Failed("it is a Sentinel".to_owned()),
        (Some(Role::Master), _) | (_, Some(RoleReply::Master { .. })) => NodeReport::Master,
        (Some(Role::Replica), None) => NodeReport::SomeReplica,
        (None, None) => NodeReport::Unprovable(greeting.why_unproven()),
    }
}

fn offset(greeting: &Greeting) -> Option<u64> {
    match greeting.detail {
        Some(RoleReply::Master { offset, .. } | RoleReply::Replica { offset, .. }) => {
            offset.try_into().ok()
        }
        _ => None,
    }
}

/// Before 7.0 `INFO` takes one section at a time. What `server` has stays as it is for as long as the
/// connection lasts, but for the zone.
fn identity_questions(config: &Config, is_kept: bool) -> Vec<Cmd> {
    let server = !is_kept || matches!(config.prefer, Prefer::Zone(_));
    let sections = ["replication"]
        .into_iter()
        .chain(server.then_some("server"));
    sections
        .map(|section| cmd("INFO").arg(section).take())
        .collect()
}

/// A node whose ACL forbids `INFO` stays without an identity.
fn identity(replies: &[Value]) -> Identity {
    let field = |name| replies.iter().find_map(|reply| info::field(reply, name));
    Identity {
        run_id: field("run_id"),
        timeline: field("master_replid"),
        zone: replies
            .iter()
            .find_map(|reply| info::text_field(reply, "availability_zone")),
    }
}

#[cfg(test)]
mod tests;

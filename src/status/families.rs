//! Every number of the status, with its name and its labels, in an order that is always the same.

use std::time::Duration;

use crate::{
    error::outcome::Outcome,
    status::{
        MultiplexedStatus, PoolStatus, Status, TlsStatus, discard::Discards, histogram::Histogram,
    },
};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// It only grows.
    Counter,
    Gauge,
    Histogram,
}

/// Numbers of one name.
#[derive(Debug)]
pub(crate) struct Family {
    /// That of a counter without `_total`.
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    pub(crate) help: &'static str,
}

impl Family {
    /// The unit, which is the end of the name.
    pub(crate) fn unit(&self) -> Option<&'static str> {
        let mut units = ["seconds", "bytes"].into_iter();
        units.find(|unit| self.name.ends_with(unit))
    }

    /// What a number's own name has behind that of its family.
    pub(crate) fn suffix(&self) -> &'static str {
        match self.kind {
            Kind::Counter => "_total",
            Kind::Gauge | Kind::Histogram => "",
        }
    }
}

pub(crate) type Labels<'a> = &'a [(&'static str, &'a str)];

/// Takes the numbers. A family comes before its numbers.
pub(crate) trait Sink {
    fn family(&mut self, family: &Family);
    fn integer(&mut self, family: &Family, labels: Labels<'_>, value: u64);
    fn float(&mut self, family: &Family, labels: Labels<'_>, value: f64);
    fn histogram(&mut self, family: &Family, labels: Labels<'_>, value: &Histogram);
}

/// OpenTelemetry's `db.client.connection.pool.name`, and the like.
const POOL: &str = "db_client_connection_pool_name";
const STATE: &str = "db_client_connection_state";

/// A text that comes from the network is cut where it is longer. Names and addresses never are: two of them
/// might be the same then.
pub(crate) const LONGEST_TEXT: usize = 256;

/// Hands out all numbers of this status.
pub(crate) fn visit(status: &Status, sink: &mut impl Sink) {
    let pools = Pools::new(status);
    connections(&pools, sink);
    times(&pools, sink);
    commands(&pools, sink);
    writes(status, sink);
    replicas(status, sink);
    sentinels(status, sink);
    freshness(status, sink);
    subscribers(status, sink);
    certificates(status, sink);
}

/// What is called a pool in metrics.
struct Pools<'a> {
    names: [String; 4],
    exclusive: [&'a PoolStatus; 2],
    shared: [&'a MultiplexedStatus; 2],
}

/// `role`, in the order of both kinds of pools.
const ROLES: [&str; 2] = ["write", "read"];

impl<'a> Pools<'a> {
    fn new(status: &'a Status) -> Self {
        let name = |pool| format!("{}/{pool}", status.name);
        Self {
            names: ["write", "read", "writer", "reader"].map(name),
            exclusive: [&status.write, &status.read],
            shared: [&status.writer, &status.reader],
        }
    }

    fn exclusive(&self) -> impl Iterator<Item = (&str, &'a PoolStatus)> {
        let names = self.names.iter().map(String::as_str);
        names.zip(self.exclusive)
    }

    fn shared(&self) -> impl Iterator<Item = (&str, &'a MultiplexedStatus)> {
        let names = self.names[2..].iter().map(String::as_str);
        names.zip(self.shared)
    }

    /// The same number of all four.
    fn all<T>(
        &self,
        exclusive: impl Fn(&'a PoolStatus) -> T,
        shared: impl Fn(&'a MultiplexedStatus) -> T,
    ) -> impl Iterator<Item = (&str, T)> {
        let exclusive = self
            .exclusive()
            .map(move |(name, pool)| (name, exclusive(pool)));
        let shared = self.shared().map(move |(name, pool)| (name, shared(pool)));
        exclusive.chain(shared)
    }
}

/// A family of which each of these pools has one number.
fn each<'a>(sink: &mut impl Sink, family: &Family, values: impl Iterator<Item = (&'a str, u64)>) {
    sink.family(family);
    for (pool, value) in values {
        sink.integer(family, &[(POOL, pool)], value);
    }
}

/// A family of which each of these pools has one histogram.
fn each_time<'a, 'b>(
    sink: &mut impl Sink,
    family: &Family,
    values: impl Iterator<Item = (&'a str, &'b Histogram)>,
) {
    sink.family(family);
    for (pool, value) in values {
        sink.histogram(family, &[(POOL, pool)], value);
    }
}

/// A family of one number.
fn one(sink: &mut impl Sink, family: &Family, value: u64) {
    sink.family(family);
    sink.integer(family, &[], value);
}

/// A family of one duration.
fn one_time(sink: &mut impl Sink, family: &Family, value: Duration) {
    sink.family(family);
    sink.float(family, &[], value.as_secs_f64());
}

/// A family whose numbers differ in one label.
fn labelled<'a>(
    sink: &mut impl Sink,
    family: &Family,
    label: &'static str,
    values: impl IntoIterator<Item = (&'a str, u64)>,
) {
    sink.family(family);
    for (value, number) in values {
        sink.integer(family, &[(label, value)], number);
    }
}

const fn counter(name: &'static str, help: &'static str) -> Family {
    let kind = Kind::Counter;
    Family { name, kind, help }
}

const fn gauge(name: &'static str, help: &'static str) -> Family {
    let kind = Kind::Gauge;
    Family { name, kind, help }
}

const fn histogram(name: &'static str, help: &'static str) -> Family {
    let kind = Kind::Histogram;
    Family { name, kind, help }
}

fn connections(pools: &Pools<'_>, sink: &mut impl Sink) {
    let count = gauge(
        "db_client_connection_count",
        "Open connections, lent or shared (used) and idle.",
    );
    sink.family(&count);
    for (pool, status) in pools.exclusive() {
        let used = status.active.saturating_sub(status.idle);
        for (state, value) in [("idle", status.idle), ("used", used)] {
            sink.integer(&count, &[(POOL, pool), (STATE, state)], value as u64);
        }
    }
    for (pool, status) in pools.shared() {
        let labels = [(POOL, pool), (STATE, "used")];
        sink.integer(&count, &labels, status.connections as u64);
    }
    let max = gauge("db_client_connection_max", "The limit on open connections.");
    let of = |value: fn(&PoolStatus) -> usize| {
        let pools = pools.exclusive();
        pools.map(move |(name, pool)| (name, value(pool) as u64))
    };
    each(sink, &max, of(|pool| pool.max_active));
    let max = gauge(
        "db_client_connection_idle_max",
        "The limit on idle connections.",
    );
    each(sink, &max, of(|pool| pool.max_idle));
    let min = gauge(
        "db_client_connection_idle_min",
        "Connections that are kept ready.",
    );
    each(sink, &min, of(|pool| pool.min_idle));
    let pending = gauge(
        "db_client_connection_pending_requests",
        "Callers in line for a connection, or for room on a shared one.",
    );
    let waiting = pools.all(|pool| pool.waiting as u64, |shared| shared.waiting as u64);
    each(sink, &pending, waiting);
    let created = counter("redis_rw_pool_connections_created", "Connections made.");
    each(
        sink,
        &created,
        pools.all(|pool| pool.created, |shared| shared.created),
    );
    closed(pools, sink);
}

fn closed(pools: &Pools<'_>, sink: &mut impl Sink) {
    let closed = counter(
        "redis_client_connection_closed",
        "Connections closed, by reason.",
    );
    sink.family(&closed);
    let reason = "redis_client_connection_close_reason";
    let discards = |discards: &Discards| *discards;
    let all = pools.all(
        |pool| discards(&pool.discards),
        |shared| discards(&shared.discards),
    );
    for (pool, discards) in all {
        for (why, count) in discards.iter() {
            sink.integer(&closed, &[(POOL, pool), (reason, why.as_str())], count);
        }
    }
}

fn times(pools: &Pools<'_>, sink: &mut impl Sink) {
    let wait = histogram(
        "db_client_connection_wait_time_seconds",
        "How long callers waited for a connection.",
    );
    let exclusive = pools.exclusive();
    each_time(
        sink,
        &wait,
        exclusive.map(|(name, pool)| (name, &pool.wait)),
    );
    let create = histogram(
        "db_client_connection_create_time_seconds",
        "How long it took to make a connection.",
    );
    each_time(
        sink,
        &create,
        pools.all(|pool| &pool.create, |shared| &shared.create),
    );
    let held = histogram(
        "db_client_connection_use_time_seconds",
        "How long connections were lent; a sample of one in sixteen.",
    );
    let exclusive = pools.exclusive();
    each_time(
        sink,
        &held,
        exclusive.map(|(name, pool)| (name, &pool.held)),
    );
}

fn commands(pools: &Pools<'_>, sink: &mut impl Sink) {
    let exclusive = |value: fn(&PoolStatus) -> u64| {
        let pools = pools.exclusive();
        pools.map(move |(name, pool)| (name, value(pool)))
    };
    let checkouts = counter("redis_rw_pool_checkouts", "Connections lent.");
    each(sink, &checkouts, exclusive(|pool| pool.checkouts));
    let timeouts = counter(
        "db_client_connection_timeouts",
        "Callers to whom no connection came free in time.",
    );
    each(sink, &timeouts, exclusive(|pool| pool.wait_timeouts));
    let answered = counter("redis_rw_pool_commands", "Commands answered.");
    sink.family(&answered);
    let all = pools.all(|pool| pool.commands, |shared| shared.commands);
    for ((pool, count), role) in all.zip(ROLES.into_iter().cycle()) {
        sink.integer(&answered, &[(POOL, pool), ("role", role)], count);
    }
    let in_flight = gauge(
        "redis_rw_pool_in_flight",
        "Commands on their way over shared connections.",
    );
    let shared = pools.shared.iter().zip(ROLES);
    let shared = shared.map(|(shared, role)| (role, shared.in_flight as u64));
    labelled(sink, &in_flight, "role", shared);
    let resent = counter(
        "redis_rw_pool_commands_resent",
        "Calls that the pool sent again by itself.",
    );
    each(
        sink,
        &resent,
        pools.all(|pool| pool.resent, |shared| shared.resent),
    );
    let refused = counter(
        "redis_rw_pool_commands_refused",
        "Calls that were refused before they were sent.",
    );
    each(
        sink,
        &refused,
        pools.all(|pool| pool.refused, |shared| shared.refused),
    );
    errors(pools, sink);
}

fn errors(pools: &Pools<'_>, sink: &mut impl Sink) {
    let errors = counter(
        "redis_client_errors",
        "Dials, checkouts and calls that failed, by what happened.",
    );
    sink.family(&errors);
    let mut number = |pool: &str, what: &str, count: u64| {
        sink.integer(&errors, &[(POOL, pool), ("error_type", what)], count);
    };
    for (pool, status) in pools.exclusive() {
        number(pool, "dial_failed", status.dial_failures);
        number(pool, "wait_timeout", status.wait_timeouts);
        number(pool, "exhausted", status.exhausted);
        number(pool, "no_master", status.no_master);
        number(pool, "no_replica", status.no_replica);
        number(pool, "no_connection", status.no_connection);
        for (outcome, count) in status.failures.iter() {
            number(pool, error_type(outcome), count);
        }
    }
    for (pool, status) in pools.shared() {
        number(pool, "dial_failed", status.dial_failures);
        for (outcome, count) in status.failures.iter() {
            number(pool, error_type(outcome), count);
        }
    }
}

fn error_type(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::NotExecuted => "not_executed",
        Outcome::Unknown => "unknown_outcome",
        Outcome::Executed => "error_reply",
    }
}

fn writes(status: &Status, sink: &mut impl Sink) {
    let fence = &status.fence;
    let up = gauge(
        "redis_rw_pool_fence",
        "1 while writes are held back because the master is being replaced.",
    );
    one(sink, &up, u64::from(fence.up_for.is_some()));
    let sign = gauge(
        "redis_rw_pool_fence_info",
        "The sign because of which writes are held back now.",
    );
    sink.family(&sign);
    if let (Some(kind), Some(text)) = (fence.kind, &fence.sign) {
        let end = text.char_indices().nth(LONGEST_TEXT);
        let text = end.map_or(text.as_str(), |(end, _)| &text[..end]);
        let labels = [("kind", kind.as_str()), ("sign", text)];
        sink.integer(&sign, &labels, 1);
    }
    let held = counter(
        "redis_rw_pool_fence_seconds",
        "For how long writes were held back.",
    );
    one_time(sink, &held, fence.held);
    let raised = counter(
        "redis_rw_pool_fence_raised",
        "How often writes were held back.",
    );
    one(sink, &raised, fence.raised);
    let unconfirmed = counter(
        "redis_rw_pool_fence_false",
        "Signs of a failover that were not confirmed.",
    );
    one(sink, &unconfirmed, fence.false_signs);
    let master = &status.master;
    let info = gauge("redis_rw_pool_master_info", "Who is the master.");
    sink.family(&info);
    if let Some(node) = &master.node {
        sink.integer(&info, &[("node", &node.to_string())], 1);
    }
    let reachable = gauge(
        "redis_rw_pool_master_reachable",
        "1 if the master could be reached when it was tried last.",
    );
    one(sink, &reachable, u64::from(master.reachable));
    let since = gauge(
        "redis_rw_pool_master_state_seconds",
        "For how long the same master has been reachable, or not.",
    );
    one_time(sink, &since, master.since);
    let changes = counter(
        "redis_rw_pool_master_changes",
        "How often another master was adopted.",
    );
    one(sink, &changes, status.master_changes);
    let version = gauge(
        "redis_rw_pool_topology_version",
        "Grows with every change of the topology.",
    );
    one(sink, &version, status.topology.version);
    let epoch = gauge(
        "redis_rw_pool_topology_epoch",
        "The configuration epoch of the Sentinels under which the master was announced.",
    );
    one(sink, &epoch, status.topology.epoch);
}

fn replicas(status: &Status, sink: &mut impl Sink) {
    let replicas = &status.topology.replicas;
    let count = gauge("redis_rw_pool_replicas", "Known replicas.");
    let readable = status.topology.readable().count();
    let excluded = replicas.len() - readable;
    let states = [("readable", readable as u64), ("excluded", excluded as u64)];
    labelled(sink, &count, "state", states);
    let why = gauge(
        "redis_rw_pool_replica_excluded",
        "1 for each replica that is not read from, with the reason.",
    );
    sink.family(&why);
    for replica in replicas {
        if let Some(excluded) = &replica.excluded {
            let node = replica.node.to_string();
            let labels = [("node", node.as_str()), ("reason", excluded.as_str())];
            sink.integer(&why, &labels, 1);
        }
    }
}

fn sentinels(status: &Status, sink: &mut impl Sink) {
    let sentinel = &status.sentinel;
    let count = gauge(
        "redis_rw_pool_sentinels",
        "Sentinels known, those that answer, and those whose events are heard.",
    );
    let states = [
        ("known", sentinel.known as u64),
        ("reachable", sentinel.reachable as u64),
        ("listening", sentinel.listening as u64),
    ];
    labelled(sink, &count, "state", states);
    let last = gauge(
        "redis_rw_pool_sentinel_last_answer_seconds",
        "How long ago a Sentinel, or without Sentinels a node, last answered.",
    );
    sink.family(&last);
    if let Some(ago) = sentinel.last_answer {
        sink.float(&last, &[], ago.as_secs_f64());
    }
    let refreshes = counter(
        "redis_rw_pool_sentinel_refreshes",
        "How often all Sentinels were asked.",
    );
    one(sink, &refreshes, sentinel.refreshes);
    let stale = counter(
        "redis_rw_pool_sentinel_stale_answers",
        "Answers that were ignored because of an older epoch.",
    );
    one(sink, &stale, sentinel.stale_answers);
    let events = counter(
        "redis_rw_pool_sentinel_events",
        "Events about this master that the Sentinels published.",
    );
    one(sink, &events, sentinel.events);
    let claim = gauge(
        "redis_rw_pool_sentinel_claim",
        "1 while Sentinels report against a master that is well.",
    );
    one(sink, &claim, u64::from(sentinel.claim.is_some()));
}

fn freshness(status: &Status, sink: &mut impl Sink) {
    let freshness = &status.freshness;
    let counts = counter(
        "redis_rw_pool_freshness",
        "What became of reads that were to see a certain write, and what they cost.",
    );
    let what = [
        ("proven", freshness.proven),
        ("thrown_away", freshness.thrown_away),
        ("waited", freshness.waited),
        ("from_master", freshness.from_master),
        ("stale", freshness.stale),
        ("failed", freshness.failed),
        ("lost", freshness.lost),
        ("unknown", freshness.unknown),
        ("refused", freshness.refused),
        ("questions", freshness.questions),
    ];
    labelled(sink, &counts, "event", what);
    let bytes = gauge(
        "redis_rw_pool_node_lag_bytes",
        "How far a node was behind the master when it was last asked.",
    );
    let nodes = freshness.nodes.iter();
    let nodes: Vec<_> = nodes.map(|lag| (lag.node.to_string(), lag)).collect();
    sink.family(&bytes);
    for (node, lag) in &nodes {
        if let Some(behind) = lag.bytes {
            sink.integer(&bytes, &[("node", node)], behind);
        }
    }
    let seconds = gauge(
        "redis_rw_pool_node_lag_seconds",
        "How long before it was last asked a node had all that the master had.",
    );
    sink.family(&seconds);
    for (node, lag) in &nodes {
        if let Some(behind) = lag.time {
            sink.float(&seconds, &[("node", node)], behind.as_secs_f64());
        }
    }
}

fn subscribers(status: &Status, sink: &mut impl Sink) {
    let subscriber = &status.subscriber;
    let messages = counter(
        "redis_client_pubsub_messages",
        "Messages that subscribers received.",
    );
    let received = [("received", subscriber.messages)];
    labelled(sink, &messages, "redis_client_pubsub_direction", received);
    one(
        sink,
        &counter(
            "redis_rw_pool_subscriber_gaps",
            "Gaps that subscribers were told: messages may be missing there.",
        ),
        subscriber.gaps,
    );
    one(
        sink,
        &counter(
            "redis_rw_pool_subscriber_resubscribes",
            "How often a subscriber's connection took the place of another one.",
        ),
        subscriber.resubscribes,
    );
    one(
        sink,
        &counter(
            "redis_rw_pool_subscriber_dial_failures",
            "Dials for subscribers that failed.",
        ),
        subscriber.dial_failures,
    );
    let wanted = [
        ("channel", subscriber.channels),
        ("pattern", subscriber.patterns),
    ];
    let wanted = wanted.map(|(kind, count)| (kind, count as u64));
    labelled(
        sink,
        &gauge("redis_rw_pool_subscriptions", "What subscribers want now."),
        "kind",
        wanted,
    );
}

fn certificates(status: &Status, sink: &mut impl Sink) {
    let tls = [("nodes", &status.tls), ("sentinels", &status.sentinel_tls)];
    let used = || {
        let used = tls.into_iter();
        used.filter_map(|(whose, tls)| Some((whose, tls.as_ref()?)))
    };
    let reloads = counter(
        "redis_rw_pool_certificate_reloads",
        "How often certificates had changed and came into use.",
    );
    let numbers = used().map(|(whose, tls): (_, &TlsStatus)| (whose, tls.reloads));
    labelled(sink, &reloads, "connections", numbers);
    let failed = gauge(
        "redis_rw_pool_certificate_reload_failed",
        "1 if the last reload of certificates failed.",
    );
    let numbers = used().map(|(whose, tls)| (whose, u64::from(tls.error.is_some())));
    labelled(sink, &failed, "connections", numbers);
}

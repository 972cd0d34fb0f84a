//! The numbers of pools for an OpenTelemetry meter.
//!
//! To copy into an application. It needs the crates `opentelemetry`, `parking_lot` and `redis-rw-pool`, and
//! works with whatever SDK and exporter the meter is from.
//!
//! Names and units are those of OpenTelemetry's conventions for connection pools (`db.client.…`), those that the
//! official Redis clients share (`redis.client.…`), and our own (`redis_rw_pool.…`). Behind a collector that
//! exports to Prometheus they are called as in `Status::openmetrics()`, so the dashboard and the alerts of
//! `docs/grafana` work on them.

use std::sync::Arc;

use opentelemetry::{
    KeyValue,
    metrics::{AsyncInstrument, Histogram, Meter},
};
use parking_lot::Mutex;
use redis_rw_pool::{
    Histogram as Times, MultiplexedStatus, Outcome, Pool, PoolStatus, Status, WeakPool,
};

/// Shows any number of pools. Make one for the whole process.
///
/// The numbers are read when the SDK collects them. A pool is not kept running for that, and is not shown any
/// more when it is gone. Collect once more (`SdkMeterProvider::force_flush`) before you close or drop it.
#[derive(Debug)]
pub(crate) struct PoolMetrics {
    pools: Pools,
}

type Pools = Arc<Mutex<Vec<Shown>>>;

#[derive(Debug)]
struct Shown {
    name: String,
    pool: WeakPool,
    /// The histograms as they were recorded last.
    recorded: Vec<Times>,
}

impl PoolMetrics {
    /// Makes the instruments.
    pub(crate) fn new(meter: &Meter) -> Self {
        let pools = Pools::default();
        let instruments = Instruments {
            meter,
            pools: &pools,
        };
        connections(&instruments);
        commands(&instruments);
        writes(&instruments);
        nodes(&instruments);
        Self { pools }
    }

    /// Shows this pool from now on. False, and nothing changes, if a pool is shown already that has the same
    /// name; `Config::name` gives it another one.
    pub(crate) fn show(&self, pool: &Pool) -> bool {
        let name = pool.status().name;
        let mut pools = self.pools.lock();
        pools.retain(|shown| shown.pool.upgrade().is_some());
        let is_new = pools.iter().all(|shown| shown.name != name);
        if is_new {
            pools.push(Shown {
                name,
                pool: pool.downgrade(),
                recorded: Vec::new(),
            });
        }
        is_new
    }
}

struct Instruments<'a> {
    meter: &'a Meter,
    pools: &'a Pools,
}

/// Shows what one instrument has to show of a pool.
type Show<T> = fn(&Status, &dyn AsyncInstrument<T>);

impl Instruments<'_> {
    /// Numbers that only grow.
    fn counter(
        &self,
        name: &'static str,
        unit: &'static str,
        about: &'static str,
        show: Show<u64>,
    ) {
        let counter = self.meter.u64_observable_counter(name);
        let counter = counter.with_unit(unit).with_description(about);
        counter.with_callback(self.each(show)).build();
    }

    /// Numbers of which it makes sense to add up those of all instances.
    fn up_down(
        &self,
        name: &'static str,
        unit: &'static str,
        about: &'static str,
        show: impl Fn(&Status, &dyn AsyncInstrument<i64>) + Send + Sync + 'static,
    ) {
        let up_down = self.meter.i64_observable_up_down_counter(name);
        let up_down = up_down.with_unit(unit).with_description(about);
        up_down.with_callback(self.each(show)).build();
    }

    /// A setting of the pools whose connections are lent.
    fn limit(&self, name: &'static str, about: &'static str, limit: fn(&PoolStatus) -> usize) {
        self.up_down(name, "{connection}", about, move |status, instrument| {
            for (name, pool) in exclusive(status) {
                instrument.observe(limit(pool) as i64, &[name]);
            }
        });
    }

    /// What each instance sees for itself.
    fn gauge(&self, name: &'static str, about: &'static str, show: Show<u64>) {
        let gauge = self.meter.u64_observable_gauge(name);
        let gauge = gauge.with_description(about);
        gauge.with_callback(self.each(show)).build();
    }

    fn histogram(&self, name: &'static str, about: &'static str) -> Histogram<f64> {
        let none = Times::default();
        let bounds = none.buckets();
        let bounds = bounds.filter_map(|(bound, _)| Some(bound?.as_secs_f64()));
        let histogram = self.meter.f64_histogram(name).with_unit("s");
        let histogram = histogram.with_description(about);
        histogram.with_boundaries(bounds.collect()).build()
    }

    fn each<T: 'static>(
        &self,
        show: impl Fn(&Status, &dyn AsyncInstrument<T>) + Send + Sync + 'static,
    ) -> impl Fn(&dyn AsyncInstrument<T>) + Send + Sync + 'static {
        let pools = Arc::clone(self.pools);
        move |instrument| {
            let pools = pools.lock();
            for pool in pools.iter().filter_map(|shown| shown.pool.upgrade()) {
                show(&pool.status(), instrument);
            }
        }
    }
}

/// Connections: how many there are, how long they take, and why they end.
fn connections(instruments: &Instruments<'_>) {
    let histograms = Histograms::new(instruments);
    let pools = Arc::clone(instruments.pools);
    instruments
        .meter
        .i64_observable_up_down_counter("db.client.connection.count")
        .with_unit("{connection}")
        .with_description("Open connections, lent or shared (used) and idle.")
        .with_callback(instruments.each(|status, count| {
            let state = |state| KeyValue::new("db.client.connection.state", state);
            for (name, pool) in exclusive(status) {
                let used = pool.active.saturating_sub(pool.idle);
                count.observe(pool.idle as i64, &[name.clone(), state("idle")]);
                count.observe(used as i64, &[name, state("used")]);
            }
            for (name, pool) in shared(status) {
                count.observe(pool.connections as i64, &[name, state("used")]);
            }
        }))
        // Histograms are recorded and not observed. What is new in ours is recorded whenever this instrument is
        // observed, which is with each collection.
        .with_callback(move |_| {
            for shown in pools.lock().iter_mut() {
                if let Some(pool) = shown.pool.upgrade() {
                    histograms.record(&pool.status(), &mut shown.recorded);
                }
            }
        })
        .build();
    instruments.limit(
        "db.client.connection.max",
        "The limit on open connections.",
        |pool| pool.max_active,
    );
    instruments.limit(
        "db.client.connection.idle.max",
        "The limit on idle connections.",
        |pool| pool.max_idle,
    );
    instruments.limit(
        "db.client.connection.idle.min",
        "Connections that are kept ready.",
        |pool| pool.min_idle,
    );
    instruments.up_down(
        "db.client.connection.pending_requests",
        "{request}",
        "Callers in line for a connection, or for room on a shared one.",
        |status, pending| {
            for (name, waiting) in all(status, |pool| pool.waiting, |pool| pool.waiting) {
                pending.observe(waiting as i64, &[name]);
            }
        },
    );
    instruments.counter(
        "db.client.connection.timeouts",
        "{timeout}",
        "Callers to whom no connection came free in time.",
        |status, timeouts| {
            for (name, pool) in exclusive(status) {
                timeouts.observe(pool.wait_timeouts, &[name]);
            }
        },
    );
    instruments.counter(
        "redis.client.connection.closed",
        "{connection}",
        "Connections closed, by reason.",
        |status, closed| {
            for (name, discards) in all(status, |pool| pool.discards, |pool| pool.discards) {
                for (why, count) in discards.iter() {
                    let why = KeyValue::new("redis.client.connection.close.reason", why.as_str());
                    closed.observe(count, &[name.clone(), why]);
                }
            }
        },
    );
}

/// Commands, and what became of them.
fn commands(instruments: &Instruments<'_>) {
    instruments.counter(
        "redis.client.errors",
        "{error}",
        "Dials, checkouts and calls that failed, by what happened.",
        |status, errors| {
            let see = |name: &KeyValue, what, count| {
                errors.observe(count, &[name.clone(), KeyValue::new("error.type", what)]);
            };
            for (name, pool) in exclusive(status) {
                see(&name, "wait_timeout", pool.wait_timeouts);
                see(&name, "exhausted", pool.exhausted);
                see(&name, "no_master", pool.no_master);
                see(&name, "no_replica", pool.no_replica);
                see(&name, "no_connection", pool.no_connection);
            }
            for (name, dials) in all(status, |pool| pool.dial_failures, |pool| pool.dial_failures) {
                see(&name, "dial_failed", dials);
            }
            for (name, failures) in all(status, |pool| pool.failures, |pool| pool.failures) {
                see(&name, "not_executed", failures.get(Outcome::NotExecuted));
                see(&name, "unknown_outcome", failures.get(Outcome::Unknown));
                see(&name, "error_reply", failures.get(Outcome::Executed));
            }
        },
    );
    instruments.counter(
        "redis_rw_pool.commands",
        "{command}",
        "Commands answered.",
        |status, commands| {
            let roles = ["write", "read"].into_iter().cycle();
            let pools = all(status, |pool| pool.commands, |pool| pool.commands);
            for ((name, answered), role) in pools.into_iter().zip(roles) {
                commands.observe(answered, &[name, KeyValue::new("role", role)]);
            }
        },
    );
    instruments.counter(
        "redis_rw_pool.commands.resent",
        "{call}",
        "Calls that the pool sent again by itself.",
        |status, resent| {
            for (name, count) in all(status, |pool| pool.resent, |pool| pool.resent) {
                resent.observe(count, &[name]);
            }
        },
    );
    instruments.counter(
        "redis.client.pubsub.messages",
        "{message}",
        "Messages that subscribers received.",
        |status, messages| {
            let direction = KeyValue::new("redis.client.pubsub.direction", "received");
            messages.observe(status.subscriber.messages, &[whole(status), direction]);
        },
    );
    instruments.counter(
        "redis_rw_pool.subscriber.gaps",
        "{gap}",
        "Gaps that subscribers were told: messages may be missing there.",
        |status, gaps| gaps.observe(status.subscriber.gaps, &[whole(status)]),
    );
}

/// Whether there is a master, and whether writes are held back.
fn writes(instruments: &Instruments<'_>) {
    instruments.gauge(
        "redis_rw_pool.fence",
        "1 while writes are held back because the master is being replaced.",
        |status, fence| fence.observe(status.fence.up_for.is_some().into(), &[whole(status)]),
    );
    instruments.gauge(
        "redis_rw_pool.fence.info",
        "The sign because of which writes are held back now.",
        |status, info| {
            if let (Some(kind), Some(sign)) = (status.fence.kind, &status.fence.sign) {
                // It comes from the network.
                let sign: String = sign.chars().take(256).collect();
                let kind = KeyValue::new("kind", kind.as_str());
                info.observe(1, &[whole(status), kind, KeyValue::new("sign", sign)]);
            }
        },
    );
    instruments.counter(
        "redis_rw_pool.fence.raised",
        "{fence}",
        "How often writes were held back.",
        |status, raised| raised.observe(status.fence.raised, &[whole(status)]),
    );
    instruments
        .meter
        .f64_observable_counter("redis_rw_pool.fence.seconds")
        .with_unit("s")
        .with_description("For how long writes were held back.")
        .with_callback(instruments.each(|status, seconds| {
            seconds.observe(status.fence.held.as_secs_f64(), &[whole(status)]);
        }))
        .build();
    instruments.gauge(
        "redis_rw_pool.master.info",
        "Who is the master.",
        |status, info| {
            if let Some(node) = &status.master.node {
                info.observe(1, &[whole(status), KeyValue::new("node", node.to_string())]);
            }
        },
    );
    instruments.gauge(
        "redis_rw_pool.master.reachable",
        "1 if the master could be reached when it was tried last.",
        |status, reachable| reachable.observe(status.master.reachable.into(), &[whole(status)]),
    );
    instruments.counter(
        "redis_rw_pool.master.changes",
        "{change}",
        "How often another master was adopted.",
        |status, changes| changes.observe(status.master_changes, &[whole(status)]),
    );
}

/// The replicas, and the Sentinels.
fn nodes(instruments: &Instruments<'_>) {
    instruments.gauge(
        "redis_rw_pool.replicas",
        "Known replicas.",
        |status, replicas| {
            let readable = status.topology.readable().count();
            let excluded = status.topology.replicas.len() - readable;
            for (state, count) in [("readable", readable), ("excluded", excluded)] {
                let state = KeyValue::new("state", state);
                replicas.observe(count as u64, &[whole(status), state]);
            }
        },
    );
    instruments.gauge(
        "redis_rw_pool.replica.excluded",
        "1 for each replica that is not read from, with the reason.",
        |status, excluded| {
            for replica in &status.topology.replicas {
                if let Some(reason) = &replica.excluded {
                    let node = KeyValue::new("node", replica.node.to_string());
                    let reason = KeyValue::new("reason", reason.as_str());
                    excluded.observe(1, &[whole(status), node, reason]);
                }
            }
        },
    );
    instruments.gauge(
        "redis_rw_pool.sentinels",
        "Sentinels known, those that answer, and those whose events are heard.",
        |status, sentinels| {
            let sentinel = &status.sentinel;
            for (state, count) in [
                ("known", sentinel.known),
                ("reachable", sentinel.reachable),
                ("listening", sentinel.listening),
            ] {
                let state = KeyValue::new("state", state);
                sentinels.observe(count as u64, &[whole(status), state]);
            }
        },
    );
}

struct Histograms {
    wait: Histogram<f64>,
    create: Histogram<f64>,
    held: Histogram<f64>,
    calls: Histogram<f64>,
}

impl Histograms {
    fn new(instruments: &Instruments<'_>) -> Self {
        Self {
            wait: instruments.histogram(
                "db.client.connection.wait_time",
                "How long callers waited for a connection.",
            ),
            create: instruments.histogram(
                "db.client.connection.create_time",
                "How long it took to make a connection.",
            ),
            held: instruments.histogram(
                "db.client.connection.use_time",
                "How long connections were lent; a sample of one in sixteen.",
            ),
            calls: instruments.histogram(
                "db.client.operation.duration",
                "How long calls took, waits included.",
            ),
        }
    }

    /// Records what is new: with the counts of the pool's own buckets, and the same sum.
    fn record(&self, status: &Status, recorded: &mut Vec<Times>) {
        let mut times = Vec::new();
        for (name, pool) in exclusive(status) {
            times.push((&self.wait, vec![name.clone()], pool.wait));
            times.push((&self.held, vec![name], pool.held));
        }
        for (name, create) in all(status, |pool| pool.create, |pool| pool.create) {
            times.push((&self.create, vec![name], create));
        }
        // Only where `Config::measure` asks for it.
        if let Some(calls) = &status.durations {
            for (role, calls) in [("write", calls.write), ("read", calls.read)] {
                let system = KeyValue::new("db.system.name", "redis");
                let role = KeyValue::new("redis_rw_pool.role", role);
                times.push((&self.calls, vec![system, whole(status), role], calls));
            }
        }
        recorded.resize(times.len(), Times::default());
        for ((histogram, attributes, now), before) in times.into_iter().zip(recorded) {
            for (time, count) in now.since(before) {
                for _ in 0..count {
                    histogram.record(time.as_secs_f64(), &attributes);
                }
            }
            *before = now;
        }
    }
}

/// What is of the pool as a whole.
fn whole(status: &Status) -> KeyValue {
    KeyValue::new("redis_rw_pool.name", status.name.clone())
}

fn part(status: &Status, part: &str) -> KeyValue {
    let name = format!("{}/{part}", status.name);
    KeyValue::new("db.client.connection.pool.name", name)
}

/// The pools whose connections are lent.
fn exclusive(status: &Status) -> [(KeyValue, &PoolStatus); 2] {
    [
        (part(status, "write"), &status.write),
        (part(status, "read"), &status.read),
    ]
}

/// The connections behind multiplexed handles.
fn shared(status: &Status) -> [(KeyValue, &MultiplexedStatus); 2] {
    [
        (part(status, "writer"), &status.writer),
        (part(status, "reader"), &status.reader),
    ]
}

/// The same of all four.
fn all<T>(
    status: &Status,
    of_exclusive: fn(&PoolStatus) -> T,
    of_shared: fn(&MultiplexedStatus) -> T,
) -> Vec<(KeyValue, T)> {
    let exclusive = exclusive(status).map(|(name, pool)| (name, of_exclusive(pool)));
    let shared = shared(status).map(|(name, pool)| (name, of_shared(pool)));
    exclusive.into_iter().chain(shared).collect()
}

//! Connections: how many there are, how long they take, and why they end.

use crate::status::{
    PoolStatus,
    discard::Discards,
    families::{POOL, Pools, STATE, Sink, counter, each, each_time, gauge, histogram},
};

pub(super) fn connections(pools: &Pools<'_>, sink: &mut impl Sink) {
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

pub(super) fn times(pools: &Pools<'_>, sink: &mut impl Sink) {
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

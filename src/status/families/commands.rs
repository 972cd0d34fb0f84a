//! Checkouts and commands, and what became of them.

use crate::{
    error::outcome::Outcome,
    status::{
        PoolStatus, Status,
        families::{POOL, Pools, ROLES, Sink, counter, each, gauge, histogram, labelled},
    },
};

pub(super) fn commands(pools: &Pools<'_>, sink: &mut impl Sink) {
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

/// How long calls took, if that is measured.
pub(super) fn durations(status: &Status, sink: &mut impl Sink) {
    let family = histogram(
        "db_client_operation_duration_seconds",
        "How long calls took, waits included.",
    );
    sink.family(&family);
    let durations = status.durations.iter();
    let by_role = durations.flat_map(|times| [&times.write, &times.read].into_iter().zip(ROLES));
    for (times, role) in by_role {
        let labels = [("db_system_name", "redis"), ("redis_rw_pool_role", role)];
        sink.histogram(&family, &labels, times);
    }
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

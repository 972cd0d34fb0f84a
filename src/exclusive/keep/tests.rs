use std::time::Duration;

use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn facts(expires_at: Option<Instant>, idle_since: Instant) -> Facts {
    Facts {
        dirt: None,
        admission: Admission::Open,
        departed: Discard::NodeGone,
        expires_at,
        idle_since,
    }
}

#[tokio::test(start_paused = true)]
async fn a_connection_expires_by_age_before_idleness_and_at_the_very_moment() {
    let base = Instant::now() + 100 * SECOND;
    let mut limits = PoolLimits {
        idle_timeout: Some(10 * SECOND),
        ..PoolLimits::default()
    };
    let at = |seconds: u32| base + seconds * SECOND;
    let expiry = |limits: &PoolLimits, expires_at: Option<u32>, idle_since, now| {
        let facts = facts(expires_at.map(at), at(idle_since));
        let checked = [Moment::Checkout, Moment::Reap]
            .map(|moment| reason_to_discard(&facts, moment, limits, at(now), || false));
        assert_eq!(checked[0], checked[1]);
        checked[0]
    };
    let table = [
        // expires_at, idle_since, now, expected
        (Some(50), 0, 9, None),
        (Some(50), 0, 10, Some(Discard::Idle)),
        (Some(50), 45, 49, None),
        (Some(50), 45, 50, Some(Discard::Lifetime)),
        (Some(5), 0, 10, Some(Discard::Lifetime)),
        (None, 0, 9, None),
        // The clock of another core may be a little behind.
        (None, 9, 8, None),
    ];
    for (expires_at, idle_since, now, expected) in table {
        let got = expiry(&limits, expires_at, idle_since, now);
        assert_eq!(got, expected, "{expires_at:?} {idle_since} {now}");
    }
    limits.idle_timeout = None;
    assert_eq!(expiry(&limits, None, 0, 1_000_000), None);
}

#[tokio::test(start_paused = true)]
async fn the_first_reason_counts_at_every_moment() {
    use Admission::{Fenced, Open, Revoked};
    use Moment::{Checkout, Reap, Return};
    let now = Instant::now() + 100 * SECOND;
    let limits = PoolLimits {
        idle_timeout: Some(10 * SECOND),
        ..PoolLimits::default()
    };
    let dirty = Some(Discard::Dirty);
    for (moment, dirt, admission, aged, idle, stale, expected) in [
        (Checkout, None, Open, false, false, false, None),
        (Checkout, None, Fenced, false, false, false, None),
        (
            Checkout,
            None,
            Revoked,
            true,
            true,
            true,
            Some(Discard::NodeGone),
        ),
        (
            Checkout,
            None,
            Open,
            true,
            true,
            true,
            Some(Discard::Lifetime),
        ),
        (Checkout, None, Open, false, true, true, Some(Discard::Idle)),
        (
            Checkout,
            None,
            Open,
            false,
            false,
            true,
            Some(Discard::Broken),
        ),
        (
            Reap,
            None,
            Revoked,
            true,
            true,
            true,
            Some(Discard::NodeGone),
        ),
        (Reap, None, Open, true, true, true, Some(Discard::Lifetime)),
        (Reap, None, Open, false, true, true, Some(Discard::Idle)),
        (
            Reap,
            None,
            Fenced,
            false,
            false,
            true,
            Some(Discard::Broken),
        ),
        (Return, None, Fenced, false, false, false, None),
        (Return, dirty, Revoked, true, true, true, dirty),
        (
            Return,
            None,
            Revoked,
            true,
            true,
            true,
            Some(Discard::NodeGone),
        ),
        (
            Return,
            None,
            Open,
            true,
            true,
            true,
            Some(Discard::Lifetime),
        ),
        // It was in use for all that time.
        (Return, None, Open, false, true, false, None),
        (Return, None, Open, false, true, true, Some(Discard::Broken)),
    ] {
        let facts = Facts {
            dirt,
            admission,
            ..facts(
                aged.then_some(now),
                if idle { now - 10 * SECOND } else { now },
            )
        };
        let got = reason_to_discard(&facts, moment, &limits, now, || stale);
        assert_eq!(got, expected, "{moment:?} {facts:?} stale: {stale}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_socket_is_asked_only_when_nothing_else_speaks_against_the_connection() {
    let now = Instant::now();
    let limits = PoolLimits::default();
    let facts = Facts {
        admission: Admission::Revoked,
        ..facts(None, now)
    };
    let asked = || unreachable!("it costs a system call");
    reason_to_discard(&facts, Moment::Checkout, &limits, now, asked);
}

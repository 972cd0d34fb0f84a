use std::time::Duration;

use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn facts(expires_at: Option<Instant>, idle_since: Instant) -> Facts {
    Facts {
        dirt: None,
        admission: Admission::Open,
        departed: Discard::NodeGone,
        outdated: false,
        expires_at,
        expiry: Discard::Lifetime,
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
    // Everything that can be wrong but the dirt and the node: expired, idle, stale.
    const NOTHING: [bool; 3] = [false; 3];
    const ALL: [bool; 3] = [true; 3];
    const IDLE_AND_STALE: [bool; 3] = [false, true, true];
    const IDLE: [bool; 3] = [false, true, false];
    const STALE: [bool; 3] = [false, false, true];
    let dirty = Some(Discard::Dirty);
    let node_gone = Some(Discard::NodeGone);
    let lifetime = Some(Discard::Lifetime);
    let idle_too_long = Some(Discard::Idle);
    let broken = Some(Discard::Broken);
    for (moment, dirt, admission, [aged, idle, stale], expected) in [
        (Checkout, None, Open, NOTHING, None),
        (Checkout, None, Fenced, NOTHING, None),
        (Checkout, None, Revoked, ALL, node_gone),
        (Checkout, None, Open, ALL, lifetime),
        (Checkout, None, Open, IDLE_AND_STALE, idle_too_long),
        (Checkout, None, Open, STALE, broken),
        (Reap, None, Revoked, ALL, node_gone),
        (Reap, None, Open, ALL, lifetime),
        (Reap, None, Open, IDLE_AND_STALE, idle_too_long),
        (Reap, None, Fenced, STALE, broken),
        (Return, None, Fenced, NOTHING, None),
        (Return, dirty, Revoked, ALL, dirty),
        (Return, None, Revoked, ALL, node_gone),
        (Return, None, Open, ALL, lifetime),
        // It was in use for all that time.
        (Return, None, Open, IDLE, None),
        (Return, None, Open, IDLE_AND_STALE, broken),
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
async fn what_ends_a_connection_gives_the_reason() {
    let now = Instant::now();
    let facts = Facts {
        expiry: Discard::Credentials,
        ..facts(Some(now), now)
    };
    for moment in [Moment::Checkout, Moment::Return, Moment::Reap] {
        let reason = reason_to_discard(&facts, moment, &PoolLimits::default(), now, || false);
        assert_eq!(reason, Some(Discard::Credentials), "{moment:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_connection_with_old_certificates_goes_at_every_moment_and_a_lent_one_at_its_return() {
    let now = Instant::now();
    let limits = PoolLimits::default();
    let facts = Facts {
        outdated: true,
        ..facts(Some(now), now)
    };
    for moment in [Moment::Checkout, Moment::Return, Moment::Reap] {
        let got = reason_to_discard(&facts, moment, &limits, now, || true);
        assert_eq!(got, Some(Discard::Certificates), "{moment:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_socket_is_read_only_when_there_is_no_other_reason() {
    let now = Instant::now();
    let limits = PoolLimits::default();
    let facts = Facts {
        admission: Admission::Revoked,
        ..facts(None, now)
    };
    let asked = || unreachable!("it costs a system call");
    reason_to_discard(&facts, Moment::Checkout, &limits, now, asked);
}

#[tokio::test(start_paused = true)]
async fn a_test_is_due_only_after_the_threshold_and_never_without_one() {
    let since = Instant::now();
    let mut limits = PoolLimits {
        test_idle_after: Some(SECOND),
        ..PoolLimits::default()
    };
    assert!(!is_test_due(&limits, since, since));
    assert!(is_test_due(&limits, since, since + SECOND));
    limits.test_idle_after = Some(Duration::ZERO);
    assert!(is_test_due(&limits, since, since));
    limits.test_idle_after = None;
    assert!(!is_test_due(&limits, since, since + 1_000_000 * SECOND));
}

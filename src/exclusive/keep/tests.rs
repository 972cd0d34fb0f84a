use std::time::Duration;

use super::*;

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test(start_paused = true)]
async fn a_connection_expires_by_age_before_idleness_and_at_the_very_moment() {
    let base = Instant::now() + 100 * SECOND;
    let mut limits = PoolLimits {
        idle_timeout: Some(10 * SECOND),
        ..PoolLimits::default()
    };
    let at = |seconds: u32| base + seconds * SECOND;
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
        let got = expiry(&limits, expires_at.map(at), at(idle_since), at(now));
        assert_eq!(got, expected, "{expires_at:?} {idle_since} {now}");
    }
    limits.idle_timeout = None;
    assert_eq!(expiry(&limits, None, at(0), at(1_000_000)), None);
}

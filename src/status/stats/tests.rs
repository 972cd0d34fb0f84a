use std::time::Duration;

use super::*;
use crate::error::PoolName;

#[tokio::test(start_paused = true)]
async fn a_wait_is_counted_once_with_all_of_its_time() {
    let stats = Stats::default();
    stats.lent_at_once(3);
    stats.lent_at_once(3 + STRIPES);
    // In line for a second, and lent.
    let waiting = stats.wait();
    tokio::time::advance(Duration::from_secs(1)).await;
    drop(waiting);
    stats.lent_after_wait();
    // In line for a second, then two more for a dial.
    let mut waiting = stats.wait();
    let since = waiting.since;
    tokio::time::advance(Duration::from_secs(1)).await;
    waiting.goes_on = true;
    drop(waiting);
    let obtaining = stats.obtain(since, Instant::now());
    tokio::time::advance(Duration::from_secs(2)).await;
    drop(obtaining);
    stats.lent_after_wait();

    assert_eq!(stats.checkouts(), 4);
    let waits = stats.waits();
    assert_eq!(waits.count(), 4);
    assert_eq!(waits.sum(), Duration::from_secs(4));
    let within = |limit| waits.buckets().find(|(bound, _)| *bound == Some(limit));
    let counts = [10_000, 1_000_000_000, 2_000_000_000, 5_000_000_000].map(|nanos| {
        let (_, count) = within(Duration::from_nanos(nanos)).unwrap();
        count
    });
    assert_eq!(counts, [2, 3, 3, 4]);
    assert_eq!(stats.wait_count.load(Relaxed), 2);
    assert_eq!(stats.wait_nanos.load(Relaxed), 2_000_000_000);
    assert_eq!(stats.waiting.load(Relaxed), 0);
}

#[test]
fn every_way_to_get_no_connection_has_its_own_number() {
    let stats = Stats::default();
    let no_replica = Error::NoReplica {
        reports: [].into_iter().collect(),
    };
    let exhausted = Error::Exhausted {
        pool: PoolName::Read,
        max_active: 1,
        open: 1,
        in_use: 1,
        dials: crate::error::DialState::Idle,
    };
    for error in [&no_replica, &exhausted, &exhausted, &Error::Closed] {
        stats.failed(error);
    }
    let failed = stats.failed_checkouts();
    let counts = (
        failed.wait_timeouts,
        failed.exhausted,
        failed.no_master,
        failed.no_replica,
        failed.no_connection,
    );
    assert_eq!(counts, (0, 2, 0, 1, 0));
}

#[test]
fn answers_of_all_connections_add_up() {
    let stats = Stats::default();
    for _ in 0..3 * STRIPES {
        stats.answered(stats.next_stripe(), 2);
    }
    assert_eq!(stats.answered_count(), 6 * STRIPES as u64);
}

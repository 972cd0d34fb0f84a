use super::*;

#[test]
fn callers_that_begin_to_wait_are_told_of_once_a_minute_at_most() {
    let start = Instant::now();
    let mut news = News::default();
    // When, how many have waited so far, how many wait now, and whether it is told.
    for (seconds, waits, waiting, told) in [
        (0, 0, 0, false),
        (1, 1, 1, true),
        (2, 5, 0, false),
        // The same caller still waits.
        (50, 5, 1, false),
        (100, 5, 1, false),
        (159, 5, 0, false),
        (159, 6, 0, false),
        (218, 6, 0, false),
        (219, 7, 3, true),
        (220, 9, 0, false),
    ] {
        let now = start + Duration::from_secs(seconds);
        assert_eq!(
            news.begin_to_wait(waits, waiting, now),
            told,
            "at {seconds}"
        );
    }
}

#[test]
fn connections_that_credentials_retired_are_told_of_with_their_number() {
    let (stats, mut news) = (Stats::default(), News::default());
    let mut gather = || news.gather(PoolName::Read, &stats, Instant::now());
    assert_eq!(gather(), []);
    for reason in [Discard::Credentials, Discard::Credentials, Discard::Idle] {
        stats.discarded(reason);
    }
    let retired = EventKind::Retired {
        pool: PoolName::Read,
        reason: Discard::Credentials,
        count: 2,
    };
    assert_eq!(gather(), [retired]);
    assert_eq!(gather(), []);
}

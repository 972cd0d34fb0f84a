use super::*;

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test(start_paused = true)]
async fn surplus_is_what_was_idle_at_the_busiest_moment_of_the_window() {
    let start = Instant::now();
    let mut demand = Demand::new(start);
    let mut observe =
        |idle, second: u32| demand.observe(idle, 10 * SECOND, start + second * SECOND);
    assert_eq!(observe(8, 1), None);
    assert_eq!(observe(3, 5), None);
    assert_eq!(observe(9, 10), Some(3));
    // A new window has begun and the old busy moment is forgotten.
    assert_eq!(observe(9, 15), None);
    assert_eq!(observe(9, 20), Some(9));
    assert_eq!(observe(0, 30), None);
}

#[test]
fn a_new_master_gets_as_many_idle_connections_as_the_old_one_had() {
    let limits = |min_idle, max_idle| PoolLimits {
        max_active: 16,
        min_idle,
        max_idle,
        ..PoolLimits::default()
    };
    let table = [
        // owed, ready, min_idle, max_idle, expected
        (0, 0, 0, None, 0),
        (8, 0, 0, None, 8),
        (8, 3, 0, None, 5),
        (8, 9, 0, None, 0),
        (8, 0, 0, Some(4), 4),
        (8, 3, 0, Some(4), 1),
        // So many are dialled in any case.
        (8, 0, 6, None, 2),
        (4, 0, 6, None, 0),
        (40, 0, 0, None, 16),
    ];
    for (owed, ready, min_idle, max_idle, expected) in table {
        let limits = limits(min_idle, max_idle);
        assert_eq!(
            warmth(owed, ready, &limits),
            expected,
            "{owed} {ready} {limits:?}"
        );
    }
}

#[test]
fn rounds_come_often_enough_for_the_shortest_limit() {
    let mut limits = PoolLimits::default();
    assert_eq!(pause(&limits), LONGEST_PAUSE);
    limits.idle_timeout = Some(Duration::from_millis(500));
    assert_eq!(pause(&limits), Duration::from_millis(50));
    limits.max_lifetime = Some(Duration::from_millis(1));
    assert_eq!(pause(&limits), SHORTEST_PAUSE);
    limits.idle_timeout = None;
    limits.max_lifetime = None;
    assert_eq!(pause(&limits), LONGEST_PAUSE);
}

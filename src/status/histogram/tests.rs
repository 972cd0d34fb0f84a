use super::*;

fn of(times: &[Duration]) -> Histogram {
    let counter = HistogramCounter::default();
    for time in times {
        counter.record(*time);
    }
    counter.snapshot()
}

const US: Duration = Duration::from_micros(1);

#[test]
fn each_time_falls_into_the_bucket_that_ends_at_it_or_after_it() {
    let table = [
        (Duration::ZERO, Some(10 * US)),
        (10 * US, Some(10 * US)),
        (10 * US + Duration::from_nanos(1), Some(20 * US)),
        (Duration::from_millis(3), Some(Duration::from_millis(5))),
        (Duration::from_secs(60), Some(Duration::from_secs(60))),
        (Duration::from_secs(61), None),
        (Duration::MAX, None),
    ];
    for (time, expected) in table {
        let histogram = of(&[time]);
        let first = histogram.buckets().find(|(_, count)| *count == 1);
        assert_eq!(first.map(|(bound, _)| bound), Some(expected), "{time:?}");
        assert_eq!(histogram.count(), 1);
    }
}

#[test]
fn buckets_grow_and_the_last_has_all() {
    let histogram = of(&[10 * US, 40 * US, 40 * US, Duration::from_secs(100)]);
    let bounds: Vec<_> = histogram.buckets().map(|(bound, _)| bound).collect();
    assert!(bounds[..21].is_sorted() && bounds[21].is_none());
    let counts: Vec<_> = histogram.buckets().map(|(_, count)| count).collect();
    assert_eq!(counts[..4], [1, 1, 3, 3]);
    assert_eq!(counts.last(), Some(&histogram.count()));
    assert_eq!(histogram.sum(), Duration::from_secs(100) + 90 * US);
}

#[test]
fn the_bounds_that_opentelemetry_advises_are_among_ours() {
    let ours: Vec<_> = of(&[]).buckets().filter_map(|(bound, _)| bound).collect();
    for millis in [1, 5, 10, 50, 100, 500, 1000, 5000, 10_000] {
        assert!(ours.contains(&Duration::from_millis(millis)), "{millis} ms");
    }
}

#[test]
fn a_quantile_is_the_bound_of_its_bucket() {
    assert_eq!(of(&[]).quantile(0.5), None);
    let mut times = vec![15 * US; 98];
    times.extend([Duration::from_millis(1), Duration::from_secs(90)]);
    let histogram = of(&times);
    for (share, expected) in [
        (-1.0, 20 * US),
        (0.0, 20 * US),
        (0.5, 20 * US),
        (0.98, 20 * US),
        (0.99, 1000 * US),
        (1.0, Duration::from_secs(60)),
        (7.0, Duration::from_secs(60)),
        (f64::NAN, Duration::from_secs(60)),
    ] {
        assert_eq!(histogram.quantile(share), Some(expected), "{share}");
    }
}

#[test]
fn what_came_since_then_has_the_same_counts_and_the_same_sum() {
    let millis = Duration::from_millis;
    let before = [15 * US, millis(3), millis(3), Duration::from_secs(61)];
    for new in [
        vec![],
        vec![Duration::ZERO],
        vec![10 * US],
        vec![10 * US + Duration::from_nanos(1); 3],
        vec![3 * US, 15 * US, 15 * US, millis(4), millis(4), millis(900)],
        vec![Duration::from_secs(60); 2],
        vec![Duration::from_secs(61)],
        vec![millis(3), Duration::from_secs(1000), Duration::from_secs(1)],
        vec![Duration::from_secs(86_400); 2],
        (0..1000).map(|at| at * at * US).collect(),
    ] {
        let all: Vec<_> = before.iter().chain(&new).copied().collect();
        let since: Vec<_> = of(&all).since(&of(&before)).collect();
        let again = HistogramCounter::default();
        for (time, count) in since {
            (0..count).for_each(|_| again.record(time));
        }
        let (again, new) = (again.snapshot(), of(&new));
        assert_eq!(again.counts, new.counts, "{new:?}");
        let off = again.sum().abs_diff(new.sum());
        // A double has 52 bits for two days.
        let allowed = Duration::from_nanos(new.count()) + new.sum() / (1 << 31);
        assert!(off <= allowed, "{new:?} is off by {off:?}");
    }
}

#[test]
fn a_sum_that_does_not_fit_the_counts_moves_no_time_to_another_bucket() {
    let times = [5 * US, Duration::from_millis(3), Duration::from_millis(4)];
    let histogram = of(&times);
    for sum in [Duration::ZERO, Duration::from_secs(3600)] {
        let torn = Histogram { sum, ..histogram };
        let since: Vec<_> = torn.since(&Histogram::default()).collect();
        let found: Vec<_> = since.iter().map(|(time, _)| *time).collect();
        let again = of(&[found[0], found[1], found[1]]);
        assert_eq!(again.counts, histogram.counts, "{sum:?}: {since:?}");
    }
    // Another histogram than before, where a pool was made anew.
    let restarted = of(&times[..1]).since(&histogram);
    assert_eq!(restarted.count(), 0);
}

#[test]
fn what_took_no_time_is_in_the_first_bucket() {
    let histogram = of(&[Duration::from_secs(1)]).with_instant(5).with_time(7);
    assert_eq!(histogram.count(), 6);
    assert_eq!(histogram.buckets().next(), Some((Some(10 * US), 5)));
    assert_eq!(
        histogram.sum(),
        Duration::from_secs(1) + Duration::from_nanos(7)
    );
    assert_eq!(format!("{histogram:?}"), "{<=10µs: 5, <=1s: 1}");
}

#[cfg(feature = "serde")]
#[test]
fn it_is_serialized_with_seconds() {
    let json = serde_json::to_value(of(&[Duration::from_millis(1500)])).unwrap();
    assert_eq!(json["count"], 1);
    assert_eq!(json["sum"], 1.5);
    assert_eq!(json["buckets"][0], serde_json::json!([0.00001, 0]));
    assert_eq!(json["buckets"][16], serde_json::json!([2.0, 1]));
    assert_eq!(json["buckets"][21], serde_json::json!([null, 1]));
}

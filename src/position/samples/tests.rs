use super::*;
use crate::position::testing::{heir, master, position};

const MS: Duration = Duration::from_millis(1);

/// One every 10 ms, at 10, 20, …, with the offsets 1, 2, …
fn samples(count: u32) -> (Samples, Instant) {
    let start = Instant::now();
    let mut samples = Samples::default();
    for number in 1..=count {
        samples.note(start + 10 * number * MS, position('a', number.into()));
    }
    (samples, start)
}

#[test]
fn what_is_required_is_the_oldest_sample_that_is_young_enough() {
    let (samples, start) = samples(5);
    let at = |now: u32, age: u32| {
        let required = samples.required(start + now * MS, age * MS);
        required.map(|position| position.offset)
    };
    // The moment, the age, the offset.
    for (now, age, offset) in [
        (50, 100, Some(1)),
        (50, 40, Some(1)),
        (50, 39, Some(2)),
        (50, 10, Some(4)),
        (50, 9, Some(5)),
        (59, 9, Some(5)),
        // The master has been silent for longer.
        (60, 9, None),
        (100_000, 1000, None),
    ] {
        assert_eq!(at(now, age), offset, "{age} ms at {now} ms");
    }
    assert_eq!(Samples::default().required(start, 100 * MS), None);
}

#[test]
fn the_oldest_samples_are_forgotten_and_late_ones_ignored() {
    let (mut samples, start) = samples(70);
    let century = 100 * 365 * 24 * 3600 * Duration::from_secs(1);
    let oldest = |samples: &Samples| samples.required(start + 701 * MS, century);
    assert_eq!(oldest(&samples), Some(position('a', 7)));
    samples.note(start + 700 * MS, position('a', 1));
    samples.note(start + 5 * MS, position('a', 1));
    assert_eq!(samples.samples.len(), MAX);
    assert_eq!(samples.newest(), Some(start + 700 * MS));
    assert_eq!(oldest(&samples), Some(position('a', 7)));
}

#[test]
fn a_replica_is_as_old_as_the_newest_sample_that_it_has() {
    let (samples, start) = samples(5);
    let mut timelines = Timelines::default();
    timelines.learn(&master('a', 5), Some(1));
    let age =
        |offset, then: u32| samples.age_of(position('a', offset), start + then * MS, &timelines);
    // Its offset, the moment, the age of its data.
    for (offset, then, old) in [
        (5, 50, Some(0)),
        (5, 53, Some(3)),
        (4, 53, Some(13)),
        (1, 53, Some(43)),
        (0, 53, None),
        // It was asked before the newest samples were taken.
        (5, 30, Some(0)),
        (1, 9, None),
    ] {
        assert_eq!(
            age(offset, then),
            old.map(|old| old * MS),
            "{offset} at {then}"
        );
    }
    let stranger = samples.age_of(position('x', 9), start + 50 * MS, &timelines);
    assert_eq!(stranger, None);
}

#[test]
fn samples_of_an_earlier_timeline_count_on() {
    let (mut samples, start) = samples(2);
    samples.note(start + 30 * MS, position('b', 3));
    let mut timelines = Timelines::default();
    timelines.learn(&master('a', 2), Some(1));
    timelines.learn(&heir('b', 3, 'a', 3), Some(2));
    let required = samples.required(start + 30 * MS, 20 * MS);
    assert_eq!(required, Some(position('a', 1)));
    let age = |place| samples.age_of(place, start + 30 * MS, &timelines);
    assert_eq!(age(position('b', 3)), Some(Duration::ZERO));
    assert_eq!(age(position('a', 2)), Some(10 * MS));
}

#[test]
fn the_master_is_asked_as_often_as_the_shortest_age_needs_and_only_while_it_is_used() {
    let start = Instant::now();
    let now = start + 1000 * MS;
    // When it was asked, the shortest age, when it is asked again.
    for (asked, shortest, next) in [
        (None, 100, Some(1000)),
        (Some(1000), 100, Some(1025)),
        (Some(990), 100, Some(1015)),
        (Some(500), 100, Some(1000)),
        (Some(1000), 10, Some(1010)),
        (Some(1000), 60_000, Some(2000)),
    ] {
        let asked = asked.map(|asked: u32| start + asked * MS);
        let found = next_at(asked, shortest * MS, now, now);
        assert_eq!(found, next.map(|next: u32| start + next * MS), "{shortest}");
    }
    let after = |idle| next_at(None, 100 * MS, start, start + idle);
    assert!(after(IDLE - MS).is_some());
    assert_eq!(after(IDLE), None);
}

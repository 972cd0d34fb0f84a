use super::*;
use crate::position::report::Origin;
use crate::position::testing::{heir, master, numbered, position, replica, timeline};

/// From these reports, each of the master that the topology of this version named.
fn learned(reports: &[(Report, u64)]) -> Timelines {
    let mut timelines = Timelines::default();
    for (report, version) in reports {
        timelines.learn(report, Some(*version));
    }
    timelines
}

#[test]
fn what_two_timelines_share_ends_at_the_earliest_cut_between_them() {
    let timelines = learned(&[
        (heir('b', 600, 'a', 502), 1),
        (heir('c', 700, 'b', 610), 2),
        // Made of a replica that lagged so far that it had nothing of C's own yet.
        (heir('d', 500, 'c', 490), 3),
    ]);
    let shared = |t, ancestor| timelines.shared(timeline(t), timeline(ancestor));
    assert_eq!(shared('a', 'a'), Some(NO_CUT));
    assert_eq!(shared('b', 'a'), Some(502));
    assert_eq!(shared('c', 'b'), Some(610));
    assert_eq!(shared('c', 'a'), Some(502));
    assert_eq!(shared('d', 'c'), Some(490));
    assert_eq!(shared('d', 'b'), Some(490));
    assert_eq!(shared('d', 'a'), Some(490));
    assert_eq!(shared('a', 'b'), None);
    assert_eq!(shared('x', 'a'), None);
    assert_eq!(
        shared('x', 'x'),
        Some(NO_CUT),
        "also where nothing is known"
    );
}

#[test]
fn a_timeline_may_have_several_children() {
    // A replica was promoted, and the old master was started again from an older snapshot.
    let timelines = learned(&[(heir('b', 600, 'a', 502), 1), (heir('c', 480, 'a', 450), 2)]);
    assert_eq!(timelines.shared(timeline('b'), timeline('a')), Some(502));
    assert_eq!(timelines.shared(timeline('c'), timeline('a')), Some(450));
}

#[test]
fn replicas_teach_nothing() {
    let mut timelines = Timelines::default();
    let follower = Report {
        role: Role::Replica,
        ..heir('b', 600, 'a', 502)
    };
    assert!(!timelines.is_news(&follower, Some(1)));
    assert!(!timelines.learn(&follower, Some(1)));
    assert_eq!(timelines, Timelines::default());
}

#[test]
fn a_master_that_the_topology_does_not_name_tells_where_it_came_from_and_no_more() {
    let mut timelines = learned(&[(master('a', 500), 1)]);
    assert!(timelines.learn(&heir('b', 600, 'a', 502), None));
    assert_eq!(timelines.shared(timeline('b'), timeline('a')), Some(502));
    assert_eq!(timelines.current(), Some(timeline('a')));
}

#[test]
fn the_current_timeline_is_that_of_the_newest_topology() {
    let b = heir('b', 600, 'a', 502);
    for (reports, current) in [
        (vec![(master('a', 1), 1)], 'a'),
        (vec![(master('a', 1), 1), (b, 2)], 'b'),
        // Asked before the failover and answered after it.
        (vec![(b, 2), (master('a', 531), 1)], 'b'),
        // The same node, started again: its old replies come late over another connection.
        (vec![(b, 2), (master('a', 531), 2)], 'b'),
        (vec![(master('a', 531), 2), (b, 2)], 'b'),
        // A restart without a trace of the past.
        (vec![(master('a', 531), 2), (master('c', 0), 2)], 'c'),
        // The Sentinels took it back.
        (vec![(b, 2), (master('a', 531), 3)], 'a'),
        // Not sent before the first one, as its version tells.
        (
            vec![(b, 2), (heir('b', 700, 'a', 502), 3), (master('a', 531), 2)],
            'b',
        ),
    ] {
        let found = learned(&reports).current();
        assert_eq!(found, Some(timeline(current)), "{reports:?}");
    }
    assert_eq!(learned(&[(replica('a', 1), 1)]).current(), None);
}

#[test]
fn only_what_changes_something_is_news() {
    let mut timelines = Timelines::default();
    for (report, named, news) in [
        (replica('a', 1), None, false),
        (master('a', 1), None, false),
        (master('a', 1), Some(1), true),
        (master('a', 9), Some(1), false),
        (master('a', 9), Some(2), true),
        (master('a', 9), Some(1), false),
        (heir('b', 10, 'a', 10), None, true),
        (heir('b', 20, 'a', 10), None, false),
        (heir('b', 20, 'a', 10), Some(3), true),
        (heir('b', 20, 'a', 10), Some(3), false),
        // A timeline begins once.
        (heir('b', 20, 'x', 5), Some(3), false),
    ] {
        let before = timelines.clone();
        assert_eq!(
            timelines.is_news(&report, named),
            news,
            "{report:?}, {named:?}"
        );
        assert_eq!(
            timelines.learn(&report, named),
            news,
            "{report:?}, {named:?}"
        );
        assert_eq!(timelines != before, news, "{report:?}, {named:?}");
    }
}

#[test]
fn a_circle_is_not_believed() {
    let mut timelines = learned(&[(heir('b', 20, 'a', 10), 1), (heir('c', 30, 'b', 21), 2)]);
    assert!(!timelines.learn(&heir('a', 40, 'c', 31), None));
    assert_eq!(timelines.shared(timeline('c'), timeline('a')), Some(10));
    assert_eq!(timelines.shared(timeline('a'), timeline('c')), None);
}

#[test]
fn the_oldest_timelines_are_forgotten() {
    let mut timelines = Timelines::default();
    let last = MAX as u64 + 10;
    for number in 1..=last {
        let report = Report {
            role: Role::Master,
            position: Position {
                timeline: numbered(number),
                offset: number * 10,
            },
            origin: Some(Origin {
                parent: numbered(number - 1),
                cut: number * 10,
            }),
        };
        assert!(timelines.learn(&report, Some(number)));
        assert!(timelines.branches.len() <= MAX);
    }
    let shared = |ancestor| timelines.shared(numbered(last), numbered(ancestor));
    assert_eq!(shared(last - 1), Some(last * 10));
    assert_eq!(shared(10), Some(110));
    assert_eq!(shared(9), None);
    assert_eq!(timelines.current(), Some(numbered(last)));
}

#[test]
fn a_node_has_strayed_whose_data_the_current_master_does_not_have() {
    let timelines = learned(&[
        // Another replica was promoted by hand, and nobody named it.
        (heir('b', 600, 'a', 502), 1),
        (heir('c', 700, 'b', 610), 2),
    ]);
    let mut timelines = timelines;
    timelines.learn(&heir('r', 600, 'a', 520), None);
    timelines.learn(&heir('s', 600, 'b', 605), None);
    timelines.learn(&heir('d', 800, 'c', 750), None);
    for (name, offset, strayed) in [
        ('c', 700, false),
        ('c', 9999, false),
        ('b', 609, false),
        ('b', 610, true),
        ('a', 501, false),
        ('a', 502, true),
        ('a', 531, true),
        ('r', 530, true),
        ('s', 606, true),
        // The next master, of which the topology has not heard yet.
        ('d', 800, false),
        // Who knows?
        ('x', 600, false),
    ] {
        assert_eq!(
            timelines.has_strayed(position(name, offset)),
            strayed,
            "{name} {offset}"
        );
    }
    assert!(!Timelines::default().has_strayed(position('a', 1)));
}

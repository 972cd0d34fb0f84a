use super::*;
use crate::refresh::decide::testing::{believing, follower_of, mute, node, silent, with_replica};

const MASTER: NodeReport = NodeReport::Master;

/// What else is known of the nodes 1 to 3.
#[derive(Default)]
struct Known {
    unsettled: bool,
    restarted: HashSet<Node>,
    followed: HashSet<Node>,
    dismissed: HashSet<Node>,
}

/// Who is master of the nodes 1 to 3 by these reports, and whether that is uncertain.
fn elected(
    current: &Topology,
    reports: [Option<NodeReport>; 3],
    known: &Known,
) -> (Option<u8>, bool) {
    let nodes = [1, 2, 3].map(node);
    let reported = reports.into_iter().enumerate();
    let reported = reported.filter_map(|(i, report)| Some((nodes[i].clone(), report?)));
    let node_reports: NodeReports = reported.collect();
    let standing = Standing {
        nodes: &nodes,
        settled: !known.unsettled,
        restarted: &known.restarted,
        followed: &known.followed,
        dismissed: &known.dismissed,
    };
    let election = elect(current, &node_reports, &standing);
    let unheard: Vec<_> = nodes
        .iter()
        .filter(|n| !node_reports.contains_key(*n))
        .cloned()
        .collect();
    assert_eq!(election.ask, unheard);
    let mut master = current.master.iter();
    let asked = master.any(|master| !node_reports.contains_key(master));
    assert_eq!(election.contested, election.adopt.is_none() && !asked);
    let adopted = election.adopt.map(|(adopted, _)| adopted);
    let number = |adopted| (1..).find(|n| node(*n) == adopted).unwrap();
    (adopted.map(number), election.unproven.is_some())
}

fn of(master: u8) -> Option<NodeReport> {
    Some(follower_of(master))
}

fn down() -> Option<NodeReport> {
    Some(silent())
}

fn is() -> Option<NodeReport> {
    Some(MASTER)
}

#[test]
fn the_first_master_is_the_node_that_says_so() {
    for (why, reports, expected) in [
        ("one says so", [of(2), is(), of(2)], (Some(2), false)),
        (
            "the others are down",
            [down(), down(), is()],
            (Some(3), false),
        ),
        ("nobody says so", [of(2), of(1), down()], (None, false)),
        (
            "two: the followed one",
            [is(), is(), of(2)],
            (Some(2), false),
        ),
        (
            "two: the first of equals",
            [down(), is(), is()],
            (Some(2), true),
        ),
        (
            "three: the first of equals",
            [is(), is(), is()],
            (Some(1), true),
        ),
        (
            "one may not tell",
            [down(), Some(mute()), of(2)],
            (Some(2), true),
        ),
        (
            "proof counts more",
            [Some(mute()), is(), down()],
            (Some(2), false),
        ),
    ] {
        let nobody = Topology::default();
        assert_eq!(
            elected(&nobody, reports.clone(), &Known::default()),
            expected,
            "{why}"
        );
        let unsettled = Known {
            unsettled: true,
            ..Known::default()
        };
        assert_eq!(
            elected(&nobody, reports, &unsettled),
            (None, false),
            "{why}"
        );
    }
    let known = Known {
        followed: HashSet::from([node(3)]),
        ..Known::default()
    };
    let first = elected(&Topology::default(), [is(), down(), is()], &known);
    assert_eq!(first, (Some(3), false), "strangers follow it");
}

#[test]
fn a_master_stays_until_another_one_has_taken_its_place() {
    let current = with_replica(with_replica(believing(1, 0), 2, None), 3, None);
    for (why, reports, expected) in [
        ("all is well", [is(), of(1), of(1)], (Some(1), false)),
        ("it has not answered", [None, is(), of(2)], (None, false)),
        ("it is down", [down(), of(1), of(1)], (None, false)),
        (
            "it is down, promoted",
            [down(), is(), of(1)],
            (Some(2), false),
        ),
        (
            "it is down, two promoted",
            [down(), is(), is()],
            (None, false),
        ),
        (
            "it is down, promoted and followed",
            [down(), is(), of(2)],
            (Some(2), false),
        ),
        (
            "promoted, and nobody follows",
            [is(), is(), of(1)],
            (Some(1), false),
        ),
        ("promoted, a tie", [is(), is(), down()], (Some(1), true)),
        (
            "promoted and followed",
            [is(), is(), of(2)],
            (Some(2), false),
        ),
        ("handed over", [of(2), is(), of(1)], (Some(2), false)),
        (
            "handed over, not yet promoted",
            [of(2), of(1), of(1)],
            (None, false),
        ),
        (
            "it may not tell",
            [Some(mute()), of(1), down()],
            (Some(1), true),
        ),
        (
            "it may not tell, promoted",
            [Some(mute()), is(), of(2)],
            (Some(2), false),
        ),
    ] {
        assert_eq!(
            elected(&current, reports, &Known::default()),
            expected,
            "{why}"
        );
    }
}

/// A node that has been a master beside ours for long, has come back as one, or never followed ours, does
/// not have our data.
#[test]
fn a_master_that_is_gone_is_not_replaced_by_a_node_without_its_data() {
    let ours = with_replica(believing(1, 0), 2, None);
    let split = HashSet::from([node(2)]);
    for (why, current) in [
        ("a replica before", &ours),
        ("a stranger", &believing(1, 0)),
    ] {
        for gone in [down(), of(3)] {
            let alone = || [gone.clone(), is(), down()];
            let followed = || [gone.clone(), is(), of(2)];
            let (fresh, _) = elected(current, alone(), &Known::default());
            let expected = why == "a replica before" && gone == down();
            assert_eq!(fresh.is_some(), expected, "{why}, {gone:?}");
            let dismissed = Known {
                dismissed: split.clone(),
                ..Known::default()
            };
            let restarted = Known {
                restarted: split.clone(),
                ..Known::default()
            };
            for known in [dismissed, restarted] {
                assert_eq!(elected(current, alone(), &known).0, None, "{why}");
                assert_eq!(elected(current, followed(), &known).0, Some(2), "{why}");
            }
        }
    }
}

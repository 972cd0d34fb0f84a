use std::time::Duration;

use super::*;

fn topology(port: u16, error: Option<&str>) -> Topology {
    Topology {
        master: Some(Node::new("10.0.0.1", port)),
        master_error: error.map(str::to_owned),
        ..Topology::default()
    }
}

#[test]
fn the_time_of_a_master_begins_anew_when_it_is_another_or_lost_or_back() {
    let mut vitals = Vitals::default();
    let start = vitals.since;
    let at = |seconds| start + Duration::from_secs(seconds);
    assert_eq!(
        vitals.master(at(3)),
        MasterStatus {
            since: Duration::from_secs(3),
            ..MasterStatus::default()
        }
    );
    // When it is observed, what, and then: reachable, since when, how many changes.
    let table = [
        (10, topology(1, None), (true, 10, 0)),
        (20, topology(1, None), (true, 10, 0)),
        (30, topology(1, Some("refused")), (false, 30, 0)),
        (31, topology(1, Some("no answer")), (false, 30, 0)),
        (40, topology(1, None), (true, 40, 0)),
        (50, topology(2, None), (true, 50, 1)),
        (60, topology(3, Some("refused")), (false, 60, 2)),
        (70, topology(4, Some("refused")), (false, 70, 3)),
    ];
    for (seconds, topology, (reachable, since, changes)) in table {
        vitals.observe(&topology, at(seconds));
        let expected = MasterStatus {
            node: topology.master,
            reachable,
            since: Duration::from_secs(100 - since),
            error: topology.master_error,
        };
        assert_eq!(vitals.master(at(100)), expected, "at {seconds}");
        assert_eq!(vitals.master_changes(), changes, "at {seconds}");
    }
}

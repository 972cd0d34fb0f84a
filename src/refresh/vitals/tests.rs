use std::time::Duration;

use super::*;

fn topology(port: u16, error: Option<&str>) -> Topology {
    with_replica(port, error, None)
}

/// Of which nothing but its readability counts here.
fn with_replica(port: u16, error: Option<&str>, replica: Option<Option<Excluded>>) -> Topology {
    let replica = replica.map(|excluded| Replica {
        node: Node::new("10.0.0.9", 1),
        excluded,
        since: 1,
        synced: true,
        orphaned: false,
        unlisted: None,
    });
    Topology {
        replicas: replica.into_iter().collect(),
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
        vitals.observe(&topology, ReadFrom::Any, at(seconds));
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

const PATIENCE: Duration = Duration::from_secs(10);

/// Why something cannot be done.
fn why(ability: &Ability) -> &str {
    match ability {
        Ability::Able => "",
        Ability::Waiting { why, .. } | Ability::Unable { why, .. } => why,
    }
}

#[test]
fn writes_wait_for_a_master_until_patience_is_over() {
    let mut vitals = Vitals::default();
    let start = vitals.writes.since;
    let at = |seconds| start + Duration::from_secs(seconds);
    let well = topology(1, None);
    let fenced = Topology {
        fence: Some("a sign".to_owned()),
        ..topology(1, None)
    };
    let lost = topology(1, Some("refused"));
    assert!(vitals.health(PATIENCE, at(1)).writes.is_unable());
    // When it is observed, what, and what writes can do 9 and 10 seconds later.
    let table = [
        (10, &well, ["able", "able"], ""),
        (
            20,
            &fenced,
            ["waiting", "unable"],
            "is being replaced (a sign)",
        ),
        // It goes on.
        (
            25,
            &lost,
            ["unable", "unable"],
            "cannot be reached: refused",
        ),
        (50, &well, ["able", "able"], ""),
        (
            60,
            &lost,
            ["waiting", "unable"],
            "cannot be reached: refused",
        ),
        (61, &topology(2, None), ["able", "able"], ""),
        (
            62,
            &topology(3, Some("refused")),
            ["waiting", "unable"],
            "10.0.0.1:3 cannot",
        ),
    ];
    for (seconds, topology, expected, text) in table {
        vitals.observe(topology, ReadFrom::Replica, at(seconds));
        let later = [9, 10].map(|later| vitals.health(PATIENCE, at(seconds + later)).writes);
        assert_eq!(
            later.each_ref().map(Ability::as_str),
            expected,
            "at {seconds}"
        );
        assert!(why(&later[0]).contains(text), "at {seconds}: {later:?}");
    }
}

#[test]
fn reads_need_a_node_that_the_policy_allows_and_that_serves() {
    let out = || Some(Some(Excluded::CatchingUp));
    let silent = || {
        let within = Duration::from_secs(2);
        Some(Some(Excluded::Silent { within }))
    };
    let readable = || Some(None);
    let (all, none) = (ReadFrom::Any, ReadFrom::Replica);
    let preferred = ReadFrom::ReplicaPreferred;
    // Error of the master, the replica, the policy, and what reads are told.
    let table = [
        (None, readable(), none, None),
        (None, out(), none, Some("10.0.0.9:1 has yet to apply")),
        (None, silent(), none, Some("10.0.0.9:1 did not answer")),
        (None, None, none, Some("there is no replica")),
        (None, out(), preferred, None),
        (None, None, all, None),
        (None, readable(), ReadFrom::Master, None),
        (Some("refused"), readable(), all, None),
        (Some("refused"), readable(), preferred, None),
        (
            Some("refused"),
            out(),
            preferred,
            Some("refused; 10.0.0.9:1 has"),
        ),
        (
            Some("refused"),
            out(),
            all,
            Some("cannot be reached: refused"),
        ),
        (
            Some("refused"),
            readable(),
            ReadFrom::Master,
            Some("refused"),
        ),
    ];
    for (error, replica, policy, expected) in table {
        let topology = with_replica(1, error, replica);
        let trouble = trouble_with_reads(&topology, policy);
        let case = format!("{topology:?} {policy:?}: {trouble:?}");
        assert_eq!(trouble.is_some(), expected.is_some(), "{case}");
        let trouble = trouble.unwrap_or_default();
        assert!(trouble.contains(expected.unwrap_or_default()), "{case}");
    }
    // A fence holds up no read.
    let fenced = Topology {
        fence: Some("a sign".to_owned()),
        ..topology(1, None)
    };
    assert_eq!(trouble_with_reads(&fenced, ReadFrom::Master), None);
    let nothing = trouble_with_reads(&Topology::default(), all);
    assert_eq!(nothing.as_deref(), Some("no master was found yet"));
}

#[test]
fn most_sentinels_must_answer_or_any_node() {
    let sentinels = |known, reachable| Turnout::Sentinels { known, reachable };
    for (turnout, well) in [
        (sentinels(1, 1), true),
        (sentinels(3, 2), true),
        (sentinels(3, 1), false),
        (sentinels(4, 2), false),
        (sentinels(3, 0), false),
        (Turnout::Nodes(true), true),
        (Turnout::Nodes(false), false),
    ] {
        let trouble = trouble_with_sentinels(turnout);
        assert_eq!(trouble.is_none(), well, "{turnout:?}: {trouble:?}");
    }
}

use super::*;
use crate::{refresh::decide::testing::*, sentinel::reply::ReplicaInfo};

#[test]
fn replicas_of_the_previous_master_stay_readable_until_the_new_one_is_announced() {
    let current = with_replica(with_replica(believing(1, 5), 2, None), 3, None);
    let views = [listing(1, 5, vec![listed(2, 1), listed(3, 1)])];
    let lost = |state: &str| NodeReport::Replica {
        master: node(1),
        unclear: false,
        link: Some(state.into()),
    };
    for (report, excluded, orphaned) in [
        (follower_of(1), false, false),
        (lost("connect"), false, true),
        (lost("sync"), true, false),
        (follower_of(2), false, false),
        (follower_of(4), true, false),
        (silent(), true, false),
    ] {
        let why = format!("{report:?}");
        let report = node_reports([
            (1, NodeReport::Master),
            (2, NodeReport::Master),
            (3, report),
        ]);
        let (mut found, _) = replicas(&current, &node(2), &views, &report, 9, Instant::now());
        keep_followers(&mut found, &node(1), &report);
        let third = found
            .iter()
            .find(|replica| replica.node == node(3))
            .unwrap();
        assert_eq!(
            (third.excluded.is_some(), third.orphaned),
            (excluded, orphaned),
            "{why}"
        );
        let previous_master = |replica: &&Replica| replica.node == node(1);
        assert!(
            !found
                .iter()
                .filter(previous_master)
                .any(Replica::is_readable)
        );
    }
}

/// What becomes of replica 2 of master 1, and whether it is asked. `None`: it is not in the set.
fn fate(
    current: &Topology,
    views: &[View],
    node_reports: &NodeReports,
) -> (Option<Option<Excluded>>, bool) {
    let (replicas, ask) = replicas(current, &node(1), views, node_reports, 9, Instant::now());
    let found = replicas.into_iter().find(|replica| replica.node == node(2));
    (found.map(|found| found.excluded), ask.contains(&node(2)))
}

#[test]
fn a_replica_is_readable_only_by_its_own_report() {
    let current = believing(1, 5);
    let views = [listing(1, 5, vec![listed(2, 1)])];
    let syncing = NodeReport::Replica {
        master: node(1),
        unclear: false,
        link: Some("sync".into()),
    };
    let unreachable = Excluded::Unreachable {
        error: "timed out".into(),
    };
    let wrong = Excluded::WrongMaster {
        follows: "10.0.0.3:6379".into(),
    };
    let table = [
        (None, Some(Excluded::NotProven), true),
        (Some(follower_of(1)), None, false),
        (Some(NodeReport::SomeReplica), None, false),
        (Some(mute()), None, false),
        (
            Some(NodeReport::Master),
            Some(Excluded::ReportsMaster),
            false,
        ),
        (Some(silent()), Some(unreachable), false),
        (Some(follower_of(3)), Some(wrong), false),
        (
            Some(syncing),
            Some(Excluded::Syncing {
                state: "sync".into(),
            }),
            false,
        ),
    ];
    for (node_report, excluded, asked) in table {
        let node_reports: NodeReports = node_report
            .clone()
            .map(|node_report| (node(2), node_report))
            .into_iter()
            .collect();
        let got = fate(&current, &views, &node_reports);
        assert_eq!(got, (Some(excluded), asked), "{node_report:?}");
    }
}

#[test]
fn replicas_that_lost_their_master_are_read_as_long_as_it_is_the_master_that_is_gone() {
    let lost = |state: &str| NodeReport::Replica {
        master: node(1),
        unclear: false,
        link: Some(state.into()),
    };
    let readable = |synced, said: &[(u8, NodeReport)]| {
        let mut current = with_replica(believing(1, 5), 2, None);
        current = with_replica(current, 3, None);
        for replica in &mut current.replicas {
            replica.synced = synced;
        }
        let views = [listing(1, 5, vec![listed(2, 1), listed(3, 1)])];
        let node_reports = said
            .iter()
            .map(|(n, node_report)| (node(*n), node_report.clone()));
        let (replicas, ask) = replicas(
            &current,
            &node(1),
            &views,
            &node_reports.collect(),
            9,
            Instant::now(),
        );
        let readable = replicas.iter().filter(|replica| replica.is_readable());
        let ports: Vec<_> = readable.map(|replica| replica.node.clone()).collect();
        (ports, ask)
    };
    let both = || vec![node(2), node(3)];
    let connect = || (2, lost("connect"));
    let table = [
        // The master is there: it is the replicas that have trouble.
        (
            true,
            vec![(1, NodeReport::Master), connect(), (3, lost("connect"))],
            vec![],
            vec![],
        ),
        (
            true,
            vec![(1, silent()), connect(), (3, lost("connecting"))],
            both(),
            vec![],
        ),
        // Whether it is there must be asked; until it answers nothing is taken away.
        (
            true,
            vec![connect(), (3, lost("connect"))],
            both(),
            vec![node(1)],
        ),
        // It has not been long, or it is only for us that the master is gone.
        (
            true,
            vec![(1, silent()), connect(), (3, follower_of(1))],
            both(),
            vec![],
        ),
        // A copy under way may have begun by throwing the old data away.
        (
            true,
            vec![(1, silent()), connect(), (3, lost("sync"))],
            vec![node(2)],
            vec![],
        ),
        // Never seen in step: what it has may be nothing at all.
        (
            false,
            vec![(1, silent()), connect(), (3, lost("connect"))],
            vec![],
            vec![],
        ),
    ];
    for (synced, said, ports, ask) in table {
        assert_eq!(readable(synced, &said), (ports, ask), "{synced} {said:?}");
    }
}

#[test]
fn an_objection_of_sentinel_counts_until_the_replica_reports_unless_it_is_down() {
    let current = believing(1, 5);
    let link_down = ReplicaInfo {
        link_ok: Some(false),
        ..listed(2, 1)
    };
    let reports_master = ReplicaInfo {
        reports_master: true,
        ..listed(2, 1)
    };
    let link = Excluded::LinkDown { since: None };
    let wrong = Excluded::WrongMaster {
        follows: "10.0.0.3:6379".into(),
    };
    let down = Excluded::SubjectivelyDown;
    // What Sentinel says, the reason without a report of the node, whether the report overrules it.
    let table = [
        (link_down, link, true),
        (reports_master, Excluded::ReportsMaster, true),
        (listed(2, 3), wrong, true),
        (flagged(2, 1, "slave,promoted"), Excluded::Promoted, true),
        (flagged(2, 1, "s_down,slave"), down, false),
    ];
    for (info, reason, soft) in table {
        let views = [listing(1, 5, vec![info.clone()])];
        let without = fate(&current, &views, &node_reports([]));
        assert_eq!(without, (Some(Some(reason.clone())), soft), "{info:?}");
        let (with, asked) = fate(&current, &views, &node_reports([(2, follower_of(1))]));
        assert_eq!(with, Some((!soft).then_some(reason)), "{info:?}");
        assert!(!asked, "{info:?}");
    }
}

#[test]
fn being_disconnected_from_a_sentinel_says_nothing_against_a_replica() {
    let views = [listing(
        1,
        5,
        vec![flagged(2, 1, "slave,disconnected,master_down")],
    )];
    let (excluded, _) = fate(
        &believing(1, 5),
        &views,
        &node_reports([(2, follower_of(1))]),
    );
    assert_eq!(excluded, Some(None));
}

#[test]
fn one_sentinel_alone_takes_no_replica_away() {
    let current = believing(1, 5);
    let proven = node_reports([(2, follower_of(1))]);
    let well = || listing(1, 5, vec![listed(2, 1)]);
    let down = || listing(1, 5, vec![flagged(2, 1, "s_down,slave")]);
    let link_down = || {
        let info = ReplicaInfo {
            link_ok: Some(false),
            ..listed(2, 1)
        };
        listing(1, 5, vec![info])
    };
    let excluded = |views: &[View]| fate(&current, views, &proven).0.flatten();
    assert_eq!(excluded(&[down(), well(), well()]), None);
    assert_eq!(excluded(&[down(), well()]), None);
    let most = excluded(&[down(), well(), down()]);
    assert_eq!(most, Some(Excluded::SubjectivelyDown));
    // Objections of different kinds do not add up to the one that the node may not answer.
    for turn in 0..3 {
        let mut views = [down(), link_down(), well()];
        views.rotate_left(turn);
        assert_eq!(excluded(&views), None, "rotated by {turn}");
    }
}

#[test]
fn a_replica_without_a_report_keeps_its_last_good_state() {
    let views = [listing(1, 5, vec![listed(2, 1)])];
    let good = with_replica(believing(1, 5), 2, None);
    assert_eq!(fate(&good, &views, &node_reports([])), (Some(None), true));
    let bad = with_replica(believing(1, 5), 2, Some(Excluded::Promoted));
    let state = fate(&bad, &views, &node_reports([]));
    assert_eq!(state, (Some(Some(Excluded::Promoted)), true));

    // Right after a switch the Sentinels object to every replica.
    let fresh = ReplicaInfo {
        link_ok: None,
        master: None,
        ..flagged(2, 1, "slave,disconnected")
    };
    let views = [listing(1, 6, vec![fresh])];
    assert_eq!(fate(&good, &views, &node_reports([])), (Some(None), true));
}

#[test]
fn a_replica_vanishes_only_when_nobody_lists_it_and_it_says_that_it_left() {
    let good = with_replica(believing(1, 5), 2, None);
    let nobody = [listing(1, 5, vec![])];
    // A Sentinel that was just reset lists nobody for a while.
    assert_eq!(fate(&good, &nobody, &node_reports([])), (Some(None), true));
    let still = node_reports([(2, follower_of(1))]);
    assert_eq!(fate(&good, &nobody, &still), (Some(None), false));
    for gone in [follower_of(3), silent(), NodeReport::Master] {
        let report = format!("{gone:?}");
        let state = fate(&good, &nobody, &node_reports([(2, gone)]));
        assert_eq!(state, (None, false), "{report}");
    }
    // Where no Sentinel can be asked, not being listed means nothing.
    let (state, _) = fate(&good, &[], &node_reports([(2, silent())]));
    assert!(matches!(state, Some(Some(Excluded::Unreachable { .. }))));
    // Listed, its departure is a reason and not a disappearance.
    let listed = [listing(1, 5, vec![listed(2, 1)])];
    let (state, _) = fate(&good, &listed, &node_reports([(2, silent())]));
    assert!(matches!(state, Some(Some(Excluded::Unreachable { .. }))));
}

#[test]
fn the_replicas_of_another_master_are_not_ours() {
    let views = [listing(3, 9, vec![listed(2, 3)]), listing(1, 5, vec![])];
    assert_eq!(
        fate(&believing(1, 5), &views, &node_reports([])),
        (None, false),
        "only Sentinels that name our master nominate"
    );
}

#[test]
fn the_master_is_never_among_its_replicas_and_the_previous_one_joins_by_its_own_report() {
    let views = [listing(1, 6, vec![listed(1, 1), listed(2, 1)])];
    let previous_master = believing(2, 5);
    let (found, _) = replicas(
        &previous_master,
        &node(1),
        &views,
        &node_reports([]),
        9,
        Instant::now(),
    );
    assert!(found.iter().all(|replica| replica.node != node(1)));
    let unlisted = [listing(1, 6, vec![])];
    let (state, _) = fate(
        &previous_master,
        &unlisted,
        &node_reports([(2, follower_of(1))]),
    );
    assert_eq!(state, Some(None));
    let (state, _) = fate(
        &previous_master,
        &views,
        &node_reports([(2, NodeReport::Master)]),
    );
    assert_eq!(state, Some(Some(Excluded::ReportsMaster)));
}

#[test]
fn a_new_replica_is_stamped_with_the_version_and_an_old_one_keeps_its_stamp() {
    let current = with_replica(believing(1, 5), 2, None);
    let views = [listing(1, 5, vec![listed(3, 1), listed(2, 1)])];
    let report = node_reports([(2, follower_of(1)), (3, follower_of(1))]);
    let (found, ask) = replicas(&current, &node(1), &views, &report, 9, Instant::now());
    let stamps: Vec<_> = found
        .iter()
        .map(|replica| (replica.node.clone(), replica.since))
        .collect();
    assert_eq!(stamps, [(node(2), 1), (node(3), 9)]);
    assert!(ask.is_empty());
}

#[test]
fn sentinels_that_cannot_see_a_healthy_master_take_no_replica_away() {
    let view = |master_down| View {
        master_down,
        ..listing(1, 5, vec![flagged(2, 1, "s_down,slave")])
    };
    let known = with_replica(believing(1, 5), 2, None);
    let excluded = |view: View, master: Option<NodeReport>| {
        let mut reports = node_reports([(2, follower_of(1))]);
        reports.extend(master.map(|node_report| (node(1), node_report)));
        let (replicas, _) = replicas(&known, &node(1), &[view], &reports, 9, Instant::now());
        replicas[0].excluded.clone()
    };
    assert_eq!(excluded(view(true), Some(NodeReport::Master)), None);
    assert_eq!(
        excluded(view(true), None),
        None,
        "it was well when it spoke last"
    );
    let down = Some(Excluded::SubjectivelyDown);
    assert_eq!(excluded(view(false), Some(NodeReport::Master)), down);
    assert_eq!(excluded(view(true), Some(silent())), down);
}

#[test]
fn a_replica_that_the_sentinels_were_told_to_hide_is_let_go_of() {
    let informed = || View {
        informed: true,
        ..listing(1, 5, vec![listed(3, 1)])
    };
    let reset = || listing(1, 5, vec![]);
    let began = Instant::now();
    let known = with_replica(with_replica(believing(1, 5), 2, None), 3, None);
    let reports = node_reports([
        (1, NodeReport::Master),
        (2, follower_of(1)),
        (3, follower_of(1)),
    ]);
    let readable = |current: &Topology, views: &[View], now| {
        let (replicas, _) = replicas(current, &node(1), views, &reports, 9, now);
        Topology {
            replicas,
            ..current.clone()
        }
    };
    let knows = |topology: &Topology| topology.replicas.iter().any(|r| r.node == node(2));
    let hidden = [informed(), informed(), informed()];
    let first = readable(&known, &hidden, began);
    assert!(
        knows(&first),
        "a Sentinel may have learned of it a moment ago"
    );
    let soon = readable(&first, &hidden, began + UNLISTED_GRACE / 2);
    assert!(knows(&soon));
    assert!(!knows(&readable(&soon, &hidden, began + UNLISTED_GRACE)));
    // One that is listed again meanwhile begins anew.
    let listed_again = [listing(1, 5, vec![listed(2, 1), listed(3, 1)])];
    let again = readable(&first, &listed_again, began + UNLISTED_GRACE / 2);
    assert!(knows(&readable(&again, &hidden, began + UNLISTED_GRACE)));
    // Sentinels that were just reset list nobody, for however long they have no INFO.
    let empty = [reset(), reset(), reset()];
    let then = readable(&known, &empty, began);
    assert!(knows(&readable(&then, &empty, began + UNLISTED_GRACE * 9)));
}

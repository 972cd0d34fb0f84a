use proptest::prelude::*;

use super::*;
use crate::sentinel::{flags::Flags, reply::ReplicaInfo};

const PORT: u16 = 6379;

fn elect(current: &Topology, views: &[View], node_reports: &NodeReports) -> Election {
    super::elect(current, views, node_reports, None, views.len())
}

fn node(n: u8) -> Node {
    Node::new(format!("10.0.0.{n}"), PORT)
}

fn view(master: u8, epoch: u64) -> View {
    View {
        master: node(master),
        epoch,
        replicas: Vec::new(),
        informed: false,
        master_down: false,
    }
}

fn listing(master: u8, epoch: u64, replicas: Vec<ReplicaInfo>) -> View {
    View {
        replicas,
        ..view(master, epoch)
    }
}

/// A replica as a Sentinel lists one that is well.
fn listed(n: u8, master: u8) -> ReplicaInfo {
    ReplicaInfo {
        node: node(n),
        flags: Flags::parse(b"slave"),
        link_ok: Some(true),
        link_down_for: None,
        master: Some(node(master)),
        priority: Some(100),
        reports_master: false,
        info_refresh: None,
        repl_offset: None,
        run_id: None,
    }
}

fn flagged(n: u8, master: u8, flags: &str) -> ReplicaInfo {
    ReplicaInfo {
        flags: Flags::parse(flags.as_bytes()),
        ..listed(n, master)
    }
}

fn believing(master: u8, epoch: u64) -> Topology {
    Topology {
        version: 1,
        epoch,
        master: Some(node(master)),
        master_since: 1,
        ..Topology::default()
    }
}

fn with_replica(mut topology: Topology, n: u8, excluded: Option<Excluded>) -> Topology {
    topology.replicas.push(Replica {
        node: node(n),
        excluded,
        since: 1,
        synced: true,
        orphaned: false,
        unlisted: None,
    });
    topology
}

fn follower_of(master: u8) -> NodeReport {
    NodeReport::Replica {
        master: node(master),
        unclear: false,
        link: None,
    }
}

fn silent() -> NodeReport {
    NodeReport::Failed("timed out".into())
}

fn mute() -> NodeReport {
    NodeReport::Unprovable("NOPERM".into())
}

fn node_reports<const N: usize>(node_reports: [(u8, NodeReport); N]) -> NodeReports {
    node_reports
        .map(|(n, node_report)| (node(n), node_report))
        .into()
}

/// A case of the election: what is believed, what the Sentinels say, what the nodes say, and what
/// must come of it: the adopted master with its epoch, and who is to be asked.
struct Case {
    why: &'static str,
    current: Topology,
    views: Vec<View>,
    node_reports: NodeReports,
    adopt: Option<(u8, u64)>,
    ask: Vec<u8>,
}

fn check(cases: Vec<Case>) {
    for case in cases {
        // The order in which Sentinels answered must not matter.
        for turn in 0..case.views.len().max(1) {
            let mut views = case.views.clone();
            views.rotate_left(turn);
            let election = elect(&case.current, &views, &case.node_reports);
            let adopt = case.adopt.map(|(n, epoch)| (node(n), epoch));
            assert_eq!(election.adopt, adopt, "{}", case.why);
            let ask: Vec<_> = case.ask.iter().copied().map(node).collect();
            assert_eq!(election.ask, ask, "{}", case.why);
        }
    }
}

#[test]
fn nothing_is_adopted_before_the_node_itself_says_master() {
    let views = || vec![view(1, 5), view(1, 5), view(1, 5)];
    let none = Topology::default;
    check(vec![
        Case {
            why: "nobody has answered",
            current: none(),
            views: vec![],
            node_reports: node_reports([(1, NodeReport::Master)]),
            adopt: None,
            ask: vec![],
        },
        Case {
            why: "not asked yet",
            current: none(),
            views: views(),
            node_reports: node_reports([]),
            adopt: None,
            ask: vec![1],
        },
        Case {
            why: "it says master",
            current: none(),
            views: views(),
            node_reports: node_reports([(1, NodeReport::Master)]),
            adopt: Some((1, 5)),
            ask: vec![],
        },
        Case {
            why: "it says replica",
            current: none(),
            views: views(),
            node_reports: node_reports([(1, follower_of(2))]),
            adopt: None,
            ask: vec![],
        },
        Case {
            why: "it says replica, and its ACL hides the rest",
            current: none(),
            views: views(),
            node_reports: node_reports([(1, NodeReport::SomeReplica)]),
            adopt: None,
            ask: vec![],
        },
        Case {
            why: "it does not answer",
            current: none(),
            views: views(),
            node_reports: node_reports([(1, silent())]),
            adopt: None,
            ask: vec![],
        },
        Case {
            why: "another node says master, which nobody nominated",
            current: none(),
            views: views(),
            node_reports: node_reports([(1, silent()), (2, NodeReport::Master)]),
            adopt: None,
            ask: vec![],
        },
    ]);
}

#[test]
fn the_highest_epoch_whose_node_proves_wins_against_any_number_of_votes() {
    check(vec![
        Case {
            why: "the leader alone knows of the switch, the old master still says master",
            current: with_replica(believing(1, 5), 2, None),
            views: vec![view(2, 6), view(1, 5), view(1, 5)],
            node_reports: node_reports([(1, NodeReport::Master), (2, NodeReport::Master)]),
            adopt: Some((2, 6)),
            ask: vec![],
        },
        Case {
            why: "the claimed node has not been asked: until it has, what is goes on",
            current: with_replica(believing(1, 5), 2, None),
            views: vec![view(2, 6), view(1, 5), view(1, 5)],
            node_reports: node_reports([(1, NodeReport::Master)]),
            adopt: Some((1, 5)),
            ask: vec![2],
        },
        Case {
            why: "a forged epoch that points to a replica",
            current: with_replica(believing(1, 5), 2, None),
            views: vec![view(2, 999), view(1, 5), view(1, 5)],
            node_reports: node_reports([(1, NodeReport::Master), (2, follower_of(1))]),
            adopt: Some((1, 5)),
            ask: vec![],
        },
        Case {
            why: "a forged epoch that points nowhere, while the master is silent",
            current: with_replica(believing(1, 5), 2, None),
            views: vec![view(2, 999), view(1, 5), view(1, 5)],
            node_reports: node_reports([(1, silent()), (2, silent())]),
            adopt: None,
            ask: vec![],
        },
        Case {
            why: "the same master under a new epoch",
            current: with_replica(believing(1, 5), 2, None),
            views: vec![view(1, 7), view(1, 7), view(1, 5)],
            node_reports: node_reports([(1, NodeReport::Master)]),
            adopt: Some((1, 7)),
            ask: vec![],
        },
        Case {
            why: "the master was elected anew and has not said so yet: nobody below it counts",
            current: with_replica(believing(1, 5), 2, None),
            views: vec![view(1, 7), view(2, 6), view(1, 7)],
            node_reports: node_reports([(2, NodeReport::Master)]),
            adopt: None,
            ask: vec![1],
        },
        Case {
            why: "of three different claims the highest that proves",
            current: Topology::default(),
            views: vec![view(1, 5), view(2, 6), view(3, 7)],
            node_reports: node_reports([
                (1, NodeReport::Master),
                (2, NodeReport::Master),
                (3, silent()),
            ]),
            adopt: Some((2, 6)),
            ask: vec![],
        },
    ]);
}

#[test]
fn a_lower_epoch_needs_most_sentinels_a_proof_and_an_old_master_that_does_not_prove() {
    let most = || vec![view(2, 1), view(2, 1), view(1, 5)];
    let all = || vec![view(2, 0), view(2, 0), view(2, 0)];
    let case = |why, views, node_reports, adopt, ask| Case {
        why,
        current: believing(1, 5),
        views,
        node_reports,
        adopt,
        ask,
    };
    check(vec![
        case(
            "a single Sentinel lags",
            vec![view(2, 4), view(1, 5), view(1, 5)],
            node_reports([(2, NodeReport::Master)]),
            None,
            vec![],
        ),
        case(
            "a single Sentinel lags and the master is silent",
            vec![view(2, 4), view(1, 5), view(1, 5)],
            node_reports([(1, silent()), (2, NodeReport::Master)]),
            None,
            vec![],
        ),
        case(
            "half are not most",
            vec![view(2, 1), view(1, 5)],
            node_reports([(1, silent()), (2, NodeReport::Master)]),
            None,
            vec![],
        ),
        case(
            "all three conditions, one Sentinel still names the old one",
            most(),
            node_reports([(1, silent()), (2, NodeReport::Master)]),
            Some((2, 1)),
            vec![],
        ),
        case(
            "all three conditions, and the old one is a replica now",
            all(),
            node_reports([(1, follower_of(2)), (2, NodeReport::Master)]),
            Some((2, 0)),
            vec![],
        ),
        case(
            "the old one has not been asked",
            all(),
            node_reports([(2, NodeReport::Master)]),
            None,
            vec![1],
        ),
        case(
            "the old one still proves",
            all(),
            node_reports([(1, NodeReport::Master), (2, NodeReport::Master)]),
            None,
            vec![],
        ),
        case(
            "the new one does not prove",
            all(),
            node_reports([(1, silent()), (2, silent())]),
            None,
            vec![],
        ),
        case(
            "the new one has not been asked",
            all(),
            node_reports([(1, silent())]),
            None,
            vec![2],
        ),
        case(
            "epochs began anew and the master is the same, which has not been asked",
            vec![view(1, 0), view(1, 0), view(1, 5)],
            node_reports([]),
            None,
            vec![],
        ),
        case(
            "epochs began anew for all and the master has not been asked",
            vec![view(1, 0), view(1, 0), view(1, 0)],
            node_reports([]),
            None,
            vec![1],
        ),
        case(
            "epochs began anew and the master is the same",
            vec![view(1, 0), view(1, 0), view(1, 0)],
            node_reports([(1, NodeReport::Master)]),
            Some((1, 0)),
            vec![],
        ),
    ]);
}

#[test]
fn an_equal_epoch_moves_the_master_only_with_most_sentinels_and_a_proof() {
    let case = |why, views, node_reports, adopt, ask| Case {
        why,
        current: believing(1, 5),
        views,
        node_reports,
        adopt,
        ask,
    };
    check(vec![
        case(
            "one Sentinel differs",
            vec![view(2, 5), view(1, 5), view(1, 5)],
            node_reports([(1, NodeReport::Master), (2, NodeReport::Master)]),
            Some((1, 5)),
            vec![],
        ),
        case(
            "one Sentinel differs and the master is silent",
            vec![view(2, 5), view(1, 5), view(1, 5)],
            node_reports([(1, silent()), (2, NodeReport::Master)]),
            None,
            vec![],
        ),
        case(
            "most differ",
            vec![view(2, 5), view(2, 5), view(1, 5)],
            node_reports([(1, NodeReport::Master), (2, NodeReport::Master)]),
            Some((2, 5)),
            vec![],
        ),
        case(
            "most differ, without a proof",
            vec![view(2, 5), view(2, 5), view(1, 5)],
            node_reports([(1, NodeReport::Master), (2, silent())]),
            Some((1, 5)),
            vec![],
        ),
    ]);
}

#[test]
fn an_unreachable_master_keeps_its_place_while_nobody_else_proves() {
    for (why, node_reports) in [
        ("silent", node_reports([(1, silent())])),
        ("not asked", node_reports([])),
        ("says replica", node_reports([(1, follower_of(2))])),
    ] {
        let election = elect(&believing(1, 5), &[view(1, 5), view(1, 5)], &node_reports);
        assert_eq!(election.adopt, None, "{why}");
    }
}

#[test]
fn nodes_that_may_not_tell_their_role_are_believed_when_most_sentinels_name_them() {
    let reason = |election: &Election| election.unproven.clone();
    let all = [view(1, 5), view(1, 5), view(1, 5)];
    let election = elect(&Topology::default(), &all, &node_reports([(1, mute())]));
    assert_eq!(election.adopt, Some((node(1), 5)));
    assert_eq!(reason(&election).as_deref(), Some("NOPERM"));

    let split = [view(1, 5), view(2, 5)];
    let election = elect(
        &Topology::default(),
        &split,
        &node_reports([(1, mute()), (2, mute())]),
    );
    assert_eq!(election.adopt, None);
    assert!(election.contested);

    // A higher epoch alone moves no unproven master.
    let leader = [view(2, 6), view(1, 5), view(1, 5)];
    let mutes = node_reports([(1, mute()), (2, mute())]);
    let election = elect(&believing(1, 5), &leader, &mutes);
    assert_eq!(election.adopt, Some((node(1), 5)));
    let most = [view(2, 6), view(2, 6), view(1, 5)];
    let election = elect(&believing(1, 5), &most, &mutes);
    assert_eq!(election.adopt, Some((node(2), 6)));
    assert!(election.unproven.is_some());

    // As soon as the node tells its role, nothing is unproven any more.
    let election = elect(
        &believing(1, 5),
        &all,
        &node_reports([(1, NodeReport::Master)]),
    );
    assert_eq!(reason(&election), None);
}

#[test]
fn a_lower_epoch_without_proof_does_not_move_a_master_that_proves() {
    let all = [view(2, 1), view(2, 1), view(2, 1)];
    let current = believing(1, 5);
    let proven = node_reports([(1, NodeReport::Master), (2, mute())]);
    assert_eq!(elect(&current, &all, &proven).adopt, None);
    let unasked = elect(&current, &all, &node_reports([(2, mute())]));
    assert_eq!((unasked.adopt, unasked.ask), (None, vec![node(1)]));
    // Where no node may tell its role, most Sentinels are all there is to go by.
    let mutes = node_reports([(1, mute()), (2, mute())]);
    assert_eq!(elect(&current, &all, &mutes).adopt, Some((node(2), 1)));
}

#[test]
fn a_claim_that_is_neither_adopted_nor_put_aside_is_worth_another_look() {
    let views = [view(2, 6), view(1, 5), view(1, 5)];
    let current = with_replica(believing(1, 5), 2, None);
    let contested = |node_reports: &NodeReports| elect(&current, &views, node_reports).contested;
    assert!(contested(&node_reports([(1, NodeReport::Master)])));
    assert!(contested(&node_reports([
        (1, NodeReport::Master),
        (2, silent())
    ])));
    assert!(!contested(&node_reports([
        (1, NodeReport::Master),
        (2, NodeReport::Master)
    ])));
    let stale = [view(2, 4), view(1, 5), view(1, 5)];
    assert!(!elect(&current, &stale, &node_reports([(1, NodeReport::Master)])).contested);
}

#[test]
fn a_node_that_was_never_ours_needs_most_sentinels_to_know_it() {
    let report = || node_reports([(1, NodeReport::Master), (2, NodeReport::Master)]);
    let ours = || with_replica(believing(1, 5), 2, None);
    let mut out_of_step = ours();
    out_of_step.replicas[0].synced = false;
    let knowing = |master| listing(master, 5, vec![listed(2, 1)]);
    for (why, current, views, adopt) in [
        (
            "a stranger",
            believing(1, 5),
            vec![view(2, 9), view(1, 5), view(1, 5)],
            Some((1, 5)),
        ),
        (
            "never in step",
            out_of_step,
            vec![view(2, 9), view(1, 5), view(1, 5)],
            Some((1, 5)),
        ),
        (
            "half of them",
            believing(1, 5),
            vec![view(2, 9), view(1, 5)],
            Some((1, 5)),
        ),
        (
            "one of ours",
            ours(),
            vec![view(2, 9), view(1, 5), view(1, 5)],
            Some((2, 9)),
        ),
        (
            "most name it",
            believing(1, 5),
            vec![view(2, 9), view(2, 9), view(1, 5)],
            Some((2, 9)),
        ),
        (
            "another lists it",
            believing(1, 5),
            vec![view(2, 9), knowing(1), view(1, 5)],
            Some((2, 9)),
        ),
        (
            "nothing is known",
            Topology::default(),
            vec![view(2, 9), view(1, 5)],
            Some((2, 9)),
        ),
    ] {
        let adopt = adopt.map(|(n, epoch)| (node(n), epoch));
        let election = elect(&current, &views, &report());
        assert_eq!(election.adopt, adopt, "{why}");
        assert!(!election.contested, "{why}");
    }
}

#[test]
fn a_promoted_replica_is_adopted_when_it_says_so_and_nobody_announces_another() {
    let old = || vec![view(1, 5), view(1, 5), view(1, 5)];
    let current = with_replica(with_replica(believing(1, 5), 2, None), 3, None);
    let elect = |views: &[View], node_reports| {
        super::elect(&current, views, &node_reports, Some(&node(2)), views.len())
    };
    let masters = || {
        node_reports([
            (1, NodeReport::Master),
            (2, NodeReport::Master),
            (3, NodeReport::Master),
        ])
    };

    let election = elect(&old(), masters());
    assert_eq!((election.adopt, election.ahead), (Some((node(2), 5)), true));
    for node_report in [follower_of(1), silent(), mute(), NodeReport::SomeReplica] {
        let election = elect(
            &old(),
            node_reports([(1, NodeReport::Master), (2, node_report)]),
        );
        assert_eq!(
            (election.adopt, election.ahead),
            (Some((node(1), 5)), false)
        );
    }
    // Its own announcement, and that of another one.
    for n in [2, 3] {
        let election = elect(&[view(n, 6), view(1, 5), view(1, 5)], masters());
        assert_eq!(
            (election.adopt, election.ahead),
            (Some((node(n), 6)), false)
        );
    }
}

#[test]
fn a_deposed_master_returns_only_when_its_successor_does_not_prove() {
    let current = Topology {
        previous_master: Some(node(1)),
        ..with_replica(believing(2, 5), 3, None)
    };
    let old = [view(1, 5), view(1, 5), view(1, 5)];
    let master = || NodeReport::Master;
    let case = |node_reports: &[(u8, NodeReport)], views: &[View]| {
        let node_reports = node_reports
            .iter()
            .map(|(n, node_report)| (node(*n), node_report.clone()));
        let election = elect(&current, views, &node_reports.collect());
        (election.adopt, election.ask)
    };
    assert_eq!(case(&[(1, master()), (2, master())], &old), (None, vec![]));
    assert_eq!(case(&[(1, master())], &old), (None, vec![node(2)]));
    assert_eq!(
        case(&[(1, silent()), (2, follower_of(1))], &old),
        (None, vec![])
    );
    // A single Sentinel that still names it is not enough.
    let split = [view(1, 5), view(3, 4), view(3, 4)];
    let report = [(1, master()), (2, follower_of(1)), (3, follower_of(1))];
    assert_eq!(case(&report, &split), (None, vec![]));
    for denial in [follower_of(1), silent()] {
        let report = [(1, master()), (2, denial)];
        assert_eq!(case(&report, &old), (Some((node(1), 5)), vec![]));
    }
    // Under a higher epoch it was elected anew.
    let anew = [view(1, 7), view(1, 5), view(1, 5)];
    let report = [(1, master()), (2, master())];
    assert_eq!(case(&report, &anew), (Some((node(1), 7)), vec![]));
    let announced = [view(2, 6), view(1, 5), view(1, 5)];
    assert_eq!(case(&report, &announced), (Some((node(2), 6)), vec![]));
}

#[test]
fn replicas_of_a_deposed_master_stay_readable_until_its_successor_is_announced() {
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
fn a_replica_is_readable_only_by_its_own_word() {
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
fn what_sentinel_says_against_a_replica_counts_until_the_replica_speaks_unless_it_is_down() {
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
    // What Sentinel says, the reason without the node's word, whether the node's word overrules it.
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
fn a_replica_that_has_not_spoken_yet_keeps_its_last_good_state() {
    let views = [listing(1, 5, vec![listed(2, 1)])];
    let good = with_replica(believing(1, 5), 2, None);
    assert_eq!(fate(&good, &views, &node_reports([])), (Some(None), true));
    let bad = with_replica(believing(1, 5), 2, Some(Excluded::Promoted));
    let state = fate(&bad, &views, &node_reports([]));
    assert_eq!(state, (Some(Some(Excluded::Promoted)), true));

    // Right after a switch the Sentinels say the worst of every replica.
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
fn the_master_is_never_among_its_replicas_and_the_deposed_one_joins_by_its_own_word() {
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
fn a_name_that_cannot_be_compared_is_no_reason_against_a_replica() {
    let follows = |unclear| NodeReport::Replica {
        master: Node::new("redis-0", PORT),
        link: None,
        unclear,
    };
    assert_eq!(exclusion(&follows(true), &node(1)), None);
    let excluded = exclusion(&follows(false), &node(1));
    assert!(matches!(excluded, Some(Excluded::WrongMaster { .. })));
}

#[test]
fn the_first_master_needs_most_of_the_sentinels_that_can_answer() {
    let none = Topology::default();
    let masters = node_reports([(1, NodeReport::Master), (9, NodeReport::Master)]);
    let adopt = |views: &[View], electors| {
        let election = super::elect(&none, views, &masters, None, electors);
        election.adopt.map(|(node, _)| node)
    };
    let confused = [view(9, 7)];
    assert_eq!(adopt(&confused, 3), None, "two have yet to answer");
    assert_eq!(adopt(&[view(9, 7), view(1, 5)], 3), None);
    assert_eq!(
        adopt(&[view(9, 7), view(1, 5), view(1, 5)], 3),
        Some(node(1)),
        "a higher epoch is nothing without a node that most know"
    );
    assert_eq!(adopt(&[view(1, 5), view(1, 5)], 3), Some(node(1)));
    assert_eq!(adopt(&confused, 1), Some(node(9)), "the others are gone");
    // The leader of a failover is ahead of the others, who know its candidate.
    let others = || listing(1, 5, vec![listed(9, 1)]);
    assert_eq!(adopt(&[view(9, 6), others(), others()], 3), Some(node(9)));
}

#[test]
fn sentinels_that_agree_on_nothing_lead_every_pool_to_the_same_master() {
    let none = Topology::default();
    let views = [
        listing(1, 0, vec![listed(4, 1)]),
        listing(2, 0, vec![listed(5, 2), listed(6, 2)]),
        listing(3, 0, vec![]),
    ];
    let asked: Vec<(u8, NodeReport)> = vec![
        (1, NodeReport::Master),
        (2, NodeReport::Master),
        (3, NodeReport::Master),
        (4, follower_of(1)),
        (5, follower_of(2)),
        (6, follower_of(2)),
    ];
    let node_reports = |count: usize| -> NodeReports {
        let told = asked.iter().take(count);
        told.map(|(n, node_report)| (node(*n), node_report.clone()))
            .collect()
    };
    for turn in 0..views.len() {
        let mut views = views.to_vec();
        views.rotate_left(turn);
        let early = super::elect(&none, &views, &node_reports(5), None, 3);
        assert_eq!((early.adopt, early.ask), (None, vec![node(6)]));
        assert!(early.contested, "it is worth asking again");
        let election = super::elect(&none, &views, &node_reports(6), None, 3);
        assert_eq!(election.adopt, Some((node(2), 0)));
        let unproven = election.unproven.expect("that is said");
        assert!(unproven.contains("3 masters"), "{unproven}");
        let waits = super::elect(&none, &views[..2], &node_reports(6), None, 3);
        assert_eq!(waits.adopt, None, "the third may decide it");
    }
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

// Three Sentinels and four nodes; messages are lost, repeated, reordered, stale or forged, and the
// truth moves meanwhile.

const NODES: u8 = 4;

#[derive(Debug, Clone)]
enum Step {
    /// A Sentinel tells the truth; the answer can be repeated later.
    Answers(usize),
    /// An answer arrives that some Sentinel gave at some earlier time.
    Late(usize, prop::sample::Index),
    /// A Sentinel says something made up.
    Forges(usize, u8, u64),
    /// A Sentinel cannot be reached.
    Lost(usize),
    /// A node tells its role; the word can arrive again later.
    Proves(u8),
    /// A node's word of some earlier time arrives.
    LateProof(prop::sample::Index),
    Unreachable(u8),
    /// What a node said is too old to count.
    Expires(u8),
    /// Another node is promoted; the old master may go on believing it is one.
    Failover(u8, bool),
    /// `REMOVE` and `MONITOR`: epochs begin anew.
    Anew(u8),
}

fn step() -> impl Strategy<Value = Step> {
    let sentinel = 0..3_usize;
    let any_node = 0..NODES;
    let earlier = any::<prop::sample::Index>();
    prop_oneof![
        6 => sentinel.clone().prop_map(Step::Answers),
        2 => (sentinel.clone(), earlier.clone()).prop_map(|(s, i)| Step::Late(s, i)),
        1 => (sentinel.clone(), any_node.clone(), 0..12_u64).prop_map(|(s, n, e)| Step::Forges(s, n, e)),
        2 => sentinel.prop_map(Step::Lost),
        6 => any_node.clone().prop_map(Step::Proves),
        2 => earlier.prop_map(Step::LateProof),
        2 => any_node.clone().prop_map(Step::Unreachable),
        2 => any_node.clone().prop_map(Step::Expires),
        2 => (any_node.clone(), any::<bool>()).prop_map(|(n, stays)| Step::Failover(n, stays)),
        1 => any_node.prop_map(Step::Anew),
    ]
}

/// The deployment as it is, and the client as far as the reducer goes.
struct World {
    master: u8,
    epoch: u64,
    says_master: Vec<u8>,
    said: [Option<View>; 3],
    answers: Vec<View>,
    reports: Vec<(u8, NodeReport)>,
    node_reports: NodeReports,
    current: Topology,
}

impl World {
    fn new() -> Self {
        Self {
            master: 0,
            epoch: 1,
            says_master: vec![0],
            said: [None, None, None],
            answers: Vec::new(),
            reports: Vec::new(),
            node_reports: NodeReports::new(),
            current: Topology::default(),
        }
    }

    fn truth(&self) -> View {
        let replicas = (0..NODES).filter(|n| *n != self.master);
        let replicas = replicas.map(|n| listed(n, self.master)).collect();
        listing(self.master, self.epoch, replicas)
    }

    fn report(&self, n: u8) -> NodeReport {
        if self.says_master.contains(&n) {
            NodeReport::Master
        } else {
            follower_of(self.master)
        }
    }

    fn take(&mut self, step: &Step) {
        match step {
            Step::Answers(s) => {
                let truth = self.truth();
                self.answers.push(truth.clone());
                self.said[*s] = Some(truth);
            }
            Step::Late(s, index) if !self.answers.is_empty() => {
                self.said[*s] = Some(index.get(&self.answers).clone());
            }
            Step::Forges(s, n, epoch) => self.said[*s] = Some(view(*n, *epoch)),
            Step::Lost(s) => self.said[*s] = None,
            Step::Proves(n) => {
                let report = self.report(*n);
                self.reports.push((*n, report.clone()));
                self.node_reports.insert(node(*n), report);
            }
            Step::LateProof(index) if !self.reports.is_empty() => {
                let (n, report) = index.get(&self.reports).clone();
                self.node_reports.insert(node(n), report);
            }
            Step::Unreachable(n) => {
                self.node_reports.insert(node(*n), silent());
            }
            Step::Expires(n) => {
                self.node_reports.remove(&node(*n));
            }
            Step::Failover(n, old_stays) => {
                let old = self.master;
                self.says_master.retain(|m| *old_stays && *m == old);
                self.says_master.push(*n);
                self.master = *n;
                self.epoch += 1;
            }
            Step::Anew(n) => {
                self.says_master = vec![*n];
                self.master = *n;
                self.epoch = 0;
            }
            Step::Late(..) | Step::LateProof(_) => {}
        }
    }

    /// What the refresh task does after every message, with the promises checked.
    fn conclude(&mut self) -> Vec<Node> {
        let views: Vec<View> = self.said.iter().flatten().cloned().collect();
        let election = elect(&self.current, &views, &self.node_reports);
        let mut next = self.current.clone();
        if let Some((master, epoch)) = &election.adopt {
            self.check_adoption(master, *epoch, &views);
            next.master = Some(master.clone());
            next.epoch = *epoch;
        }
        let mut ask = election.ask;
        if let Some(master) = next.master.clone() {
            let version = next.version + 1;
            let (found, unheard) = replicas(
                &self.current,
                &master,
                &views,
                &self.node_reports,
                version,
                Instant::now(),
            );
            self.check_replicas(&master, &found);
            ask.extend(unheard);
            next.replicas = found;
        }
        if next != self.current {
            next.version += 1;
            self.current = next;
        }
        ask
    }

    fn check_adoption(&self, master: &Node, epoch: u64, views: &[View]) {
        let node_report = self.node_reports.get(master);
        assert_eq!(
            node_report,
            Some(&NodeReport::Master),
            "{master} did not prove itself"
        );
        let votes = views.iter().filter(|view| view.master == *master).count();
        assert!(votes > 0, "nobody named {master}");
        if let Some(old) = self.current.master.as_ref()
            && epoch < self.current.epoch
        {
            assert!(votes * 2 > views.len(), "{votes} of {} votes", views.len());
            let old_proof = self.node_reports.get(old);
            let gave_way = old_proof.is_some_and(|node_report| *node_report != NodeReport::Master);
            assert!(old == master || gave_way, "{old} says {old_proof:?}");
        }
        // A stale claim is passed over, whatever its node says.
        let known = self.current.master.as_ref().map(|_| self.current.epoch);
        let newer = |view: &&View| {
            let vouched = is_vouched_for(&self.current, &view.master, views.iter(), views.len());
            view.epoch > epoch && Some(view.epoch) > known && vouched
        };
        for view in views.iter().filter(newer) {
            let proven = self.node_reports.get(&view.master) == Some(&NodeReport::Master);
            assert!(!proven, "{view:?} was passed over for epoch {epoch}");
        }
    }

    fn check_replicas(&self, master: &Node, replicas: &[Replica]) {
        for replica in replicas {
            assert_ne!(replica.node, *master);
            if !replica.is_readable() {
                continue;
            }
            let was = self.current.readable().any(|node| *node == replica.node);
            match self.node_reports.get(&replica.node) {
                None => assert!(was, "{} never spoke", replica.node),
                Some(node_report) => assert_eq!(exclusion(node_report, master), None),
            }
        }
    }

    /// Calm: every Sentinel answers, every node that is asked tells the truth.
    fn settle(&mut self) {
        self.says_master = vec![self.master];
        self.node_reports.clear();
        for s in 0..3 {
            self.take(&Step::Answers(s));
            self.conclude();
        }
        for _ in 0..4 {
            for asked in self.conclude() {
                let n = (0..NODES).find(|n| node(*n) == asked).unwrap();
                self.take(&Step::Proves(n));
            }
        }
        let replicas: Vec<_> = self.current.readable().cloned().collect();
        let others: Vec<_> = (0..NODES).filter(|n| *n != self.master).map(node).collect();
        assert_eq!(self.current.master, Some(node(self.master)));
        assert_eq!(replicas, others);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn no_disorder_of_answers_breaks_the_promises_and_calm_brings_the_truth(
        steps in prop::collection::vec(step(), 1..60),
    ) {
        let mut world = World::new();
        for step in &steps {
            world.take(step);
            world.conclude();
        }
        world.settle();
    }
}

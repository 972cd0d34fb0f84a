use super::*;
use crate::refresh::decide::testing::*;

fn elect(current: &Topology, views: &[View], node_reports: &NodeReports) -> Election {
    super::elect(current, views, node_reports, None, views.len())
}

/// A case of the election: the current topology, what the Sentinels and the nodes say, and the
/// expected result: the adopted master with its epoch, and the nodes to ask.
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
fn nodes_that_may_not_tell_their_role_are_adopted_when_most_sentinels_name_them() {
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
fn a_nominee_that_is_neither_adopted_nor_rejected_makes_the_next_refresh_come_soon() {
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
fn the_previous_master_returns_only_if_the_new_one_does_not_prove() {
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

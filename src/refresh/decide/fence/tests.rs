use std::collections::HashSet;

use super::{super::catch_up::Offsets, *};
use crate::{
    refresh::decide::trust::{FORGIVENESS, LONGEST_FAILOVER, MOST_FALSE_SIGNS},
    sentinel::{answer::View, event::EventKind, flags::Flags, reply::ReplicaInfo},
    topology::{Replica, excluded::Excluded},
};

const MASTER: u16 = 1;
const REPLICA: u16 = 2;
const EPOCH: u64 = 7;

fn node(port: u16) -> Node {
    Node::new("10.0.0.1", port)
}

fn sentinel(number: u16) -> SentinelId {
    SentinelId::from(Node::new("10.0.0.9", 26379 + number))
}

/// What one Sentinel said last.
#[derive(Debug, Clone)]
struct Said {
    round: u64,
    answer: Option<Answer>,
}

fn answer(master: u16, epoch: u64, flag: Option<&'static str>) -> Option<Answer> {
    Some(Answer {
        view: Some(View {
            master: node(master),
            epoch,
            replicas: Vec::new(),
            informed: false,
            master_down: false,
        }),
        failover_flag: flag.map(|flag| (node(MASTER), flag)),
        ..Answer::default()
    })
}

fn clean(round: u64) -> Said {
    Said {
        round,
        answer: answer(MASTER, EPOCH, None),
    }
}

fn stating(round: u64) -> Said {
    Said {
        round,
        answer: answer(MASTER, EPOCH, Some("failover_in_progress")),
    }
}

fn silent(round: u64) -> Said {
    Said {
        round,
        answer: None,
    }
}

/// A pool with one master, one replica and three Sentinels.
struct Scene {
    fence: Fence,
    topology: Topology,
    node_reports: NodeReports,
    restarted: HashSet<Node>,
    now: Instant,
}

impl Scene {
    fn new() -> Self {
        let replica = Replica {
            node: node(REPLICA),
            excluded: None::<Excluded>,
            since: 1,
            synced: true,
            orphaned: false,
            unlisted: None,
        };
        Self {
            fence: Fence::default(),
            topology: Topology {
                epoch: EPOCH,
                master: Some(node(MASTER)),
                replicas: vec![replica],
                ..Topology::default()
            },
            node_reports: [(node(MASTER), NodeReport::Master)].into_iter().collect(),
            restarted: HashSet::new(),
            now: Instant::now(),
        }
    }

    /// The first Sentinel publishes an event before refresh 5.
    fn publish(&mut self, kind: EventKind, master: u16) {
        let event = Event {
            kind,
            node: Some(node(master)),
            master: Some(node(master)),
        };
        self.fence
            .note(&sentinel(0), &event, &self.topology, 5, self.now);
    }

    /// Refresh 4 is the newest that has begun.
    fn hear(&mut self, reports: &[SentinelReport<'_>]) {
        let evidence = Evidence {
            round: 4,
            reports,
            node_reports: &self.node_reports,
            offsets: &Offsets::new(),
            restarted: &self.restarted,
            followed: &HashSet::new(),
            listed: None,
        };
        self.fence.observe(&self.topology, &evidence, self.now);
    }

    fn judge(&mut self, said: [Said; 3]) -> Option<String> {
        let said: Vec<_> = (0..).map(sentinel).zip(said).collect();
        let reports: Vec<_> = said
            .iter()
            .map(|(sentinel, said)| SentinelReport {
                sentinel,
                round: said.round,
                answer: said.answer.as_ref(),
            })
            .collect();
        self.hear(&reports);
        self.fence
            .judge(&self.topology, &reports, &self.node_reports, self.now)
    }

    fn is_raised(&mut self, said: [Said; 3]) -> bool {
        self.judge(said).is_some()
    }
}

#[test]
fn a_sign_holds_until_its_sentinel_was_asked_after_it() {
    let mut scene = Scene::new();
    assert!(!scene.is_raised([clean(4), clean(4), clean(4)]));
    scene.publish(EventKind::TryFailover, MASTER);
    let reason = scene.judge([clean(4), clean(4), clean(4)]).unwrap();
    assert!(reason.ends_with("published +try-failover"), "{reason}");
    // What it answered before says nothing, nor do the others, who do not lead.
    assert!(scene.is_raised([clean(4), clean(5), clean(5)]));
    assert!(scene.is_raised([stating(5), clean(5), clean(5)]));
    assert!(scene.is_raised([stating(9), clean(9), clean(9)]));
    assert!(!scene.is_raised([clean(10), clean(9), clean(9)]));
    assert!(!scene.is_raised([clean(10), clean(9), clean(9)]));
}

#[test]
fn only_signs_against_our_master_count() {
    let mut scene = Scene::new();
    scene.publish(EventKind::TryFailover, REPLICA);
    scene.publish(EventKind::SubjectivelyDown, MASTER);
    scene.publish(EventKind::ReplicaAdded, MASTER);
    assert!(!scene.is_raised([clean(4), clean(4), clean(4)]));
}

#[test]
fn a_master_must_confirm_its_role_before_the_fence_is_lifted() {
    let mut scene = Scene::new();
    scene.publish(EventKind::ObjectivelyDown, MASTER);
    scene.node_reports.clear();
    assert!(scene.is_raised([clean(5), clean(5), clean(5)]));
    let failed = NodeReport::Failed("connection refused".into());
    scene.node_reports.insert(node(MASTER), failed);
    assert!(scene.is_raised([clean(5), clean(5), clean(5)]));
    scene.node_reports.insert(node(MASTER), NodeReport::Master);
    assert!(!scene.is_raised([clean(5), clean(5), clean(5)]));
}

#[test]
fn a_replica_that_was_promoted_keeps_the_fence_up() {
    let mut scene = Scene::new();
    scene.publish(EventKind::SendReplicaOfNoOne, MASTER);
    scene.node_reports.insert(node(REPLICA), NodeReport::Master);
    // The leader died: nobody states anything.
    assert!(scene.is_raised([silent(5), clean(5), clean(5)]));
    // That there is no recent report of it changes nothing.
    scene.node_reports.remove(&node(REPLICA));
    assert!(scene.is_raised([silent(5), clean(5), clean(5)]));
    scene.node_reports.insert(node(REPLICA), follower());
    assert!(!scene.is_raised([silent(5), clean(5), clean(5)]));
}

#[test]
fn most_of_the_others_decide_for_a_sentinel_that_is_gone() {
    let mut scene = Scene::new();
    scene.publish(EventKind::TryFailover, MASTER);
    assert!(scene.is_raised([silent(5), clean(4), clean(5)]));
    assert!(scene.is_raised([silent(5), silent(5), clean(5)]));
    assert!(!scene.is_raised([silent(5), clean(5), clean(5)]));
}

#[test]
fn a_flag_in_an_answer_raises_the_fence_without_any_event() {
    let mut scene = Scene::new();
    assert!(scene.is_raised([clean(1), stating(1), clean(1)]));
    assert!(!scene.is_raised([clean(2), clean(2), clean(2)]));
}

#[test]
fn a_failover_that_is_reported_for_ever_does_not_count_for_ever() {
    let mut scene = Scene::new();
    assert!(scene.is_raised([stating(1), clean(1), clean(1)]));
    scene.now += LONGEST_FAILOVER;
    assert!(!scene.is_raised([stating(2), clean(2), clean(2)]));
    // While the master does not confirm its role, the statement still counts.
    scene.node_reports.clear();
    assert!(scene.is_raised([stating(3), clean(3), clean(3)]));
}

#[test]
fn after_several_false_signs_only_an_answer_raises_the_fence() {
    let mut scene = Scene::new();
    for _ in 0..MOST_FALSE_SIGNS {
        scene.publish(EventKind::TryFailover, MASTER);
        assert!(scene.is_raised([clean(4), clean(4), clean(4)]));
        assert!(!scene.is_raised([clean(5), clean(5), clean(5)]));
    }
    scene.publish(EventKind::TryFailover, MASTER);
    assert!(!scene.is_raised([clean(4), clean(4), clean(4)]));
    assert!(scene.is_raised([stating(5), clean(5), clean(5)]));
    assert!(!scene.is_raised([clean(6), clean(6), clean(6)]));
    scene.now += FORGIVENESS;
    scene.publish(EventKind::TryFailover, MASTER);
    assert!(scene.is_raised([clean(4), clean(4), clean(4)]));
}

#[test]
fn a_master_that_says_it_is_a_replica_gets_no_writes() {
    let mut scene = Scene::new();
    scene
        .node_reports
        .insert(node(MASTER), NodeReport::SomeReplica);
    let reason = scene.judge([clean(1), clean(1), clean(1)]).unwrap();
    assert!(reason.contains("says it is a replica"), "{reason}");
}

#[test]
fn another_master_under_a_higher_epoch_counts_until_it_refutes_it() {
    let mut scene = Scene::new();
    let elsewhere = |epoch| Said {
        round: 1,
        answer: answer(REPLICA, epoch, None),
    };
    assert!(scene.is_raised([elsewhere(EPOCH + 1), clean(1), clean(1)]));
    assert!(!scene.is_raised([elsewhere(EPOCH), clean(1), clean(1)]));
    scene
        .node_reports
        .insert(node(REPLICA), NodeReport::SomeReplica);
    assert!(!scene.is_raised([elsewhere(EPOCH + 1), clean(1), clean(1)]));
    // An event does not confirm what the node itself denies.
    scene.publish(EventKind::Promoted, MASTER);
    let insists = Said {
        round: 5,
        ..elsewhere(EPOCH + 1)
    };
    assert!(!scene.is_raised([insists, clean(5), clean(5)]));
}

#[test]
fn signs_against_a_master_end_when_it_is_replaced() {
    let mut scene = Scene::new();
    scene.publish(EventKind::Promoted, MASTER);
    assert!(scene.is_raised([stating(5), clean(5), clean(5)]));
    scene.topology.master = Some(node(REPLICA));
    scene.topology.epoch = EPOCH + 1;
    scene.node_reports.insert(node(REPLICA), NodeReport::Master);
    scene.fence.reset(scene.now);
    let leader = Said {
        round: 6,
        answer: Some(Answer {
            view: Some(View {
                master: node(REPLICA),
                epoch: EPOCH + 1,
                replicas: Vec::new(),
                informed: false,
                master_down: false,
            }),
            ..stating(6).answer.unwrap()
        }),
    };
    // The others do not know yet, and the leader still lists the old one as being replaced.
    assert!(!scene.is_raised([leader, clean(6), clean(6)]));
    scene.publish(EventKind::RepointingReplicas, MASTER);
    assert!(!scene.is_raised([clean(6), clean(6), clean(6)]));
}

#[test]
fn a_flood_of_one_event_does_not_put_off_the_answer() {
    let mut scene = Scene::new();
    let mut publish = |round, kind: EventKind| {
        let event = Event {
            kind,
            node: Some(node(MASTER)),
            master: Some(node(MASTER)),
        };
        let Scene {
            fence,
            topology,
            now,
            ..
        } = &mut scene;
        fence.note(&sentinel(0), &event, topology, round, *now);
    };
    for round in 5..100 {
        publish(round, EventKind::TryFailover);
    }
    // Another step may be of a failover of which the answer on its way does not know yet.
    publish(7, EventKind::SelectedReplica);
    assert!(scene.is_raised([clean(6), clean(6), clean(6)]));
    assert!(!scene.is_raised([clean(7), clean(7), clean(7)]));
    assert_eq!(scene.fence.tally().false_signs, 1);
}

#[test]
fn one_failover_is_one_sign() {
    let mut scene = Scene::new();
    scene.publish(EventKind::TryFailover, MASTER);
    let first = scene.judge([clean(4), clean(4), clean(4)]);
    for kind in [EventKind::SelectedReplica, EventKind::Promoted] {
        scene.publish(kind, MASTER);
        scene.now += Duration::from_millis(70);
        assert_eq!(scene.judge([stating(5), stating(5), clean(5)]), first);
    }
    // The Sentinel that gave it takes it back, another one goes on.
    assert_eq!(scene.judge([clean(6), stating(6), clean(6)]), first);
    assert_eq!(scene.judge([clean(7), clean(7), clean(7)]), None);
    let tally = scene.fence.tally();
    assert_eq!((tally.raised, tally.false_signs), (1, 0));
    assert_eq!(tally.held, Duration::from_millis(140));
}

#[test]
fn a_failover_reported_on_and_off_holds_writes_for_a_bounded_share_of_the_time() {
    let mut scene = Scene::new();
    let (mut round, mut held) = (1, Duration::ZERO);
    let began = scene.now;
    let second = Duration::from_secs(1);
    for t in 0..3000 {
        let said = if t / 30 % 2 == 0 { stating } else { clean };
        round += 1;
        if scene.is_raised([said(round), clean(round), clean(round)]) {
            held += second;
        }
        scene.now += second;
    }
    let share = held.as_secs_f64() / (scene.now - began).as_secs_f64();
    assert!(share < 0.15, "{share}");
    assert!(held >= LONGEST_FAILOVER);
    // After that time it is trusted again.
    scene.is_raised([clean(round + 1), clean(1), clean(1)]);
    scene.now += LONGEST_FAILOVER * 10;
    assert!(!scene.is_raised([clean(round + 2), clean(1), clean(1)]));
    assert!(scene.is_raised([stating(round + 3), clean(1), clean(1)]));
}

#[test]
fn a_failover_that_did_happen_clears_the_time_for_which_it_was_reported() {
    let mut scene = Scene::new();
    scene.is_raised([stating(1), clean(1), clean(1)]);
    scene.now += LONGEST_FAILOVER - Duration::from_secs(1);
    assert!(scene.is_raised([stating(2), clean(2), clean(2)]));
    scene.fence.reset(scene.now);
    scene.now += Duration::from_secs(2);
    assert!(scene.is_raised([stating(3), clean(3), clean(3)]));
}

#[test]
fn a_refuted_rival_does_not_count_until_its_epoch_grows() {
    let mut scene = Scene::new();
    let elsewhere = |epoch| Said {
        round: 1,
        answer: answer(REPLICA, epoch, None),
    };
    let claims = |epoch| [elsewhere(EPOCH + epoch), clean(1), clean(1)];
    assert!(scene.is_raised(claims(1)));
    scene
        .node_reports
        .insert(node(REPLICA), NodeReport::Failed("timed out".into()));
    assert!(!scene.is_raised(claims(1)));
    // While it is asked anew, which may take as long as a dial, writes go on.
    scene.node_reports.remove(&node(REPLICA));
    assert!(!scene.is_raised(claims(1)));
    assert!(scene.is_raised(claims(2)));
}

#[test]
fn a_successor_that_cannot_be_reached_does_not_make_the_old_master_one_again() {
    let mut scene = Scene::new();
    let moved = || Said {
        round: 1,
        answer: answer(REPLICA, EPOCH + 1, None),
    };
    let failed = NodeReport::Failed("timed out".into());
    scene.node_reports.insert(node(REPLICA), failed);
    assert!(scene.is_raised([moved(), moved(), moved()]));
    assert!(scene.is_raised([moved(), moved(), clean(1)]));
    // Nor while it is asked anew.
    scene.node_reports.remove(&node(REPLICA));
    assert!(scene.is_raised([moved(), moved(), clean(1)]));
    scene
        .node_reports
        .insert(node(REPLICA), NodeReport::SomeReplica);
    assert!(!scene.is_raised([moved(), moved(), moved()]));
}

#[test]
fn a_rival_that_is_not_ours_raises_nothing() {
    let mut scene = Scene::new();
    let stranger = || Said {
        round: 1,
        answer: answer(77, EPOCH + 9, None),
    };
    assert!(!scene.is_raised([stranger(), clean(1), clean(1)]));
    assert!(scene.is_raised([stranger(), stranger(), clean(1)]));
}

fn follower() -> NodeReport {
    NodeReport::Replica {
        master: node(MASTER),
        unclear: false,
        link: None,
    }
}

#[test]
fn where_no_sentinel_can_be_asked_the_nodes_lift_the_fence_after_an_election() {
    let mut scene = Scene::new();
    scene.publish(EventKind::TryFailover, MASTER);
    scene.node_reports.insert(node(REPLICA), follower());
    assert!(scene.is_raised([stating(5), clean(5), clean(5)]));
    let gone = || [silent(6), silent(6), silent(6)];
    assert!(scene.is_raised(gone()));
    scene.now += ELECTION - Duration::from_millis(1);
    assert!(scene.is_raised(gone()));
    scene.now += Duration::from_millis(1);
    // Nobody has asked the replica lately.
    scene.node_reports.remove(&node(REPLICA));
    assert!(scene.is_raised(gone()));
    scene.node_reports.insert(node(REPLICA), follower());
    assert!(!scene.is_raised(gone()));
    assert_eq!(scene.fence.tally().false_signs, 0, "it was confirmed");
}

#[test]
fn a_lone_sentinel_does_not_keep_the_fence_up_unless_it_states_a_failover() {
    let mut scene = Scene::new();
    scene.publish(EventKind::TryFailover, MASTER);
    scene.node_reports.insert(node(REPLICA), follower());
    assert!(scene.is_raised([silent(6), silent(6), clean(6)]));
    scene.now += ELECTION;
    assert!(scene.is_raised([silent(7), silent(7), stating(7)]));
    scene.now += ELECTION;
    assert!(!scene.is_raised([silent(8), silent(8), clean(8)]));
}

#[test]
fn a_promoted_replica_does_not_keep_the_fence_up_for_ever() {
    let mut scene = Scene::new();
    scene.publish(EventKind::SendReplicaOfNoOne, MASTER);
    scene.node_reports.insert(node(REPLICA), NodeReport::Master);
    assert!(scene.is_raised([clean(5), clean(5), clean(5)]));
    scene.now += ELECTION;
    assert!(!scene.is_raised([clean(6), clean(6), clean(6)]));
}

#[test]
fn the_trust_in_a_sentinel_that_is_gone_is_forgotten() {
    let mut scene = Scene::new();
    scene.publish(EventKind::TryFailover, MASTER);
    assert!(!scene.is_raised([clean(5), clean(5), clean(5)]));
    assert!(scene.fence.trust.contains_key(&sentinel(0)));
    let answers = [clean(6), clean(6), clean(6)];
    let reports: Vec<_> = (1..)
        .map(sentinel)
        .zip(&answers)
        .map(|(sentinel, said)| (sentinel, said.round, said.answer.as_ref()))
        .collect();
    let reports: Vec<_> = reports
        .iter()
        .map(|(sentinel, round, answer)| SentinelReport {
            sentinel,
            round: *round,
            answer: *answer,
        })
        .collect();
    scene.hear(&reports);
    assert!(scene.fence.trust.is_empty());
}

fn down(round: u64) -> Said {
    Said {
        round,
        answer: answer(MASTER, EPOCH, Some("o_down")),
    }
}

#[test]
fn that_the_sentinels_cannot_see_the_master_does_not_stop_its_writes() {
    let mut scene = Scene::new();
    assert!(!scene.is_raised([down(4), down(4), down(4)]));
    scene.publish(EventKind::ObjectivelyDown, MASTER);
    assert!(scene.is_raised([down(4), down(4), down(4)]), "one refresh");
    assert!(!scene.is_raised([down(5), down(4), down(4)]));
    // A failover that comes of it is one.
    scene.publish(EventKind::TryFailover, MASTER);
    assert!(scene.is_raised([down(4), down(4), down(4)]));
    assert!(scene.is_raised([stating(5), down(5), down(5)]));
    // And when it is aborted, that is over.
    assert!(!scene.is_raised([down(6), down(6), down(6)]));
}

#[test]
fn o_down_counts_where_the_master_or_all_its_replicas_are_gone_for_us_too() {
    let mut dead = Scene::new();
    dead.node_reports
        .insert(node(MASTER), NodeReport::Failed("refused".into()));
    assert!(dead.is_raised([down(4), down(4), down(4)]));
    let mut alone = Scene::new();
    alone.topology.replicas[0].excluded = Some(Excluded::LinkDown { since: None });
    assert!(alone.is_raised([down(4), down(4), down(4)]));
    let mut childless = Scene::new();
    childless.topology.replicas.clear();
    assert!(!childless.is_raised([down(4), down(4), down(4)]));
}

#[test]
fn a_replica_that_says_master_raises_the_fence_like_an_event() {
    let mut scene = Scene::new();
    scene.node_reports.insert(node(REPLICA), NodeReport::Master);
    let sign = scene.judge([clean(4), clean(4), clean(4)]).unwrap();
    assert!(sign.contains("says it is a master"), "{sign}");
    // The leader is one that was asked before, or that cannot be asked.
    assert!(scene.is_raised([clean(5), clean(5), silent(5)]));
    assert!(scene.is_raised([clean(5), clean(5), stating(5)]));
    scene.fence.reset(scene.now);
    assert_eq!(scene.fence.tally().raised, 1);
}

#[test]
fn a_replica_that_was_made_a_master_by_hand_costs_one_refresh() {
    let mut scene = Scene::new();
    scene.node_reports.insert(node(REPLICA), NodeReport::Master);
    assert!(scene.is_raised([clean(4), clean(4), clean(4)]));
    assert!(!scene.is_raised([clean(5), clean(5), clean(5)]));
    assert!(!scene.is_raised([clean(6), clean(6), clean(6)]), "no more");
    // It goes back, and is promoted in earnest.
    scene.node_reports.insert(node(REPLICA), follower());
    assert!(!scene.is_raised([clean(6), clean(6), clean(6)]));
    scene.node_reports.insert(node(REPLICA), NodeReport::Master);
    assert!(scene.is_raised([clean(4), clean(4), clean(4)]));
}

#[test]
fn a_replica_that_was_restarted_as_a_master_is_no_sign() {
    let mut scene = Scene::new();
    scene.restarted.insert(node(REPLICA));
    scene.node_reports.insert(node(REPLICA), NodeReport::Master);
    assert!(!scene.is_raised([clean(4), clean(4), clean(4)]));
}

#[test]
fn a_promotion_of_which_no_sentinel_can_tell_holds_the_fence_for_as_long_as_an_election() {
    let mut scene = Scene::new();
    scene.node_reports.insert(node(REPLICA), NodeReport::Master);
    assert!(scene.is_raised([clean(5), clean(5), silent(5)]));
    scene.now += ELECTION;
    assert!(!scene.is_raised([clean(6), clean(6), silent(6)]));
}

#[test]
fn a_master_that_said_it_is_a_replica_is_not_written_to_before_it_takes_that_back() {
    let mut scene = Scene::new();
    scene.node_reports.insert(node(MASTER), follower());
    assert!(scene.is_raised([clean(4), clean(4), clean(4)]));
    scene.node_reports.remove(&node(MASTER));
    assert!(scene.is_raised([clean(5), clean(5), clean(5)]));
    assert_eq!(scene.fence.tally().raised, 1, "it does not go up and down");
    scene.node_reports.insert(node(MASTER), NodeReport::Master);
    assert!(!scene.is_raised([clean(5), clean(5), clean(5)]));
}

#[test]
fn a_failover_whose_candidate_was_never_told_does_not_hold_up_the_master() {
    let mut scene = Scene::new();
    let promoting = |round| {
        let mut said = stating(round);
        let view = said.answer.as_mut().unwrap().view.as_mut().unwrap();
        view.replicas = vec![promoted(REPLICA)];
        said
    };
    scene.publish(EventKind::TryFailover, MASTER);
    scene.node_reports.insert(node(REPLICA), follower());
    assert!(scene.is_raised([promoting(5), clean(5), clean(5)]));
    scene.now += ELECTION;
    assert!(!scene.is_raised([promoting(6), clean(6), clean(6)]));
    scene.node_reports.insert(node(REPLICA), NodeReport::Master);
    assert!(scene.is_raised([promoting(7), clean(7), clean(7)]));
}

#[test]
fn after_a_handover_a_failover_of_the_previous_master_counts() {
    let mut scene = Scene::new();
    scene.topology.master = Some(node(REPLICA));
    scene.topology.previous_master = Some(node(MASTER));
    scene.topology.replicas.clear();
    scene.node_reports = [(node(REPLICA), NodeReport::Master)].into();
    scene.publish(EventKind::TryFailover, MASTER);
    assert!(scene.is_raised([clean(4), clean(4), clean(4)]));
    assert!(scene.is_raised([stating(5), clean(5), clean(5)]));
    // Unless it is our master that they make the master.
    let mut ours = stating(6);
    let view = ours.answer.as_mut().unwrap().view.as_mut().unwrap();
    view.replicas = vec![promoted(REPLICA)];
    assert!(!scene.is_raised([ours, clean(6), clean(6)]));
}

fn promoted(port: u16) -> ReplicaInfo {
    ReplicaInfo {
        node: node(port),
        flags: Flags::parse(b"slave,promoted"),
        link_ok: Some(true),
        link_down_for: None,
        master: Some(node(MASTER)),
        reports_master: false,
        run_id: None,
    }
}

#[test]
fn each_sign_has_its_kind() {
    let kind_of = |change: fn(&mut Scene), first: Said| {
        let mut scene = Scene::new();
        change(&mut scene);
        assert!(scene.is_raised([first, clean(4), clean(4)]));
        scene.fence.raised().expect("it is up").kind
    };
    let named = Said {
        round: 4,
        answer: answer(REPLICA, EPOCH + 1, None),
    };
    for (change, first, kind) in [
        (
            (|scene| scene.publish(EventKind::TryFailover, MASTER)) as fn(&mut Scene),
            clean(4),
            SignKind::Event,
        ),
        (|_| {}, stating(4), SignKind::Answer),
        (|_| {}, named, SignKind::OtherMaster),
        (
            |scene| {
                scene.node_reports.insert(node(REPLICA), NodeReport::Master);
            },
            clean(4),
            SignKind::Promotion,
        ),
        (
            |scene| {
                scene.node_reports.insert(node(MASTER), follower());
            },
            clean(4),
            SignKind::Demotion,
        ),
    ] {
        assert_eq!(kind_of(change, first), kind);
    }
}

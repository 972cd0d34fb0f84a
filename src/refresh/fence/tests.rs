use super::{
    record::{FORGIVENESS, LONGEST_FAILOVER, MOST_FALSE_SIGNS},
    *,
};
use crate::{
    excluded::Excluded,
    sentinel::{
        answer::View,
        event::{EventKind, Subject},
    },
    topology::Replica,
};

const MASTER: u16 = 1;
const REPLICA: u16 = 2;
const EPOCH: u64 = 7;

fn node(port: u16) -> Node {
    Node::new("10.0.0.1", port)
}

fn sentinel(number: u16) -> Node {
    Node::new("10.0.0.9", 26379 + number)
}

/// One Sentinel's last word.
#[derive(Debug, Clone)]
struct Said {
    look: u64,
    answer: Option<Answer>,
}

fn answer(master: u16, epoch: u64, flag: Option<&'static str>) -> Option<Answer> {
    Some(Answer {
        id: None,
        view: Some(View {
            master: node(master),
            epoch,
            replicas: Vec::new(),
        }),
        peers: Vec::new(),
        deposing: flag.map(|flag| (node(MASTER), flag)),
    })
}

fn clean(look: u64) -> Said {
    Said {
        look,
        answer: answer(MASTER, EPOCH, None),
    }
}

fn stating(look: u64) -> Said {
    Said {
        look,
        answer: answer(MASTER, EPOCH, Some("failover_in_progress")),
    }
}

fn silent(look: u64) -> Said {
    Said { look, answer: None }
}

/// A pool with one master, one replica and three Sentinels.
struct Scene {
    fence: Fence,
    topology: Topology,
    proofs: Proofs,
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
        };
        Self {
            fence: Fence::default(),
            topology: Topology {
                epoch: EPOCH,
                master: Some(node(MASTER)),
                replicas: vec![replica],
                ..Topology::default()
            },
            proofs: [(node(MASTER), Proof::Master)].into_iter().collect(),
            now: Instant::now(),
        }
    }

    /// The first Sentinel publishes an event before look 5.
    fn publish(&mut self, kind: EventKind, master: u16) {
        let event = Event {
            kind,
            subject: Subject::Master,
            node: Some(node(master)),
            master: Some(node(master)),
        };
        self.fence
            .note(&sentinel(0), &event, &self.topology, 5, self.now);
    }

    fn judge(&mut self, said: [Said; 3]) -> Option<String> {
        let said: Vec<_> = (0..).map(sentinel).zip(said).collect();
        let words: Vec<_> = said
            .iter()
            .map(|(sentinel, said)| Word {
                sentinel,
                look: said.look,
                answer: said.answer.as_ref(),
            })
            .collect();
        self.fence
            .judge(&self.topology, &words, &self.proofs, self.now)
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
    assert!(reason.contains("TryFailover"), "{reason}");
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
fn a_master_has_to_stand_to_its_role_before_the_fence_is_lifted() {
    let mut scene = Scene::new();
    scene.publish(EventKind::ObjectivelyDown, MASTER);
    scene.proofs.clear();
    assert!(scene.is_raised([clean(5), clean(5), clean(5)]));
    let failed = Proof::Failed("connection refused".into());
    scene.proofs.insert(node(MASTER), failed);
    assert!(scene.is_raised([clean(5), clean(5), clean(5)]));
    scene.proofs.insert(node(MASTER), Proof::Master);
    assert!(!scene.is_raised([clean(5), clean(5), clean(5)]));
}

#[test]
fn a_replica_that_was_promoted_keeps_the_fence_up() {
    let mut scene = Scene::new();
    scene.publish(EventKind::SendReplicaOfNoOne, MASTER);
    scene.proofs.insert(node(REPLICA), Proof::Master);
    // The leader died: nobody states anything.
    assert!(scene.is_raised([silent(5), clean(5), clean(5)]));
    scene.proofs.remove(&node(REPLICA));
    assert!(!scene.is_raised([silent(5), clean(5), clean(5)]));
}

#[test]
fn for_a_sentinel_that_is_gone_most_of_the_others_speak() {
    let mut scene = Scene::new();
    scene.publish(EventKind::TryFailover, MASTER);
    assert!(scene.is_raised([silent(5), clean(4), clean(5)]));
    assert!(scene.is_raised([silent(5), silent(5), clean(5)]));
    assert!(!scene.is_raised([silent(5), clean(5), clean(5)]));
}

#[test]
fn what_is_stated_holds_without_any_event() {
    let mut scene = Scene::new();
    assert!(scene.is_raised([clean(1), stating(1), clean(1)]));
    assert!(!scene.is_raised([clean(2), clean(2), clean(2)]));
}

#[test]
fn a_statement_that_never_ends_is_not_believed_for_ever() {
    let mut scene = Scene::new();
    assert!(scene.is_raised([stating(1), clean(1), clean(1)]));
    scene.now += LONGEST_FAILOVER;
    assert!(!scene.is_raised([stating(2), clean(2), clean(2)]));
    // Where the master does not stand to its role it is.
    scene.proofs.clear();
    assert!(scene.is_raised([stating(3), clean(3), clean(3)]));
}

#[test]
fn a_sentinel_that_cried_wolf_is_asked_before_it_is_believed() {
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
    scene.proofs.insert(node(MASTER), Proof::SomeReplica);
    let reason = scene.judge([clean(1), clean(1), clean(1)]).unwrap();
    assert!(reason.contains("says it is a replica"), "{reason}");
}

#[test]
fn another_master_under_a_higher_epoch_counts_until_it_refutes_it() {
    let mut scene = Scene::new();
    let elsewhere = |epoch| Said {
        look: 1,
        answer: answer(REPLICA, epoch, None),
    };
    assert!(scene.is_raised([elsewhere(EPOCH + 1), clean(1), clean(1)]));
    assert!(!scene.is_raised([elsewhere(EPOCH), clean(1), clean(1)]));
    scene.proofs.insert(node(REPLICA), Proof::SomeReplica);
    assert!(!scene.is_raised([elsewhere(EPOCH + 1), clean(1), clean(1)]));
    // Nor does an event bear out what the node itself refutes.
    scene.publish(EventKind::Promoted, MASTER);
    let insists = Said {
        look: 5,
        ..elsewhere(EPOCH + 1)
    };
    assert!(!scene.is_raised([insists, clean(5), clean(5)]));
}

#[test]
fn what_was_said_of_a_master_is_over_with_it() {
    let mut scene = Scene::new();
    scene.publish(EventKind::Promoted, MASTER);
    assert!(scene.is_raised([stating(5), clean(5), clean(5)]));
    scene.topology.master = Some(node(REPLICA));
    scene.topology.epoch = EPOCH + 1;
    scene.proofs.insert(node(REPLICA), Proof::Master);
    scene.fence.reset(scene.now);
    let leader = Said {
        look: 6,
        answer: Some(Answer {
            view: Some(View {
                master: node(REPLICA),
                epoch: EPOCH + 1,
                replicas: Vec::new(),
            }),
            ..stating(6).answer.unwrap()
        }),
    };
    // The others do not know yet, and the leader still lists the old one as being replaced.
    assert!(!scene.is_raised([leader, clean(6), clean(6)]));
    scene.publish(EventKind::RepointingReplicas, MASTER);
    assert!(!scene.is_raised([clean(6), clean(6), clean(6)]));
}

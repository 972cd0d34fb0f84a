//! Which replicas have yet to apply what their master had when their link came up. Pure.
//!
//! A link that is up does not mean that the data is there: Redis 8 and Valkey 8 copy a large data set
//! over a second channel, and the replica serves what it had before, without `LOADING`, for as long as it
//! applies what has accumulated meanwhile.

use std::collections::HashMap;

use tokio::time::{Duration, Instant};

use crate::{
    node::Node,
    refresh::decide::election::{Proof, Proofs},
    topology::{Replica, excluded::Excluded},
};

/// How far the data of each node goes, and when it said so.
pub(crate) type Offsets = HashMap<Node, (u64, Instant)>;

/// What the master said so shortly before the link was seen up counts as said at that moment.
const SAME_MOMENT: Duration = Duration::from_millis(100);
/// A replica is mostly a millisecond behind, so it is asked again at once this often; after that it has
/// much to apply, and is asked at this interval.
const QUICK_QUESTIONS: u32 = 5;
const INTERVAL: Duration = Duration::from_millis(50);

/// A replica whose link has come up.
#[derive(Debug, Clone, Copy)]
struct Behind {
    since: Instant,
    /// What the master had then; `None` until it has said so.
    target: Option<u64>,
    /// How often the replica has said that it has not come so far, and when it did last.
    answers: u32,
    at: Option<Instant>,
}

#[derive(Debug, Default)]
pub(crate) struct CatchUp {
    /// `None` is a replica that has caught up since its link came up.
    replicas: HashMap<Node, Option<Behind>>,
}

impl CatchUp {
    /// Leaves out the replicas that have yet to catch up, and returns whom to ask how far they are.
    pub(crate) fn judge(
        &mut self,
        master: &Node,
        replicas: &mut [Replica],
        proofs: &Proofs,
        offsets: &Offsets,
        now: Instant,
    ) -> Vec<Node> {
        self.replicas
            .retain(|node, _| replicas.iter().any(|replica| replica.node == *node));
        let mut ask = Vec::new();
        for replica in replicas {
            match proofs.get(&replica.node) {
                Some(Proof::Replica { link: None, .. } | Proof::SomeReplica) => {}
                // Without its own word the last one stands.
                None => continue,
                Some(_) => {
                    self.replicas.remove(&replica.node);
                    continue;
                }
            }
            let before = Some(Behind {
                since: now,
                target: None,
                answers: 0,
                at: None,
            });
            let state = self.replicas.entry(replica.node.clone()).or_insert(before);
            let Some(behind) = state else { continue };
            let told = match proofs.get(master) {
                Some(Proof::Master) => offsets.contains_key(master),
                proof => proof.is_none(),
            };
            // Otherwise there is nobody to say how far it must come.
            if !told || behind.is_done(master, &replica.node, offsets, now, &mut ask) {
                *state = None;
            } else if replica.excluded.is_none() {
                replica.excluded = Some(Excluded::CatchingUp);
            }
        }
        ask
    }
}

impl Behind {
    fn is_done(
        &mut self,
        master: &Node,
        replica: &Node,
        offsets: &Offsets,
        now: Instant,
        ask: &mut Vec<Node>,
    ) -> bool {
        if self.target.is_none() {
            match offsets.get(master) {
                Some((offset, at)) if *at + SAME_MOMENT >= self.since => {
                    self.target = Some(*offset)
                }
                _ => ask.push(master.clone()),
            }
        }
        // Nodes that may not say ROLE do not tell.
        let Some((offset, at)) = offsets.get(replica) else {
            return true;
        };
        let Some(target) = self.target else {
            return false;
        };
        if *offset >= target {
            return true;
        }
        let answered = self.at != Some(*at);
        if answered {
            self.at = Some(*at);
            self.answers += 1;
        }
        if answered && self.answers <= QUICK_QUESTIONS || now - *at >= INTERVAL {
            ask.push(replica.clone());
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(port: u16) -> Node {
        Node::new("10.0.0.1", port)
    }

    const MASTER: u16 = 1;
    const REPLICA: u16 = 2;

    struct Scene {
        catch_up: CatchUp,
        proofs: Proofs,
        offsets: Offsets,
        now: Instant,
    }

    impl Scene {
        fn new() -> Self {
            Self {
                catch_up: CatchUp::default(),
                proofs: [(node(MASTER), Proof::Master)].into(),
                offsets: Offsets::new(),
                now: Instant::now(),
            }
        }

        fn link(&mut self, state: Option<&str>) {
            let proof = Proof::Replica {
                master: node(MASTER),
                link: state.map(str::to_owned),
                unclear: false,
            };
            self.proofs.insert(node(REPLICA), proof);
        }

        fn says(&mut self, port: u16, offset: u64) {
            self.offsets.insert(node(port), (offset, self.now));
        }

        fn passes(&mut self, millis: u64) {
            self.now += Duration::from_millis(millis);
        }

        /// Whether the replica is read from, and who is to be asked.
        fn judge(&mut self) -> (bool, Vec<u16>) {
            let mut replicas = [Replica {
                node: node(REPLICA),
                excluded: None,
                since: 1,
                synced: true,
                orphaned: false,
                unlisted: None,
            }];
            let ask = self.catch_up.judge(
                &node(MASTER),
                &mut replicas,
                &self.proofs,
                &self.offsets,
                self.now,
            );
            let ask = ask.iter().map(Node::port).collect();
            (replicas[0].is_readable(), ask)
        }
    }

    #[test]
    fn a_replica_is_left_out_until_it_has_what_its_master_had_when_the_link_came_up() {
        let mut scene = Scene::new();
        scene.says(MASTER, 900);
        scene.passes(1000);
        scene.link(None);
        scene.says(REPLICA, 950);
        // What the master said a second ago is not what it has now.
        assert_eq!(scene.judge(), (false, vec![MASTER]));
        scene.says(MASTER, 1000);
        assert_eq!(scene.judge(), (false, vec![REPLICA]));
        scene.passes(1);
        scene.says(REPLICA, 999);
        assert_eq!(scene.judge(), (false, vec![REPLICA]));
        // What the master was given meanwhile does not move the mark.
        scene.says(MASTER, 5000);
        scene.says(REPLICA, 1000);
        assert_eq!(scene.judge(), (true, vec![]));
        scene.says(MASTER, 9000);
        assert_eq!(scene.judge(), (true, vec![]));
    }

    #[test]
    fn a_link_that_comes_up_anew_begins_anew() {
        let mut scene = Scene::new();
        scene.link(None);
        scene.says(MASTER, 10);
        scene.says(REPLICA, 10);
        assert!(scene.judge().0);
        scene.link(Some("sync"));
        assert!(scene.judge().0, "others leave it out");
        scene.link(None);
        scene.says(MASTER, 500);
        assert_eq!(scene.judge(), (false, vec![REPLICA]));
    }

    #[test]
    fn one_that_is_far_behind_is_not_asked_without_a_pause() {
        let mut scene = Scene::new();
        scene.link(None);
        scene.says(MASTER, 1_000_000);
        scene.says(REPLICA, 1);
        let answer = |scene: &mut Scene| {
            scene.passes(1);
            scene.says(REPLICA, 1);
            !scene.judge().1.is_empty()
        };
        let asked = (0..100).filter(|_| answer(&mut scene)).count();
        assert_eq!(asked, 5);
        scene.passes(50);
        assert_eq!(scene.judge(), (false, vec![REPLICA]));
    }

    #[test]
    fn nobody_is_left_out_for_what_cannot_be_known() {
        let mut hidden = Scene::new();
        hidden.link(None);
        hidden.says(MASTER, 10);
        assert!(hidden.judge().0, "the replica does not tell");
        let mut dead = Scene::new();
        dead.link(None);
        dead.says(REPLICA, 10);
        dead.proofs
            .insert(node(MASTER), Proof::Failed("refused".into()));
        assert!(dead.judge().0, "the master cannot be asked");
    }

    #[test]
    fn what_was_known_stands_until_the_replica_has_spoken_again() {
        let mut scene = Scene::new();
        scene.link(None);
        scene.says(MASTER, 10);
        scene.says(REPLICA, 10);
        assert!(scene.judge().0);
        scene.proofs.remove(&node(REPLICA));
        assert!(scene.judge().0);
        scene.link(None);
        scene.says(MASTER, 500);
        assert!(scene.judge().0);
    }

    #[test]
    fn a_master_that_hides_its_offset_leaves_nobody_out() {
        let mut scene = Scene::new();
        scene.link(None);
        scene.says(REPLICA, 10);
        assert_eq!(scene.judge(), (true, vec![]));
    }
}

//! What to believe next: everything that is known, taken together. Pure.

use tokio::time::Instant;

use super::fence::{Fence, Word};
use crate::{
    config::Adopt,
    node::Node,
    sentinel::answer::View,
    topology::{
        Topology,
        reducer::{self, Proof, Proofs},
    },
};

#[derive(Debug)]
pub(super) struct Belief {
    adopt: Adopt,
    pub(super) fence: Fence,
}

/// What follows from what is known.
#[derive(Debug)]
pub(super) struct Conclusion {
    /// What the topology is now; its version is still the old one.
    pub(super) next: Topology,
    /// Nodes whose own word is missing.
    pub(super) ask: Vec<Node>,
    /// The node to be asked again and again until it says that it is a master.
    pub(super) awaited: Option<Node>,
    /// Whether it is worth looking again soon.
    pub(super) unsettled: bool,
}

impl Belief {
    pub(super) fn new(adopt: Adopt) -> Self {
        Self {
            adopt,
            fence: Fence::default(),
        }
    }

    pub(super) fn conclude(
        &mut self,
        current: &Topology,
        words: &[Word<'_>],
        proofs: &Proofs,
        now: Instant,
    ) -> Conclusion {
        let views: Vec<View> = views(words).cloned().collect();
        self.fence.hear(words, now);
        let candidate = self.candidate(current, words);
        let moved = self.fence.moved(current, words, proofs, now);
        let promoted = candidate.clone().or(moved);
        let election = reducer::elect(current, &views, proofs, promoted.as_ref());
        let mut next = Topology::clone(current);
        if let Some((master, epoch)) = election.adopt.clone() {
            if next.master.as_ref() != Some(&master) {
                next.master_since = current.version + 1;
                self.fence.reset(now);
            }
            next.deposed = current.master.clone().filter(|_| election.ahead);
            next.master = Some(master);
            next.epoch = epoch;
        }
        let mut ask = election.ask.clone();
        // Nominated replicas are asked along with the claimed master, not after it.
        let claimed = views.iter().max_by_key(|view| view.epoch);
        let master = next.master.clone();
        if let Some(master) = master.or_else(|| claimed.map(|view| view.master.clone())) {
            let version = current.version + 1;
            let (mut replicas, unheard) =
                reducer::replicas(current, &master, &views, proofs, version);
            if next.master.is_some() {
                if let Some(deposed) = &next.deposed {
                    reducer::keep_followers(&mut replicas, deposed, proofs);
                }
                next.replicas = replicas;
            }
            // While a replica has yet to speak again, what was stated stands.
            if election.adopt.is_some() {
                let stated = current.unproven.clone().filter(|_| !unheard.is_empty());
                let unproven = election.unproven.clone();
                next.unproven = unproven.or_else(|| muted(proofs)).or(stated);
            }
            ask.extend(unheard);
        }
        next.fence = self.fence.judge(&next, words, proofs, now);
        // It is its own word that lifts the fence.
        ask.extend(next.master.clone().filter(|master| {
            (next.fence.is_some() || next.deposed.is_some()) && !proofs.contains_key(master)
        }));
        let awaited = candidate
            .filter(|node| next.master.as_ref() != Some(node))
            .filter(|node| proofs.get(node) != Some(&Proof::Master))
            // The first master of all is asked once, as any node; it usually is one.
            .or_else(|| election.awaited.filter(|_| current.master.is_some()));
        Conclusion {
            ask,
            awaited,
            unsettled: election.contested || next.in_motion() || next.fence.is_some(),
            next,
        }
    }

    /// The replica that the Sentinel which replaces the master answers that it promotes, where that
    /// is reason enough.
    fn candidate(&self, current: &Topology, words: &[Word<'_>]) -> Option<Node> {
        self.fence.raised()?;
        if self.adopt != Adopt::Promoted {
            return None;
        }
        let mut promoted = words.iter().filter_map(|word| {
            let answer = word.answer?;
            let (deposed, _) = answer.deposing.as_ref()?;
            let ours = Some(deposed) == current.master.as_ref();
            let node = answer.view.as_ref().filter(|_| ours)?.promoted()?;
            reducer::was_in_step(current, node).then_some(node)
        });
        let first = promoted.next()?;
        // Two leaders at once: who of them prevails is theirs to say.
        promoted.all(|node| node == first).then(|| first.clone())
    }
}

/// What the Sentinels that monitor our master believe.
pub(super) fn views<'a>(words: &'a [Word<'a>]) -> impl Iterator<Item = &'a View> {
    words.iter().filter_map(|word| word.answer?.view.as_ref())
}

/// What is to be stated where replicas hide whom they follow.
fn muted(proofs: &Proofs) -> Option<String> {
    let mut hidden = proofs
        .iter()
        .filter(|(_, proof)| **proof == Proof::SomeReplica);
    let (node, _) = hidden.next()?;
    Some(format!(
        "{node} may not tell whom it follows (ROLE is refused), so the Sentinels' word has to do"
    ))
}

#[cfg(test)]
mod tests;

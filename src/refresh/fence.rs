//! Whether the master is being replaced: what says so, and when that is over.
//!
//! Pure rules. A *sign* is an event, which may be late, lost or forged; it holds until the Sentinel that
//! published it has answered a question asked after it. What the answers themselves state holds for as
//! long as they state it.

use std::{collections::HashMap, time::Duration};

use tokio::time::Instant;

use crate::{
    node::Node,
    sentinel::{answer::Answer, event::Event},
    topology::{
        Topology,
        reducer::{Proof, Proofs},
    },
};

/// A Sentinel gives up a failover after its `failover-timeout`, by default this. One that has been
/// stating a failover for longer, while the master stands to its role, is mistaken or lies.
const LONGEST_FAILOVER: Duration = Duration::from_secs(180);
/// So many signs of one Sentinel that its own answers did not bear out, within [`MEMORY`], and its
/// events are hints to look again: what counts then is what it answers.
const MOST_FALSE_SIGNS: u32 = 3;
const MEMORY: Duration = Duration::from_secs(60);

/// What one Sentinel said last.
#[derive(Debug, Clone, Copy)]
pub(super) struct Word<'a> {
    pub(super) sentinel: &'a Node,
    /// The newest look that it answered, or failed to.
    pub(super) look: u64,
    pub(super) answer: Option<&'a Answer>,
}

#[derive(Debug)]
struct Sign {
    text: String,
    /// The first look whose answer can bear it out, or not.
    look: u64,
}

/// The signs that have not been followed up to their end.
#[derive(Debug, Default)]
pub(super) struct Fence {
    signs: HashMap<Node, Sign>,
    false_signs: HashMap<Node, (u32, Instant)>,
    /// Since when a Sentinel has been stating that the master is being replaced.
    stated: HashMap<Node, Instant>,
}

impl Fence {
    /// Takes note of an event if it is a sign against the current master. `look` is the first that
    /// begins after it.
    pub(super) fn note(
        &mut self,
        sentinel: &Node,
        event: &Event,
        current: &Topology,
        look: u64,
        now: Instant,
    ) {
        let ours = current.master.is_some() && event.master == current.master;
        if !ours || !event.kind.is_sign() || self.is_mistrusted(sentinel, now) {
            return;
        }
        let text = format!("{sentinel} published {:?}", event.kind);
        self.signs.insert(sentinel.clone(), Sign { text, look });
    }

    /// Another master was adopted: what was said of the old one is over.
    pub(super) fn reset(&mut self) {
        self.signs.clear();
        self.stated.clear();
    }

    /// Why the master of `current` must not be written to now; `None` if it may. `words` is what
    /// each known Sentinel said last.
    pub(super) fn judge(
        &mut self,
        current: &Topology,
        words: &[Word<'_>],
        proofs: &Proofs,
        now: Instant,
    ) -> Option<String> {
        let master = current.master.as_ref()?;
        let stands = matches!(
            proofs.get(master),
            Some(Proof::Master | Proof::Unprovable(_))
        );
        self.follow_up(current, words, proofs, stands, now);
        let published = self.signs.values().map(|sign| sign.text.clone()).next();
        published
            .or_else(|| self.stated(master, words, stands, now))
            .or_else(|| claimed(current, words, proofs))
            .or_else(|| match proofs.get(master)? {
                Proof::Replica { .. } | Proof::SomeReplica => {
                    Some(format!("{master} says it is a replica"))
                }
                _ => None,
            })
    }

    /// Lets go of the signs that the answers did not bear out.
    fn follow_up(
        &mut self,
        current: &Topology,
        words: &[Word<'_>],
        proofs: &Proofs,
        stands: bool,
        now: Instant,
    ) {
        let promoted = current
            .replicas
            .iter()
            .any(|replica| proofs.get(&replica.node) == Some(&Proof::Master));
        if !stands || promoted {
            return;
        }
        let clean = |word: &Word<'_>, look: u64| {
            word.look >= look
                && word
                    .answer
                    .is_some_and(|answer| is_clean(answer, current, proofs))
        };
        let false_signs: Vec<Node> = self
            .signs
            .iter()
            .filter(|(sentinel, sign)| {
                match words.iter().find(|word| word.sentinel == *sentinel) {
                    Some(word) if word.answer.is_some() || word.look < sign.look => {
                        clean(word, sign.look)
                    }
                    // It cannot be asked any more: most of the others have to do.
                    _ => {
                        let votes = words.iter().filter(|word| clean(word, sign.look)).count();
                        votes * 2 > words.len()
                    }
                }
            })
            .map(|(sentinel, _)| sentinel.clone())
            .collect();
        for sentinel in false_signs {
            self.signs.remove(&sentinel);
            let (count, since) = self.false_signs.entry(sentinel).or_insert((0, now));
            if now - *since > MEMORY {
                (*count, *since) = (0, now);
            }
            *count += 1;
        }
    }

    fn is_mistrusted(&self, sentinel: &Node, now: Instant) -> bool {
        self.false_signs
            .get(sentinel)
            .is_some_and(|(count, since)| *count >= MOST_FALSE_SIGNS && now - *since <= MEMORY)
    }

    /// What a Sentinel's answer states.
    fn stated(
        &mut self,
        master: &Node,
        words: &[Word<'_>],
        stands: bool,
        now: Instant,
    ) -> Option<String> {
        let mut stated = HashMap::new();
        let mut reason = None;
        for word in words {
            let Some((node, flag)) = word.answer.and_then(|answer| answer.deposing.as_ref()) else {
                continue;
            };
            if node != master {
                continue;
            }
            let since = *self.stated.get(word.sentinel).unwrap_or(&now);
            stated.insert(word.sentinel.clone(), since);
            if !stands || now - since < LONGEST_FAILOVER {
                reason = Some(format!("{} states {flag} for {master}", word.sentinel));
            }
        }
        self.stated = stated;
        reason
    }
}

/// Whether a Sentinel sees nothing that speaks against the current master.
fn is_clean(answer: &Answer, current: &Topology, proofs: &Proofs) -> bool {
    let deposing = answer.deposing.as_ref().map(|(node, _)| node);
    let deposed = deposing.is_some() && deposing == current.master.as_ref();
    !deposed && rival(answer, current, proofs).is_none()
}

/// Another master that a Sentinel names under a higher epoch, unless that node says it is none.
fn rival<'a>(answer: &'a Answer, current: &Topology, proofs: &Proofs) -> Option<&'a Node> {
    let view = answer.view.as_ref()?;
    let other = view.epoch > current.epoch && Some(&view.master) != current.master.as_ref();
    let refuted = !matches!(proofs.get(&view.master), None | Some(Proof::Master));
    (other && !refuted).then_some(&view.master)
}

fn claimed(current: &Topology, words: &[Word<'_>], proofs: &Proofs) -> Option<String> {
    words.iter().find_map(|word| {
        let rival = rival(word.answer?, current, proofs)?;
        Some(format!("{} names {rival}", word.sentinel))
    })
}

#[cfg(test)]
mod tests;

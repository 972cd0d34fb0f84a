//! What happened to a deployment, and when: concluded from what the witnesses saw.

use std::time::Duration;

use crate::failover::{
    kind::Kind,
    sightings::{Said, Sightings},
};

/// What a Sentinel publishes from the moment on from which the master is being replaced.
const SIGNS: [&str; 8] = [
    "+odown",
    "+try-failover",
    "+failover-state-select-slave",
    "+selected-slave",
    "+failover-state-send-slaveof-noone",
    "+promoted-slave",
    "+config-update-from",
    "+switch-master",
];

/// Times of one round.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Landmarks {
    /// The moment before it was done.
    pub(crate) fault: Duration,
    /// The old master did not answer a probe.
    pub(crate) silent: Option<Duration>,
    /// The first Sentinel published that the master is being replaced.
    pub(crate) sign: Option<Duration>,
    /// The last moment at which the new master was certainly still a replica.
    pub(crate) still_replica: Option<Duration>,
    /// A probe's write was acknowledged by the new master.
    pub(crate) writable: Option<Duration>,
    /// The first Sentinel answers with the new master's address.
    pub(crate) announced: Option<Duration>,
    /// The first `+switch-master`.
    pub(crate) switched: Option<Duration>,
    /// The old master said that it is a replica now.
    pub(crate) demoted: Option<Duration>,
    /// What was stopped goes on.
    pub(crate) mended: Option<Duration>,
    /// No more calls are made.
    pub(crate) end: Duration,
    /// The Sentinels gave up at least one attempt, or promoted a second node.
    pub(crate) detour: bool,
}

impl Landmarks {
    pub(crate) fn of(
        sightings: &Sightings,
        old_master: u16,
        fault: Duration,
        mended: Option<Duration>,
        end: Duration,
    ) -> Self {
        let event = |is: &dyn Fn(&str) -> bool| {
            let events = sightings.events.iter();
            let events = events.filter(|event| event.at >= fault && is(&event.channel));
            // Listeners take turns at the lock, so two events may stand in each other's place.
            events.map(|event| event.at).min()
        };
        let new = new_master(sightings, old_master);
        let of_the_old_one = |is: &dyn Fn(Said) -> bool| {
            let mut spans = sightings.roles.get(&old_master)?.iter();
            let first = spans.find(|span| span.from >= fault && is(span.role));
            Some(first?.from)
        };
        Self {
            fault,
            silent: of_the_old_one(&|role| role == Said::Nothing),
            sign: event(&|channel| SIGNS.contains(&channel)),
            still_replica: new.and_then(|port| still_replica(sightings, port)),
            writable: new.and_then(|port| sightings.taken.get(&port).copied()),
            announced: announced(sightings, old_master),
            switched: event(&|channel| channel == "+switch-master"),
            demoted: of_the_old_one(&|role| matches!(role, Said::InStep | Said::Replica)),
            mended,
            end,
            detour: sightings.taken.len() > 1
                || event(&|channel| channel.starts_with("-failover-abort")).is_some(),
        }
    }

    /// Whether at this moment the new master may have taken writes, and the witness had not seen it yet.
    pub(crate) fn is_changing_over(&self, at: Duration) -> bool {
        let (Some(from), Some(to)) = (self.still_replica, self.writable) else {
            return false;
        };
        (from..=to).contains(&at)
    }

    /// Whether the Sentinels did at once what is expected of them.
    pub(crate) fn is_straight(&self, kind: Kind) -> bool {
        !self.detour && (self.possible().is_some() || !kind.moves_the_master())
    }

    /// From when on a client could both know the new master and write to it.
    pub(crate) fn possible(&self) -> Option<Duration> {
        Some(self.writable?.max(self.announced?))
    }
}

/// The one that all Sentinels end with, or the one that takes writes so far.
pub(crate) fn new_master(sightings: &Sightings, old_master: u16) -> Option<u16> {
    let named = sightings.named.iter().rev();
    let mut named = named.map(|named| named.master);
    let last = named.find(|&port| port != old_master);
    last.or_else(|| sightings.taken.keys().next().copied())
}

pub(crate) fn announced(sightings: &Sightings, old_master: u16) -> Option<Duration> {
    let new = new_master(sightings, old_master)?;
    let mut named = sightings.named.iter();
    Some(named.find(|named| named.master == new)?.at)
}

fn still_replica(sightings: &Sightings, port: u16) -> Option<Duration> {
    let spans = sightings.roles.get(&port)?;
    let promoted = spans.iter().position(|span| span.role == Said::Master)?;
    let before = spans[..promoted].iter().rev();
    let mut before = before.filter(|span| matches!(span.role, Said::InStep | Said::Replica));
    Some(before.next()?.until)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failover::sightings::Event;

    const OLD: u16 = 1;
    const NEW: u16 = 2;

    fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    /// A planned failover at 1 000, seen by probes every 2 ms that take 1 ms.
    fn failover() -> Sightings {
        let mut seen = Sightings::default();
        for at in (0..3_000).step_by(2) {
            let role = if at < 1_200 {
                Said::InStep
            } else {
                Said::Master
            };
            seen.saw_role(NEW, role, ms(at), ms(at + 1));
            let role = if at < 2_500 {
                Said::Master
            } else {
                Said::Replica
            };
            seen.saw_role(OLD, role, ms(at), ms(at + 1));
            seen.saw_named(ms(at), 10, if at < 1_900 { OLD } else { NEW });
            seen.saw_named(ms(at), 11, if at < 2_000 { OLD } else { NEW });
        }
        seen.taken.insert(NEW, ms(1_203));
        for (at, channel) in [
            (900, "+odown"),
            (1_006, "+new-epoch"),
            (1_005, "+try-failover"),
            (1_900, "+promoted-slave"),
            (2_000, "+switch-master"),
        ] {
            let channel = channel.to_owned();
            seen.events.push(Event {
                at: ms(at),
                channel,
            });
        }
        seen
    }

    #[test]
    fn a_failover_has_its_landmarks_in_order() {
        let landmarks = Landmarks::of(&failover(), OLD, ms(1_000), None, ms(3_000));
        assert_eq!(
            landmarks,
            Landmarks {
                fault: ms(1_000),
                silent: None,
                sign: Some(ms(1_005)),
                still_replica: Some(ms(1_198)),
                writable: Some(ms(1_203)),
                announced: Some(ms(1_900)),
                switched: Some(ms(2_000)),
                demoted: Some(ms(2_501)),
                mended: None,
                end: ms(3_000),
                detour: false,
            }
        );
        assert_eq!(landmarks.possible(), Some(ms(1_900)));
    }

    #[test]
    fn an_attempt_that_was_given_up_is_a_detour() {
        let mut seen = failover();
        seen.events.push(Event {
            at: ms(1_100),
            channel: "-failover-abort-not-elected".to_owned(),
        });
        let since = |fault| Landmarks::of(&seen, OLD, ms(fault), None, ms(3_000));
        assert!(!since(1_000).is_straight(Kind::Planned));
        assert!(since(1_101).is_straight(Kind::Planned));
    }

    #[test]
    fn a_second_node_that_is_promoted_is_a_detour() {
        let mut seen = failover();
        seen.taken.insert(NEW + 1, ms(2_700));
        let landmarks = Landmarks::of(&seen, OLD, ms(1_000), None, ms(3_000));
        assert!(!landmarks.is_straight(Kind::Planned));
    }

    #[test]
    fn a_master_that_is_killed_falls_silent() {
        let mut seen = Sightings::default();
        seen.saw_role(OLD, Said::Nothing, ms(0), ms(1));
        seen.saw_role(OLD, Said::Master, ms(2), ms(3));
        seen.saw_role(OLD, Said::Nothing, ms(14), ms(15));
        let landmarks = Landmarks::of(&seen, OLD, ms(10), None, ms(20));
        assert_eq!(landmarks.silent, Some(ms(15)));
    }

    #[test]
    fn where_the_master_stays_there_is_nothing_to_follow() {
        let mut seen = Sightings::default();
        seen.saw_role(OLD, Said::Master, ms(0), ms(1));
        seen.saw_role(NEW, Said::InStep, ms(0), ms(1));
        seen.saw_named(ms(0), 10, OLD);
        let landmarks = Landmarks::of(&seen, OLD, ms(1), Some(ms(2)), ms(3));
        assert_eq!(landmarks.sign, None);
        assert_eq!(landmarks.possible(), None);
        assert_eq!(landmarks.demoted, None);
        assert!(landmarks.is_straight(Kind::Replicas));
        assert!(!landmarks.is_straight(Kind::Kill));
    }
}

//! What happened to the servers, and what it means: who was known not to be the master when, and
//! which acknowledged writes the servers may have lost.

use std::collections::BTreeMap;
use std::time::Duration;

/// Something that happened to the servers, or that became known of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// From here on the replicas hold everything that was acknowledged before.
    InStep {
        /// The master's port.
        master: u16,
    },
    /// Something is done to a master that may cost what it has not replicated: it is killed or
    /// stopped.
    Lossy {
        /// The master's port.
        master: u16,
        /// What is done.
        what: String,
    },
    /// A Sentinel was asked for a failover while all was well.
    Planned {
        /// The master's port.
        master: u16,
    },
    /// A Sentinel said that the master is being replaced.
    Sign {
        /// The port of the master that is being replaced.
        master: u16,
        /// What it said.
        text: String,
    },
    /// The sign is over: the failover came to nothing, or everybody agrees on this master.
    Stands {
        /// The master's port.
        master: u16,
    },
    /// A Sentinel said that another master is in office.
    Switch {
        /// The port of the one before.
        old: u16,
        /// The port of the one now.
        new: u16,
    },
    /// This process did not get to run, so that what it should have seen it saw late.
    Starved {
        /// For how long, until now.
        lasted: Duration,
    },
    /// The replicas took longer than they do on an idle machine to confirm what this master had
    /// executed.
    Lagged {
        /// The master's port.
        master: u16,
        /// For how long, from the time of the event on.
        lasted: Duration,
    },
    /// Writes that nodes have refused as replicas since they were looked at last.
    Refused {
        /// The node's port.
        node: u16,
        /// How many.
        writes: u64,
    },
    /// A master began a history of data of its own, as its `INFO replication` says.
    Began {
        /// The replication id.
        history: String,
        /// The one that it came from, and the first offset that is not in both.
        from: Option<(String, u64)>,
    },
    /// From here on no master is replaced any more.
    Settled {
        /// The replication id of the last one.
        history: String,
    },
    /// Something that only a human reader needs to know.
    Note(String),
}

/// What a Sentinel says when it has sent the promotion.
const PROMOTION: &str = "+failover-state-wait-promotion";

/// What a message of a Sentinel means; `None` if it is no sign for or against a master.
#[must_use]
pub fn parse(channel: &str, payload: &str, master_name: &str) -> Option<Event> {
    let words: Vec<&str> = payload.split(' ').collect();
    let port = |word: Option<&&str>| word?.parse::<u16>().ok();
    if channel == "+switch-master" {
        return (words.first() == Some(&master_name)).then_some(Event::Switch {
            old: port(words.get(2))?,
            new: port(words.get(4))?,
        });
    }
    // `master <name> <ip> <port> …`, or `<type> <name> <ip> <port> @ <name> <ip> <port>`.
    let of_master = match words.iter().position(|word| *word == "@") {
        Some(at) => words.get(at + 1..)?,
        None if words.first() == Some(&"master") => words.get(1..)?,
        None => return None,
    };
    if of_master.first() != Some(&master_name) {
        return None;
    }
    let master = port(of_master.get(2))?;
    match channel {
        "+odown"
        | "+try-failover"
        | "+elected-leader"
        | "+failover-state-select-slave"
        | "+selected-slave"
        | "+failover-state-send-slaveof-noone"
        | PROMOTION
        | "+promoted-slave"
        | "+failover-state-reconf-slaves"
        | "+config-update-from" => Some(Event::Sign {
            master,
            text: channel.to_owned(),
        }),
        "-odown"
        | "-failover-abort-not-elected"
        | "-failover-abort-no-good-slave"
        | "-failover-abort-slave-timeout" => Some(Event::Stands { master }),
        _ => None,
    }
}

/// A time during which a node was known not to be the master, or about to be replaced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Deposed {
    pub(super) node: u16,
    pub(super) from: Duration,
    /// By when that had come to every corner of this process.
    pub(super) heard: Duration,
    /// When it was known to be the master again; [`Duration::MAX`] if never.
    pub(super) until: Duration,
    pub(super) text: String,
}

/// By when word that came at `from` had come everywhere, `patience` being enough while this process
/// runs.
fn heard(events: &[(Duration, Event)], from: Duration, patience: Duration) -> Duration {
    events
        .iter()
        .fold(from + patience, |heard, (at, event)| match event {
            Event::Starved { lasted } if *at >= from && at.saturating_sub(*lasted) <= heard => {
                heard.max(*at + patience)
            }
            _ => heard,
        })
}

/// `patience` is how long word may take to every corner of this process while it runs.
pub(super) fn deposed(events: &[(Duration, Event)], patience: Duration) -> Vec<Deposed> {
    let mut open = BTreeMap::<u16, Deposed>::new();
    let mut closed = Vec::new();
    for (at, event) in events {
        let (against, text, for_whom) = match event {
            Event::Sign { master, text } => (Some(*master), text.as_str(), None),
            Event::Switch { old, new } => (Some(*old), "+switch-master", Some(*new)),
            Event::Stands { master } => (None, "", Some(*master)),
            _ => continue,
        };
        if let Some(mut over) = for_whom.and_then(|master| open.remove(&master)) {
            over.until = *at;
            closed.push(over);
        }
        if let Some(node) = against {
            open.entry(node).or_insert_with(|| Deposed {
                node,
                from: *at,
                heard: heard(events, *at, patience),
                until: Duration::MAX,
                text: text.to_owned(),
            });
        }
    }
    closed.extend(open.into_values());
    closed.sort_by_key(|deposed| deposed.from);
    closed
}

/// A change of masters, and what it may have cost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Handover {
    pub(super) old: u16,
    pub(super) new: u16,
    /// When a Sentinel first named the new one.
    pub(super) named: Duration,
    /// What was acknowledged before is on the replicas.
    pub(super) in_step: Duration,
    /// The first word that the old one is being replaced; the promotion, where the pool hears no word.
    pub(super) sign: Duration,
    /// By when that had come to every corner of this process.
    pub(super) heard: Duration,
    /// When a Sentinel said that it had asked the new one to be a master.
    pub(super) promoted: Option<Duration>,
    /// Why something may be lost all the same; `None` if nothing may.
    pub(super) excuse: Option<String>,
}

impl Handover {
    /// Whether the servers may have lost what the old master acknowledged in this time.
    pub(super) fn may_lose(&self, start: Duration, end: Duration) -> bool {
        self.excuse.is_some() && end >= self.in_step && start <= self.heard
    }

    /// Whether the promotion was so shortly before or after this time.
    pub(super) fn promoted_within(&self, time: Duration, at: Duration) -> bool {
        self.promoted
            .is_some_and(|promoted| promoted.abs_diff(at) <= time)
    }
}

/// The changes of masters. `patience` is how long word of one may take to every corner of this
/// process, `unheard` whether the first that can be noticed of it is the promotion.
pub(super) fn handovers(
    events: &[(Duration, Event)],
    patience: Duration,
    unheard: bool,
) -> Vec<Handover> {
    let deposed = deposed(events, patience);
    let mut handovers: Vec<Handover> = Vec::new();
    let mut in_office = None;
    for (at, event) in events {
        let Event::Switch { old, new } = event else {
            continue;
        };
        // Every Sentinel publishes it, at its own time.
        if in_office == Some(*new) {
            continue;
        }
        let sign = deposed
            .iter()
            .rfind(|deposed| deposed.node == *old && deposed.from <= *at)
            .map_or(*at, |deposed| deposed.from);
        let before = &events[..events.partition_point(|(then, _)| then <= at)];
        let in_step = before.iter().rev().find(|(then, event)| {
            *then <= sign && matches!(event, Event::InStep { master } if master == old)
        });
        // A Sentinel that was away tells of masters from before this history.
        let Some((in_step, _)) = in_step else {
            continue;
        };
        in_office = Some(*new);
        let cause = before.iter().rev().find_map(|(_, event)| match event {
            Event::Planned { master } if master == old => Some(None),
            Event::Lossy { master, what } if master == old => Some(Some(what.clone())),
            _ => None,
        });
        let promoted = before.iter().find_map(|(then, event)| {
            let Event::Sign { master, text } = event else {
                return None;
            };
            (*then >= sign && master == old && text == PROMOTION).then_some(*then)
        });
        let sign = promoted.filter(|_| unheard).unwrap_or(sign);
        let excuse = cause
            .unwrap_or_else(|| Some("a failover that nobody asked for".to_owned()))
            .or_else(|| starved(events, sign, patience))
            .or_else(|| lagged(before, *old, sign, promoted?));
        handovers.push(Handover {
            old: *old,
            new: *new,
            named: *at,
            in_step: *in_step,
            sign,
            heard: heard(events, sign, patience),
            promoted,
            excuse,
        });
    }
    handovers
}

/// Replicas that were behind at the sign and had not caught up at the promotion: the Sentinel promoted
/// one without what was acknowledged before anybody could know of the failover.
fn lagged(
    events: &[(Duration, Event)],
    old: u16,
    sign: Duration,
    promoted: Duration,
) -> Option<String> {
    events.iter().find_map(|(at, event)| match event {
        Event::Lagged { master, lasted }
            if *master == old && *at <= sign && at.saturating_add(*lasted) >= promoted =>
        {
            Some(format!("the replicas were behind for {lasted:?}"))
        }
        _ => None,
    })
}

/// The sign leads the promotion by some sixty milliseconds; a process that did not run then cannot
/// have followed it.
fn starved(events: &[(Duration, Event)], sign: Duration, patience: Duration) -> Option<String> {
    events.iter().find_map(|(at, event)| match event {
        Event::Starved { lasted }
            if *at >= sign && at.saturating_sub(*lasted) <= sign + patience =>
        {
            Some(format!("this process did not run for {lasted:?}"))
        }
        _ => None,
    })
}

//! What a Sentinel publishes, understood as a hint to look.
//!
//! An event is never an address to adopt. Its channel carries no epoch, a Sentinel that was
//! restarted or cut off publishes masters long replaced, messages get lost without a trace, and
//! whoever may PUBLISH can forge one. So an event says that it is time to ask, and which node to be
//! wary of until the answer is there.

use crate::node::{Node, announced};

/// What a Sentinel published about our master, one of its replicas, or the Sentinels around it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Event {
    pub(crate) kind: EventKind,
    pub(crate) subject: Subject,
    /// The instance it is about; `None` where it is about the publishing Sentinel itself.
    pub(crate) node: Option<Node>,
    /// Whom the publishing Sentinel took for our master then.
    pub(crate) master: Option<Node>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Subject {
    Master,
    Replica,
    Sentinel,
}

/// The steps of a failover come first, in their order. All of them but
/// [`SwitchMaster`](Self::SwitchMaster) and [`ConfigUpdated`](Self::ConfigUpdated) are published
/// only by the Sentinel that leads it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum EventKind {
    SubjectivelyDown,
    ObjectivelyDown,
    /// The node is the master to be replaced.
    TryFailover,
    ElectedLeader,
    SelectingReplica,
    /// The node is the candidate.
    SelectedReplica,
    /// The candidate is about to be told to be a master: from here on it may take writes.
    SendReplicaOfNoOne,
    AwaitingPromotion,
    /// The candidate says that it is a master. The earliest moment at which the Sentinels' answer
    /// can have changed.
    Promoted,
    RepointingReplicas,
    /// The node is a replica that was, is being or could not be pointed to the new master.
    RepointedReplica,
    FailoverEnded,
    /// A Sentinel that did not lead learned of a newer configuration from the node, another
    /// Sentinel.
    ConfigUpdated,
    /// The leader publishes it last, up to `failover-timeout` after the promotion.
    SwitchMaster {
        old: Node,
        new: Node,
    },
    /// The failover came to nothing. The candidate may have been told to be a master even so.
    Aborted,
    SubjectivelyUp,
    ObjectivelyUp,
    ReplicaAdded,
    /// A former master came back and is made a replica; until now it took writes.
    Demoted,
    Rebooted,
    RoleChanged,
    Reset,
    Monitored,
    Unmonitored,
    SentinelChanged,
    /// The publishing Sentinel no longer trusts its clock: it answers, but acts on nothing.
    TiltEntered,
    TiltLeft,
}

impl EventKind {
    /// Whether the node that it names is, or is about to be, a master.
    pub(crate) fn names_next_master(&self) -> bool {
        matches!(
            self,
            Self::SelectedReplica
                | Self::SendReplicaOfNoOne
                | Self::AwaitingPromotion
                | Self::Promoted
                | Self::SwitchMaster { .. }
        )
    }

    /// Whether it says that a failover begins, as opposed to how one goes on.
    pub(crate) fn begins_failover(&self) -> bool {
        matches!(
            self,
            Self::ObjectivelyDown
                | Self::TryFailover
                | Self::ElectedLeader
                | Self::SelectingReplica
        )
    }

    /// Whether it says that the master is being replaced.
    pub(crate) fn is_sign(&self) -> bool {
        matches!(
            self,
            Self::ObjectivelyDown
                | Self::TryFailover
                | Self::ElectedLeader
                | Self::SelectingReplica
                | Self::SelectedReplica
                | Self::SendReplicaOfNoOne
                | Self::AwaitingPromotion
                | Self::Promoted
                | Self::RepointingReplicas
                | Self::ConfigUpdated
                | Self::SwitchMaster { .. }
        )
    }
}

/// What stands in the payload.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Payload {
    /// An instance, of one sort or of any, and nothing else.
    Instance(Option<Subject>),
    /// An instance, and words of explanation.
    Explained(Option<Subject>),
    Switch,
    Tilt,
}

const MASTER: Payload = Payload::Instance(Some(Subject::Master));
const REPLICA: Payload = Payload::Instance(Some(Subject::Replica));
const ANY: Payload = Payload::Instance(None);

/// The names with their signs, as Redis 5.0 to 8.6 and Valkey 8 and 9 publish them; the documentation
/// lists some without.
const EVENTS: &[(&str, Payload)] = &[
    (
        "+config-update-from",
        Payload::Instance(Some(Subject::Sentinel)),
    ),
    ("+convert-to-slave", REPLICA),
    ("+elected-leader", MASTER),
    ("+failover-end", MASTER),
    ("+failover-end-for-timeout", MASTER),
    ("+failover-state-reconf-slaves", MASTER),
    ("+failover-state-select-slave", MASTER),
    ("+failover-state-send-slaveof-noone", REPLICA),
    ("+failover-state-wait-promotion", REPLICA),
    ("+fix-slave-config", REPLICA),
    ("+monitor", Payload::Explained(Some(Subject::Master))),
    ("+odown", Payload::Explained(Some(Subject::Master))),
    ("+promoted-slave", REPLICA),
    ("+reboot", ANY),
    ("+reset-master", MASTER),
    ("+role-change", Payload::Explained(None)),
    ("+sdown", ANY),
    ("+selected-slave", REPLICA),
    ("+sentinel", Payload::Instance(Some(Subject::Sentinel))),
    ("+sentinel-address-switch", Payload::Explained(None)),
    ("+sentinel-address-update", Payload::Explained(None)),
    ("+slave", REPLICA),
    ("+slave-reconf-done", REPLICA),
    ("+slave-reconf-inprog", REPLICA),
    ("+slave-reconf-sent", REPLICA),
    ("+slave-reconf-sent-be", REPLICA),
    ("+switch-master", Payload::Switch),
    ("+tilt", Payload::Tilt),
    ("+try-failover", MASTER),
    ("-failover-abort-master-timeout", MASTER),
    ("-failover-abort-no-good-slave", MASTER),
    ("-failover-abort-not-elected", MASTER),
    ("-failover-abort-slave-timeout", MASTER),
    ("-monitor", MASTER),
    ("-odown", MASTER),
    ("-role-change", Payload::Explained(None)),
    ("-sdown", ANY),
    ("-slave-reconf-sent-timeout", REPLICA),
    ("-tilt", Payload::Tilt),
];

/// The channels to subscribe to, on every Sentinel.
pub(crate) const CHANNELS: &[&str] = &{
    let mut channels = [""; EVENTS.len()];
    let mut i = 0;
    while i < EVENTS.len() {
        channels[i] = EVENTS[i].0;
        i += 1;
    }
    channels
};

/// A master's name, two host names and the words around them fit in many times over.
const MAX_PAYLOAD: usize = 2048;

/// `None` for what is about another master, and for what no Sentinel publishes.
pub(crate) fn parse(channel: &[u8], payload: &[u8], master_name: &str) -> Option<Event> {
    if payload.len() > MAX_PAYLOAD {
        return None;
    }
    let (channel, shape) = EVENTS.iter().find(|(name, _)| name.as_bytes() == channel)?;
    match shape {
        Payload::Instance(sort) => instance(channel, payload, master_name, *sort, false),
        Payload::Explained(sort) => instance(channel, payload, master_name, *sort, true),
        Payload::Switch => switch(payload, master_name),
        // It names no master since it concerns all of them.
        Payload::Tilt => payload.starts_with(b"#tilt mode ").then(|| Event {
            kind: if *channel == "+tilt" {
                EventKind::TiltEntered
            } else {
                EventKind::TiltLeft
            },
            subject: Subject::Sentinel,
            node: None,
            master: None,
        }),
    }
}

fn switch(payload: &[u8], master_name: &str) -> Option<Event> {
    let mut words = payload.split(|b| *b == b' ');
    let [name, old_host, old_port, new_host, new_port] = take(&mut words)?;
    if name != master_name.as_bytes() || words.next().is_some() {
        return None;
    }
    let old = announced::node(old_host, old_port)?;
    let new = announced::node(new_host, new_port)?;
    Some(Event {
        kind: EventKind::SwitchMaster {
            old: old.clone(),
            new: new.clone(),
        },
        subject: Subject::Master,
        node: Some(new),
        master: Some(old),
    })
}

/// `<sort> <name> <host> <port>`, and unless it is a master `@ <master's name> <master's host>
/// <master's port>`. A replica's name is its address written once more and a Sentinel's its id.
fn instance(
    channel: &str,
    payload: &[u8],
    master_name: &str,
    expected: Option<Subject>,
    explained: bool,
) -> Option<Event> {
    let mut words = payload.split(|b| *b == b' ');
    let [sort, name, host, port] = take(&mut words)?;
    let subject = match sort {
        b"master" => Subject::Master,
        b"slave" => Subject::Replica,
        b"sentinel" => Subject::Sentinel,
        _ => return None,
    };
    let node = announced::node(host, port)?;
    let (name, master) = if subject == Subject::Master {
        (name, node.clone())
    } else {
        let [at, name, host, port] = take(&mut words)?;
        (name, announced::node(host, port).filter(|_| at == b"@")?)
    };
    if name != master_name.as_bytes()
        || expected.is_some_and(|expected| expected != subject)
        || (!explained && words.next().is_some())
    {
        return None;
    }
    Some(Event {
        kind: kind(channel)?,
        subject,
        node: Some(node),
        master: Some(master),
    })
}

fn take<'a, const N: usize>(words: &mut impl Iterator<Item = &'a [u8]>) -> Option<[&'a [u8]; N]> {
    let mut taken = [&[][..]; N];
    for word in &mut taken {
        *word = words.next()?;
    }
    Some(taken)
}

fn kind(channel: &str) -> Option<EventKind> {
    Some(match channel {
        "+sdown" => EventKind::SubjectivelyDown,
        "-sdown" => EventKind::SubjectivelyUp,
        "+odown" => EventKind::ObjectivelyDown,
        "-odown" => EventKind::ObjectivelyUp,
        "+try-failover" => EventKind::TryFailover,
        "+elected-leader" => EventKind::ElectedLeader,
        "+failover-state-select-slave" => EventKind::SelectingReplica,
        "+selected-slave" => EventKind::SelectedReplica,
        "+failover-state-send-slaveof-noone" => EventKind::SendReplicaOfNoOne,
        "+failover-state-wait-promotion" => EventKind::AwaitingPromotion,
        "+promoted-slave" => EventKind::Promoted,
        "+failover-state-reconf-slaves" => EventKind::RepointingReplicas,
        "+fix-slave-config"
        | "+slave-reconf-done"
        | "+slave-reconf-inprog"
        | "+slave-reconf-sent"
        | "+slave-reconf-sent-be"
        | "-slave-reconf-sent-timeout" => EventKind::RepointedReplica,
        "+failover-end" | "+failover-end-for-timeout" => EventKind::FailoverEnded,
        "+config-update-from" => EventKind::ConfigUpdated,
        "-failover-abort-master-timeout"
        | "-failover-abort-no-good-slave"
        | "-failover-abort-not-elected"
        | "-failover-abort-slave-timeout" => EventKind::Aborted,
        "+slave" => EventKind::ReplicaAdded,
        "+convert-to-slave" => EventKind::Demoted,
        "+reboot" => EventKind::Rebooted,
        "+role-change" | "-role-change" => EventKind::RoleChanged,
        "+reset-master" => EventKind::Reset,
        "+monitor" => EventKind::Monitored,
        "-monitor" => EventKind::Unmonitored,
        "+sentinel" | "+sentinel-address-switch" | "+sentinel-address-update" => {
            EventKind::SentinelChanged
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests;

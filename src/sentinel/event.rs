//! What a Sentinel publishes, understood as a hint to ask.
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

/// What stands in the payload, and what the event is.
enum Payload {
    /// An instance, of one sort or of any, and nothing else.
    Instance(Option<Subject>, EventKind),
    /// An instance, and words of explanation.
    Explained(Option<Subject>, EventKind),
    /// Two addresses: the master before and the master now.
    Switch,
    Tilt(EventKind),
}

const fn master(kind: EventKind) -> Payload {
    Payload::Instance(Some(Subject::Master), kind)
}

const fn replica(kind: EventKind) -> Payload {
    Payload::Instance(Some(Subject::Replica), kind)
}

/// Every channel, as Redis 5.0 to 8.6 and Valkey 8 and 9 publish on it. Their documentation leaves some
/// signs out.
const EVENTS: &[(&str, Payload)] = {
    use EventKind::*;
    &[
        (
            "+config-update-from",
            Payload::Instance(Some(Subject::Sentinel), ConfigUpdated),
        ),
        ("+convert-to-slave", replica(Demoted)),
        ("+elected-leader", master(ElectedLeader)),
        ("+failover-end", master(FailoverEnded)),
        ("+failover-end-for-timeout", master(FailoverEnded)),
        ("+failover-state-reconf-slaves", master(RepointingReplicas)),
        ("+failover-state-select-slave", master(SelectingReplica)),
        (
            "+failover-state-send-slaveof-noone",
            replica(SendReplicaOfNoOne),
        ),
        ("+failover-state-wait-promotion", replica(AwaitingPromotion)),
        ("+fix-slave-config", replica(RepointedReplica)),
        (
            "+monitor",
            Payload::Explained(Some(Subject::Master), Monitored),
        ),
        (
            "+odown",
            Payload::Explained(Some(Subject::Master), ObjectivelyDown),
        ),
        ("+promoted-slave", replica(Promoted)),
        ("+reboot", Payload::Instance(None, Rebooted)),
        ("+reset-master", master(Reset)),
        ("+role-change", Payload::Explained(None, RoleChanged)),
        ("+sdown", Payload::Instance(None, SubjectivelyDown)),
        ("+selected-slave", replica(SelectedReplica)),
        (
            "+sentinel",
            Payload::Instance(Some(Subject::Sentinel), SentinelChanged),
        ),
        (
            "+sentinel-address-switch",
            Payload::Explained(None, SentinelChanged),
        ),
        (
            "+sentinel-address-update",
            Payload::Explained(None, SentinelChanged),
        ),
        ("+slave", replica(ReplicaAdded)),
        ("+slave-reconf-done", replica(RepointedReplica)),
        ("+slave-reconf-inprog", replica(RepointedReplica)),
        ("+slave-reconf-sent", replica(RepointedReplica)),
        ("+slave-reconf-sent-be", replica(RepointedReplica)),
        ("+switch-master", Payload::Switch),
        ("+tilt", Payload::Tilt(TiltEntered)),
        ("+try-failover", master(TryFailover)),
        ("-failover-abort-master-timeout", master(Aborted)),
        ("-failover-abort-no-good-slave", master(Aborted)),
        ("-failover-abort-not-elected", master(Aborted)),
        ("-failover-abort-slave-timeout", master(Aborted)),
        ("-monitor", master(Unmonitored)),
        ("-odown", master(ObjectivelyUp)),
        ("-role-change", Payload::Explained(None, RoleChanged)),
        ("-sdown", Payload::Instance(None, SubjectivelyUp)),
        ("-slave-reconf-sent-timeout", replica(RepointedReplica)),
        ("-tilt", Payload::Tilt(TiltLeft)),
    ]
};

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
    let (_, shape) = EVENTS.iter().find(|(name, _)| name.as_bytes() == channel)?;
    match shape {
        Payload::Instance(sort, kind) => instance(kind, payload, master_name, *sort, false),
        Payload::Explained(sort, kind) => instance(kind, payload, master_name, *sort, true),
        Payload::Switch => switch(payload, master_name),
        // It names no master since it concerns all of them.
        Payload::Tilt(kind) => payload.starts_with(b"#tilt mode ").then(|| Event {
            kind: kind.clone(),
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
    kind: &EventKind,
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
        kind: kind.clone(),
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

#[cfg(test)]
mod tests;

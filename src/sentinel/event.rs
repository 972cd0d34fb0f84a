//! The events of a Sentinel. Each is only a hint to ask.
//!
//! An event is never an address to adopt. It carries no epoch. A Sentinel that was restarted or cut
//! off publishes masters that were replaced long ago. Messages get lost without a trace, and every
//! client that may PUBLISH can forge one. So an event only says that it is time to ask, and which
//! node's earlier report to doubt until the answer is there.

use crate::node::{Node, announced};

/// What a Sentinel published about our master, one of its replicas, or the Sentinels around it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Event {
    pub(crate) kind: EventKind,
    /// The instance it is about; `None` where it is about the publishing Sentinel itself. Of
    /// [`SwitchMaster`](EventKind::SwitchMaster) it is the new master.
    pub(crate) node: Option<Node>,
    /// The node that the publishing Sentinel took for our master. Of
    /// [`SwitchMaster`](EventKind::SwitchMaster) it is the old master.
    pub(crate) master: Option<Node>,
}

/// The steps of a failover come first, in their order. Those from
/// [`TryFailover`](Self::TryFailover) to [`Aborted`](Self::Aborted) are published only by the
/// Sentinel that leads it, except [`SwitchMaster`](Self::SwitchMaster) and
/// [`ConfigUpdated`](Self::ConfigUpdated).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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
    SwitchMaster,
    /// The failover was aborted. The candidate may have been told to be a master even so.
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
    /// The channel on which it is published, or the first of several.
    pub(crate) fn channel(self) -> &'static str {
        let mut events = EVENTS.iter();
        let event = events.find(|(.., kind)| *kind == self);
        event.expect("BUG: a kind of event without a channel").0
    }

    /// Whether the node that it names is, or is about to be, a master.
    pub(crate) fn names_next_master(self) -> bool {
        matches!(
            self,
            Self::SelectedReplica
                | Self::SendReplicaOfNoOne
                | Self::AwaitingPromotion
                | Self::Promoted
                | Self::SwitchMaster
        )
    }

    /// Whether it says that a failover begins, as opposed to how one goes on.
    pub(crate) fn begins_failover(self) -> bool {
        matches!(
            self,
            Self::ObjectivelyDown
                | Self::TryFailover
                | Self::ElectedLeader
                | Self::SelectingReplica
        )
    }

    /// Whether it says that the master is being replaced.
    pub(crate) fn is_sign(self) -> bool {
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
                | Self::SwitchMaster
        )
    }
}

/// The form of a channel's payload.
#[derive(Clone, Copy)]
enum Payload {
    /// An instance, of one sort or of any, and nothing else.
    Instance(Option<Sort>),
    /// An instance, and words of explanation.
    Explained(Option<Sort>),
    /// Two addresses: the master before and the master now.
    Switch,
    Tilt,
}

/// What sort of instance an event is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sort {
    Master,
    Replica,
    Sentinel,
}

const MASTER: Payload = Payload::Instance(Some(Sort::Master));
const REPLICA: Payload = Payload::Instance(Some(Sort::Replica));
const SENTINEL: Payload = Payload::Instance(Some(Sort::Sentinel));
const ANY: Payload = Payload::Instance(None);
const MASTER_AND_WORDS: Payload = Payload::Explained(Some(Sort::Master));
const ANY_AND_WORDS: Payload = Payload::Explained(None);

/// Every channel, as Redis 5.0 to 8.6 and Valkey 8 and 9 publish on it: its name, its payload and
/// what it means. Their documentation leaves out some of the `+` and `-` before the names.
const EVENTS: &[(&str, Payload, EventKind)] = {
    use EventKind::*;
    &[
        ("+config-update-from", SENTINEL, ConfigUpdated),
        ("+convert-to-slave", REPLICA, Demoted),
        ("+elected-leader", MASTER, ElectedLeader),
        ("+failover-end", MASTER, FailoverEnded),
        ("+failover-end-for-timeout", MASTER, FailoverEnded),
        ("+failover-state-reconf-slaves", MASTER, RepointingReplicas),
        ("+failover-state-select-slave", MASTER, SelectingReplica),
        (
            "+failover-state-send-slaveof-noone",
            REPLICA,
            SendReplicaOfNoOne,
        ),
        ("+failover-state-wait-promotion", REPLICA, AwaitingPromotion),
        ("+fix-slave-config", REPLICA, RepointedReplica),
        ("+monitor", MASTER_AND_WORDS, Monitored),
        ("+odown", MASTER_AND_WORDS, ObjectivelyDown),
        ("+promoted-slave", REPLICA, Promoted),
        ("+reboot", ANY, Rebooted),
        ("+reset-master", MASTER, Reset),
        ("+role-change", ANY_AND_WORDS, RoleChanged),
        ("+sdown", ANY, SubjectivelyDown),
        ("+selected-slave", REPLICA, SelectedReplica),
        ("+sentinel", SENTINEL, SentinelChanged),
        ("+sentinel-address-switch", ANY_AND_WORDS, SentinelChanged),
        ("+sentinel-address-update", ANY_AND_WORDS, SentinelChanged),
        ("+slave", REPLICA, ReplicaAdded),
        ("+slave-reconf-done", REPLICA, RepointedReplica),
        ("+slave-reconf-inprog", REPLICA, RepointedReplica),
        ("+slave-reconf-sent", REPLICA, RepointedReplica),
        ("+slave-reconf-sent-be", REPLICA, RepointedReplica),
        ("+switch-master", Payload::Switch, SwitchMaster),
        ("+tilt", Payload::Tilt, TiltEntered),
        ("+try-failover", MASTER, TryFailover),
        ("-failover-abort-master-timeout", MASTER, Aborted),
        ("-failover-abort-no-good-slave", MASTER, Aborted),
        ("-failover-abort-not-elected", MASTER, Aborted),
        ("-failover-abort-slave-timeout", MASTER, Aborted),
        ("-monitor", MASTER, Unmonitored),
        ("-odown", MASTER, ObjectivelyUp),
        ("-role-change", ANY_AND_WORDS, RoleChanged),
        ("-sdown", ANY, SubjectivelyUp),
        ("-slave-reconf-sent-timeout", REPLICA, RepointedReplica),
        ("-tilt", Payload::Tilt, TiltLeft),
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
    let mut events = EVENTS.iter();
    let &(_, shape, kind) = events.find(|(name, ..)| name.as_bytes() == channel)?;
    let (node, master) = match shape {
        Payload::Instance(sort) => instance(payload, master_name, sort, false)?,
        Payload::Explained(sort) => instance(payload, master_name, sort, true)?,
        Payload::Switch => switch(payload, master_name)?,
        // It names no master since it concerns all of them.
        Payload::Tilt if payload.starts_with(b"#tilt mode ") => (None, None),
        Payload::Tilt => return None,
    };
    Some(Event { kind, node, master })
}

/// The instance that an event is about, and the node that its Sentinel took for our master.
type Addresses = (Option<Node>, Option<Node>);

/// `<name> <old host> <old port> <new host> <new port>`.
fn switch(payload: &[u8], master_name: &str) -> Option<Addresses> {
    let mut words = payload.split(|b| *b == b' ');
    let [name, old_host, old_port, new_host, new_port] = take(&mut words)?;
    if name != master_name.as_bytes() || words.next().is_some() {
        return None;
    }
    let old = announced::node(old_host, old_port)?;
    let new = announced::node(new_host, new_port)?;
    Some((Some(new), Some(old)))
}

/// `<sort> <name> <host> <port>`, and unless it is a master `@ <master's name> <master's host>
/// <master's port>`. A replica's name is its address written once more, a Sentinel's is its id.
fn instance(
    payload: &[u8],
    master_name: &str,
    expected: Option<Sort>,
    explained: bool,
) -> Option<Addresses> {
    let mut words = payload.split(|b| *b == b' ');
    let [sort, name, host, port] = take(&mut words)?;
    let sort = match sort {
        b"master" => Sort::Master,
        b"slave" => Sort::Replica,
        b"sentinel" => Sort::Sentinel,
        _ => return None,
    };
    let node = announced::node(host, port)?;
    let (name, master) = if sort == Sort::Master {
        (name, node.clone())
    } else {
        let [at, name, host, port] = take(&mut words)?;
        (name, announced::node(host, port).filter(|_| at == b"@")?)
    };
    if name != master_name.as_bytes()
        || expected.is_some_and(|expected| expected != sort)
        || (!explained && words.next().is_some())
    {
        return None;
    }
    Some((Some(node), Some(master)))
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

//! When a new master is believed in.

/// When writes go on after a failover: once the new master is announced, or as soon as it is one.
///
/// A failover has two moments. The Sentinel that leads it promotes a replica, which takes writes from
/// then on; and when it next asks that replica for its state, up to a second later, it sees that this
/// has worked, and announces the new master to the other Sentinels and to us. In between writes wait,
/// since those to the old master would be lost.
///
/// A master that hands over by itself (Valkey 9's coordinated failover, `FAILOVER`) takes no writes in
/// between. Then the new one is believed in at once with either value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Adopt {
    /// When a Sentinel answers with the new master's address, and the node says itself that it is a
    /// master. The default.
    ///
    /// In a planned failover writes wait for about a second.
    #[default]
    Announced,

    /// When the Sentinel that leads the failover answers that it promotes this replica, one that was
    /// seen to follow our master, and the replica says itself that it is a master now.
    ///
    /// In a planned failover writes wait for about a fifth of a second.
    ///
    /// # Risk
    ///
    /// Until the announcement nobody but the leader knows of the promotion. If the leader dies or gives
    /// up in that second, the other Sentinels still take the old master for the master: where it is
    /// alive they make the promoted node a replica again, and what it acknowledged in between is gone,
    /// with us up to ten seconds of writes. Where the old master is dead they begin anew, and may
    /// promote another replica, which need not have those writes.
    ///
    /// [`Topology::previous_master`](crate::Topology::previous_master) shows that the pool is ahead of the Sentinels.
    Promoted,
}

//! When a new master is accepted.

/// When writes go on after a failover: once the new master is announced, or as soon as it is one.
///
/// A failover has two moments. First, the Sentinel that leads it promotes a replica, which takes writes
/// from then on. Then, up to a second later, it asks that replica for its state, sees that the promotion
/// has worked, and announces the new master to the other Sentinels and to us. Writes wait in between,
/// because writes to the old master would be lost.
///
/// A master that hands over by itself (Valkey 9's coordinated failover, `FAILOVER`) takes no writes in
/// between. The new master is then accepted at once with either value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Adopt {
    /// When a Sentinel answers with the new master's address, and the node says itself that it is a
    /// master. The default.
    ///
    /// In a planned failover writes wait for about a second.
    #[default]
    Announced,

    /// When the Sentinel that leads the failover answers that it promotes this replica, and the replica
    /// says itself that it is a master now. The replica must have been seen to follow our master.
    ///
    /// In a planned failover writes wait for about a fifth of a second.
    ///
    /// # Risk
    ///
    /// Until the announcement only the leading Sentinel knows of the promotion. If it dies or gives up in
    /// that second, the other Sentinels still take the old master for the master. Where the old master is
    /// alive they make the promoted node a replica again, and the writes that it acknowledged in between
    /// are lost: with this pool up to ten seconds of writes. Where the old master is dead they begin a new
    /// failover, and may promote another replica, which need not have those writes.
    ///
    /// [`Topology::previous_master`](crate::Topology::previous_master) shows that the pool is ahead of the
    /// Sentinels.
    Promoted,
}

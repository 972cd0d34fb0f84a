//! How much a shared connection may carry.

/// The limits of the connections behind [`Pool::writer`](crate::Pool::writer) and
/// [`Pool::reader`](crate::Pool::reader).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct MultiplexedLimits {
    /// Connections to each node. Defaults to 1: one socket carries more than one Redis can serve.
    pub connections: usize,

    /// Commands on their way on one connection; each command of a pipeline counts. Callers beyond it
    /// wait in line, in the order in which they came. A transaction that has more commands than this is
    /// sent when nothing else is on its way. Defaults to 4 096.
    pub max_in_flight: usize,

    /// Bytes that callers have handed in for one connection and that are not yet written to its socket.
    /// Callers beyond it wait in line. The last request that is let in may exceed it. Defaults to 4 MiB.
    pub max_pending_bytes: usize,
}

impl Default for MultiplexedLimits {
    fn default() -> Self {
        Self {
            connections: 1,
            max_in_flight: 4096,
            max_pending_bytes: 4 << 20,
        }
    }
}

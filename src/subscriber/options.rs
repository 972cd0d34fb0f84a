//! How a subscriber behaves.

use std::time::Duration;

/// From which node messages come.
///
/// A message that is published on the master reaches the subscribers of its replicas, too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Source {
    /// From the master.
    #[default]
    Master,
    /// From one of the nodes that [`Config::read_from`](crate::Config::read_from) allows: it takes load
    /// off the master, and a message comes a little later.
    ///
    /// A replica that is not in step with its master is left, and a gap is told. A replica that copies
    /// all its master's data anew misses what is published meanwhile. Where that is over before the pool
    /// has asked the replica for its state, which it does every
    /// [`refresh_interval`](crate::Config::refresh_interval), no gap is told.
    ///
    /// Keyspace notifications differ by node: a key that expires is `expired` on the master and `del` on
    /// a replica.
    Reads,
}

/// How a [`Subscriber`](crate::Subscriber) behaves.
///
/// ```no_run
/// # fn example(pool: redis_rw_pool::Pool) {
/// use redis_rw_pool::{Source, SubscriberOptions};
///
/// let mut options = SubscriberOptions::default();
/// options.source = Source::Reads;
/// options.buffer = 100;
/// let updates = pool.subscriber_with(options);
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SubscriberOptions {
    /// From which node messages come. Default: the master.
    pub source: Source,
    /// How many messages may wait for [`next`](crate::Subscriber::next). Default: 1 024.
    ///
    /// When there are as many, the socket is not read any more, so the server keeps further messages for
    /// this client. It gives up a client for which it keeps too much (`client-output-buffer-limit pubsub`
    /// in redis.conf, by default 32 MB, or 8 MB for a minute). Then a gap is told, with
    /// [`GapCause::Overrun`](crate::GapCause::Overrun).
    ///
    /// While a call waits for the server to confirm a subscription, more messages are taken in: the
    /// confirmation stands behind them. 0 is taken for 1.
    pub buffer: usize,
    /// How many bytes of messages may wait for [`next`](crate::Subscriber::next), whichever comes first.
    /// Default: 16 MiB.
    pub buffer_bytes: usize,
    /// When the node was silent for so long, it must answer a `PING`. If it does not within
    /// [`command_timeout`](crate::Config::command_timeout), it is left. Default: 10 s.
    ///
    /// Without it a node that froze, or a network that swallows everything, is noticed only when the
    /// Sentinels replace the master.
    pub ping_interval: Option<Duration>,
}

impl Default for SubscriberOptions {
    fn default() -> Self {
        Self {
            source: Source::Master,
            buffer: 1024,
            buffer_bytes: 16 << 20,
            ping_interval: Some(Duration::from_secs(10)),
        }
    }
}

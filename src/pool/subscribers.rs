//! Pub/sub.

use std::sync::Arc;

use crate::{
    pool::{Inner, Pool},
    subscriber::{
        Subscriber,
        options::{Source, SubscriberOptions},
    },
};

impl Pool {
    /// Receives messages that others publish. It follows the master, and says where messages may be
    /// missing.
    ///
    /// Cheap: it connects when something is subscribed to. [`Subscriber`] has an example, and what is
    /// promised. Messages are published with `pool.writer().publish(…)`.
    pub fn subscriber(&self) -> Subscriber {
        self.subscriber_with(SubscriberOptions::default())
    }

    /// As [`subscriber`](Self::subscriber), with other options.
    pub fn subscriber_with(&self, options: SubscriberOptions) -> Subscriber {
        let connections = &self.inner.connections;
        let role_pool = match options.source {
            Source::Master => connections.write.role_pool(),
            Source::Reads => connections.read.role_pool(),
        };
        let pool: Arc<Inner> = Arc::clone(&self.inner);
        Subscriber::new(role_pool, &self.inner.subscribers, &options, pool)
    }
}

//! Pub/sub that follows the topology, and says where messages may be missing.
//!
//! One task owns the connection and lives on the pool's runtime. It carries out what a pure state machine
//! decides (`course`), and puts notices into a queue, from which the caller takes them.

mod calls;
mod course;
mod dials;
mod early;
mod errors;
mod link;
pub(crate) mod notice;
pub(crate) mod options;
mod presence;
mod queue;
mod sockets;
mod task;

use std::{any::Any, collections::HashSet, fmt, future::poll_fn, sync::Arc};

use bytes::Bytes;
use redis::RedisResult;
use tokio::sync::{mpsc, oneshot};

use crate::{
    node::Node,
    role_pool::RolePool,
    status::subscriber::SubscriberStats,
    subscriber::{
        notice::Notice,
        options::SubscriberOptions,
        presence::Presence,
        queue::Queue,
        task::{Request, Task, Verb},
    },
    util::abort_on_drop::AbortOnDrop,
    wire::pubsub::Subject,
};

/// Receives messages that others publish, and follows the master.
///
/// It has a connection of its own, which does not count towards `max_active`. The connection is made when
/// something is subscribed to first, and closed when the subscriber is dropped.
///
/// ```no_run
/// use redis_rw_pool::{Notice, Pool};
///
/// async fn follow(pool: &Pool) -> redis::RedisResult<()> {
///     let mut updates = pool.subscriber();
///     updates.subscribe(["prices", "orders"]).await?;
///     while let Some(notice) = updates.next().await {
///         match notice {
///             Notice::Message(message) => {
///                 let text: String = message.get()?;
///                 println!("{}: {text}", message.channel().escape_ascii());
///             }
///             // The place to read anew what the messages are about.
///             Notice::Gap(gap) => println!("{gap}"),
///             _ => {}
///         }
///     }
///     Ok(())
/// }
/// ```
///
/// Publish with [`Pool::writer`](crate::Pool::writer): while the master is being replaced that waits, so
/// nothing is published at a master that is about to go.
///
/// # Gaps
///
/// Redis keeps no messages, so what is published while a subscriber has no connection is lost. In a
/// failover that happens to every subscriber: the new master closes the connections of its own, and the
/// old master, where nothing is published any more, keeps its connections open for seconds.
///
/// This one connects to the new master as soon as the pool knows it, and subscribes to everything there
/// before it leaves the old one. Then it gives a [`Notice::Gap`]: what was published before may be missing,
/// and from here on messages are complete again. It does so wherever a message may have been lost: when
/// the connection or the node was lost, when the reader was too slow for the server, when a connection with
/// newer credentials took the place of the old one. **No message is lost without a gap**, except where a
/// server itself loses it (see [`Source::Reads`](crate::Source::Reads)).
///
/// Nothing comes twice from one node. Around a gap the same message may come from the old node and from
/// the new one, if both had it.
///
/// # A slow reader
///
/// Messages wait for [`next`](Self::next) up to the limits in
/// [`SubscriberOptions`](crate::SubscriberOptions). Beyond them the socket is not read, and the server keeps
/// what comes. No message is thrown away here.
///
/// # Life
///
/// A subscriber keeps its pool alive, as a [`Pool`](crate::Pool) does. After
/// [`Pool::close`](crate::Pool::close), and after the pool's runtime has ended, [`next`](Self::next) gives
/// what is here already and then `None`.
#[must_use = "its connection is closed when it is dropped"]
pub struct Subscriber {
    queue: Arc<Queue>,
    handle: SubscriberHandle,
    _task: AbortOnDrop,
    _pool: Arc<dyn Any + Send + Sync>,
}

/// Subscribes and unsubscribes for a [`Subscriber`], from other tasks.
///
/// Cloning is cheap. It does not keep the subscriber alive.
///
/// ```no_run
/// # async fn example(pool: redis_rw_pool::Pool) -> Result<(), Box<dyn std::error::Error>> {
/// let mut updates = pool.subscriber();
/// let handle = updates.handle();
/// tokio::spawn(async move { while let Some(notice) = updates.next().await {} });
/// handle.subscribe(["room:17"]).await?;
/// handle.unsubscribe(["room:17"]).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct SubscriberHandle {
    requests: mpsc::UnboundedSender<Request>,
    role_pool: Arc<RolePool>,
}

impl Subscriber {
    /// `pool` is what it keeps alive.
    pub(crate) fn new(
        role_pool: &Arc<RolePool>,
        stats: &Arc<SubscriberStats>,
        options: &SubscriberOptions,
        pool: Arc<dyn Any + Send + Sync>,
    ) -> Self {
        let queue = Arc::new(Queue::new(options));
        let (requests, received) = mpsc::unbounded_channel();
        let presence = Presence::new(Arc::clone(stats));
        let task = Task::new(
            Arc::clone(role_pool),
            Arc::clone(&queue),
            presence,
            received,
            options,
        );
        Self {
            queue,
            handle: SubscriberHandle {
                requests,
                role_pool: Arc::clone(role_pool),
            },
            _task: AbortOnDrop::spawn_on(&role_pool.runtime, task.run()),
            _pool: pool,
        }
    }

    /// The next message, or where messages may be missing. `None` after
    /// [`Pool::close`](crate::Pool::close), and after the pool's runtime has ended.
    ///
    /// While nothing is subscribed to it waits.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses nothing.
    pub async fn next(&mut self) -> Option<Notice> {
        poll_fn(|cx| self.queue.poll_next(cx)).await
    }

    /// Subscribes to channels, and returns when the server has confirmed all of them: messages that are
    /// published from then on come through [`next`](Self::next).
    ///
    /// Names may have any bytes. A channel that is subscribed to already is left as it is, and no channels
    /// at all are no error. While there is no master, or no node to go to, the call waits, up to the longer
    /// of [`failover_timeout`](crate::Config::failover_timeout) and
    /// [`connect_timeout`](crate::Config::connect_timeout).
    ///
    /// # Errors
    ///
    /// - [`Error::NotSubscribed`](crate::Error::NotSubscribed) if no server has confirmed it in that time.
    ///   The channels **stay wanted**: they are subscribed to as soon as a server takes them;
    /// - the server's `NOPERM`, if our user may not subscribe to one of them. From Redis 7 on a user may
    ///   subscribe to nothing unless its ACL says so (`&prices`, or `&*` for all);
    /// - those of [`Pool::write`](crate::Pool::write) for which waiting is useless: wrong credentials, a
    ///   closed pool.
    ///
    /// After any other error than the first, the call has changed nothing.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped after it was polled, the channels stay wanted.
    pub async fn subscribe(
        &self,
        channels: impl IntoIterator<Item = impl AsRef<[u8]>>,
    ) -> RedisResult<()> {
        self.handle.subscribe(channels).await
    }

    /// Subscribes to all channels whose names match these patterns: `news.*`, `h?llo`, `h[ae]llo`.
    ///
    /// Otherwise as [`subscribe`](Self::subscribe). The ACL must name the pattern itself, or have `&*`.
    ///
    /// # Errors
    ///
    /// As [`subscribe`](Self::subscribe).
    ///
    /// # Cancel safety
    ///
    /// As [`subscribe`](Self::subscribe).
    pub async fn psubscribe(
        &self,
        patterns: impl IntoIterator<Item = impl AsRef<[u8]>>,
    ) -> RedisResult<()> {
        self.handle.psubscribe(patterns).await
    }

    /// Ends the subscriptions to these channels, and returns when the server has confirmed it.
    ///
    /// Messages that had come before are still given by [`next`](Self::next). A channel that was never
    /// subscribed to is no error. No channels at all means none, and not all as in Redis.
    ///
    /// # Errors
    ///
    /// - the server's `NOPERM`, if our user may not use `UNSUBSCRIBE`: then nothing is changed;
    /// - after [`Pool::close`](crate::Pool::close).
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped after it was polled, the subscriptions end all the same.
    pub async fn unsubscribe(
        &self,
        channels: impl IntoIterator<Item = impl AsRef<[u8]>>,
    ) -> RedisResult<()> {
        self.handle.unsubscribe(channels).await
    }

    /// Ends the subscriptions to these patterns. Otherwise as [`unsubscribe`](Self::unsubscribe).
    ///
    /// # Errors
    ///
    /// As [`unsubscribe`](Self::unsubscribe).
    ///
    /// # Cancel safety
    ///
    /// As [`unsubscribe`](Self::unsubscribe).
    pub async fn punsubscribe(
        &self,
        patterns: impl IntoIterator<Item = impl AsRef<[u8]>>,
    ) -> RedisResult<()> {
        self.handle.punsubscribe(patterns).await
    }

    /// For other tasks, which subscribe and unsubscribe while this one waits for messages.
    pub fn handle(&self) -> SubscriberHandle {
        self.handle.clone()
    }

    /// The node that messages come from now. `None` while there is no connection.
    pub fn node(&self) -> Option<Node> {
        self.queue.node()
    }
}

impl SubscriberHandle {
    /// As [`Subscriber::subscribe`].
    ///
    /// # Errors
    ///
    /// As [`Subscriber::subscribe`], and if the subscriber was dropped.
    ///
    /// # Cancel safety
    ///
    /// As [`Subscriber::subscribe`].
    pub async fn subscribe(
        &self,
        channels: impl IntoIterator<Item = impl AsRef<[u8]>>,
    ) -> RedisResult<()> {
        self.ask(Verb::Subscribe, named(channels, Subject::Channel))
            .await
    }

    /// As [`Subscriber::psubscribe`].
    ///
    /// # Errors
    ///
    /// As [`Subscriber::subscribe`], and if the subscriber was dropped.
    ///
    /// # Cancel safety
    ///
    /// As [`Subscriber::subscribe`].
    pub async fn psubscribe(
        &self,
        patterns: impl IntoIterator<Item = impl AsRef<[u8]>>,
    ) -> RedisResult<()> {
        self.ask(Verb::Subscribe, named(patterns, Subject::Pattern))
            .await
    }

    /// As [`Subscriber::unsubscribe`].
    ///
    /// # Errors
    ///
    /// As [`Subscriber::unsubscribe`], and if the subscriber was dropped.
    ///
    /// # Cancel safety
    ///
    /// As [`Subscriber::unsubscribe`].
    pub async fn unsubscribe(
        &self,
        channels: impl IntoIterator<Item = impl AsRef<[u8]>>,
    ) -> RedisResult<()> {
        self.ask(Verb::Unsubscribe, named(channels, Subject::Channel))
            .await
    }

    /// As [`Subscriber::punsubscribe`].
    ///
    /// # Errors
    ///
    /// As [`Subscriber::unsubscribe`], and if the subscriber was dropped.
    ///
    /// # Cancel safety
    ///
    /// As [`Subscriber::unsubscribe`].
    pub async fn punsubscribe(
        &self,
        patterns: impl IntoIterator<Item = impl AsRef<[u8]>>,
    ) -> RedisResult<()> {
        self.ask(Verb::Unsubscribe, named(patterns, Subject::Pattern))
            .await
    }

    async fn ask(&self, verb: Verb, subjects: Vec<Subject>) -> RedisResult<()> {
        if self.role_pool.is_closed() {
            return Err(self.role_pool.ending().into());
        }
        let (answer, answered) = oneshot::channel();
        let request = Request {
            verb,
            subjects,
            answer,
        };
        if self.requests.send(request).is_ok()
            && let Ok(answer) = answered.await
        {
            return answer;
        }
        // The task has ended.
        Err(if self.role_pool.is_closed() {
            self.role_pool.ending().into()
        } else {
            errors::dropped()
        })
    }
}

/// Each name once.
fn named(
    names: impl IntoIterator<Item = impl AsRef<[u8]>>,
    subject: fn(Bytes) -> Subject,
) -> Vec<Subject> {
    let mut seen = HashSet::new();
    names
        .into_iter()
        .map(|name| subject(Bytes::copy_from_slice(name.as_ref())))
        .filter(|subject| seen.insert(subject.clone()))
        .collect()
}

/// The same as [`next`](Subscriber::next). Ends after [`Pool::close`](crate::Pool::close).
#[cfg(feature = "stream")]
impl futures_core::Stream for Subscriber {
    type Item = Notice;

    fn poll_next(
        self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Notice>> {
        self.queue.poll_next(cx)
    }
}

impl fmt::Debug for Subscriber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscriber")
            .field("node", &self.node().map(|node| node.to_string()))
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for SubscriberHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SubscriberHandle").finish_non_exhaustive()
    }
}

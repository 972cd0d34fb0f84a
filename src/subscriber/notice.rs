//! What a subscriber gets: messages, and where some may be missing.

use std::{fmt, time::Duration};

use redis::{FromRedisValue, RedisResult, Value};

use crate::{node::Node, util::escape::escape};

/// What [`Subscriber::next`](crate::Subscriber::next) gives.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Notice {
    /// Somebody published a message.
    Message(Message),
    /// Messages may be missing here.
    Gap(Gap),
}

/// A message that somebody published.
#[derive(Clone, PartialEq, Eq)]
pub struct Message {
    channel: Vec<u8>,
    pattern: Option<Vec<u8>>,
    payload: Vec<u8>,
    node: Node,
}

impl Message {
    pub(crate) fn new(
        channel: Vec<u8>,
        pattern: Option<Vec<u8>>,
        payload: Vec<u8>,
        node: Node,
    ) -> Self {
        Self {
            channel,
            pattern,
            payload,
            node,
        }
    }

    /// The channel on which it was published.
    pub fn channel(&self) -> &[u8] {
        &self.channel
    }

    /// The pattern that the channel matches, if that was subscribed to. A message on a channel that is
    /// subscribed to by its name and by a pattern comes once for each.
    pub fn pattern(&self) -> Option<&[u8]> {
        self.pattern.as_deref()
    }

    /// What was published.
    pub fn payload(&self) -> &[u8] {
        &self.payload
    }

    /// What was published, as the redis crate reads a value: `message.get::<String>()`.
    ///
    /// # Errors
    ///
    /// If the payload is no such value.
    pub fn get<T: FromRedisValue>(&self) -> RedisResult<T> {
        let value = Value::BulkString(self.payload.clone());
        Ok(redis::from_redis_value(value)?)
    }

    /// The node that it came from.
    pub fn node(&self) -> &Node {
        &self.node
    }

    /// How many bytes it holds.
    pub(crate) fn len(&self) -> usize {
        let pattern = self.pattern.as_ref().map_or(0, Vec::len);
        self.channel.len() + pattern + self.payload.len()
    }
}

impl fmt::Debug for Message {
    /// Without the payload, which may be a secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Message")
            .field("channel", &escape(&self.channel))
            .field("pattern", &self.pattern.as_deref().map(escape))
            .field("payload", &format_args!("{} bytes", self.payload.len()))
            .field("node", &format_args!("{}", self.node))
            .finish()
    }
}

/// Messages may be missing here. From here on they are complete again.
///
/// It is told when the node at [`to`](Self::to) has confirmed every subscription, and before the first
/// message from there. So whoever now reads anew the state that the messages are about misses nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Gap {
    /// The node that messages came from before.
    pub from: Option<Node>,
    /// The node that they come from now.
    pub to: Node,
    /// What was published in this last span of time may be missing.
    pub since: Duration,
    /// How it came to this. Where several things happened, the first.
    pub why: GapCause,
    /// What the node at [`to`](Self::to) does not let us subscribe to, although another did: its ACL
    /// differs. It is asked again at every ping, and another gap is told when it lets us. Empty when all
    /// is well.
    pub refused: Vec<Refusal>,
}

impl fmt::Display for Gap {
    /// One sentence, for a log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "messages of the last {:.1?} may be missing: {}; they come from {} now",
            self.since, self.why, self.to
        )?;
        for refusal in &self.refused {
            write!(f, "; {refusal}")?;
        }
        Ok(())
    }
}

/// What a node does not let us subscribe to.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Refusal {
    /// The name of the channel, or the pattern.
    pub name: Vec<u8>,
    /// Whether it is a pattern.
    pub is_pattern: bool,
    /// What the node said.
    pub error: String,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = if self.is_pattern {
            "pattern"
        } else {
            "channel"
        };
        let name = escape(&self.name);
        write!(f, "{kind} {name:?} is refused there: {}", self.error)
    }
}

/// Why messages may be missing.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum GapCause {
    /// Another node became the master.
    MasterChanged,
    /// The connection was lost, for this reason.
    ConnectionLost(String),
    /// The node did not answer in time.
    Silent,
    /// Newer credentials or certificates came into use, so another connection took the place of the old
    /// one.
    Retired,
    /// The server gave the connection up while messages were not read: too many waited for
    /// [`next`](crate::Subscriber::next). See [`SubscriberOptions::buffer`](crate::SubscriberOptions::buffer).
    Overrun,
    /// Reads may not go to the node any more: it is not in step with its master, for instance. Only with
    /// [`Source::Reads`](crate::Source::Reads).
    NodeLeft,
    /// The node did not let us subscribe to something, and does now.
    Refused,
}

impl GapCause {
    /// Its name in lower snake case, for a metric's label or a log: `master_changed`, `silent`, …
    ///
    /// Names are stable: a minor release adds names for new causes and changes none.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::MasterChanged => "master_changed",
            Self::ConnectionLost(_) => "connection_lost",
            Self::Silent => "silent",
            Self::Retired => "retired",
            Self::Overrun => "overrun",
            Self::NodeLeft => "node_left",
            Self::Refused => "refused",
        }
    }
}

impl fmt::Display for GapCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::MasterChanged => f.write_str("the master changed"),
            Self::ConnectionLost(why) => write!(f, "the connection was lost: {why}"),
            Self::Silent => f.write_str("the node did not answer"),
            Self::Retired => f.write_str("newer credentials or certificates are in use"),
            Self::Overrun => f.write_str(
                "the reader was too slow, so the server closed the connection (client-output-buffer-limit)",
            ),
            Self::NodeLeft => f.write_str("the node may not be read from any more"),
            Self::Refused => f.write_str("the node did not let us subscribe before"),
        }
    }
}

#[cfg(test)]
mod tests;

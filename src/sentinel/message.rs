//! How the tasks that talk to Sentinels report.

use redis::RedisError;

use crate::{
    error,
    node::Node,
    sentinel::{
        answer::Answer,
        event::Event,
        refused::{Refused, is_about_the_command},
    },
};

/// What reaches the refresh task from the tasks that talk to Sentinels. `link` is the address that
/// they use; which Sentinel it leads to may differ from connection to connection.
#[derive(Debug)]
pub(crate) enum Message {
    /// A Sentinel answered, or could not be asked.
    Answer {
        link: Node,
        /// The refresh that the question belonged to.
        round: u64,
        answer: Result<Box<Answer>, Silence>,
    },
    /// A Sentinel published something about our master.
    Event {
        link: Node,
        /// The id of the Sentinel.
        id: Option<String>,
        event: Event,
    },
    /// The events of a Sentinel are heard from now on; earlier ones may have been missed.
    Subscribed {
        link: Node,
        id: Option<String>,
        /// Whether it keeps some channels from us.
        refused: Option<Refused>,
    },
    /// No events are heard by way of this address.
    Unsubscribed { link: Node, why: Silence },
}

/// Why a Sentinel cannot be asked, or not be listened to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Silence {
    pub(crate) text: String,
    pub(crate) reason: Reason,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reason {
    /// It cannot be reached, or makes no sense.
    Fault,
    /// It does not let us in.
    TurnedAway,
    /// The user may not run the command.
    Forbidden,
}

impl Silence {
    /// For a list that names the Sentinel already.
    pub(crate) fn new(error: &RedisError, address: &Node) -> Self {
        let text = error.to_string();
        let prefix = format!("Sentinel {address}: ");
        let reason = if is_about_the_command(error) {
            Reason::Forbidden
        } else if error::is_refusal(error) {
            Reason::TurnedAway
        } else {
            Reason::Fault
        };
        Self {
            text: match text.strip_prefix(&prefix) {
                Some(text) => text.to_owned(),
                None => text,
            },
            reason,
        }
    }

    /// Whether asking again would only repeat it.
    pub(crate) fn is_refusal(&self) -> bool {
        self.reason != Reason::Fault
    }

    /// What is refused, if it is not a mere fault: this command, or all of them.
    pub(crate) fn refused(&self, command: &'static str) -> Option<Refused> {
        let command = match self.reason {
            Reason::Fault => return None,
            Reason::TurnedAway => "AUTH",
            Reason::Forbidden => command,
        };
        let error = self.text.clone();
        Some(Refused { command, error })
    }
}

//! What the tasks that talk to Sentinels send to the refresh task.

use std::sync::Arc;

use redis::RedisError;

use crate::{
    error::{self, failure::is_tls_refusal},
    node::Node,
    sentinel::{
        answer::Answer,
        event::Event,
        refused::{Refused, is_about_the_command},
    },
};

/// `name` is the address that the task uses, as it was configured or announced. Which Sentinel it
/// leads to may differ from connection to connection.
#[derive(Debug)]
pub(crate) enum Message {
    /// A Sentinel answered, or could not be asked.
    Answer {
        name: Node,
        /// The refresh that the question belonged to.
        round: u64,
        answer: Result<Arc<Answer>, SentinelError>,
    },
    /// A Sentinel published something about our master.
    Event {
        name: Node,
        /// The id of the Sentinel.
        id: Option<String>,
        event: Event,
    },
    /// The events of a Sentinel arrive from now on; earlier ones may have been missed.
    Subscribed {
        name: Node,
        id: Option<String>,
        /// The channels that it refuses.
        refused: Option<Refused>,
    },
    /// No events arrive by this address any more.
    Unsubscribed { name: Node, why: SentinelError },
}

/// Why a Sentinel cannot be asked, or cannot be listened to.
#[derive(Debug)]
pub(crate) struct SentinelError {
    pub(crate) text: String,
    pub(crate) cause: FailureKind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FailureKind {
    /// It cannot be reached, or its answer makes no sense.
    Broken,
    /// It does not let us in.
    TurnedAway,
    /// The user may not run the command.
    Forbidden,
}

impl SentinelError {
    /// The text leaves out the address, for a list that names the Sentinel already.
    pub(crate) fn new(error: &RedisError, address: &Node) -> Self {
        let text = error.to_string();
        let prefix = format!("Sentinel {address}: ");
        let cause = if is_about_the_command(error) {
            FailureKind::Forbidden
        } else if error::is_refusal(error) && !is_tls_refusal(error) {
            FailureKind::TurnedAway
        } else {
            FailureKind::Broken
        };
        let text = text.strip_prefix(&prefix).unwrap_or(&text);
        Self {
            text: if knows_no_sentinel_command(error) {
                format!(
                    "this is not a Sentinel, perhaps a data node; data nodes belong in a list of nodes \
                     (redis://…, Config::nodes): {text}"
                )
            } else {
                text.to_owned()
            },
            cause,
        }
    }

    /// Whether it would say the same when asked again.
    pub(crate) fn is_refusal(&self) -> bool {
        self.cause != FailureKind::Broken
    }

    /// What is refused, if anything is: this command, or all of them.
    pub(crate) fn refused(&self, command: &'static str) -> Option<Refused> {
        let command = match self.cause {
            FailureKind::Broken => return None,
            FailureKind::TurnedAway => "AUTH",
            FailureKind::Forbidden => command,
        };
        let error = self.text.clone();
        Some(Refused { command, error })
    }
}

/// Whether the server does not know `SENTINEL` at all. That a Sentinel does not know one of its
/// subcommands is another error.
fn knows_no_sentinel_command(error: &RedisError) -> bool {
    let detail = error.detail().unwrap_or_default().to_ascii_lowercase();
    let name = detail.split_once("unknown command").map(|(_, name)| name);
    name.is_some_and(|name| {
        name.trim_start()
            .trim_start_matches(['\'', '`', '"'])
            .starts_with("sentinel")
    })
}

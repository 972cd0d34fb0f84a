//! The Sentinels: what they are asked, what they answer, what they publish.

pub(crate) mod address;
pub(crate) mod client;
pub(crate) mod event;
pub(crate) mod flags;
pub(crate) mod listener;
pub(crate) mod reply;

use crate::node::Node;

/// What reaches the refresh task from the tasks that talk to Sentinels.
#[derive(Debug)]
pub(crate) enum Message {
    /// A Sentinel answered, or could not be asked.
    Answer {
        sentinel: Node,
        /// The look that the question belonged to.
        look: u64,
        answer: Result<Box<client::Answer>, String>,
    },
    /// A Sentinel published something about our master.
    Event { sentinel: Node, event: event::Event },
    /// The events of a Sentinel are heard from now on; earlier ones may have been missed.
    Subscribed,
}

//! How the tasks that talk to Sentinels report.

use super::{answer::Answer, event::Event};
use crate::node::Node;

/// What reaches the refresh task from the tasks that talk to Sentinels.
#[derive(Debug)]
pub(crate) enum Message {
    /// A Sentinel answered, or could not be asked.
    Answer {
        sentinel: Node,
        /// The look that the question belonged to.
        look: u64,
        answer: Result<Box<Answer>, String>,
    },
    /// A Sentinel published something about our master.
    Event { sentinel: Node, event: Event },
    /// The events of a Sentinel are heard from now on; earlier ones may have been missed.
    Subscribed,
}

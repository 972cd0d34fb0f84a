//! How questions get to a node.

use std::{pin::Pin, sync::Arc};

use redis::RedisResult;
use tokio::time::Instant;

use crate::{node::Node, topology::Target, wire::position_question::Answer};

/// An answer, and whom it came from.
pub(crate) type Asking = Pin<Box<dyn Future<Output = RedisResult<(Answer, Target)>> + Send>>;

/// Gets questions to nodes, over connections that are there anyway. So that this part need not know of
/// connections.
pub(crate) trait Line: Send + Sync {
    /// Asks this node over one of the connections to read from, or the master over one to write to. Waits
    /// for a connection to the master as a command does, until then.
    fn ask(self: Arc<Self>, node: Option<Node>, until: Instant) -> Asking;

    /// The nodes to which there is a connection to read from, each once.
    fn nodes(&self) -> Vec<Target>;
}

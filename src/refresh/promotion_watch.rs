//! Waits for one node to become a master, by asking it again and again.

use std::{sync::Arc, time::Duration};

use redis::cmd;
use tokio::time::Instant;

use crate::{
    config::Config,
    node::{Node, Role},
    refresh::{
        decide::node_report::NodeReport,
        probe::{Identity, Probed, Reason},
    },
    wire::{
        connection::WireConnection,
        handshake,
        role::{self, RoleReply},
    },
};

/// The pause between two questions: the first, and the longest.
const SHORTEST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_millis(250);
/// A pause is a twentieth of the time waited so far.
const SHARE_OF_WAIT: u32 = 20;

#[derive(Debug)]
pub(super) struct PromotionWatch {
    config: Arc<Config>,
    node: Node,
    /// The connection over which it answered last. It is kept because many clients may wait for the
    /// same node, and all of them dial it as soon as it is a master.
    conn: Option<WireConnection>,
}

/// What the node says when it is asked.
enum Answer {
    Master,
    Other,
    /// A connection over which it answered before was closed.
    Closed,
}

impl PromotionWatch {
    pub(super) fn new(config: Arc<Config>, node: Node) -> Self {
        Self {
            config,
            node,
            conn: None,
        }
    }

    pub(super) async fn until_promoted(mut self) -> Probed {
        let began = Instant::now();
        loop {
            match self.ask().await {
                Answer::Master => break,
                // The promotion itself closes connections, so ask again without a pause.
                Answer::Closed => continue,
                Answer::Other => {}
            }
            let pause = began.elapsed() / SHARE_OF_WAIT;
            tokio::time::sleep(pause.clamp(SHORTEST_PAUSE, LONGEST_PAUSE)).await;
        }
        Probed {
            node: self.node,
            report: NodeReport::Master,
            identity: Identity::default(),
            round_trip: None,
            offset: None,
            has_replicas: false,
            refusal: None,
            reason: Reason::Awaited,
        }
    }

    async fn ask(&mut self) -> Answer {
        let deadline = Instant::now() + self.config.connect_timeout;
        let Some(mut conn) = self.conn.take() else {
            return self.ask_anew(deadline).await;
        };
        match conn.exchange(&[cmd("ROLE")], deadline).await.as_deref() {
            Ok([reply]) => match role::parse(reply) {
                Ok(RoleReply::Master { .. }) => return Answer::Master,
                Ok(_) => self.conn = Some(conn),
                Err(_) => {}
            },
            _ => return Answer::Closed,
        }
        Answer::Other
    }

    async fn ask_anew(&mut self, deadline: Instant) -> Answer {
        let connected = handshake::connect(&self.config, &self.node, Role::Replica, deadline).await;
        if let Ok((conn, greeting)) = connected {
            if greeting.role == Some(Role::Master) {
                return Answer::Master;
            }
            // A node that tells its role only in the greeting needs a new connection each time.
            self.conn = greeting.detail.is_some().then_some(conn);
        }
        Answer::Other
    }
}

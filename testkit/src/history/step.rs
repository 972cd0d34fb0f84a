//! The proof that the replicas have what was acknowledged.

use std::time::{Duration, Instant};

use super::{Event, History};
use crate::client::Reply;
use crate::deployment::Deployment;
use crate::server::Server;

const ATTEMPT: &str = "1500";

impl History {
    /// Waits until the replicas hold everything that was acknowledged before this call, takes that
    /// down and returns the master. Blocks.
    ///
    /// A replica that has just copied everything gets no more before its first report, up to a
    /// second later, and what is written meanwhile is its master's alone; a failover at that moment
    /// loses what no client could save.
    pub fn in_step<'a>(&self, deployment: &'a Deployment, timeout: Duration) -> &'a Server {
        let server = deployment.master();
        let replicas = i64::try_from(deployment.replicas().len()).unwrap_or(i64::MAX);
        let deadline = Instant::now() + timeout;
        loop {
            let at = self.now();
            // Only a connection that has written something waits for it.
            let answer = server.connect().and_then(|mut client| {
                client.call(&["SET", "in-step", "?"])?;
                client.call(&["WAIT", &replicas.to_string(), ATTEMPT])
            });
            if matches!(answer, Ok(Reply::Int(count)) if count >= replicas) {
                let master = server.port();
                self.note_at(at, Event::InStep { master });
                return server;
            }
            assert!(
                Instant::now() < deadline,
                "the replicas are not in step: {answer:?}\n{}",
                deployment.describe()
            );
        }
    }
}

//! Subscriptions over one connection: their confirmations, and messages that nobody asked for.

use std::future::poll_fn;

use redis::{Cmd, PushKind, RedisResult, Value};
use tokio::time::Instant;

use crate::wire::connection::{State, WireConnection, is_error};

impl WireConnection {
    /// Reads the confirmations that subscriptions ended: `count` of them, or one error in place of all.
    /// Returns the last.
    pub(super) async fn confirmations(
        &mut self,
        count: usize,
        deadline: Option<Instant>,
    ) -> RedisResult<Value> {
        let mut left = count;
        loop {
            let reply = self.receive(true, deadline).await?;
            if is_other_push(&reply) {
                continue;
            }
            left -= 1;
            if left == 0 || is_error(&reply) {
                return Ok(reply);
            }
        }
    }

    /// Sends the pool's own commands, whose replies come as [`message`](Self::message)s.
    pub(crate) async fn send(&mut self, cmds: &[Cmd]) -> RedisResult<()> {
        self.ensure_open()?;
        let out = self.begin(self.session);
        for cmd in cmds {
            cmd.write_packed_command(out);
        }
        self.flush().await.map(drop)
    }

    /// Waits for what the server sends by itself on a subscribed connection. `None` when nothing came
    /// until the deadline; the connection stays usable.
    pub(crate) async fn message(&mut self, deadline: Instant) -> RedisResult<Option<Value>> {
        self.ensure_open()?;
        let next = poll_fn(|cx| self.poll_reply(cx, true));
        match tokio::time::timeout_at(deadline, next).await {
            Ok(Ok(value)) => Ok(Some(value)),
            Ok(Err(cause)) => Err(self.fail(cause)),
            Err(_) => Ok(None),
        }
    }

    /// Waits until the server closes the connection, or sends a reply that nobody asked for.
    pub(crate) async fn closed(&mut self) {
        while let Ok(Value::Push { .. }) = poll_fn(|cx| self.poll_reply(cx, true)).await {}
        self.state = State::Broken;
    }
}

/// Whether it is a push that confirms no end of a subscription, such as that a key was changed.
fn is_other_push(reply: &Value) -> bool {
    use PushKind::{PUnsubscribe, SUnsubscribe, Unsubscribe};
    matches!(reply, Value::Push { kind, .. } if !matches!(kind, Unsubscribe | PUnsubscribe | SUnsubscribe))
}

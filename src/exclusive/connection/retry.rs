//! Sends a command again whose first attempt did not simply succeed: carries out what
//! [`retry::next_step`] says.

use std::sync::Arc;

use redis::RedisResult;
use tokio::time::Instant;

use crate::{
    error::{
        Error,
        failure::{Cause, Failure},
    },
    exclusive::connection::{Connection, lease::Wait},
    retry::{
        self, Facts, NextStep, Spent, attempt::AttemptEnd, backoff::Backoff, request::Request,
    },
    topology::admission::Admission,
    wire::command::affinity::Affinity,
};

impl Connection {
    /// Sends the request again as long as that is sure to do no harm and there is time.
    pub(super) async fn retry<R: Request>(
        &mut self,
        request: R,
        mut result: RedisResult<R::Reply>,
    ) -> RedisResult<R::Reply> {
        let role_pool = Arc::clone(self.entry().role_pool());
        let mut wait = self.wait();
        // A lost read keeps the deadline of the attempt that was lost, unless only the master may
        // serve it.
        let mut read_deadline = None;
        let mut backoff = None;
        let (mut losses, mut refused) = (0, false);
        loop {
            self.report(request, &result);
            let attempt = AttemptEnd::of(request, &result, self.role());
            if refused && attempt == AttemptEnd::Settled && result.is_ok() {
                role_pool.refusals.served(&self.entry().target.node);
            }
            refused |= attempt == AttemptEnd::Refused;
            losses += u32::from(attempt == AttemptEnd::Lost);
            if attempt == AttemptEnd::Lost && !role_pool.needs_master() {
                read_deadline = read_deadline.or_else(|| self.entry_mut().wire().deadline());
                wait.until = read_deadline.map_or(wait.until, |at| at.min(wait.until));
            }
            let is_over = Instant::now() >= wait.until;
            let facts = self.facts(request);
            let ready = match retry::next_step(attempt, facts, Spent { losses, is_over }) {
                NextStep::Return => return result,
                NextStep::WaitForNode => self.wait_for_node(request.affinity(), wait).await,
                NextStep::TakeAnother => {
                    let backoff = backoff.get_or_insert_with(|| Backoff::after(attempt));
                    self.take_another(request.affinity(), attempt, backoff, wait)
                        .await
                }
            };
            match ready {
                Ok(()) => {}
                Err(error) if attempt == AttemptEnd::NotWritten => return Err(error),
                // What the server said tells more than that there was no other connection.
                Err(_) => return result,
            }
            // The outcome is known now. It would be unknown if time ran out during another attempt.
            if attempt != AttemptEnd::NotWritten && Instant::now() >= wait.until {
                return result;
            }
            let node = &self.entry().target.node;
            retry::log_retry(request, attempt, losses, role_pool.name, node);
            role_pool.stats.commands.resent();
            self.again = self.again.saturating_add(1);
            result = self.send_until(request, read_deadline).await;
            if let Ok(reply) = &result {
                self.entry().answered(request.count(reply));
            }
        }
    }

    fn facts<R: Request>(&mut self, request: R) -> Facts {
        let is_repeatable = self.entry_mut().wire().is_repeatable();
        Facts {
            is_read: request.is_read(),
            is_bound: !is_repeatable || request.affinity() == Affinity::Connection,
            is_retired: self.entry().retired_at().is_some(),
        }
    }

    /// Waits until the node that refused may be tried again, or another one can serve. The connection
    /// stays: any other would only lead to the same node.
    async fn wait_for_node(&mut self, affinity: Affinity, wait: Wait) -> RedisResult<()> {
        let role_pool = Arc::clone(self.entry().role_pool());
        let node = self.node();
        let mut changes = role_pool.topology.subscribe();
        while self.entry_mut().admission() == Admission::Open && !role_pool.has_alternative(&node) {
            tokio::select! {
                () = role_pool.refusals.turn(&node) => break,
                () = tokio::time::sleep_until(wait.until) => break,
                changed = changes.changed() => if changed.is_err() { break },
                () = role_pool.closing() => return Err(Error::Closed.into()),
            }
        }
        self.wait_until_usable(affinity, wait).await
    }

    /// Takes another connection, and pauses before using it if it may fail for the same reason.
    async fn take_another(
        &mut self,
        affinity: Affinity,
        attempt: AttemptEnd,
        backoff: &mut Backoff,
        wait: Wait,
    ) -> RedisResult<()> {
        let role_pool = Arc::clone(self.entry().role_pool());
        let before = self.node();
        let mut changes = role_pool.topology.subscribe();
        changes.mark_unchanged();
        if attempt != AttemptEnd::NotWritten {
            role_pool.node_table.shun(&before);
        }
        self.replace_connection(affinity, wait).await?;
        let pause = backoff.next(self.entry().target.node == before);
        if !pause.is_zero() {
            let until = Instant::now() + pause;
            tokio::select! {
                () = tokio::time::sleep_until(until.min(wait.until)) => {}
                _ = changes.changed() => {}
                () = role_pool.closing() => return Err(role_pool.ending().into()),
            }
        }
        self.wait_until_usable(affinity, wait).await
    }

    async fn send_until<R: Request>(
        &mut self,
        request: R,
        deadline: Option<Instant>,
    ) -> RedisResult<R::Reply> {
        let wire = self.entry_mut().wire();
        let Some(deadline) = deadline else {
            return request.over(wire).await;
        };
        match tokio::time::timeout_at(deadline, request.over(wire)).await {
            Ok(result) => result,
            Err(_) => Err(self.entry_mut().wire().expire()),
        }
    }

    /// Asks for a probe of the node if its reply, or its silence, leaves its role uncertain.
    fn report<R: Request>(&mut self, request: R, result: &RedisResult<R::Reply>) {
        let entry = self.entry_mut();
        let target = entry.target.clone();
        match result {
            Ok(reply) => {
                let class = request.class(reply);
                let role_pool = entry.role_pool();
                role_pool.report(class, &target);
                let has_alternative = || role_pool.has_alternative(&target.node);
                if class.retires_exclusive(target.role, has_alternative) {
                    entry.retire();
                }
            }
            Err(error) => {
                let topology = &entry.role_pool().topology;
                match Failure::of(error).map(|failure| &failure.cause) {
                    None | Some(Cause::Unusable) => {}
                    Some(Cause::Timeout(within)) => topology.exclude_silent(&target.node, *within),
                    Some(_) => topology.suspect(&target.node),
                }
            }
        }
    }
}

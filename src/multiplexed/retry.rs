//! Sends a command again that found no connection, or whose first attempt did not simply succeed:
//! carries out what [`retry::next_step`] says.

use std::{sync::Arc, time::Duration};

use redis::{RedisError, RedisResult};
use tokio::time::Instant;

use crate::{
    error::failure::{Cause, Failure, Fate, Peer},
    freshness::reading::Route,
    multiplexed::{Multiplexed, connections::SharedConnection, retry_budget::RetryBudget},
    retry::{
        self, Facts, NextStep, Spent,
        attempt::AttemptEnd,
        request::{Askable, Request},
    },
    wire::{
        mux::MuxError,
        position_question::{Placed, Want},
    },
};

/// How an attempt over one connection ended.
pub(super) struct Tried<R> {
    pub(super) connection: Arc<SharedConnection>,
    pub(super) outcome: Result<Placed<R>, MuxError>,
}

/// A reply, and the connection that it came over.
pub(super) struct Served<R> {
    pub(super) connection: Arc<SharedConnection>,
    pub(super) placed: Placed<R>,
}

impl Multiplexed {
    /// Sends the request over one connection after the other, as long as that is sure to do no harm and
    /// there is time.
    pub(super) async fn retry<R: Askable>(
        &mut self,
        request: R,
        first: Option<Tried<R::Reply>>,
    ) -> RedisResult<R::Reply> {
        let served = self
            .retry_on(request, first, Want::NOTHING, Route::Any)
            .await?;
        Ok(served.placed.reply)
    }

    /// As [`retry`](Self::retry), with questions around the request, and a say in where it goes.
    pub(super) async fn retry_on<R: Askable>(
        &mut self,
        request: R,
        first: Option<Tried<R::Reply>>,
        want: Want,
        route: Route<'_>,
    ) -> RedisResult<Served<R::Reply>> {
        let role_pool = Arc::clone(self.role_pool());
        let mut budget = RetryBudget::default();
        // What the caller gets when time is up: the last reply, or the last loss.
        let mut last = None;
        let mut tried = first;
        loop {
            let mut after = None;
            if let Some(tried) = tried {
                let connection = tried.connection;
                let (attempt, result) = self.judge(request, &connection, tried.outcome);
                let result = result.map(|placed| {
                    let connection = Arc::clone(&connection);
                    placed.map(|placed| Served { connection, placed })
                });
                after = Some(attempt);
                budget.note(attempt);
                last = result.or(last);
                match self.next_step(request, &connection, attempt, &budget, last.is_some()) {
                    NextStep::Return => {
                        let result = last.expect("BUG: the handle returns before it has a result");
                        let served = attempt == AttemptEnd::Settled && result.is_ok();
                        if served && budget.was_refused() {
                            role_pool.refusals.served(&connection.target.node);
                        }
                        return result;
                    }
                    NextStep::WaitForNode => {
                        let until = budget.begin() + self.acquire_timeout(&budget);
                        self.wait_for_node(&connection, until).await;
                    }
                    NextStep::TakeAnother => {}
                }
            }
            let acquire_timeout = self.acquire_timeout(&budget);
            if let Some(result) = last.take_if(|_| budget.is_over(acquire_timeout)) {
                return result;
            }
            let connection = match self.usable(route, &mut budget, acquire_timeout).await {
                Ok(connection) => connection,
                // What the server said tells more than that there was no other connection.
                Err(error) => return last.unwrap_or(Err(error)),
            };
            if let Some(attempt) = after {
                let node = &connection.target.node;
                retry::log_retry(request, attempt, budget.losses(), role_pool.name, node);
                self.stats().resent();
            }
            self.note_attempt(&connection);
            tried = Some(self.send_over(request, connection, want, &mut budget).await);
        }
    }

    async fn send_over<R: Askable>(
        &self,
        request: R,
        connection: Arc<SharedConnection>,
        want: Want,
        budget: &mut RetryBudget,
    ) -> Tried<R::Reply> {
        let role_pool = self.role_pool();
        // A read that was lost shares one deadline with the waits, unless it waits for a master.
        if budget.losses() > 0 && !role_pool.needs_master() {
            budget.count_waits();
        }
        let began = Instant::now();
        let limit = budget.limit(role_pool.config.command_timeout);
        let outcome = request.over_shared(&connection.mux, want, limit).await;
        budget.spend(began.elapsed());
        Tried {
            connection,
            outcome,
        }
    }

    fn next_step<R: Request>(
        &self,
        request: R,
        connection: &SharedConnection,
        attempt: AttemptEnd,
        budget: &RetryBudget,
        has_result: bool,
    ) -> NextStep {
        let facts = Facts {
            is_read: request.is_read(),
            // A command that depends on its connection is refused before it is sent.
            is_bound: false,
            is_retired: connection.mux.is_leaving(),
        };
        let spent = Spent {
            losses: budget.losses(),
            is_over: has_result && budget.is_over(self.acquire_timeout(budget)),
        };
        retry::next_step(attempt, facts, spent)
    }

    /// How an attempt ended, and what the caller gets if it was the last. No result for an attempt
    /// that was not written: the next one will tell more.
    fn judge<R: Request>(
        &self,
        request: R,
        connection: &SharedConnection,
        outcome: Result<Placed<R::Reply>, MuxError>,
    ) -> (AttemptEnd, Option<RedisResult<Placed<R::Reply>>>) {
        match outcome {
            Ok(placed) => {
                let reply = &placed.reply;
                self.connections().report(request.class(reply), connection);
                let attempt = AttemptEnd::answered(request, reply, connection.target.role);
                (attempt, Some(Ok(placed)))
            }
            Err(MuxError::NotWritten) => (AttemptEnd::NotWritten, None),
            Err(MuxError::Failed(cause, fate)) => {
                let attempt = AttemptEnd::failed(&cause, fate);
                (attempt, Some(Err(failure(connection, cause, fate))))
            }
        }
    }

    /// How long the command may wait for connections in all.
    fn acquire_timeout(&self, budget: &RetryBudget) -> Duration {
        let role_pool = self.role_pool();
        match role_pool.config.command_timeout {
            // Other replicas are there now or not at all; the next master is worth waiting for.
            Some(timeout) if budget.losses() > 0 && !role_pool.needs_master() => timeout,
            _ => role_pool.acquire_timeout(),
        }
    }

    /// Waits until the node that refused may be tried again, or another one can serve.
    async fn wait_for_node(&mut self, connection: &SharedConnection, until: Instant) {
        let mut changes = self.connections().subscribe();
        while !connection.mux.is_leaving() && self.serving().is_none() {
            tokio::select! {
                () = self.role_pool().refusals.turn(&connection.target.node) => return,
                () = tokio::time::sleep_until(until) => return,
                changed = changes.changed() => if changed.is_err() {
                    return;
                },
            }
        }
    }

    /// The connection with the least to do, of those whose node does not refuse. Preferred ones first.
    fn serving(&mut self) -> Option<Arc<SharedConnection>> {
        let role_pool = Arc::clone(self.role_pool());
        let set = self.set();
        let serving = |open: &[Arc<SharedConnection>]| {
            let serving = open.iter().filter(|connection| {
                connection.mux.is_open() && !role_pool.refusals.contains(&connection.target.node)
            });
            serving
                .min_by_key(|connection| connection.mux.in_flight())
                .cloned()
        };
        serving(set.near()).or_else(|| serving(&set.open))
    }

    /// A connection that takes commands; waits for one where there is none.
    async fn usable(
        &mut self,
        route: Route<'_>,
        budget: &mut RetryBudget,
        acquire_timeout: Duration,
    ) -> RedisResult<Arc<SharedConnection>> {
        loop {
            if let Some(chosen) = self.choose_on(route) {
                return Ok(match route {
                    Route::Any => self.serving().unwrap_or(chosen),
                    Route::For(_) | Route::Node(_) => chosen,
                });
            }
            let since = budget.begin();
            self.connections().wait(since, acquire_timeout).await?;
        }
    }
}

/// How a command failed that a connection had taken.
pub(super) fn failure(connection: &SharedConnection, cause: Cause, fate: Fate) -> RedisError {
    let failure = Failure {
        peer: Peer::Node(connection.target.role),
        node: connection.target.node.clone(),
        cause,
        fate,
    };
    failure.into()
}

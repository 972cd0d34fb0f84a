//! Commands of a guard whose caller asks for freshness.
//!
//! A write has a question behind it, in the same write to the socket, and its answer goes to whoever asks.
//! A read has one ahead of it. Where its node was behind, the reply is dropped, and the read goes over a
//! connection to another node, which takes this one's place in the pool.

mod carrier;

use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use redis::RedisResult;
use tokio::time::Instant;

use crate::{
    error::{
        failure::Cause,
        outcome::{Outcome, outcome},
    },
    exclusive::connection::{Connection, fresh::carrier::Guard},
    freshness::{
        asks::{Asks, Doubt, Need},
        line::Line,
        reading::{Nodes, Reading},
    },
    multiplexed::SharingPool,
    node::{Node, Role},
    retry::request::{Askable, positioned::Positioned},
    wire::position_question::{Answers, Placed},
};

/// So often a connection may be lost between the proof and `MULTI`.
const MOST_BEGINNINGS: u32 = 3;

/// Who asks, and the pool whose shared connections carry questions to other nodes.
pub(super) struct Ask {
    asks: Arc<dyn Asks>,
    /// A guard does not keep its pool running.
    pool: Weak<dyn SharingPool>,
    /// Where the last read was served, if that was not over the guard's own connection. For a trace.
    pub(super) elsewhere: Mutex<Option<Node>>,
}

/// # Fresh reads
///
/// Over a guard from [`Session::read`](crate::Session::read) or [`Pool::read_with`](crate::Pool::read_with)
/// each read proves what its node had: one question travels ahead of it in the same write. If the node was
/// behind, the reply is dropped. The guard then goes on over a connection to another node, which takes the
/// place of this one in the pool. If no node has it within
/// [`patience`](crate::FreshnessLimits::patience), this one read goes to the master, over the connections
/// behind [`Pool::writer`](crate::Pool::writer). [`FreshnessLimits`](crate::FreshnessLimits) has the times
/// and what else may happen. A pipeline is proven as a whole if all of it only reads.
///
/// A read stays with its node where it would mean something else elsewhere: under `WATCH`, on another
/// database, with a cursor. There it waits until the node has what it must see, at most
/// [`command_timeout`](crate::Config::command_timeout), and fails with
/// [`Error::Stale`](crate::Error::Stale) after that. So does a read that can neither be sent over a shared
/// connection to the master nor over one of this pool.
///
/// Not proven are
///
/// - reads in `MULTI`. What the session needs is proven ahead of `MULTI` instead: the node had it then. An
///   atomic pipeline of reads is proven itself;
/// - reads while something is subscribed to, with `CLIENT REPLY OFF`, and while the server tracks keys for
///   the connection (`CLIENT TRACKING`, `CLIENT CACHING`): no question may come between there;
/// - commands that may write: scripts, `EXEC`, pipelines with any of these. They are sent as ever.
///
/// Over a guard from [`Session::write`](crate::Session::write) each command that may write leaves its
/// position in the session; `EXEC` does it for its transaction. Where no question may come between, and
/// where the outcome is unknown, the session's next read asks the master first.
impl Connection {
    /// Whether the last read over this guard returned what there was because no node had what it must
    /// see: with [`Otherwise::Stale`](crate::Otherwise::Stale) only.
    pub fn last_read_was_stale(&self) -> bool {
        self.was_stale
    }

    /// From now on for somebody who asks for freshness.
    pub(crate) fn asking(mut self, asks: Arc<dyn Asks>, pool: &Arc<dyn SharingPool>) -> Self {
        let pool = Arc::downgrade(pool);
        let elsewhere = Mutex::default();
        self.ask = Some(Arc::new(Ask {
            asks,
            pool,
            elsewhere,
        }));
        self
    }

    /// As [`send`](Self::send), for somebody who asks for freshness.
    pub(super) async fn send_asking<R: Askable>(&mut self, request: R) -> RedisResult<R::Reply> {
        let Some(ask) = self.ask.clone().filter(|_| !self.is_away()) else {
            return self.send(request).await;
        };
        if request.is_read() {
            self.was_stale = false;
            if request.has_reply() && self.is_provable() {
                self.read(request, &ask, false).await
            } else {
                self.send_unproven(request, &*ask.asks).await
            }
        } else if request.is_multi() && self.is_provable() {
            self.begin_transaction(request, &ask).await
        } else {
            self.write(request, &*ask.asks).await
        }
    }

    /// The commands of a transaction cannot be proven one by one, so its node is asked ahead of it.
    async fn begin_transaction<R: Askable>(
        &mut self,
        multi: R,
        ask: &Ask,
    ) -> RedisResult<R::Reply> {
        for _ in 0..MOST_BEGINNINGS {
            if ask.asks.need() == Need::Nothing {
                return self.send(multi).await;
            }
            self.read(&redis::cmd("PING"), ask, true).await?;
            let proven = self.entry().born();
            let reply = self.send(multi).await?;
            if self.entry().born() == proven {
                return Ok(reply);
            }
            // The connection was lost in between.
            self.send(&redis::cmd("DISCARD")).await?;
        }
        Err(self.failure(Cause::Unusable))
    }

    /// Whether a read may have a question ahead of it now, and may need one: the master has everything.
    fn is_provable(&mut self) -> bool {
        let entry = self.entry_mut();
        entry.role_pool().is_read_pool() && (!entry.is_open() || entry.wire().can_be_asked())
    }

    /// `stays` is for a read on behalf of what comes after it over this guard.
    async fn read<R: Askable>(
        &mut self,
        request: R,
        ask: &Ask,
        stays: bool,
    ) -> RedisResult<R::Reply> {
        let role_pool = Arc::clone(self.entry().role_pool());
        let Some(pool) = ask.pool.upgrade() else {
            if ask.asks.need() == Need::Nothing {
                return self.send_unproven(request, &*ask.asks).await;
            }
            return Err(role_pool.ending().into());
        };
        let nodes = Nodes {
            shared: Arc::clone(&role_pool.freshness),
            line: Arc::clone(&pool) as Arc<dyn Line>,
        };
        let deadline = Instant::now() + nodes.shared.question_timeout();
        let until = self.until.map_or(deadline, |until| until.min(deadline));
        let mut carrier = Guard {
            connection: self,
            request,
            pool,
            until,
            stays,
            was_sent: false,
        };
        let read = Reading::new(request, &mut carrier, &*ask.asks, nodes, Some(until)).run();
        let read = read.await?;
        self.was_stale = read.is_stale;
        Ok(read.reply)
    }

    /// Sends a read that nothing is proven of.
    async fn send_unproven<R: Askable>(
        &mut self,
        request: R,
        asks: &dyn Asks,
    ) -> RedisResult<R::Reply> {
        let want = asks.want(true, Role::Master);
        let Placed { reply, answers } = self.send(Positioned { request, want }).await?;
        self.note(&answers);
        asks.settled(&answers, true);
        Ok(reply)
    }

    async fn write<R: Askable>(&mut self, request: R, asks: &dyn Asks) -> RedisResult<R::Reply> {
        if !request.may_write() {
            return self.send(request).await;
        }
        let want = asks.want(false, self.role());
        let doubt = Doubt::new(asks);
        let result = self.send(Positioned { request, want }).await;
        let is_unknown = result
            .as_ref()
            .is_err_and(|error| outcome(error) != Outcome::NotExecuted);
        if !is_unknown {
            doubt.disarm();
        }
        let Placed { reply, answers } = result?;
        self.note(&answers);
        let entry = self.entry_mut();
        let waits_for_exec =
            entry.is_open() && entry.wire().is_queuing() && request.is_queued(&reply);
        if !waits_for_exec && request.has_effect(&reply) {
            asks.settled(&answers, self.is_replica_behind(&answers));
        }
        Ok(reply)
    }

    /// Whether a replica has executed it, where nothing can be written.
    fn is_replica_behind(&self, answers: &Answers) -> bool {
        let behind = answers.behind.as_deref();
        let is_replica = matches!(behind, Some(Ok(report)) if report.role == Role::Replica);
        self.role() == Role::Replica && is_replica
    }

    fn note(&self, answers: &Answers) {
        if *answers == Answers::default() {
            return;
        }
        let target = self.target();
        let shared = &self.entry().role_pool().freshness;
        let hint = shared.node(&target.node);
        shared.note_all(&hint, answers, target);
    }
}

//! Requests of those who ask for freshness.
//!
//! A write is sent as any other, with a question behind it. A read goes to a node that is likely to have
//! what it must see, with a question ahead of it, and its reply is dropped where that node was behind. What
//! may have written is never dropped or sent again.

mod carrier;

use std::sync::Arc;

use redis::RedisResult;
use tokio::time::Instant;

use crate::{
    error::{
        PoolName,
        outcome::{Outcome, outcome},
    },
    freshness::{
        Shared,
        asks::{Asks, Doubt, Need},
        line::Line,
        pursuit,
        reading::{Nodes, Reading, Route},
    },
    multiplexed::{
        Multiplexed, chosen_from,
        connections::{ConnectionSet, SharedConnection, SharedConnections},
        draw,
        fresh::carrier::Handle,
        retry::{Served, Tried},
        two_choices,
    },
    node::{Node, Role},
    position::{hint::Choice, token::Token},
    retry::request::Askable,
    wire::position_question::{Answers, Want},
};

/// What becomes of a reply that was simply answered.
pub(super) enum Accepted {
    Take,
    /// It has to be looked at more closely, with these answers.
    Judge(Answers),
}

impl Multiplexed {
    /// The position that a command is to be sent to, and the questions around it. `None` where more must be
    /// known first, or there is no connection.
    #[inline]
    pub(super) fn begin_asking(&mut self, is_read: bool) -> Option<(usize, Want)> {
        let ask = self.ask.as_ref()?;
        let role = self.role();
        if !is_read || self.name == PoolName::Write {
            let want = ask.want(is_read, role);
            return self.choose().map(|place| (place, want));
        }
        let (want, need) = ask.want_and_need(role);
        let place = match need {
            Need::Nothing => self.choose()?,
            Need::After(token) if self.doubts_any() => self.choose_for(&token, |_| false)?,
            Need::After(_) => self.choose()?,
            Need::Within(_) | Need::AfterAndWithin(..) | Need::Master | Need::MasterNow { .. } => {
                return None;
            }
        };
        Some((place, want))
    }

    /// Whether a node was behind lately, so that it matters where a read goes.
    fn doubts_any(&mut self) -> bool {
        let mut open = self.set().open.iter();
        open.any(|connection| connection.hint.is_doubted())
    }

    /// Takes note of what was answered around a command that was simply answered. `has_effect` is whether
    /// it may have changed anything.
    pub(super) fn accept(&mut self, place: usize, is_read: bool, has_effect: bool) -> Accepted {
        let Some(ask) = self.ask.as_ref() else {
            return Accepted::Take;
        };
        let answers = self.slot.take_answers();
        let connection = chosen_from(self.seen.as_ref(), place);
        let connections = self.pool.shared_connections(self.name);
        let shared = &connections.role_pool().freshness;
        note(shared, connection, &answers);
        let need = if is_read && self.name == PoolName::Read {
            // Whatever the session has written meanwhile, too: a monotonic one may have shown it.
            ask.need()
        } else {
            Need::Nothing
        };
        match need {
            Need::Nothing => {
                if is_read || has_effect {
                    ask.settled(&answers, is_read);
                }
                Accepted::Take
            }
            Need::After(token) if is_fresh(shared, &answers, &token) => {
                connection.hint.met();
                shared.stats.proven.count();
                ask.settled(&answers, true);
                self.was_stale = false;
                Accepted::Take
            }
            _ => Accepted::Judge(answers),
        }
    }

    fn role(&self) -> Role {
        match self.name {
            PoolName::Write => Role::Master,
            PoolName::Read => Role::Replica,
        }
    }

    /// As [`choose`](Self::choose), for a read that must see this, over a node that was not tried.
    fn choose_for(&mut self, token: &Token, was_tried: impl Fn(&Node) -> bool) -> Option<usize> {
        let bits = self.draw();
        let connections = self.pool.shared_connections(self.name);
        let role_pool = connections.role_pool();
        let set = set(&mut self.seen, connections);
        let open = &set.open;
        if open.is_empty() {
            return None;
        }
        let drawn = |count| [draw(bits, count), draw(bits >> 32, count)];
        let timelines = role_pool.freshness.timelines();
        let choice = Choice {
            token,
            timelines: &timelines,
            now: Instant::now(),
            hint: |place: usize| open[place].hint.get(),
            usable: |place: usize| {
                let node = &open[place].target.node;
                open[place].mux.is_open() && !was_tried(node) && !role_pool.refusals.contains(node)
            },
            better: |one: usize, other: usize| {
                let in_flight = |place: usize| open[place].mux.in_flight();
                in_flight(other).cmp(&in_flight(one))
            },
        };
        // Elsewhere only where no preferred node suggests itself.
        let near = set.near().len();
        let preferred = (near > 0).then(|| choice.suggested(near, drawn(near)));
        preferred
            .flatten()
            .or_else(|| choice.among(open.len(), drawn(open.len())))
            .or_else(|| two_choices(open, bits))
    }

    /// The connection for the next attempt of a read.
    pub(super) fn choose_on(&mut self, route: Route<'_>) -> Option<Arc<SharedConnection>> {
        let place = match route {
            Route::Any => self.choose(),
            Route::For(pursuit) => self.choose_for(pursuit.token(), |node| pursuit.has_tried(node)),
            Route::Node(node) => {
                let open = self.set().open.iter();
                let mut open = open.enumerate();
                let of_node = open.find(|(_, connection)| {
                    connection.target.node == *node && connection.mux.is_open()
                });
                of_node.map(|(place, _)| place).or_else(|| self.choose())
            }
        };
        place.map(|place| Arc::clone(self.chosen(place)))
    }

    /// Sends a request for somebody who asks for freshness.
    pub(super) async fn send_asking<R: Askable>(
        &mut self,
        request: R,
        tried: Option<Tried<R::Reply>>,
    ) -> RedisResult<R::Reply> {
        let Some(ask) = self.ask.clone() else {
            return self.retry(request, tried).await;
        };
        if !request.is_read() {
            return self.write(request, tried, &*ask).await;
        }
        if self.name == PoolName::Write {
            let served = self.send_plain(request, tried, &*ask).await?;
            return Ok(served.placed.reply);
        }
        self.read(request, tried, &*ask).await
    }

    /// Sends a read that may have to see something.
    async fn read<R: Askable>(
        &mut self,
        request: R,
        tried: Option<Tried<R::Reply>>,
        ask: &dyn Asks,
    ) -> RedisResult<R::Reply> {
        self.was_stale = false;
        let nodes = Nodes {
            shared: Arc::clone(&self.role_pool().freshness),
            line: Arc::clone(&self.pool) as Arc<dyn Line>,
        };
        let mut carrier = Handle {
            handle: self,
            request,
            tried,
        };
        let read = Reading::new(request, &mut carrier, ask, nodes, None).run();
        let read = read.await?;
        self.was_stale = read.is_stale;
        Ok(read.reply)
    }

    /// Sends what may write.
    async fn write<R: Askable>(
        &mut self,
        request: R,
        tried: Option<Tried<R::Reply>>,
        ask: &dyn Asks,
    ) -> RedisResult<R::Reply> {
        let want = ask.want(false, self.role());
        let doubt = Doubt::new(ask);
        let result = self.retry_on(request, tried, want, Route::Any).await;
        let is_unknown = result
            .as_ref()
            .is_err_and(|error| outcome(error) == Outcome::Unknown);
        if !is_unknown {
            doubt.disarm();
        }
        let served = result?;
        self.note(&served);
        if request.has_effect(&served.placed.reply) {
            ask.settled(&served.placed.answers, false);
        }
        Ok(served.placed.reply)
    }

    /// Sends a read that nothing is asked of.
    async fn send_plain<R: Askable>(
        &mut self,
        request: R,
        tried: Option<Tried<R::Reply>>,
        ask: &dyn Asks,
    ) -> RedisResult<Served<R::Reply>> {
        let want = ask.want(true, self.role());
        let served = self.retry_on(request, tried, want, Route::Any).await?;
        self.note(&served);
        ask.settled(&served.placed.answers, true);
        Ok(served)
    }

    fn note<R>(&self, served: &Served<R>) {
        let shared = &self.role_pool().freshness;
        let answers = &served.placed.answers;
        note(shared, &served.connection, answers);
    }
}

/// The newest set, apart from the handle, of which other parts may be borrowed at the time.
fn set<'a>(
    seen: &'a mut Option<Arc<ConnectionSet>>,
    connections: &SharedConnections,
) -> &'a ConnectionSet {
    let newest = seen.take().filter(|seen| connections.is_newest(seen));
    seen.insert(newest.unwrap_or_else(|| connections.newest()))
}

fn note(shared: &Shared, connection: &SharedConnection, answers: &Answers) {
    shared.note_all(&connection.hint, answers, &connection.target);
}

fn is_fresh(shared: &Shared, answers: &Answers, token: &Token) -> bool {
    let outcome = pursuit::Outcome::of(answers.ahead.as_ref(), token, &shared.timelines());
    outcome == pursuit::Outcome::Fresh
}

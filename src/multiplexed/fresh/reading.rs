//! A read that must have seen something: carries out what [`Pursuit::step`] says.

use std::sync::Arc;

use redis::{RedisError, RedisResult};
use tokio::time::{Instant, sleep_until, timeout_at};

use crate::{
    config::Otherwise,
    error::{Error, PoolName, Reports},
    freshness::{
        Shared,
        asks::{Asks, Need},
        line::Line,
        pursuit::{self, Facts, Pursuit, Reason, Step, Terms},
        refused,
        session_state::SessionState,
        together::{boxed, together},
    },
    multiplexed::{
        Multiplexed,
        retry::{Route, Served, Tried},
    },
    node::{Node, Role},
    position::token::Token,
    retry::request::Request,
    status::freshness::count,
    wire::position_question::{Answers, NoAnswer, Want},
};

/// What a read must see before it is sent.
enum Wanted {
    Nothing,
    /// What the master has, whatever that is.
    Master,
    Token(Token),
}

/// A read that must see something, on its way from node to node.
pub(super) struct Reading<'a> {
    handle: &'a mut Multiplexed,
    ask: &'a dyn Asks,
    shared: Arc<Shared>,
    line: Arc<dyn Line>,
    terms: Terms,
}

impl<'a> Reading<'a> {
    pub(super) fn new(handle: &'a mut Multiplexed, ask: &'a dyn Asks) -> Self {
        let config = Arc::clone(&handle.role_pool().config);
        let shared = Arc::clone(&handle.role_pool().freshness);
        let line: Arc<dyn Line> = Arc::clone(&handle.pool) as Arc<dyn Line>;
        let began = Instant::now();
        let limit = config.command_timeout.unwrap_or(config.failover_timeout);
        Self {
            handle,
            ask,
            shared,
            line,
            terms: Terms {
                limits: config.freshness,
                read_from: config.read_from,
                began,
                deadline: began + limit,
            },
        }
    }

    pub(super) async fn run<R: Request>(
        mut self,
        request: R,
        tried: Option<Tried<R::Reply>>,
    ) -> RedisResult<R::Reply> {
        self.handle.was_stale = false;
        let token = match self.wanted().await {
            Ok(Wanted::Token(token)) => token,
            Ok(Wanted::Nothing) => {
                let served = self.handle.send_plain(request, tried, self.ask).await?;
                return Ok(served.placed.reply);
            }
            Ok(Wanted::Master) => {
                let served = self.at_master(request, Want::NOTHING).await?;
                return Ok(served.placed.reply);
            }
            Err(error) if self.takes_stale(&error) => {
                let served = self.handle.send_plain(request, tried, self.ask).await?;
                self.tell_stale();
                return Ok(served.placed.reply);
            }
            Err(error) => return Err(error),
        };
        self.pursue(request, tried, token).await
    }

    /// What the read must see.
    async fn wanted(&self) -> RedisResult<Wanted> {
        loop {
            match self.ask.need() {
                Need::Nothing => return Ok(Wanted::Nothing),
                Need::Master => return Ok(Wanted::Master),
                Need::After(token) => return Ok(Wanted::Token(token)),
                Need::Within(age) => {
                    let required = self
                        .shared
                        .required_within(age, &self.line, self.terms.deadline)
                        .await;
                    let token = required.unwrap_or_else(|| Err(self.unheard()))?;
                    return Ok(Wanted::Token(token));
                }
                Need::MasterNow { doubts } => {
                    let asked = self
                        .shared
                        .ask_master(&self.line, self.terms.deadline)
                        .await;
                    let master = asked.unwrap_or_else(|| Err(self.unheard()))?;
                    self.ask.asked(&master, doubts);
                }
            }
        }
    }

    /// Without the master nothing can be proven. What is left of the error of a question is that there was
    /// no master.
    fn unheard(&self) -> RedisError {
        let heard = self.shared.last_heard();
        let what = match heard {
            Some(heard) => format!("last heard {:?} ago", heard.elapsed()),
            None => "not heard".to_owned(),
        };
        let config = &self.handle.role_pool().config;
        let error = Error::NoMaster {
            master_name: config.master_name.clone(),
            waited: self.terms.began.elapsed(),
            reports: [("the master".to_owned(), what)].into_iter().collect(),
        };
        error.into()
    }

    fn takes_stale(&self, error: &RedisError) -> bool {
        let is_refused = matches!(Error::of(error), Some(Error::PositionRefused { .. }));
        self.terms.limits.otherwise == Otherwise::Stale && !is_refused
    }

    fn tell_stale(&mut self) {
        self.handle.was_stale = true;
        count(&self.shared.stats.stale);
    }

    /// From node to node until one has it, or patience and time are over.
    async fn pursue<R: Request>(
        &mut self,
        request: R,
        tried: Option<Tried<R::Reply>>,
        token: Token,
    ) -> RedisResult<R::Reply> {
        let mut pursuit = Pursuit::new(token, self.terms);
        let want = self.ask.want(true, Role::Replica);
        let route = Route::For(&pursuit);
        let mut served = self.handle.retry_on(request, tried, want, route).await?;
        let mut best = None;
        loop {
            // An error that says that nothing was executed shows no data, so there is nothing to prove.
            if request.is_refused(&served.placed.reply)
                && request.class(&served.placed.reply).refuses(served.role())
            {
                return Ok(served.placed.reply);
            }
            self.handle.note(&served);
            let step = self.judge(&mut pursuit, &served);
            let next = self.carry_out(request, &mut pursuit, step, &served).await;
            let next = match next? {
                Next::Judge => continue,
                Next::Take => {
                    self.settle(&pursuit, &served.placed.answers);
                    return Ok(served.placed.reply);
                }
                Next::TakeStale => {
                    self.tell_stale();
                    self.ask.told(pursuit.told());
                    return Ok(better(&self.shared, best, served).placed.reply);
                }
                Next::Served(next) => next,
            };
            count(&self.shared.stats.thrown_away);
            let dropped = std::mem::replace(&mut served, next);
            if self.terms.limits.otherwise == Otherwise::Stale {
                best = Some(better(&self.shared, best, dropped));
            }
        }
    }

    fn judge<R>(&self, pursuit: &mut Pursuit, served: &Served<R>) -> Step {
        let timelines = self.shared.timelines();
        let answer = served.placed.answers.ahead.as_ref();
        let outcome = pursuit::Outcome::of(answer, pursuit.token(), &timelines);
        let now = Instant::now();
        let target = &served.connection.target;
        pursuit.note_try(&target.node);
        match outcome {
            pursuit::Outcome::Fresh => {
                served.connection.hint.met();
                return Step::Take;
            }
            pursuit::Outcome::Behind => {
                served.connection.hint.judged(false, now);
                if target.role == Role::Master {
                    self.handle.role_pool().topology.suspect(&target.node);
                }
            }
            _ => {}
        }
        let lost = pursuit.token().clone();
        let before = pursuit.told();
        let facts = self.facts(pursuit, target.role);
        let step = pursuit.step(outcome, &timelines, facts, now);
        if pursuit.told() == SessionState::WriteLost && before != SessionState::WriteLost {
            self.shared.tell_lost(&lost);
        }
        step
    }

    fn facts(&self, pursuit: &Pursuit, role: Role) -> Facts {
        let connections = self.handle.connections();
        let timelines = self.shared.timelines();
        let now = Instant::now();
        let set = connections.newest();
        let other_suggests = set.open.iter().any(|connection| {
            connection.mux.is_open()
                && !pursuit.has_tried(&connection.target.node)
                && connection
                    .hint
                    .get()
                    .suggests(pursuit.token(), &timelines, now)
        });
        let topology = self.handle.role_pool().topology.snapshot();
        Facts {
            other_suggests,
            has_master: topology.master.is_some()
                && topology.fence.is_none()
                && topology.master_error.is_none(),
            on_master: role == Role::Master,
        }
    }

    async fn carry_out<R: Request>(
        &mut self,
        request: R,
        pursuit: &mut Pursuit,
        mut step: Step,
        served: &Served<R::Reply>,
    ) -> RedisResult<Next<R::Reply>> {
        let want = self.ask.want(true, Role::Replica);
        loop {
            step = match step {
                Step::Take => return Ok(Next::Take),
                Step::TakeStale => return Ok(Next::TakeStale),
                Step::Judge => return Ok(Next::Judge),
                Step::Fail(reason) => return Err(self.failure(reason, pursuit, served)),
                Step::TryAnother => {
                    let route = Route::For(pursuit);
                    let next = self.handle.retry_on(request, None, want, route).await?;
                    return Ok(Next::Served(next));
                }
                Step::Master => {
                    let left = self.at_master(request, want);
                    let Ok(next) = timeout_at(self.terms.deadline, left).await else {
                        return Err(self.failure(Reason::Stale, pursuit, served));
                    };
                    count(&self.shared.stats.from_master);
                    return Ok(Next::Served(next?));
                }
                Step::AskMaster => {
                    let token = pursuit.token().clone();
                    let until = self.terms.deadline;
                    let asked = self.shared.replace_unknown(&token, &self.line, until);
                    if let Some(Ok(master)) = asked.await {
                        pursuit.asked(&master, &self.shared.timelines());
                        return Ok(Next::Judge);
                    }
                    let facts = self.facts(pursuit, served.role());
                    pursuit.unanswered(facts, Instant::now())
                }
                Step::Pause(pause) => {
                    if pursuit.pauses() == 1 {
                        count(&self.shared.stats.waited);
                    }
                    sleep_until(Instant::now() + pause).await;
                    if let Some(node) = self.first_that_has_it(pursuit).await {
                        let route = Route::Node(&node);
                        let next = self.handle.retry_on(request, None, want, route).await?;
                        return Ok(Next::Served(next));
                    }
                    let timelines = self.shared.timelines();
                    let facts = Facts {
                        // All were asked just now.
                        other_suggests: false,
                        ..self.facts(pursuit, Role::Replica)
                    };
                    pursuit.step(pursuit::Outcome::Behind, &timelines, facts, Instant::now())
                }
            };
        }
    }

    /// Sends the read to the master, over the connections to write to.
    async fn at_master<R: Request>(&self, request: R, want: Want) -> RedisResult<Served<R::Reply>> {
        let mut master = Multiplexed::new(Arc::clone(&self.handle.pool), PoolName::Write);
        let served = master.retry_on(request, None, want, Route::Any);
        Box::pin(served).await
    }

    /// Asks all nodes where they are. The first that has it.
    async fn first_that_has_it(&self, pursuit: &Pursuit) -> Option<Node> {
        let until = pursuit.round_ends(Instant::now());
        let asked = self.line.nodes().into_iter().map(|target| {
            let (shared, line) = (&self.shared, &self.line);
            boxed(async move {
                let answer = shared.ask_node(&target.node, line, until).await?.ok()?;
                let timelines = shared.timelines();
                let outcome = pursuit::Outcome::of(Some(&answer), pursuit.token(), &timelines);
                // That a token is lost or unknown is found out by the read.
                let has_it = !matches!(
                    outcome,
                    pursuit::Outcome::Behind | pursuit::Outcome::NoPosition
                );
                has_it.then_some(target.node)
            })
        });
        let mut first = None;
        together(asked.collect(), |node| {
            first = Some(node);
            true
        })
        .await;
        first
    }

    fn settle(&self, pursuit: &Pursuit, answers: &Answers) {
        self.shared.stats.proven.count();
        if pursuit.told() == SessionState::Unknown {
            count(&self.shared.stats.unknown);
        }
        self.ask.told(pursuit.told());
        self.ask.settled(answers, true);
    }

    fn failure<R>(&self, reason: Reason, pursuit: &Pursuit, served: &Served<R>) -> RedisError {
        let error = match reason {
            Reason::Refused => {
                let answer = served.placed.answers.ahead.as_deref();
                let Some(Err(NoAnswer::Refused(reply))) = answer else {
                    unreachable!("BUG: the node has refused");
                };
                refused(&served.connection.target, reply.clone().into())
            }
            Reason::Lost => {
                self.ask.told(pursuit.told());
                Error::Lost {
                    token: pursuit.token().clone(),
                }
            }
            Reason::Stale => {
                count(&self.shared.stats.failed);
                Error::Stale {
                    wanted: pursuit.token().clone(),
                    waited: self.terms.began.elapsed(),
                    reports: self.reports(pursuit),
                }
            }
        };
        error.into()
    }

    fn reports(&self, pursuit: &Pursuit) -> Reports {
        let topology = self.handle.role_pool().topology.snapshot();
        let mut nodes: Vec<_> = self.line.nodes().into_iter().map(|it| it.node).collect();
        nodes.extend(topology.master.clone().filter(|node| !nodes.contains(node)));
        let reports = nodes.into_iter().map(|node| {
            let what = self
                .shared
                .describe(pursuit.token(), &self.shared.node(&node));
            (node.to_string(), what)
        });
        reports.collect()
    }
}

enum Next<R> {
    Take,
    TakeStale,
    Judge,
    Served(Served<R>),
}

/// The one whose node went further.
fn better<R>(shared: &Shared, one: Option<Served<R>>, other: Served<R>) -> Served<R> {
    let Some(one) = one else {
        return other;
    };
    let position = |served: &Served<R>| match served.placed.answers.ahead.as_deref() {
        Some(Ok(report)) => Some(report.position),
        _ => None,
    };
    let is_further = match (position(&one), position(&other)) {
        (Some(first), Some(second)) => shared.timelines().is_further(first, second),
        (first, _) => first.is_some(),
    };
    if is_further { one } else { other }
}

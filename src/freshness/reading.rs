//! A read that must have seen something, on its way from node to node: carries out what
//! [`Pursuit::step`] says.

mod report;

use std::sync::Arc;

use redis::{RedisError, RedisResult};
use tokio::time::{Instant, sleep_until, timeout_at};

use crate::{
    config::Otherwise,
    error::Error,
    freshness::{
        Shared,
        asks::{Asks, Need},
        line::Line,
        node_hint::NodeHint,
        pursuit::{self, Facts, Pursuit, Reason, Step, Terms},
        session_state::SessionState,
        together::{boxed, together},
    },
    node::{Node, Role},
    position::token::Token,
    retry::request::Request,
    status::freshness::count,
    topology::Target,
    wire::position_question::{Answers, Placed, Want},
};

/// A reply, and the node that it came from.
pub(crate) struct Served<R> {
    pub(crate) target: Target,
    pub(crate) hint: Arc<NodeHint>,
    pub(crate) placed: Placed<R>,
}

/// Which connection a read is to go over, where there is a choice.
#[derive(Clone, Copy)]
pub(crate) enum Route<'a> {
    Any,
    /// To a node that is likely to have what the read must see.
    For(&'a Pursuit),
    Node(&'a Node),
}

/// Takes a read to nodes, over connections of the one kind or the other.
pub(crate) trait Carrier<R: Request>: Send {
    /// Sends it over one connection after the other, as long as that does no harm and there is time.
    fn send(
        &mut self,
        want: Want,
        route: Route<'_>,
    ) -> impl Future<Output = RedisResult<Served<R::Reply>>> + Send;

    /// Sends it to the master, wherever other reads go.
    fn send_to_master(
        &mut self,
        want: Want,
    ) -> impl Future<Output = RedisResult<Served<R::Reply>>> + Send;

    /// Whether [`send_to_master`](Self::send_to_master) can do so.
    fn can_reach_master(&self) -> bool;

    /// Whether there is a node that was not tried in this round, and its hint suggests it.
    fn other_suggests(&self, pursuit: &Pursuit) -> bool;

    /// Asks nodes where they are. The first that has what the read must see.
    fn first_that_has_it(
        &mut self,
        nodes: &Nodes,
        pursuit: &Pursuit,
    ) -> impl Future<Output = Option<Node>> + Send;
}

/// What is known of the nodes, and how they are asked.
pub(crate) struct Nodes {
    pub(crate) shared: Arc<Shared>,
    pub(crate) line: Arc<dyn Line>,
}

/// What comes of a read.
pub(crate) struct Read<R> {
    pub(crate) reply: R,
    /// It is the best that there was.
    pub(crate) is_stale: bool,
}

/// What a read must see before it is sent.
enum Wanted {
    Nothing,
    /// What the master has, whatever that is.
    Master,
    Token(Token),
}

/// A read that must see something.
pub(crate) struct Reading<'a, R, C> {
    request: R,
    carrier: &'a mut C,
    ask: &'a dyn Asks,
    nodes: Nodes,
    terms: Terms,
}

impl<'a, R: Request, C: Carrier<R>> Reading<'a, R, C> {
    /// It takes no longer than until then, and no longer than a command may take.
    pub(crate) fn new(
        request: R,
        carrier: &'a mut C,
        ask: &'a dyn Asks,
        nodes: Nodes,
        until: Option<Instant>,
    ) -> Self {
        let config = &nodes.shared.config;
        let began = Instant::now();
        let deadline = began + nodes.shared.question_timeout();
        let terms = Terms {
            limits: config.freshness,
            read_from: config.read_from,
            began,
            deadline: until.map_or(deadline, |until| until.min(deadline)),
        };
        Self {
            request,
            carrier,
            ask,
            nodes,
            terms,
        }
    }

    pub(crate) async fn run(mut self) -> RedisResult<Read<R::Reply>> {
        let (reply, is_stale) = match self.wanted().await {
            Ok(Wanted::Token(token)) => return self.pursue(token).await,
            Ok(Wanted::Nothing) => (self.send_plain().await?, false),
            Ok(Wanted::Master) => {
                let served = self.carrier.send_to_master(Want::NOTHING).await?;
                (served.placed.reply, false)
            }
            Err(error) if self.takes_stale(&error) => {
                let reply = self.send_plain().await?;
                self.tell_stale();
                (reply, true)
            }
            Err(error) => return Err(error),
        };
        Ok(Read { reply, is_stale })
    }

    /// What the read must see.
    async fn wanted(&self) -> RedisResult<Wanted> {
        let Nodes { shared, line } = &self.nodes;
        loop {
            match self.ask.need() {
                Need::Nothing => return Ok(Wanted::Nothing),
                Need::Master => return Ok(Wanted::Master),
                Need::After(token) => return Ok(Wanted::Token(token)),
                Need::Within(age) => {
                    let required = shared.required_within(age, line, self.terms.deadline);
                    let token = required.await.unwrap_or_else(|| Err(self.unheard()))?;
                    return Ok(Wanted::Token(token));
                }
                Need::AfterAndWithin(token, age) => {
                    let required = shared.required_within(age, line, self.terms.deadline);
                    let recent = required.await.unwrap_or_else(|| Err(self.unheard()))?;
                    return Ok(Wanted::Token(shared.both(token, recent)));
                }
                Need::MasterNow { doubts, epoch } => {
                    shared.catch_up(epoch, self.terms.deadline).await;
                    let asked = shared.ask_master(line, self.terms.deadline).await;
                    let master = asked.unwrap_or_else(|| Err(self.unheard()))?;
                    self.ask.asked(&master, doubts);
                }
            }
        }
    }

    /// Sends a read that nothing is asked of.
    async fn send_plain(&mut self) -> RedisResult<R::Reply> {
        let want = self.ask.want(true, Role::Replica);
        let served = self.carrier.send(want, Route::Any).await?;
        self.note(&served);
        self.ask.settled(&served.placed.answers, true);
        Ok(served.placed.reply)
    }

    fn takes_stale(&self, error: &RedisError) -> bool {
        let is_refused = matches!(Error::of(error), Some(Error::PositionRefused { .. }));
        self.terms.limits.otherwise == Otherwise::Stale && !is_refused
    }

    fn tell_stale(&self) {
        count(&self.nodes.shared.stats.stale);
    }

    fn note(&self, served: &Served<R::Reply>) {
        let Served {
            target,
            hint,
            placed,
        } = served;
        self.nodes.shared.note_all(hint, &placed.answers, target);
    }

    /// From node to node until one has it, or patience and time are over.
    async fn pursue(&mut self, token: Token) -> RedisResult<Read<R::Reply>> {
        let mut pursuit = Pursuit::new(token, self.terms);
        let want = self.ask.want(true, Role::Replica);
        let mut served = self.carrier.send(want, Route::For(&pursuit)).await?;
        let mut best = None;
        loop {
            // An error that says that nothing was executed shows no data, so there is nothing to prove.
            let reply = &served.placed.reply;
            if self.request.is_refused(reply)
                && self.request.class(reply).refuses(served.target.role)
            {
                return Ok(Read {
                    reply: served.placed.reply,
                    is_stale: false,
                });
            }
            self.note(&served);
            let step = self.judge(&mut pursuit, &served);
            let next = match self.carry_out(&mut pursuit, step, &served).await? {
                Next::Judge => continue,
                Next::Take => {
                    self.settle(&pursuit, &served.placed.answers);
                    return Ok(Read {
                        reply: served.placed.reply,
                        is_stale: false,
                    });
                }
                Next::TakeStale => {
                    self.tell_stale();
                    self.ask.told(pursuit.told());
                    return Ok(Read {
                        reply: better(&self.nodes.shared, best, served).placed.reply,
                        is_stale: true,
                    });
                }
                Next::Served(next) => next,
            };
            count(&self.nodes.shared.stats.thrown_away);
            let dropped = std::mem::replace(&mut served, next);
            if self.terms.limits.otherwise == Otherwise::Stale {
                best = Some(better(&self.nodes.shared, best, dropped));
            }
        }
    }

    fn judge(&self, pursuit: &mut Pursuit, served: &Served<R::Reply>) -> Step {
        let shared = &self.nodes.shared;
        let timelines = shared.timelines();
        let answer = served.placed.answers.ahead.as_ref();
        let now = Instant::now();
        let target = &served.target;
        pursuit.note_try(&target.node);
        let mut outcome = pursuit::Outcome::of(answer, pursuit.token(), &timelines);
        if outcome == pursuit::Outcome::Unknown
            && target.role == Role::Master
            && shared.knows_epoch(pursuit.token().epoch())
            && let Some(master) = answer.and_then(|answer| shared.token_of(answer))
        {
            // The master's answer to the read is as good as one to a question.
            let was = pursuit.token().clone();
            pursuit.asked(&master, &timelines);
            self.replace(pursuit, &was);
            outcome = pursuit::Outcome::of(answer, pursuit.token(), &timelines);
        }
        if outcome == pursuit::Outcome::Behind && shared.far_behind(pursuit.token(), now).is_some()
        {
            outcome = pursuit::Outcome::Unknown;
        }
        match outcome {
            pursuit::Outcome::Fresh => {
                served.hint.met();
                return Step::Take;
            }
            pursuit::Outcome::Behind => {
                served.hint.judged(false, now);
                if target.role == Role::Master {
                    shared.topology.suspect(&target.node);
                }
            }
            _ => {}
        }
        let was = pursuit.token().clone();
        let facts = self.facts(pursuit, target.role);
        let step = pursuit.step(outcome, &timelines, facts, now);
        let is_lost = outcome == pursuit::Outcome::Lost;
        let is_news = match step {
            // The caller has it as an error, and each that goes on with this token.
            Step::Fail(Reason::Lost) => true,
            _ => self.replace(pursuit, &was),
        };
        if is_lost && is_news {
            shared.tell_lost(&was);
        }
        step
    }

    /// If something else must be seen now, it takes the place of what the caller wanted for good. Returns
    /// whether that was news.
    fn replace(&self, pursuit: &mut Pursuit, was: &Token) -> bool {
        if pursuit.token() == was {
            return false;
        }
        let (token, is_news) = self.ask.instead(was, pursuit.token(), pursuit.told());
        pursuit.require(token);
        is_news
    }

    fn facts(&self, pursuit: &Pursuit, role: Role) -> Facts {
        let topology = self.nodes.shared.topology.snapshot();
        Facts {
            other_suggests: self.carrier.other_suggests(pursuit),
            has_master: topology.master.is_some()
                && topology.fence.is_none()
                && topology.master_error.is_none(),
            reaches_master: self.carrier.can_reach_master(),
            is_reached: self.nodes.shared.has_reached(pursuit.token()),
            on_master: role == Role::Master,
        }
    }

    async fn carry_out(
        &mut self,
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
                    let next = self.carrier.send(want, Route::For(pursuit)).await?;
                    return Ok(Next::Served(next));
                }
                Step::Master => {
                    let left = self.carrier.send_to_master(want);
                    let Ok(next) = timeout_at(self.terms.deadline, left).await else {
                        return Err(self.failure(Reason::Stale, pursuit, served));
                    };
                    count(&self.nodes.shared.stats.from_master);
                    return Ok(Next::Served(next?));
                }
                Step::AskMaster => match self.ask_master(pursuit).await {
                    true => return Ok(Next::Judge),
                    false => {
                        let facts = self.facts(pursuit, served.target.role);
                        pursuit.unanswered(facts, Instant::now())
                    }
                },
                Step::Pause(pause) => {
                    if pursuit.pauses() == 1 {
                        count(&self.nodes.shared.stats.waited);
                    }
                    sleep_until(Instant::now() + pause).await;
                    let first = self.carrier.first_that_has_it(&self.nodes, pursuit);
                    if let Some(node) = first.await {
                        let next = self.carrier.send(want, Route::Node(&node)).await?;
                        return Ok(Next::Served(next));
                    }
                    let timelines = self.nodes.shared.timelines();
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

    /// Asks the master where it is, because of a token of an unknown timeline.
    async fn ask_master(&self, pursuit: &mut Pursuit) -> bool {
        let Nodes { shared, line } = &self.nodes;
        let token = pursuit.token().clone();
        let asked = shared.replace_unknown(&token, line, self.terms.deadline);
        let Some(Ok(master)) = asked.await else {
            return false;
        };
        pursuit.asked(&master, &shared.timelines());
        self.replace(pursuit, &token);
        true
    }

    fn settle(&self, pursuit: &Pursuit, answers: &Answers) {
        let stats = &self.nodes.shared.stats;
        stats.proven.count();
        if pursuit.told() == SessionState::Unknown {
            count(&stats.unknown);
        }
        self.ask.told(pursuit.told());
        self.ask.settled(answers, true);
    }
}

impl Nodes {
    /// Asks all nodes over the connections that handles share. The first that has it.
    pub(crate) async fn first_that_has_it(&self, pursuit: &Pursuit) -> Option<Node> {
        let until = pursuit.round_ends(Instant::now());
        let asked = self.line.nodes().into_iter().map(|target| {
            let Self { shared, line } = self;
            boxed(async move {
                let answer = shared.ask_node(&target.node, line, until).await?.ok()?;
                let has_it = pursuit.is_worth_reading(&answer, &shared.timelines());
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

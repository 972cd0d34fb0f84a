//! Reads that must have seen something: what is known of the nodes' positions, and where such a read
//! goes.

pub(crate) mod asker;
pub(crate) mod asks;
pub(crate) mod confirm;
pub(crate) mod line;
pub(crate) mod node_hint;
pub(crate) mod pursuit;
pub(crate) mod reading;
mod replaced;
pub(crate) mod requirement;
mod sampler;
pub(crate) mod session_state;
pub(crate) mod together;

use std::{
    cmp::Ordering,
    collections::HashMap,
    fmt,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use arc_swap::{ArcSwap, Guard};
use parking_lot::Mutex;
use redis::{RedisError, RedisResult};
use tokio::time::Instant;

use crate::{
    config::Config,
    error::Error,
    freshness::{
        asker::Asker, line::Line, node_hint::NodeHint, pursuit::is_final, replaced::Replaced,
        sampler::Sampler,
    },
    node::{Node, Role},
    position::{
        OUT_OF_REACH, Position,
        report::Report,
        timeline::Timeline,
        timelines::Timelines,
        token::Token,
        verdict::{Standing, Verdict},
    },
    status::freshness::{FreshnessStats, FreshnessStatus, NodeLag, count},
    topology::{Handle, Target, Topology},
    util::runtime::Runtime,
    wire::position_question::{Answer, Answers, NoAnswer},
};

/// Lost timelines of which the log has told.
const MOST_TOLD: usize = 64;

/// [`OUT_OF_REACH`] counts from a position of the master that is as old at most.
const HEARD: Duration = Duration::from_secs(3600);

/// After a look at the Sentinels that was in vain because of a token's epoch, no token causes another one
/// for so long: whoever forges one could hold up reads.
const VAIN: Duration = Duration::from_secs(1);

/// What a pool knows of the positions of its nodes. One for all of its connections.
pub(crate) struct Shared {
    pub(crate) config: Arc<Config>,
    topology: Arc<Handle>,
    runtime: Arc<Runtime>,
    /// Read by every call that asks for freshness, and hardly ever replaced.
    timelines: ArcSwap<Timelines>,
    nodes: Mutex<HashMap<Node, Arc<NodeHint>>>,
    /// Of whoever is the master.
    master: Arc<Asker<Token>>,
    replaced: Mutex<Replaced>,
    sampler: Sampler,
    /// Timelines of lost writes that the log has told of.
    told: Mutex<Vec<Timeline>>,
    /// When the Sentinels were last asked in vain because of a token.
    vain: Mutex<Option<Instant>>,
    pub(crate) stats: FreshnessStats,
}

impl Shared {
    pub(crate) fn new(config: Arc<Config>, topology: Arc<Handle>, runtime: Arc<Runtime>) -> Self {
        Self {
            config,
            topology,
            runtime,
            timelines: ArcSwap::default(),
            nodes: Mutex::default(),
            master: Asker::new(),
            replaced: Mutex::default(),
            sampler: Sampler::new(),
            told: Mutex::default(),
            vain: Mutex::default(),
            stats: FreshnessStats::default(),
        }
    }

    pub(crate) fn timelines(&self) -> Guard<Arc<Timelines>> {
        self.timelines.load()
    }

    /// What is known of a node. For each connection once, not for each command.
    pub(crate) fn node(&self, node: &Node) -> Arc<NodeHint> {
        let mut nodes = self.nodes.lock();
        if let Some(hint) = nodes.get(node) {
            return Arc::clone(hint);
        }
        // Nobody has those any more that have left.
        let topology = self.topology.snapshot();
        nodes.retain(|node, hint| Arc::strong_count(hint) > 1 || is_member(&topology, node));
        let hint = Arc::<NodeHint>::default();
        nodes.insert(node.clone(), Arc::clone(&hint));
        hint
    }

    /// Learns from what a node answered that was asked as this target.
    #[inline]
    pub(crate) fn note(&self, hint: &NodeHint, answer: &Answer, target: &Target) {
        answer.note_once(|said| self.note_said(hint, said, target));
    }

    fn note_said(&self, hint: &NodeHint, said: &Result<Report, NoAnswer>, target: &Target) {
        match said {
            Ok(report) => {
                let named = (target.role == Role::Master).then_some(target.since);
                self.learn(report, named);
                hint.seen(*report, Instant::now());
            }
            Err(NoAnswer::Refused(_)) => count(&self.stats.refused),
            Err(NoAnswer::NoPosition(_) | NoAnswer::Mixed) => {}
        }
    }

    /// As [`note`](Self::note), for both answers of a call.
    pub(crate) fn note_all(&self, hint: &NodeHint, answers: &Answers, target: &Target) {
        for answer in [&answers.ahead, &answers.behind].into_iter().flatten() {
            self.note(hint, answer, target);
        }
    }

    fn learn(&self, report: &Report, named: Option<u64>) {
        if !self.timelines().is_news(report, named) {
            return;
        }
        self.timelines.rcu(|known| {
            let mut timelines = Timelines::clone(known);
            timelines.learn(report, named);
            timelines
        });
    }

    /// The token of a write behind which a node answered this. `None` if it was no master then, or did not
    /// say where it was.
    pub(crate) fn token_of(&self, answer: &Answer) -> Option<Token> {
        match &**answer {
            Ok(report) if report.role == Role::Master => Some(self.token_at(report.position)),
            _ => None,
        }
    }

    /// With the topology's epoch of now.
    pub(crate) fn token_at(&self, position: Position) -> Token {
        Token::new(position, self.topology.epoch())
    }

    /// What a read has seen at most, behind which a node answered this.
    pub(crate) fn seen_at(&self, answer: &Answer) -> Option<Token> {
        let report = answer.as_ref().ok()?;
        Some(self.token_at(report.position))
    }

    /// The position that the master has after this call began. Callers who come together share a question.
    /// `None` if there is no answer until then.
    pub(crate) async fn ask_master(
        self: &Arc<Self>,
        line: &Arc<dyn Line>,
        until: Instant,
    ) -> Option<RedisResult<Token>> {
        let (shared, line) = (Arc::clone(self), Arc::clone(line));
        let question = move || {
            let (shared, line) = (Arc::clone(&shared), Arc::clone(&line));
            async move {
                let limit = Instant::now() + shared.patience_for_the_master();
                let (answer, target) = line.ask(None, limit).await?;
                count(&shared.stats.questions);
                let hint = shared.node(&target.node);
                shared.note(&hint, &answer, &target);
                shared.token_of_master(&answer, &target)
            }
        };
        self.master.ask(&self.runtime, until, question).await
    }

    /// Where a node is after this call began, asked over a connection to read from. Callers who come
    /// together share a question. `None` if there is no answer until then.
    pub(crate) async fn ask_node(
        self: &Arc<Self>,
        node: &Node,
        line: &Arc<dyn Line>,
        until: Instant,
    ) -> Option<RedisResult<Answer>> {
        let hint = self.node(node);
        let asker = Arc::clone(&hint.asker);
        let (shared, line, node) = (Arc::clone(self), Arc::clone(line), node.clone());
        let question = move || {
            let (shared, line) = (Arc::clone(&shared), Arc::clone(&line));
            let (hint, node) = (Arc::clone(&hint), node.clone());
            async move {
                let limit = Instant::now() + shared.question_timeout();
                let (answer, target) = line.ask(Some(node), limit).await?;
                count(&shared.stats.questions);
                shared.note(&hint, &answer, &target);
                Ok(answer)
            }
        };
        asker.ask(&self.runtime, until, question).await
    }

    /// How long a question to a replica may take, and a read that must see something.
    pub(crate) fn question_timeout(&self) -> Duration {
        let config = &self.config;
        config.command_timeout.unwrap_or(config.failover_timeout)
    }

    /// How long a question to the master may take: as a write, it waits for the next one.
    pub(crate) fn patience_for_the_master(&self) -> Duration {
        let config = &self.config;
        let acquire = config.failover_timeout.max(config.connect_timeout);
        acquire + config.command_timeout.unwrap_or_default()
    }

    fn token_of_master(&self, answer: &Answer, target: &Target) -> RedisResult<Token> {
        if let Some(token) = self.token_of(answer) {
            return Ok(token);
        }
        let what = match &**answer {
            Err(NoAnswer::Refused(reply)) if is_final(reply) => {
                return Err(refused(target, reply.clone().into()).into());
            }
            Err(reason) => reason.to_string(),
            Ok(_) => {
                self.topology.suspect(&target.node);
                "it is a replica".to_owned()
            }
        };
        let error = Error::NoMaster {
            master_name: self.config.master_name.clone(),
            waited: Duration::ZERO,
            reports: [(target.node.to_string(), what)].into_iter().collect(),
        };
        Err(error.into())
    }

    /// What a read must see instead of a token whose timeline is not known: everything that the master has.
    /// It is asked once a timeline. `None` if there is no answer until then. The outer error is that of the
    /// question.
    pub(crate) async fn replace_unknown(
        self: &Arc<Self>,
        token: &Token,
        line: &Arc<dyn Line>,
        until: Instant,
    ) -> Option<RedisResult<Token>> {
        if let Some(master) = self.far_behind(token, Instant::now()) {
            return Some(Ok(master));
        }
        let timeline = token.position().timeline;
        let kept = self.replaced.lock().get(timeline, &self.timelines());
        if let Some(kept) = kept {
            return Some(Ok(kept));
        }
        self.catch_up(token.epoch(), until).await;
        let asked = self.ask_master(line, until).await?;
        if let Ok(master) = &asked
            && self.timelines().standing(token) == Standing::Unknown
        {
            self.replaced.lock().keep(timeline, master);
        }
        Some(asked)
    }

    /// What covers `own`, and `recent` as well where both are of one history. What nobody knows beside the
    /// other comes first: it may be a write that a failover has lost.
    pub(crate) fn both(&self, own: Token, recent: Token) -> Token {
        let timelines = self.timelines();
        if timelines.is_further(recent.position(), own.position()) {
            recent
        } else {
            own
        }
    }

    /// Whether the master is known to have got so far.
    pub(crate) fn has_reached(&self, token: &Token) -> bool {
        let timelines = self.timelines();
        if timelines.standing(token) != Standing::Kept {
            return false;
        }
        let wanted = token.position();
        Some(wanted.timeline) != timelines.current()
            || self.last_of_master().is_some_and(|(master, _)| {
                timelines.compare(master, wanted) >= Some(Ordering::Equal)
            })
    }

    /// Where the master was within the last hour, if it cannot have got as far as this token since.
    pub(crate) fn far_behind(&self, token: &Token, now: Instant) -> Option<Token> {
        let (master, seen_at) = self.last_of_master()?;
        let is_recent = now.saturating_duration_since(seen_at) < HEARD;
        let is_current = Some(master.timeline) == self.timelines().current();
        let is_forged = token.position().is_ahead_by(master, OUT_OF_REACH);
        (is_recent && is_current && is_forged).then(|| self.token_at(master))
    }

    /// Whether this pool has heard of this epoch.
    pub(crate) fn knows_epoch(&self, epoch: u64) -> bool {
        self.topology.epoch() >= epoch
    }

    /// Where the master was when it last said so, and when that was.
    fn last_of_master(&self) -> Option<(Position, Instant)> {
        let topology = self.topology.snapshot();
        let hint = Arc::clone(self.nodes.lock().get(topology.master.as_ref()?)?);
        let seen_at = hint.seen_at()?;
        let report = *hint.get().last()?;
        (report.role == Role::Master).then_some((report.position, seen_at))
    }

    /// A token of a later epoch may come from a process that has heard of a failover before this one.
    pub(crate) async fn catch_up(&self, epoch: u64, until: Instant) {
        let is_there = |topology: &Arc<Topology>| topology.epoch >= epoch;
        let now = Instant::now();
        let was_vain = self.vain.lock().is_some_and(|vain| now < vain + VAIN);
        if was_vain || self.config.sentinels.is_empty() || is_there(&self.topology.snapshot()) {
            return;
        }
        let mut changes = self.topology.subscribe();
        self.topology.request_refresh();
        let until = until.min(now + self.config.sentinel_timeout);
        let caught_up = tokio::time::timeout_at(until, changes.wait_for(is_there)).await;
        if caught_up.is_err() {
            *self.vain.lock() = Some(Instant::now());
        }
    }

    /// What a read must see that is to see everything that was acknowledged longer ago than this. `None` if
    /// the master has not answered for so long, and does not until then.
    pub(crate) async fn required_within(
        self: &Arc<Self>,
        age: Duration,
        line: &Arc<dyn Line>,
        until: Instant,
    ) -> Option<RedisResult<Token>> {
        let now = Instant::now();
        if self.sampler.is_to_run(age, now) {
            let run = sampler::run(Arc::downgrade(self), Arc::downgrade(line));
            self.runtime.spawn_uncounted(run);
        }
        match self.sampler.required(now, age) {
            Some(position) => Some(Ok(self.token_at(position))),
            None => self.ask_master(line, until).await,
        }
    }

    /// Since when the master has not said where it is; `None` if it never did or was never asked.
    pub(crate) fn last_heard(&self) -> Option<Instant> {
        self.sampler.newest()
    }

    /// A read was to see a write that is lost.
    pub(crate) fn tell_lost(&self, token: &Token) {
        count(&self.stats.lost);
        let timeline = token.position().timeline;
        let mut told = self.told.lock();
        if told.contains(&timeline) {
            return;
        }
        if told.len() == MOST_TOLD {
            told.remove(0);
        }
        told.push(timeline);
        drop(told);
        tracing::warn!(
            %token,
            "a failover, or a restart of the master, lost a write that a read was to see; reads see what is left"
        );
    }

    /// How far a node is behind what a read must see, for an error.
    pub(crate) fn describe(&self, token: &Token, hint: &NodeHint) -> String {
        let timelines = self.timelines();
        let Some(report) = hint.get().last().copied() else {
            return "it has not said where it is".to_owned();
        };
        match timelines.verdict(&report, token) {
            Verdict::Fresh => "it had it when it was last asked".to_owned(),
            Verdict::Lost => "it cannot have it any more".to_owned(),
            Verdict::Behind | Verdict::Unknown => {
                match timelines.distance(report.position, token.position()) {
                    Some(bytes) if bytes > 0 => format!("{bytes} bytes behind"),
                    _ => "its data is of another history".to_owned(),
                }
            }
        }
    }

    pub(crate) fn status(&self) -> FreshnessStatus {
        let topology = self.topology.snapshot();
        let timelines = self.timelines();
        let nodes: Vec<_> = {
            let nodes = self.nodes.lock();
            let hints = nodes
                .iter()
                .map(|(node, hint)| (node.clone(), hint.get(), hint.seen_at()));
            hints
                .filter(|(node, ..)| is_member(&topology, node))
                .collect()
        };
        let master = nodes
            .iter()
            .find(|(node, ..)| Some(node) == topology.master.as_ref());
        let master = master.and_then(|(_, hint, _)| Some(hint.last()?.position));
        let mut lags: Vec<_> = nodes
            .iter()
            .filter_map(|(node, hint, seen_at)| {
                let own = hint.last()?.position;
                let seen_at = (*seen_at)?;
                Some(NodeLag {
                    node: node.clone(),
                    bytes: master.and_then(|master| timelines.distance(own, master)),
                    time: self.sampler.age_of(own, seen_at, &timelines),
                })
            })
            .collect();
        lags.sort_by(|one, other| one.node.cmp(&other.node));
        FreshnessStatus {
            nodes: lags,
            ..self.stats.counters()
        }
    }
}

/// A node refuses to be asked.
pub(crate) fn refused(target: &Target, source: RedisError) -> Error {
    Error::PositionRefused {
        role: target.role,
        node: target.node.clone(),
        source,
    }
}

fn is_member(topology: &Topology, node: &Node) -> bool {
    let mut replicas = topology.replicas.iter();
    topology.master.as_ref() == Some(node) || replicas.any(|replica| replica.node == *node)
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let questions = self.stats.questions.load(Relaxed);
        f.debug_struct("Shared")
            .field("timelines", &self.timelines())
            .field("questions", &questions)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;

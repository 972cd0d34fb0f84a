//! Asks a [`CredentialsSource`] for one pool: one question at a time, its answer kept for as long as
//! it lasts, and a number for every change, so that it is known which connections are older.
//!
//! The source is code of the caller. It runs in a task of its own, with a time limit, and nothing of
//! the pool waits for it beyond that.

use std::{collections::HashMap, error::Error as StdError, io, mem, sync::Arc, time::Duration};

use parking_lot::Mutex;
use redis::{RedisError, RedisResult};
use tokio::{
    sync::{Notify, watch},
    time::Instant,
};

use crate::{
    config::{
        credentials::{Answer, Ask, Credentials, CredentialsSource, Lifetime, login::Login},
        validate,
    },
    node::Node,
    util::{escape::escape, runtime::Runtime},
};

/// After so many answers in a row that differ and do not say how long they last, the source is taken
/// for one that makes a new token each time. If each of them replaced all connections, the dials for
/// that would bring the next ones, for ever.
const MOST_CHANGES: u32 = 3;

#[derive(Debug)]
pub(crate) struct Keyring {
    source: CredentialsSource,
    /// For answers that name no user.
    username: Option<String>,
    /// How long the source may take.
    within: Duration,
    runtime: Arc<Runtime>,
    state: Mutex<State>,
    told: Notify,
}

#[derive(Debug, Default)]
struct State {
    latest: Option<Login>,
    /// Until when the source need not be asked.
    renew_at: Option<Instant>,
    /// How many answers in a row differed without saying how long they last.
    changes: u32,
    flight: Option<Flight>,
    /// Whether the last question had no answer.
    failing: bool,
    /// The newest that each server has accepted.
    accepted: HashMap<Node, Login>,
    news: News,
}

/// A question that is under way.
#[derive(Debug, Clone)]
struct Flight {
    ask: Ask,
    outcome: watch::Receiver<Option<Result<Login, String>>>,
}

/// What has happened since it was last asked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct News {
    /// There are other credentials than before.
    pub(crate) changed: bool,
    /// A node has accepted credentials that are newer than those before.
    pub(crate) accepted: bool,
}

impl State {
    /// Takes an answer. Returns the login that it makes. `cheap`: it comes from something that does not
    /// change by itself.
    fn note(
        &mut self,
        mut login: Login,
        lifetime: Option<Lifetime>,
        ask: Ask,
        cheap: bool,
    ) -> Login {
        login.ends_at = lifetime.map(|lifetime| lifetime.ends_at);
        self.renew_at = lifetime.map(|lifetime| lifetime.renew_at);
        login.generation = match &self.latest {
            None => 1,
            Some(latest) if latest.is_same(&login) => {
                self.changes = 0;
                latest.generation
            }
            Some(latest) => {
                let steady = cheap || lifetime.is_some() || ask.refused;
                self.changes = if steady { 0 } else { self.changes + 1 };
                let counts = self.changes <= MOST_CHANGES;
                self.news.changed |= counts;
                latest.generation + u64::from(counts)
            }
        };
        self.latest.insert(login).clone()
    }

    fn is_due(&self, now: Instant) -> bool {
        self.renew_at.is_none_or(|at| at <= now)
    }

    /// An answer that may still be good though the source gives no newer one.
    fn unexpired(&self, now: Instant) -> Option<Login> {
        let latest = self.latest.as_ref()?;
        let good = latest.ends_at.is_none_or(|at| at > now);
        good.then(|| latest.clone())
    }
}

impl Keyring {
    pub(crate) fn new(
        source: CredentialsSource,
        username: Option<String>,
        within: Duration,
        runtime: Arc<Runtime>,
    ) -> Self {
        Self {
            source,
            username,
            within,
            runtime,
            state: Mutex::default(),
            told: Notify::new(),
        }
    }

    pub(super) async fn login(self: &Arc<Self>, deadline: Instant) -> RedisResult<Login> {
        let now = Instant::now();
        let (known, flight) = {
            let mut state = self.state.lock();
            let known = state.unexpired(now);
            match known {
                Some(known) if !state.is_due(now) => return Ok(known),
                known => (known, self.ask(&mut state, Ask { refused: false })),
            }
        };
        // The error must be there before the caller's own patience ends. What is known may do, and then
        // there must be time left to try it.
        let patience = deadline.saturating_duration_since(now);
        let patience = if known.is_some() {
            patience / 2
        } else {
            patience * 3 / 4
        };
        match self.landing(flight, patience).await {
            Ok(login) => Ok(login),
            Err(trouble) => known.ok_or_else(|| failed(&trouble)),
        }
    }

    /// Another login than this one, which a server has refused: the source's next answer, or else what
    /// the server has accepted before. A secret may be ahead of a server.
    pub(super) async fn login_after(
        self: &Arc<Self>,
        refused: &Login,
        node: &Node,
        deadline: Instant,
    ) -> Option<Login> {
        let next = self.next_login(refused, deadline).await;
        next.or_else(|| {
            let state = self.state.lock();
            let accepted = state.accepted.get(node);
            accepted.filter(|login| !login.is_same(refused)).cloned()
        })
    }

    async fn next_login(self: &Arc<Self>, refused: &Login, deadline: Instant) -> Option<Login> {
        loop {
            let flight = {
                let mut state = self.state.lock();
                // Somebody else was refused before and has asked.
                let newer = |latest: &&Login| !latest.is_same(refused);
                if let Some(newer) = state.latest.as_ref().filter(newer) {
                    return Some(newer.clone());
                }
                self.ask(&mut state, Ask { refused: true })
            };
            let asked = flight.ask;
            let patience = deadline.saturating_duration_since(Instant::now()) / 2;
            let login = self.landing(flight, patience).await.ok()?;
            if !login.is_same(refused) {
                return Some(login);
            }
            if asked.refused {
                return None;
            }
        }
    }

    pub(super) fn newest(self: &Arc<Self>) -> Option<Login> {
        let mut state = self.state.lock();
        // A closure that does not say how long its answers last is asked at dials only: who knows what
        // it costs.
        let due = self.source.is_cheap() || state.renew_at.is_some();
        if due && state.is_due(Instant::now()) {
            self.ask(&mut state, Ask { refused: false });
        }
        state.latest.clone()
    }

    pub(super) fn known(&self) -> Option<Login> {
        self.state.lock().latest.clone()
    }

    pub(super) fn accepted(&self, node: &Node, login: &Login) {
        let mut state = self.state.lock();
        let accepted = state.accepted.entry(node.clone());
        let before = accepted.or_insert_with(|| login.clone());
        if before.generation < login.generation {
            before.clone_from(login);
            state.news.accepted = true;
            self.told.notify_one();
        }
    }

    pub(super) fn has_accepted(&self, node: &Node, generation: u64) -> bool {
        let state = self.state.lock();
        let accepted = state.accepted.get(node);
        accepted.is_some_and(|accepted| accepted.generation >= generation)
    }

    pub(super) fn has_accepted_newer(&self, node: &Node, generation: u64) -> bool {
        let state = self.state.lock();
        let accepted = state.accepted.get(node);
        accepted.is_some_and(|accepted| accepted.generation > generation)
    }

    pub(super) async fn news(&self) -> News {
        loop {
            let news = mem::take(&mut self.state.lock().news);
            if news != News::default() {
                return news;
            }
            self.told.notified().await;
        }
    }

    /// Joins the question that is under way, or puts it.
    fn ask(self: &Arc<Self>, state: &mut State, ask: Ask) -> Flight {
        if let Some(flight) = &state.flight {
            return flight.clone();
        }
        let (landing, outcome) = watch::channel(None);
        let keyring = Arc::clone(self);
        drop(self.runtime.spawn(async move {
            let answer = keyring.fetch(ask).await;
            landing.send_replace(Some(keyring.note(answer, ask)));
        }));
        state.flight.insert(Flight { ask, outcome }).clone()
    }

    async fn landing(&self, mut flight: Flight, patience: Duration) -> Result<Login, String> {
        let landed = flight.outcome.wait_for(Option::is_some);
        match tokio::time::timeout(patience, landed).await {
            Ok(Ok(outcome)) => outcome.clone().unwrap_or_else(|| Err(String::new())),
            Ok(Err(_)) => Err("was not asked, since the runtime has ended".to_owned()),
            Err(_) => Err(late(patience)),
        }
    }

    fn note(&self, answer: Result<Credentials, String>, ask: Ask) -> Result<Login, String> {
        let mut state = self.state.lock();
        state.flight = None;
        let failed_before = mem::replace(&mut state.failing, answer.is_err());
        let noted = answer.map(|credentials| {
            let login = Login {
                username: credentials.username.or_else(|| self.username.clone()),
                password: Some(credentials.password),
                ..Login::default()
            };
            state.note(login, credentials.lifetime, ask, self.source.is_cheap())
        });
        let news = state.news != News::default();
        drop(state);
        match &noted {
            Ok(_) if news => self.told.notify_one(),
            Ok(_) => {}
            Err(trouble) if failed_before => tracing::debug!("the credentials source {trouble}"),
            Err(trouble) => tracing::warn!("the credentials source {trouble}"),
        }
        noted
    }

    /// Asks the source. The error goes on from "the credentials source".
    async fn fetch(&self, ask: Ask) -> Result<Credentials, String> {
        let source = self.source.clone();
        // In a task of its own: a panic ends that task only.
        let mut asked = self.runtime.spawn(async move { source.ask(ask).await });
        match tokio::time::timeout(self.within, &mut asked).await {
            Ok(Ok(answer)) => self.check(answer),
            Ok(Err(error)) if error.is_panic() => Err("panicked".to_owned()),
            Ok(Err(_)) => Err("was not asked, since the runtime has ended".to_owned()),
            Err(_) => {
                asked.abort();
                Err(late(self.within))
            }
        }
    }

    fn check(&self, answer: Answer) -> Result<Credentials, String> {
        let credentials = answer.map_err(|error| format!("failed: {}", chain(&*error)))?;
        let username = credentials.username.as_ref().or(self.username.as_ref());
        validate::credentials(
            ["username", "password"],
            username.map(String::as_str),
            Some(credentials.password.expose()),
        )
        .map_err(|error| format!("gave an answer that cannot be used: {error}"))?;
        Ok(credentials)
    }
}

fn late(within: Duration) -> String {
    format!("did not answer within {within:?}")
}

fn failed(trouble: &str) -> RedisError {
    io::Error::other(format!("the credentials source {trouble}")).into()
}

/// The error and its causes, fit for a log.
fn chain(error: &(dyn StdError + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = error.source();
    }
    escape(text.as_bytes())
}

#[cfg(test)]
mod tests;

//! Those who write, and those who read what was written.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use parking_lot::Mutex;
use redis_rw_pool::redis::{self, RedisError, RedisResult, aio::ConnectionLike};
use redis_rw_pool::{Freshness, Pool, Session, SessionState, Token};
use testkit::history::{Action, Fresh, History, Outcome, Told};
use tokio::task::JoinSet;

use crate::chance::Chance;

const WRITERS: u64 = 6;
const READERS: u64 = 12;
const PAUSE: Duration = Duration::from_millis(1);
/// Most reads are of what was written just now.
const RECENT: usize = 20;
/// Longer than any call takes.
const LONGEST: Duration = Duration::from_secs(90);

/// Whom calls go to.
#[derive(Debug, Clone)]
pub(crate) struct Wells {
    pub(crate) old: Pool,
    /// Knows no failover before this round.
    pub(crate) young: Pool,
}

impl Wells {
    fn draw(&self, chance: &mut Chance) -> &Pool {
        if chance.one_in(3) {
            &self.young
        } else {
            &self.old
        }
    }
}

/// An acknowledged write, as a browser would keep it.
#[derive(Debug, Clone)]
pub(crate) struct Cookie {
    key: String,
    token: Token,
}

/// All that was acknowledged, in its order.
#[derive(Debug, Default)]
pub(crate) struct Ring(Mutex<Vec<Cookie>>);

impl Ring {
    fn draw(&self, chance: &mut Chance) -> Option<Cookie> {
        let all = self.0.lock();
        let from = if chance.one_in(5) {
            0
        } else {
            all.len().saturating_sub(RECENT)
        };
        let some = &all[from..];
        (!some.is_empty()).then(|| some[chance.index(some.len())].clone())
    }

    /// So many, from the first to the last.
    pub(crate) fn sample(&self, count: usize) -> Vec<Cookie> {
        let all = self.0.lock();
        let step = all.len().div_ceil(count).max(1);
        all.iter().step_by(step).cloned().collect()
    }
}

pub(crate) struct Load {
    stop: Arc<AtomicBool>,
    callers: JoinSet<()>,
}

impl Load {
    pub(crate) fn start(
        wells: &Wells,
        history: &History,
        ring: &Arc<Ring>,
        round: usize,
        chance: &Chance,
    ) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let mut callers = JoinSet::new();
        for number in 0..WRITERS + READERS {
            let mut caller = Caller {
                name: format!("{round}:{number}"),
                next: 0,
                wells: wells.clone(),
                history: history.clone(),
                ring: Arc::clone(ring),
                chance: chance.fork(100 + number),
                session: None,
            };
            let stop = Arc::clone(&stop);
            callers.spawn(async move {
                while !stop.load(Relaxed) {
                    if number < WRITERS {
                        caller.write().await;
                    } else {
                        caller.read().await;
                    }
                    tokio::time::sleep(PAUSE).await;
                }
            });
        }
        Self { stop, callers }
    }

    pub(crate) async fn finish(mut self) {
        self.stop.store(true, Relaxed);
        let all = async {
            while let Some(caller) = self.callers.join_next().await {
                caller.expect("no caller panics");
            }
        };
        let all = tokio::time::timeout(LONGEST, all).await;
        all.expect("every call ends");
    }
}

/// How a read is sent.
#[derive(Debug, Clone, Copy)]
struct Shape {
    piped: bool,
    /// Over a connection of its own.
    exclusive: bool,
}

async fn read_in(session: &Session, key: &str, shape: Shape) -> RedisResult<Option<String>> {
    if shape.exclusive {
        return get(&mut session.read().await?, key, shape.piped).await;
    }
    get(&mut session.reader(), key, shape.piped).await
}

async fn read_with(
    pool: &Pool,
    freshness: Freshness,
    key: &str,
    shape: Shape,
) -> RedisResult<Option<String>> {
    if shape.exclusive {
        return get(&mut pool.read_with(freshness).await?, key, shape.piped).await;
    }
    get(&mut pool.reader().with(freshness), key, shape.piped).await
}

struct Caller {
    name: String,
    next: u64,
    wells: Wells,
    history: History,
    ring: Arc<Ring>,
    chance: Chance,
    session: Option<Session>,
}

impl Caller {
    /// Writes a key in a session, and reads it at once in the same one.
    async fn write(&mut self) {
        self.next += 1;
        let key = format!("{}:{}", self.name, self.next);
        // Big enough for the backlog to be too small soon.
        let value = format!("{key}|{:060}", self.next);
        if self.session.is_none() || self.chance.one_in(20) {
            let monotonic = self.chance.one_in(4);
            let session = self.wells.draw(&mut self.chance).session();
            self.session = Some(session.monotonic(monotonic));
        }
        let session = self.session.clone().expect("BUG: there is one by now");
        let call = self.history.begin("writer", Action::set(&key, &value));
        let (atomic, exclusive) = (self.chance.one_in(4), self.chance.one_in(3));
        let written = if exclusive {
            match session.write().await {
                Ok(mut conn) => set(&mut conn, &key, &value, atomic).await,
                Err(error) => Err(error.into()),
            }
        } else {
            set(&mut session.writer(), &key, &value, atomic).await
        };
        match written {
            Ok(()) => call.end(Outcome::Ok, None, None),
            Err(error) => return call.fail(judged(&error), &error),
        }
        if let Some(token) = session.token() {
            let key = key.clone();
            self.ring.0.lock().push(Cookie { key, token });
        }
        let call = self.history.begin("own", Action::Get { key: key.clone() });
        let shape = self.shape();
        let read = read_in(&session, &key, shape).await;
        let (state, token) = (session.state(), session.token());
        match read {
            Ok(reply) => {
                let told = match state {
                    SessionState::Consistent => Told::Consistent,
                    // Of an earlier write, perhaps.
                    _ => Told::Nothing,
                };
                let token = text(token.as_ref());
                call.end_fresh(reply, Fresh::After { token, told });
            }
            Err(error) => call.fail(judged(&error), &error),
        }
        if state != SessionState::Consistent {
            self.session = None;
        }
    }

    fn shape(&mut self) -> Shape {
        Shape {
            piped: self.chance.one_in(4),
            exclusive: self.chance.one_in(3),
        }
    }

    /// Reads what somebody has written.
    async fn read(&mut self) {
        let Some(Cookie { key, token }) = self.ring.draw(&mut self.chance) else {
            return;
        };
        let pool = self.wells.draw(&mut self.chance).clone();
        let shape = self.shape();
        let way = self.chance.below(10);
        let call = self
            .history
            .begin("reader", Action::Get { key: key.clone() });
        let (read, fresh) = match way {
            0..=3 => {
                let session = pool.session().resume(&token.to_string());
                let read = read_in(&session, &key, shape).await;
                (read, after(&token, told(&session)))
            }
            4 | 5 => {
                let freshness = Freshness::After(token.clone());
                let read = read_with(&pool, freshness, &key, shape).await;
                (read, after(&token, Told::Nothing))
            }
            6 | 7 => {
                let age = self.chance.millis(10..=120);
                let freshness = Freshness::Within(age);
                let read = read_with(&pool, freshness, &key, shape).await;
                (read, Fresh::Within(age))
            }
            _ => {
                let read = read_with(&pool, Freshness::Any, &key, shape).await;
                (read, Fresh::Nothing)
            }
        };
        match read {
            Ok(reply) => call.end_fresh(reply, fresh),
            Err(error) => call.fail(judged(&error), &error),
        }
    }
}

/// Reads once more what was written, when all is over.
pub(crate) async fn try_again(pool: &Pool, history: &History, cookies: &[Cookie]) {
    for Cookie { key, token } in cookies {
        let call = history.begin("again", Action::Get { key: key.clone() });
        let session = pool.session().resume(&token.to_string());
        match get(&mut session.reader(), key, false).await {
            Ok(reply) => call.end_fresh(reply, after(token, told(&session))),
            Err(error) => panic!("all is well: {error}"),
        }
    }
}

fn after(token: &Token, told: Told) -> Fresh {
    let token = token.to_string();
    Fresh::After { token, told }
}

fn text(token: Option<&impl fmt::Display>) -> String {
    token.map(|token| token.to_string()).unwrap_or_default()
}

fn told(session: &Session) -> Told {
    match session.state() {
        SessionState::Consistent => Told::Consistent,
        SessionState::WriteLost => Told::WriteLost,
        _ => Told::Unknown,
    }
}

async fn set<C: ConnectionLike>(
    conn: &mut C,
    key: &str,
    value: &str,
    atomic: bool,
) -> RedisResult<()> {
    if !atomic {
        return redis::Cmd::set(key, value).query_async(conn).await;
    }
    let mut pipeline = redis::pipe();
    pipeline.atomic().set(key, value).ignore();
    pipeline.query_async(conn).await
}

async fn get<C: ConnectionLike>(
    conn: &mut C,
    key: &str,
    piped: bool,
) -> RedisResult<Option<String>> {
    if !piped {
        return redis::Cmd::get(key).query_async(conn).await;
    }
    let mut pipeline = redis::pipe();
    pipeline.exists(key).ignore().get(key);
    let (reply,) = pipeline.query_async(conn).await?;
    Ok(reply)
}

fn judged(error: &RedisError) -> Outcome {
    match redis_rw_pool::outcome(error) {
        redis_rw_pool::Outcome::NotExecuted => Outcome::NotExecuted,
        redis_rw_pool::Outcome::Unknown => Outcome::Unknown,
        redis_rw_pool::Outcome::Executed => Outcome::Failed,
    }
}

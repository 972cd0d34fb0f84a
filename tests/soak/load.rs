//! Callers of every kind, and what becomes of their calls.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use redis_rw_pool::{
    Config, Connection, Multiplexed, Pool,
    redis::{self, FromRedisValue, RedisError, RedisResult, aio::ConnectionLike},
};
use testkit::history::{Action, Begun, History, Outcome};
use tokio::task::JoinSet;

use crate::chance::Chance;

const EXCLUSIVE: u64 = 8;
const SHARED: u64 = 6;

/// How long a call may take by what the pool promises.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    exclusive: Duration,
    shared: Duration,
}

impl Limits {
    pub(crate) fn of(config: &Config) -> Self {
        let patience = config.failover_timeout.max(config.connect_timeout);
        let command = config.command_timeout.unwrap_or_default();
        let line = config.write.wait_timeout.unwrap_or_default();
        Self {
            // In line, for a connection, for another one where that is lost or its master replaced, for
            // the reply, and once more where the server did nothing.
            exclusive: line + 3 * patience + 2 * command,
            // For a connection, for the reply, and again for one that was handed on; a sixteenth late.
            shared: 2 * (patience + command) + command / 8,
        }
    }

    pub(crate) fn longest(&self) -> Duration {
        self.exclusive.max(self.shared)
    }
}

/// The callers of one round.
#[derive(Debug)]
pub(crate) struct Load {
    stop: Arc<AtomicBool>,
    callers: JoinSet<()>,
}

impl Load {
    pub(crate) fn start(
        pool: &Pool,
        history: &History,
        limits: Limits,
        round: u64,
        chance: &Chance,
    ) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let mut callers = JoinSet::new();
        for number in 0..EXCLUSIVE + SHARED {
            let exclusive = number < EXCLUSIVE;
            let reads_only = number % 4 == 0;
            let way = if exclusive { "exclusive" } else { "shared" };
            let mut caller = Caller {
                name: format!("{way}{number}"),
                prefix: format!("r{round}:{number}"),
                next: 0,
                reads_only,
                midway: false,
                pool: pool.clone(),
                history: history.clone(),
                chance: chance.fork(1000 + number),
                limit: if exclusive {
                    limits.exclusive
                } else {
                    limits.shared
                },
                door: if exclusive {
                    Door::Exclusive(None)
                } else {
                    Door::Shared(pool.writer(), pool.reader())
                },
            };
            let stop = Arc::clone(&stop);
            callers.spawn(async move {
                while !stop.load(Relaxed) {
                    caller.call().await;
                    let pause = caller.chance.millis(2..=20);
                    tokio::time::sleep(pause).await;
                }
            });
        }
        Self { stop, callers }
    }

    /// Lets no call begin any more, and waits for those under way; how many have not come back.
    pub(crate) async fn finish(mut self, limit: Duration) -> usize {
        self.stop.store(true, Relaxed);
        let all = async {
            while let Some(caller) = self.callers.join_next().await {
                caller.expect("no caller panics");
            }
        };
        let _ = tokio::time::timeout(limit, all).await;
        self.callers.len()
    }
}

/// How a caller reaches the servers.
#[derive(Debug)]
enum Door {
    /// With a guard that is kept for some calls.
    Exclusive(Option<Connection>),
    Shared(Multiplexed, Multiplexed),
}

#[derive(Debug)]
struct Caller {
    name: String,
    prefix: String,
    next: u64,
    /// Some read from replicas and nothing else, so that they never wait for a master.
    reads_only: bool,
    /// The guard may be in the middle of a transaction.
    midway: bool,
    pool: Pool,
    history: History,
    chance: Chance,
    limit: Duration,
    door: Door,
}

/// How a write reaches the server.
#[derive(Debug, Clone, Copy)]
enum Parcel {
    Single,
    /// In a transaction of four commands, where the connection is the caller's own.
    ByHand,
    /// Along with a question for the port of the server that executes it.
    Pipeline {
        atomic: bool,
    },
}

type Answer = (Option<u16>, Option<String>);

impl Caller {
    async fn call(&mut self) {
        let (action, read) = self.action();
        let parcel = match self.chance.below(8) {
            0..=2 => Parcel::Single,
            3 if matches!(self.door, Door::Exclusive(_)) && !read => Parcel::ByHand,
            one => Parcel::Pipeline { atomic: one < 6 },
        };
        let call = self.history.begin(&self.name, action.clone());
        let call = call.within(self.limit);
        if self.chance.one_in(25) {
            let patience = Duration::from_micros(self.chance.below(20_000));
            let cut_short = self.perform(call, &action, read, parcel);
            // Where time is up the call is dropped, and thereby taken down as cancelled.
            let _ = tokio::time::timeout(patience, cut_short).await;
        } else {
            self.perform(call, &action, read, parcel).await;
        }
        self.give_back().await;
    }

    /// Keeps its guard for more calls, whatever became of this one, or gives it back as it is.
    async fn give_back(&mut self) {
        let Door::Exclusive(guard) = &mut self.door else {
            return;
        };
        // In the middle of a transaction the next command would only be queued.
        if self.midway || self.chance.one_in(2) {
            self.midway = false;
            *guard = None;
        } else if self.chance.one_in(20)
            && let Some(conn) = guard.take()
        {
            leave_dirt(conn, &mut self.chance).await;
        }
    }

    /// What to do next, and whether by a connection for reading.
    fn action(&mut self) -> (Action, bool) {
        self.next += 1;
        let (prefix, next) = (&self.prefix, self.next);
        let key = format!("{prefix}:{next}");
        let draw = self.chance.below(10);
        if self.reads_only {
            // What a neighbour may have written.
            let (round, number) = prefix.split_once(':').expect("BUG: it has both");
            let neighbour = (number.parse::<u64>().unwrap_or(0) + 1) % (EXCLUSIVE + SHARED);
            let key = match draw {
                0..=6 => format!("{round}:{neighbour}:{}", 1 + self.chance.below(next)),
                _ => return (Action::Echo { text: key }, true),
            };
            return (Action::Get { key }, true);
        }
        match draw {
            0..=2 => (Action::set(&key, format!("{key}|{next}")), false),
            3 => {
                let key = format!("{prefix}:counter");
                (Action::Incr { key }, false)
            }
            4 => {
                let list = format!("{prefix}:list");
                (
                    Action::Push {
                        key: list,
                        element: key,
                    },
                    false,
                )
            }
            5..=7 => {
                let earlier = 1 + self.chance.below(next);
                let key = format!("{}:{earlier}", self.prefix);
                (Action::Get { key }, self.chance.below(4) > 0)
            }
            _ => (Action::Echo { text: key }, self.chance.one_in(2)),
        }
    }

    async fn perform(&mut self, call: Begun, action: &Action, read: bool, parcel: Parcel) {
        let result = match &mut self.door {
            Door::Shared(writer, reader) => {
                let handle = if read { reader } else { writer };
                send(handle, action, parcel).await.map_err(judged)
            }
            // One that comes back by itself, as most do.
            Door::Exclusive(_) if read => match self.pool.read().await {
                Ok(mut conn) => {
                    let result = send(&mut conn, action, parcel).await.map_err(judged);
                    result.map(|(_, reply)| (Some(conn.node().port()), reply))
                }
                Err(error) => return call.fail(Outcome::NotExecuted, error),
            },
            Door::Exclusive(guard) => {
                if guard.is_none() {
                    match self.pool.write().await {
                        Ok(conn) => *guard = Some(conn),
                        // Nothing was sent.
                        Err(error) => return call.fail(Outcome::NotExecuted, error),
                    }
                }
                let conn = guard.as_mut().expect("BUG: there is one by now");
                self.midway = matches!(parcel, Parcel::ByHand);
                let result = match parcel {
                    Parcel::ByHand => by_hand(conn, action).await,
                    _ => send(conn, action, parcel).await.map_err(judged),
                };
                self.midway &= result.is_err();
                let node = conn.node().port();
                result.map(|(_, reply)| (Some(node), reply))
            }
        };
        match result {
            Ok((node, reply)) => call.end(Outcome::Ok, node, reply),
            Err((outcome, error)) => call.fail(outcome, &error),
        }
    }
}

async fn send<C: ConnectionLike + Send + Sync>(
    conn: &mut C,
    action: &Action,
    parcel: Parcel,
) -> RedisResult<Answer> {
    let command = command(action);
    let Parcel::Pipeline { atomic } = parcel else {
        let value: redis::Value = command.query_async(conn).await?;
        // The `OK` of a SET belongs to nobody.
        let reply = match action {
            Action::Set { .. } => None,
            _ => text(value)?,
        };
        return Ok((None, reply));
    };
    let mut pipeline = redis::pipe();
    if atomic {
        pipeline.atomic();
    }
    pipeline.add_command(command);
    if let Action::Set { key, .. } = action {
        pipeline.get(key);
    }
    pipeline.cmd("CONFIG").arg("GET").arg("port");
    let mut values: Vec<redis::Value> = pipeline.query_async(conn).await?;
    let port = values.pop().map(<Vec<(String, u16)>>::from_redis_value);
    let port = port.transpose()?.and_then(|pairs| Some(pairs.first()?.1));
    let reply = values.pop().map(text).transpose()?.flatten();
    Ok((port, reply))
}

/// `WATCH`, `MULTI`, the command, `EXEC`: before the last of them nothing is executed.
async fn by_hand(conn: &mut Connection, action: &Action) -> Result<Answer, (Outcome, RedisError)> {
    let before = |error| (Outcome::NotExecuted, error);
    let watched = redis::cmd("WATCH").arg("watched").take();
    watched.exec_async(conn).await.map_err(before)?;
    redis::cmd("MULTI").exec_async(conn).await.map_err(before)?;
    command(action).exec_async(conn).await.map_err(before)?;
    let replies: Vec<redis::Value> = redis::cmd("EXEC").query_async(conn).await.map_err(judged)?;
    let reply = replies.into_iter().next().map(text).transpose();
    let reply = reply.map_err(judged)?.flatten();
    let says_ok = matches!(action, Action::Set { .. });
    Ok((None, reply.filter(|_| !says_ok)))
}

/// Gives a connection back in a state that nobody must ever meet.
async fn leave_dirt(mut conn: Connection, chance: &mut Chance) {
    let words: &[&str] = match chance.below(4) {
        0 => &["MULTI"],
        1 => &["WATCH", "dirt"],
        2 => &["SELECT", "3"],
        _ => &["CLIENT", "TRACKING", "ON"],
    };
    let mut dirt = redis::Cmd::new();
    dirt.arg(words);
    // Where that fails the connection is gone in some other way.
    let _ = dirt.exec_async(&mut conn).await;
}

fn text(value: redis::Value) -> RedisResult<Option<String>> {
    Ok(Option::<String>::from_redis_value(value)?)
}

fn command(action: &Action) -> redis::Cmd {
    match action {
        Action::Set { key, value } => redis::Cmd::set(key, value),
        Action::Incr { key } => redis::Cmd::incr(key, 1),
        Action::Push { key, element } => redis::Cmd::rpush(key, element),
        Action::Get { key } => redis::Cmd::get(key),
        Action::Echo { text } => redis::cmd("ECHO").arg(text).take(),
    }
}

fn judged(error: RedisError) -> (Outcome, RedisError) {
    let outcome = match redis_rw_pool::outcome(&error) {
        redis_rw_pool::Outcome::NotExecuted => Outcome::NotExecuted,
        redis_rw_pool::Outcome::Unknown => Outcome::Unknown,
        redis_rw_pool::Outcome::Executed => Outcome::Failed,
    };
    (outcome, error)
}

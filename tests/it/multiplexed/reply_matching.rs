//! Many callers share a few sockets. Some callers leave half way, and the sockets are cut:
//! every reply says by itself whose it is.

use std::{
    fmt::Debug,
    ops::{Deref, DerefMut},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
    thread,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use parking_lot::Mutex;
use redis::{AsyncCommands, RedisResult, pipe};
use redis_rw_pool::{Multiplexed, Pool};
use tokio::task::JoinSet;

use crate::support::{
    Random, Side, Stage, ask, chain, cmd, eventually, poll_then_drop, poll_then_drop_on_wake,
    side_by_side, value_of,
};

/// Only a hang exceeds it.
const LIMIT: Duration = Duration::from_secs(60);
const TASKS: u64 = 12;
const KEYS: u64 = 50;

#[derive(Debug, Clone, Copy)]
struct Storm {
    seed: u64,
    connections: usize,
    max_in_flight: usize,
    max_pending_bytes: usize,
    /// What each task does.
    rounds: u64,
    /// How often the shared sockets are cut.
    kills: usize,
}

impl Storm {
    fn new() -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        Self {
            seed: u64::from(now.subsec_nanos()),
            connections: 1,
            max_in_flight: 4096,
            max_pending_bytes: 4 << 20,
            rounds: 40,
            kills: 0,
        }
    }

    async fn rage(self) {
        eprintln!("{self:?}");
        let stage = Stage::own(Side::Write, |config| {
            config.multiplexed.connections = self.connections;
            config.multiplexed.max_in_flight = self.max_in_flight;
            config.multiplexed.max_pending_bytes = self.max_pending_bytes;
            config.failover_timeout = LIMIT;
            config.command_timeout = Some(LIMIT);
        })
        .await;
        let mut writer = stage.pool.writer();
        for n in 0..KEYS {
            let key = format!("storm:{n}");
            let length = if n % 10 == 0 { 40_000 } else { 40 };
            let () = writer.set(&key, value_of(&key, length)).await.unwrap();
        }
        let mut killer = Killer::start(&stage, self.kills);
        let done = Arc::new(AtomicUsize::new(0));
        let mut tasks = JoinSet::new();
        for task in 0..TASKS {
            let caller = Caller {
                pool: stage.pool.clone(),
                idle: Arc::default(),
                random: Random::new(self.seed.wrapping_add(task)),
                name: format!("caller-{task}"),
                count: 0,
                may_fail: self.kills > 0,
                done: Arc::clone(&done),
            };
            tasks.spawn(caller.run(self.rounds));
        }
        let all = tokio::time::timeout(LIMIT, tasks.join_all()).await;
        all.unwrap_or_else(|_| panic!("{self:?} hangs: {:?}", stage.pool.status().writer));
        killer.end();
        assert!(done.load(Relaxed) > 50, "too few ended: {done:?}");
        eventually("nothing is left over", LIMIT, || async {
            let status = stage.pool.status().writer;
            (status.in_flight, status.waiting) == (0, 0) && status.connections == self.connections
        })
        .await;
        for round in 0..50 {
            let echo: String = ask(&mut writer, &format!("ECHO {round}")).await;
            assert_eq!(echo, round.to_string());
        }
        let created = stage.pool.status().writer.created;
        assert_eq!(created > self.connections as u64, self.kills > 0);
    }
}

/// Cuts all shared sockets now and then.
struct Killer {
    stop: Arc<AtomicBool>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Killer {
    fn start(stage: &Stage, kills: usize) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let mut client = stage.server().connect().unwrap();
        let needle = format!(" name={} ", stage.name);
        let thread = thread::spawn({
            let stop = Arc::clone(&stop);
            move || {
                let mut left = kills;
                while left > 0 && !stop.load(Relaxed) {
                    thread::sleep(Duration::from_millis(20));
                    let list = client.call(&["CLIENT", "LIST"]).unwrap();
                    let ours = list.as_str().lines().filter(|line| line.contains(&needle));
                    for line in ours {
                        let id = line.strip_prefix("id=").unwrap().split(' ').next().unwrap();
                        left -= usize::from(left > 0);
                        let _ = client.call(&["CLIENT", "KILL", "ID", id]).unwrap();
                    }
                }
            }
        });
        Self {
            stop,
            thread: Some(thread),
        }
    }

    fn end(&mut self) {
        self.stop.store(true, Relaxed);
        self.thread.take().unwrap().join().unwrap();
    }
}

struct Caller {
    pool: Pool,
    /// Used again, whether their last command was cut off or not.
    idle: Arc<Mutex<Vec<Multiplexed>>>,
    random: Random,
    name: String,
    /// No two things that it says are the same.
    count: usize,
    may_fail: bool,
    done: Arc<AtomicUsize>,
}

impl Caller {
    async fn run(mut self, rounds: u64) {
        for _ in 0..rounds {
            let how = self.random.below(8);
            let polls = usize::try_from(1 + self.random.below(4)).unwrap();
            let pause = Duration::from_micros(self.random.below(3_000));
            let (first, second) = (self.one(), self.one());
            match how {
                0 => drop(poll_then_drop(first, polls).await),
                1 => drop(poll_then_drop_on_wake(first, polls).await),
                2 => drop(tokio::time::timeout(pause, first).await),
                3 => tokio::select! {
                    () = first => {}
                    () = second => {}
                },
                4 => {
                    let rest = (0..6).map(|_| self.one()).collect::<Vec<_>>();
                    let all = side_by_side(rest);
                    drop(tokio::time::timeout(pause * 10, all).await);
                }
                _ => drop(tokio::join!(first, second)),
            }
        }
    }

    fn handle(&self) -> Lent {
        let idle = self.idle.lock().pop();
        Lent {
            handle: Some(idle.unwrap_or_else(|| self.pool.writer())),
            idle: Arc::clone(&self.idle),
        }
    }

    fn one(&mut self) -> impl Future<Output = ()> + Send + use<> {
        self.count += 1;
        let call = Call {
            handle: self.handle(),
            own: format!("{}:{}", self.name, self.count),
            key: format!("storm:{}", self.random.below(KEYS)),
            length: usize::try_from(self.random.below(200)).unwrap(),
        };
        let (what, may_fail, done) = (self.random.below(8), self.may_fail, Arc::clone(&self.done));
        async move {
            let own = call.own.clone();
            match call.make(what).await {
                Ok(()) => drop(done.fetch_add(1, Relaxed)),
                Err(error) => {
                    let text = chain(&error);
                    let told = text.contains("outcome is unknown");
                    assert!(may_fail && told, "{own}: {text}");
                }
            }
        }
    }
}

/// A handle that becomes idle when it is dropped.
struct Lent {
    handle: Option<Multiplexed>,
    idle: Arc<Mutex<Vec<Multiplexed>>>,
}

impl Deref for Lent {
    type Target = Multiplexed;

    fn deref(&self) -> &Multiplexed {
        self.handle.as_ref().expect("it is there until the drop")
    }
}

impl DerefMut for Lent {
    fn deref_mut(&mut self) -> &mut Multiplexed {
        self.handle.as_mut().expect("it is there until the drop")
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        self.idle.lock().extend(self.handle.take());
    }
}

struct Call {
    handle: Lent,
    own: String,
    key: String,
    length: usize,
}

impl Call {
    async fn make(mut self, what: u64) -> RedisResult<()> {
        match what {
            0 => {
                let echo: String = cmd(&format!("ECHO {}", self.own))
                    .query_async(&mut *self.handle)
                    .await?;
                assert_eq!(echo, self.own);
            }
            1 => {
                let value: String = self.handle.get(&self.key).await?;
                self.is_value(&value);
            }
            2 => {
                let own = value_of(&self.own, self.length * 200);
                let () = self.handle.set(&self.own, &own).await?;
                let back: Option<String> = self.handle.get(&self.own).await?;
                assert_eq!(back.as_ref(), Some(&own));
                let gone: usize = self.handle.del(&self.own).await?;
                assert_eq!(gone, 1, "{}", self.own);
            }
            3 | 4 => self.pipeline(false).await?,
            5 => self.pipeline(true).await?,
            6 => {
                let silent = cmd("ECHO nobody").set_no_response(true).to_owned();
                let () = silent.query_async(&mut *self.handle).await?;
                let both: (String, Option<String>) =
                    self.handle.mget(&[self.key.as_str(), "none"]).await?;
                self.is_value(&both.0);
                assert_eq!(both.1, None);
            }
            _ => {
                let wrong: RedisResult<i64> = self.handle.lpush(&self.key, 1).await;
                let error = wrong.unwrap_err();
                if error.code() != Some("WRONGTYPE") {
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    fn is_value(&self, value: &str) {
        let begin = format!("value of {}:", self.key);
        assert!(value.starts_with(&begin), "{value:?} for {}", self.key);
    }

    async fn pipeline(&mut self, atomic: bool) -> RedisResult<()> {
        let mut pipeline = pipe();
        if atomic {
            pipeline.atomic();
        }
        let length = self.length + 1;
        // Some portions of a pipeline are large and others small.
        let own = self.own.clone();
        let echo = |n: usize| match length % 3 {
            0 => value_of(&format!("{own}:{n}"), n * 15),
            _ => format!("{own}:{n}"),
        };
        for n in 0..length {
            match n % 20 {
                7 => pipeline.get(&self.key),
                _ => pipeline.cmd("ECHO").arg(echo(n)),
            };
        }
        let replies: Vec<String> = pipeline.query_async(&mut *self.handle).await?;
        assert_eq!(replies.len(), length, "{}", self.own);
        for (n, reply) in replies.iter().enumerate() {
            match n % 20 {
                7 => self.is_value(reply),
                _ => assert_eq!(*reply, echo(n)),
            }
        }
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_reply_reaches_its_command() {
    Storm::new().rage().await;
}

#[tokio::test]
async fn every_reply_reaches_its_command_on_one_thread() {
    Storm::new().rage().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_reply_reaches_its_command_over_three_connections_that_are_cut() {
    let storm = Storm {
        connections: 3,
        kills: 9,
        rounds: 60,
        ..Storm::new()
    };
    storm.rage().await;
}

#[tokio::test]
async fn every_reply_reaches_its_command_over_connections_that_are_cut_on_one_thread() {
    let storm = Storm {
        kills: 4,
        rounds: 60,
        ..Storm::new()
    };
    storm.rage().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_caller_hangs_where_little_may_be_in_flight() {
    for max_in_flight in [1, 2, 7] {
        let storm = Storm {
            max_in_flight,
            rounds: 15,
            ..Storm::new()
        };
        storm.rage().await;
    }
}

#[tokio::test]
async fn no_caller_hangs_where_little_may_be_in_flight_on_one_thread() {
    for max_in_flight in [1, 2, 7] {
        let storm = Storm {
            max_in_flight,
            rounds: 15,
            ..Storm::new()
        };
        storm.rage().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_caller_hangs_where_one_byte_may_be_pending() {
    for max_in_flight in [3, 4096] {
        let storm = Storm {
            max_in_flight,
            max_pending_bytes: 1,
            rounds: 15,
            ..Storm::new()
        };
        storm.rage().await;
    }
}

#[tokio::test]
async fn no_caller_hangs_where_one_byte_may_be_pending_and_connections_are_cut() {
    let storm = Storm {
        max_in_flight: 7,
        max_pending_bytes: 1,
        kills: 3,
        ..Storm::new()
    };
    storm.rage().await;
}

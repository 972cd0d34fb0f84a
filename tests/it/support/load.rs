//! Callers at load, what became of each of their calls, and what must hold of that in the end.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::Duration,
};

use parking_lot::Mutex;
use redis::{AsyncCommands, Cmd, FromRedisValue, RedisError, RedisResult};
use redis_rw_pool::{Node, Pool};
use testkit::{Deployment, Server};
use tokio::{
    task::{JoinSet, block_in_place},
    time::Instant,
};

use super::{FAILOVER_LIMIT, LONG, Side, chain, eventually, readable_are, value_of};

/// What a machine that is busy with other things may add to a deadline.
pub(crate) const SLACK: Duration = Duration::from_secs(3);

/// How many callers of each kind there are.
pub(crate) const CALLERS: usize = 3;

/// Keys that are there before the load begins, to be read.
const SEEDS: usize = 20;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum By {
    Guard,
    Handle,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A key that is written once.
    Write,
    /// A counter that belongs to one caller.
    Count,
    /// A key that was there before.
    Read,
}

/// What a caller is told of a call that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    NotExecuted,
    Unknown,
    /// An error reply.
    Refused,
}

impl Fate {
    fn of(error: &RedisError) -> Self {
        match (error.code(), chain(error)) {
            (Some(_), _) => Self::Refused,
            (None, text) if text.contains("the outcome is unknown") => Self::Unknown,
            _ => Self::NotExecuted,
        }
    }
}

#[derive(Clone)]
pub(crate) struct Call {
    pub(crate) kind: Kind,
    pub(crate) by: By,
    pub(crate) key: String,
    /// Who was asked, where the caller can know.
    pub(crate) node: Option<Node>,
    pub(crate) begun: Instant,
    pub(crate) ended: Instant,
    pub(crate) failure: Option<(Fate, String)>,
}

impl Call {
    pub(crate) fn took(&self) -> Duration {
        self.ended - self.begun
    }

    pub(crate) fn is_ok(&self) -> bool {
        self.failure.is_none()
    }

    fn met(&self, fate: Fate) -> bool {
        self.failure.as_ref().is_some_and(|(met, _)| *met == fate)
    }
}

impl fmt::Debug for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, by, key, .. } = self;
        write!(f, "{kind:?} of {key} by a {by:?}, {:?}", self.took())?;
        match &self.failure {
            Some((fate, text)) => write!(f, ": {fate:?}, {text}"),
            None => f.write_str(": ok"),
        }
    }
}

/// Closed-loop callers on one pool, by guards and by handles.
pub(crate) struct Load {
    /// How many kinds of call there are, those by guards and by handles apart.
    kinds: usize,
    stop: Arc<AtomicBool>,
    calls: Arc<Mutex<Vec<Call>>>,
    tasks: JoinSet<()>,
}

impl Load {
    /// Callers that write and callers that read what [`seed`] has written.
    pub(crate) fn start(pool: &Pool) -> Self {
        Self::of(pool, true, true)
    }

    pub(crate) fn of(pool: &Pool, writes: bool, reads: bool) -> Self {
        let mut load = Self {
            kinds: 4 * usize::from(writes) + 2 * usize::from(reads),
            stop: Arc::default(),
            calls: Arc::default(),
            tasks: JoinSet::new(),
        };
        for by in [By::Guard, By::Handle] {
            for number in 0..CALLERS {
                let caller = Caller {
                    pool: pool.clone(),
                    by,
                    name: format!("{by:?}:{number}"),
                    stop: Arc::clone(&load.stop),
                    calls: Arc::clone(&load.calls),
                };
                if writes {
                    load.tasks.spawn(caller.clone().write());
                }
                if reads {
                    load.tasks.spawn(caller.read());
                }
            }
        }
        load
    }

    /// Waits until every kind of call that there is has succeeded another `count` times, guards and
    /// handles apart.
    pub(crate) async fn goes_on(&self, count: usize) {
        let kinds = |calls: &[Call]| -> BTreeMap<String, usize> {
            let mut kinds = BTreeMap::new();
            for call in calls.iter().filter(|call| call.is_ok()) {
                *kinds
                    .entry(format!("{:?} {:?}", call.kind, call.by))
                    .or_default() += 1;
            }
            kinds
        };
        let from = self.calls.lock().len();
        eventually("calls of every kind succeed", FAILOVER_LIMIT, || async {
            let seen = kinds(&self.calls.lock()[from..]);
            seen.len() == self.kinds && seen.values().all(|seen| *seen >= count)
        })
        .await;
    }

    pub(crate) fn failures(&self) -> usize {
        self.calls
            .lock()
            .iter()
            .filter(|call| !call.is_ok())
            .count()
    }

    /// Ends it. Every reply was the right one, or this panics.
    pub(crate) async fn finish(mut self) -> History {
        self.stop.store(true, SeqCst);
        while let Some(result) = self.tasks.join_next().await {
            result.expect("a caller was given the reply to something else");
        }
        History(std::mem::take(&mut *self.calls.lock()))
    }
}

#[derive(Clone)]
struct Caller {
    pool: Pool,
    by: By,
    name: String,
    stop: Arc<AtomicBool>,
    calls: Arc<Mutex<Vec<Call>>>,
}

impl Caller {
    async fn write(self) {
        let counter = format!("c:{}", self.name);
        for i in 0.. {
            if self.stop.load(SeqCst) {
                return;
            }
            let key = format!("w:{}:{i}", self.name);
            let set = Cmd::set(&key, value_of(&key, 0));
            let _: Option<()> = self.call(Kind::Write, &key, set).await;
            let _: Option<i64> = self
                .call(Kind::Count, &counter, Cmd::incr(&counter, 1))
                .await;
        }
    }

    async fn read(self) {
        for i in 0.. {
            if self.stop.load(SeqCst) {
                return;
            }
            let key = seed_key(i % SEEDS);
            let value: Option<Option<String>> = self.call(Kind::Read, &key, Cmd::get(&key)).await;
            if let Some(value) = value {
                assert_eq!(value, Some(value_of(&key, 0)));
            }
        }
    }

    async fn call<T: FromRedisValue>(&self, kind: Kind, key: &str, cmd: Cmd) -> Option<T> {
        let begun = Instant::now();
        let mut node = None;
        let result = self.send(kind, cmd, &mut node).await;
        self.calls.lock().push(Call {
            kind,
            by: self.by,
            key: key.to_owned(),
            node,
            begun,
            ended: Instant::now(),
            failure: result.as_ref().err().map(|e| (Fate::of(e), chain(e))),
        });
        tokio::time::sleep(Duration::from_millis(2)).await;
        result.ok()
    }

    async fn send<T: FromRedisValue>(
        &self,
        kind: Kind,
        cmd: Cmd,
        node: &mut Option<Node>,
    ) -> RedisResult<T> {
        let reads = kind == Kind::Read;
        if self.by == By::Handle {
            let mut handle = if reads {
                self.pool.reader()
            } else {
                self.pool.writer()
            };
            return cmd.query_async(&mut handle).await;
        }
        let lent = if reads {
            self.pool.read().await
        } else {
            self.pool.write().await
        };
        let mut conn = lent?;
        let result = cmd.query_async(&mut conn).await;
        *node = Some(conn.node());
        result
    }
}

fn seed_key(number: usize) -> String {
    format!("seed:{number}")
}

/// Writes what is read under load, and waits until every replica has it and is read from. While none
/// is, reads go to the master.
pub(crate) async fn seed(pool: &Pool, replicas: usize) {
    let mut conn = pool.write().await.unwrap();
    for number in 0..SEEDS {
        let key = seed_key(number);
        let () = conn.set(&key, value_of(&key, 0)).await.unwrap();
    }
    drop(conn);
    in_step(pool, replicas).await;
    readable_are(pool, replicas, FAILOVER_LIMIT).await;
}

/// Waits until so many replicas have told the master that they have everything. One that has just
/// copied all gets nothing more before its first report, up to a second later; a failover at that
/// moment loses what no client could save.
pub(crate) async fn in_step(pool: &Pool, replicas: usize) {
    let mut conn = pool.write().await.unwrap();
    // So that there is something to report, on this connection.
    let () = conn.set("in step", 1).await.unwrap();
    let wait = redis::cmd("WAIT").arg(replicas).arg(30_000).take();
    let reported: usize = wait.query_async(&mut conn).await.unwrap();
    assert!(reported >= replicas, "{reported} of {replicas}");
}

/// Every call of a load.
#[derive(Debug)]
pub(crate) struct History(Vec<Call>);

impl History {
    pub(crate) fn of(&self, kind: Kind) -> impl Iterator<Item = &Call> {
        self.0.iter().filter(move |call| call.kind == kind)
    }

    pub(crate) fn failed(&self) -> impl Iterator<Item = &Call> {
        self.0.iter().filter(|call| !call.is_ok())
    }

    pub(crate) fn failed_writes(&self) -> Vec<&Call> {
        self.failed()
            .filter(|call| call.kind != Kind::Read)
            .collect()
    }

    pub(crate) fn assert_no_read_failed(&self) {
        let failed: Vec<_> = self
            .failed()
            .filter(|call| call.kind == Kind::Read)
            .collect();
        assert!(
            failed.is_empty(),
            "{} reads failed: {failed:#?}",
            failed.len()
        );
    }

    /// No write was refused by a server, and of those that failed no more than one for each caller
    /// may have been executed: what was on its way when the fault came.
    pub(crate) fn assert_only_writes_on_their_way_failed(&self, faults: usize) {
        let failed = self.failed_writes();
        let told = failed.iter().all(|call| call.met(Fate::Unknown));
        let callers = 2 * CALLERS * faults;
        assert!(told && failed.len() <= callers, "{failed:#?}");
    }

    pub(crate) fn assert_none_took_longer_than(&self, limit: Duration) {
        let late: Vec<_> = self.0.iter().filter(|call| call.took() > limit).collect();
        assert!(late.is_empty(), "longer than {limit:?}: {late:#?}");
    }

    /// Acknowledged writes begun since then that this server does not have.
    pub(crate) fn lost_since(&self, since: Option<Instant>, server: &Server) -> Vec<&Call> {
        let keys = server.cmd(&["KEYS", "w:*"]);
        let keys: BTreeSet<&str> = keys.array().iter().map(|key| key.as_str()).collect();
        self.of(Kind::Write)
            .filter(|call| call.is_ok() && since.is_none_or(|since| call.begun >= since))
            .filter(|call| !keys.contains(call.key.as_str()))
            .collect()
    }

    /// Every acknowledged write is there, none that was not executed is, and every counter is what
    /// its caller was told: where the servers lose nothing.
    pub(crate) fn assert_nothing_lost_and_nothing_twice(&self, master: &Server) {
        let lost = self.lost_since(None, master);
        assert!(lost.is_empty(), "{} are gone: {lost:#?}", lost.len());
        let keys = master.cmd(&["KEYS", "w:*"]);
        let keys: BTreeSet<&str> = keys.array().iter().map(|key| key.as_str()).collect();
        for call in self.of(Kind::Write) {
            let denied = call.met(Fate::NotExecuted) || call.met(Fate::Refused);
            assert!(!denied || !keys.contains(call.key.as_str()), "{call:?}");
        }
        let counters: BTreeSet<&str> = self.of(Kind::Count).map(|call| call.key.as_str()).collect();
        for counter in counters {
            let of = |check: fn(&Call) -> bool| {
                let calls = self.of(Kind::Count).filter(|call| call.key == counter);
                i64::try_from(calls.filter(|call| check(call)).count()).unwrap()
            };
            let (ok, unknown) = (of(Call::is_ok), of(|call| call.met(Fate::Unknown)));
            let reply = master.cmd(&["GET", counter]);
            let value = if reply.is_nil() { 0 } else { reply.as_int() };
            assert!(
                (ok..=ok + unknown).contains(&value),
                "{counter} is {value} after {ok} acknowledged and {unknown} unknown"
            );
        }
    }

    /// No write that ended after `since` was acknowledged by this node.
    pub(crate) fn assert_none_acknowledged_by(&self, node: &Node, since: Instant) {
        let stale: Vec<_> = self
            .0
            .iter()
            .filter(|call| call.kind != Kind::Read && call.is_ok())
            .filter(|call| call.node.as_ref() == Some(node) && call.ended > since)
            .collect();
        assert!(stale.is_empty(), "acknowledged by {node}: {stale:#?}");
    }
}

/// When nobody calls any more: every place of both pools can be had and not one more, and the
/// servers see as many connections of this name as the pool counts.
pub(crate) async fn assert_conserved(pool: &Pool, deployment: &Deployment, name: &str) {
    eventually("nobody waits and nothing is on its way", LONG, || async {
        let status = pool.status();
        let handles = [&status.writer, &status.reader];
        let sides = [&status.write, &status.read];
        handles
            .iter()
            .all(|of| (of.in_flight, of.waiting) == (0, 0))
            && sides
                .iter()
                .all(|of| of.waiting == 0 && of.active == of.idle)
    })
    .await;
    for side in Side::BOTH {
        let places = side.status(pool).max_active;
        let mut lent = Vec::new();
        for _ in 0..places {
            let conn = tokio::time::timeout(LONG, side.checkout(pool)).await;
            lent.push(conn.expect("a place is free").expect("it can be had"));
        }
        let beyond = tokio::time::timeout(Duration::from_millis(20), side.checkout(pool)).await;
        assert!(!matches!(beyond, Ok(Ok(_))), "more than {places} were lent");
    }
    eventually("the servers see what the pool counts", LONG, || async {
        let status = pool.status();
        let exclusive = status.write.active + status.read.active;
        let shared = status.writer.connections + status.reader.connections;
        let nodes = deployment.nodes().iter().filter(|node| node.is_running());
        let seen: usize = block_in_place(|| nodes.map(|node| node.client_count_named(name)).sum());
        seen == exclusive + shared
    })
    .await;
}

//! Writers and readers, as the handlers of a web backend would be.

use std::{
    collections::BTreeSet,
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use parking_lot::Mutex;
use redis_rw_pool::{Connection, FreshnessStatus, Node, Pool, redis, redis::AsyncCommands};
use tokio::{
    sync::watch,
    task::JoinSet,
    time::{Instant, sleep},
};

use crate::{
    news,
    tally::{Acknowledged, Call, Counts, Gap, Phase, Published, Tally, key, value},
    timeline::Timeline,
    users,
};

pub(crate) const WRITERS: usize = 8;
pub(crate) const READERS: usize = 8;
/// Between two calls of one writer or reader: enough for a steady load that leaves two cores some
/// air, so that what is seen is the failover and not the machine.
const PAUSE: Duration = Duration::from_millis(2);
/// Silence that is worth a line in the timeline.
const STALL: Duration = Duration::from_millis(200);

pub(crate) struct Load {
    shared: Arc<Shared>,
    tasks: JoinSet<()>,
    stop: watch::Sender<bool>,
}

/// What all tasks have in common.
pub(crate) struct Shared {
    pub(crate) pool: Pool,
    timeline: Timeline,
    state: Mutex<State>,
    /// The newest write of each writer that was acknowledged.
    newest: [AtomicU64; WRITERS],
}

struct State {
    phase: Phase,
    tally: Tally,
    /// What the pool had counted when the phase began.
    freshness: FreshnessStatus,
    /// The port of the master that this phase takes away.
    old_master: Option<u16>,
    last_write: Instant,
    told: Told,
}

/// What the timeline has been told in this phase: each of these once.
#[derive(Default)]
struct Told {
    failed: BTreeSet<Call>,
    stalled: bool,
    moved: bool,
}

impl Load {
    pub(crate) async fn start(pool: &Pool, timeline: &Timeline) -> redis::RedisResult<Self> {
        let updates = news::subscribe(pool).await?;
        let shared = Arc::new(Shared {
            pool: pool.clone(),
            timeline: timeline.clone(),
            state: Mutex::new(State {
                phase: Phase::Quiet,
                tally: Tally::default(),
                freshness: FreshnessStatus::default(),
                old_master: None,
                last_write: Instant::now(),
                told: Told::default(),
            }),
            newest: Default::default(),
        });
        let (stop, stopped) = watch::channel(false);
        let mut tasks = JoinSet::new();
        for id in 0..WRITERS {
            tasks.spawn(write_until(id, Arc::clone(&shared), stopped.clone()));
        }
        for id in 0..READERS {
            tasks.spawn(read_until(id, Arc::clone(&shared), stopped.clone()));
        }
        for id in 0..users::USERS {
            tasks.spawn(users::work(id, Arc::clone(&shared), stopped.clone()));
        }
        tasks.spawn(news::listen(updates, Arc::clone(&shared), stopped.clone()));
        tasks.spawn(news::publish(Arc::clone(&shared), stopped.clone()));
        tasks.spawn(notice_stalls(Arc::clone(&shared), stopped));
        Ok(Self {
            shared,
            tasks,
            stop,
        })
    }

    /// From now on everything is counted under this phase, which takes away the master on this
    /// port.
    pub(crate) fn begin(&self, phase: Phase, old_master: u16) {
        let mut state = self.shared.state.lock();
        state.close_phase(&self.shared.pool);
        state.phase = phase;
        state.old_master = Some(old_master);
        state.told = Told::default();
    }

    pub(crate) async fn stop(mut self) -> Tally {
        self.stop.send_replace(true);
        while self.tasks.join_next().await.is_some() {}
        let mut state = self.shared.state.lock();
        state.close_phase(&self.shared.pool);
        std::mem::take(&mut state.tally)
    }
}

impl State {
    /// What the pool has counted of fresh reads since the phase before.
    fn close_phase(&mut self, pool: &Pool) {
        let now = pool.status().freshness;
        let before = std::mem::replace(&mut self.freshness, now.clone());
        let counts = self.tally.of_mut(self.phase);
        counts.thrown_away = now.thrown_away - before.thrown_away;
        counts.from_master = now.from_master - before.from_master;
    }
}

/// Writes one new key after another. A write that failed is not repeated: whether it was executed
/// may be unknown, and what the pool promises is counted in single attempts.
async fn write_until(id: usize, shared: Arc<Shared>, stopped: watch::Receiver<bool>) {
    let mut last = Instant::now();
    let mut number = 0;
    while !*stopped.borrow() {
        number += 1;
        match write(&shared.pool, id, number).await {
            Ok(node) => {
                shared.wrote(id, number, node, last.elapsed());
                last = Instant::now();
            }
            Err(error) => shared.failed(Call::Write, &error),
        }
        sleep(PAUSE).await;
    }
}

async fn write(pool: &Pool, id: usize, number: u64) -> Result<Node, redis::RedisError> {
    let mut master = pool.write().await?;
    let key = key(id, number);
    let () = master.set(&key, value(&key)).await?;
    Ok(master.node())
}

async fn read_until(id: usize, shared: Arc<Shared>, stopped: watch::Receiver<bool>) {
    let mut last = Instant::now();
    while !*stopped.borrow() {
        let newest = shared.newest[id % WRITERS].load(Relaxed);
        let key = key(id % WRITERS, newest);
        match read(&shared.pool, &key).await {
            Ok((found, conn)) => {
                shared.read(&key, found, &conn, last.elapsed());
                last = Instant::now();
            }
            Err(error) => shared.failed(Call::Read, &error),
        }
        sleep(PAUSE).await;
    }
}

async fn read(pool: &Pool, key: &str) -> Result<(Option<String>, Connection), redis::RedisError> {
    let mut replica = pool.read().await?;
    let found = replica.get(key).await?;
    Ok((found, replica))
}

/// Says so when nothing at all has been acknowledged for a while.
async fn notice_stalls(shared: Arc<Shared>, stopped: watch::Receiver<bool>) {
    while !*stopped.borrow() {
        sleep(STALL / 10).await;
        let mut state = shared.state.lock();
        let silence = state.last_write.elapsed();
        if silence > STALL && !std::mem::replace(&mut state.told.stalled, true) {
            drop(state);
            let silence = silence.as_millis();
            let text = format!("writes stall: none was acknowledged for {silence} ms");
            shared.timeline.say(&text);
        }
    }
}

impl Shared {
    fn wrote(&self, writer: usize, number: u64, node: Node, gap: Duration) {
        self.newest[writer].store(number, Relaxed);
        let mut state = self.state.lock();
        let phase = state.phase;
        state.last_write = Instant::now();
        state.tally.acknowledged.push(Acknowledged {
            writer,
            number,
            phase,
        });
        let counts = state.tally.of_mut(phase);
        counts.write_stall = counts.write_stall.max(gap);
        let moved = state.old_master.is_some_and(|port| port != node.port());
        if moved && !std::mem::replace(&mut state.told.moved, true) {
            drop(state);
            let gap = gap.as_millis();
            self.timeline.say(&format!(
                "first write acknowledged by {node}; its writer had waited {gap} ms"
            ));
        }
    }

    fn read(&self, key: &str, found: Option<String>, conn: &Connection, gap: Duration) {
        let mut state = self.state.lock();
        let phase = state.phase;
        let counts = state.tally.of_mut(phase);
        counts.reads += 1;
        counts.read_stall = counts.read_stall.max(gap);
        let by = (conn.role(), conn.node());
        *counts.reads_by_node.entry(by).or_default() += 1;
        // Nothing is a fair answer: the replica may not have the newest write yet.
        if found.is_some_and(|found| found != value(key)) {
            counts.wrong_values += 1;
        }
    }

    pub(crate) fn failed(&self, call: Call, error: &redis::RedisError) {
        let mut state = self.state.lock();
        let phase = state.phase;
        *state.tally.of_mut(phase).failed.entry(call).or_default() += 1;
        let text = error.to_string();
        let complaint = (format!("{phase}, {call}"), text.clone());
        *state.tally.complaints.entry(complaint).or_default() += 1;
        if state.told.failed.insert(call) {
            drop(state);
            self.timeline.say(&format!("first failed {call}: {text}"));
        }
    }

    /// In the phase that it is now.
    pub(crate) fn count(&self, count: impl FnOnce(&mut Counts)) {
        let mut state = self.state.lock();
        let phase = state.phase;
        count(state.tally.of_mut(phase));
    }

    pub(crate) fn published(&self, number: u64, began: Instant) {
        let mut state = self.state.lock();
        let published = Published {
            phase: state.phase,
            began,
            acknowledged: Instant::now(),
        };
        state.tally.published.insert(number, published);
    }

    pub(crate) fn received(&self, number: u64) {
        self.state.lock().tally.received.insert(number);
    }

    pub(crate) fn gap(&self, gap: &redis_rw_pool::Gap) {
        let mut state = self.state.lock();
        let until = Instant::now();
        let from = until - gap.since;
        let phase = state.phase;
        state.tally.gaps.push(Gap { phase, from, until });
        drop(state);
        self.timeline.say(&format!("subscriber: {gap}"));
    }
}

impl fmt::Debug for Load {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Load").finish_non_exhaustive()
    }
}

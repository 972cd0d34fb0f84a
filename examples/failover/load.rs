//! Writers and readers, as the handlers of a web backend would be.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use parking_lot::Mutex;
use redis_rw_pool::{Connection, Node, Pool, redis, redis::AsyncCommands};
use tokio::{
    sync::watch,
    task::JoinSet,
    time::{Instant, sleep},
};

use crate::{
    tally::{Acknowledged, Call, Phase, Tally, key, value},
    timeline::Timeline,
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

struct Shared {
    pool: Pool,
    timeline: Timeline,
    state: Mutex<State>,
    /// The newest write of each writer that was acknowledged.
    newest: [AtomicU64; WRITERS],
}

struct State {
    phase: Phase,
    tally: Tally,
    /// The port of the master that this phase takes away.
    old_master: Option<u16>,
    last_write: Instant,
    told: Told,
}

/// What the timeline has been told in this phase: each of these once.
#[derive(Default)]
struct Told {
    failed_write: bool,
    failed_read: bool,
    stalled: bool,
    moved: bool,
}

impl Load {
    pub(crate) fn start(pool: &Pool, timeline: &Timeline) -> Self {
        let shared = Arc::new(Shared {
            pool: pool.clone(),
            timeline: timeline.clone(),
            state: Mutex::new(State {
                phase: Phase::Quiet,
                tally: Tally::default(),
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
        tasks.spawn(notice_stalls(Arc::clone(&shared), stopped));
        Self {
            shared,
            tasks,
            stop,
        }
    }

    /// From now on everything is counted under this phase, which takes away the master on this
    /// port.
    pub(crate) fn begin(&self, phase: Phase, old_master: u16) {
        let mut state = self.shared.state.lock();
        state.phase = phase;
        state.old_master = Some(old_master);
        state.told = Told::default();
    }

    pub(crate) async fn stop(mut self) -> Tally {
        self.stop.send_replace(true);
        while self.tasks.join_next().await.is_some() {}
        std::mem::take(&mut self.shared.state.lock().tally)
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

    fn failed(&self, call: Call, error: &redis::RedisError) {
        let mut state = self.state.lock();
        let phase = state.phase;
        let counts = state.tally.of_mut(phase);
        let (failures, name) = match call {
            Call::Write => (&mut counts.failed_writes, "write"),
            Call::Read => (&mut counts.failed_reads, "read"),
        };
        *failures += 1;
        let text = error.to_string();
        let complaint = (format!("{phase}, {name}"), text.clone());
        *state.tally.complaints.entry(complaint).or_default() += 1;
        let told = match call {
            Call::Write => &mut state.told.failed_write,
            Call::Read => &mut state.told.failed_read,
        };
        if !std::mem::replace(told, true) {
            drop(state);
            self.timeline.say(&format!("first failed {name}: {text}"));
        }
    }
}

impl fmt::Debug for Load {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Load").finish_non_exhaustive()
    }
}

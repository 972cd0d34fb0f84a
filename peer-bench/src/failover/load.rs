//! One candidate at work, in open loop.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    thread,
    time::Duration,
};

use anyhow::{Context, Result, anyhow, ensure};
use parking_lot::Mutex;
use tokio::{
    runtime::{Handle, Runtime},
    time::timeout,
};

use crate::failover::{
    call::{Call, End, Failure, History, Outcome},
    client::{Candidate, Client, Place},
    stopwatch::Stopwatch,
};

/// 250 a second.
pub(crate) const WRITE_PERIOD: Duration = Duration::from_millis(4);
/// 100 a second.
pub(crate) const READ_PERIOD: Duration = Duration::from_millis(10);
/// For those that are under way when the load ends.
const DRAIN: Duration = Duration::from_secs(1);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Is there before the load begins.
pub(crate) const READ_KEY: &str = "what-all-read";

pub(crate) struct Load {
    pub(crate) name: &'static str,
    runtime: Runtime,
    shared: Arc<Shared>,
    pacer: Option<thread::JoinHandle<()>>,
}

struct Shared {
    name: &'static str,
    client: Arc<dyn Client>,
    stopwatch: Stopwatch,
    history: Mutex<History>,
    stop: AtomicBool,
}

#[derive(Clone, Copy)]
enum Verb {
    Write,
    Read,
}

impl Load {
    /// Connects, and proves that calls succeed. A runtime of its own, so that a candidate which
    /// keeps its threads busy holds up nobody else.
    pub(crate) fn connect(
        candidate: &Candidate,
        place: &Place,
        stopwatch: Stopwatch,
    ) -> Result<Self> {
        let name = candidate.name;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()?;
        let client = runtime
            .block_on(async {
                let client = (candidate.connect)(place.clone()).await?;
                let first_key = format!("{name}:first");
                let proven = async {
                    client.write(&first_key).await?;
                    client.read(READ_KEY).await
                };
                let failed = |failure: Failure| anyhow!("{}", failure.text);
                timeout(CONNECT_TIMEOUT, proven).await?.map_err(failed)?;
                Ok::<_, anyhow::Error>(client)
            })
            .with_context(|| format!("{name} does not work before anything has happened"))?;
        let shared = Arc::new(Shared {
            name,
            client,
            stopwatch,
            history: Mutex::default(),
            stop: AtomicBool::new(false),
        });
        Ok(Self {
            name,
            runtime,
            shared,
            pacer: None,
        })
    }

    /// Calls are made from then on, from a thread that waits for no reply.
    pub(crate) fn begin(&mut self, at: Duration) {
        let shared = Arc::clone(&self.shared);
        let handle = self.runtime.handle().clone();
        self.pacer = Some(thread::spawn(move || pace(&shared, &handle, at)));
    }

    pub(crate) fn stop(&mut self) -> Result<()> {
        self.shared.stop.store(true, Relaxed);
        let ended = self.pacer.take().map(thread::JoinHandle::join);
        ensure!(
            !matches!(ended, Some(Err(_))),
            "the pacer of {} panicked",
            self.name
        );
        Ok(())
    }

    /// Calls that do not end in time have no end.
    pub(crate) fn finish(self) -> History {
        let deadline = self.shared.stopwatch.now() + DRAIN;
        while !self.shared.history.lock().is_complete() && self.shared.stopwatch.now() < deadline {
            thread::sleep(Duration::from_millis(10));
        }
        let history = std::mem::take(&mut *self.shared.history.lock());
        self.runtime.shutdown_background();
        history
    }
}

/// A tick that comes late is not left out, and what follows it is due when it would have been.
/// There are never more calls under way than a round has ticks, a few thousand.
fn pace(shared: &Arc<Shared>, runtime: &Handle, begin: Duration) {
    let mut next_write = begin;
    let mut next_read = begin + READ_PERIOD / 2;
    while !shared.stop.load(Relaxed) {
        let (verb, due) = if next_write <= next_read {
            (Verb::Write, next_write)
        } else {
            (Verb::Read, next_read)
        };
        thread::sleep(shared.stopwatch.until(due));
        match verb {
            Verb::Write => next_write += WRITE_PERIOD,
            Verb::Read => next_read += READ_PERIOD,
        }
        let index = shared.due(verb, due);
        runtime.spawn(call(Arc::clone(shared), verb, index));
    }
}

async fn call(shared: Arc<Shared>, verb: Verb, index: usize) {
    shared.begun(verb, index);
    let result = match verb {
        Verb::Write => {
            let key = write_key(shared.name, index);
            shared.client.write(&key).await
        }
        Verb::Read => shared.client.read(READ_KEY).await,
    };
    shared.ended(verb, index, result);
}

pub(crate) fn write_key(name: &str, index: usize) -> String {
    format!("{name}:{index}")
}

impl Shared {
    fn due(&self, verb: Verb, due: Duration) -> usize {
        let mut history = self.history.lock();
        let calls = history.of(verb);
        calls.push(Call {
            due,
            begun: due,
            end: None,
        });
        calls.len() - 1
    }

    fn begun(&self, verb: Verb, index: usize) {
        let now = self.stopwatch.now();
        // Gone once the round has ended.
        if let Some(call) = self.history.lock().of(verb).get_mut(index) {
            call.begun = now;
        }
    }

    fn ended(&self, verb: Verb, index: usize, result: Result<(), Failure>) {
        let at = self.stopwatch.now();
        let mut history = self.history.lock();
        let outcome = match result {
            Ok(()) => Outcome::Acknowledged,
            Err(failure) => {
                let name = match verb {
                    Verb::Write => "write",
                    Verb::Read => "read",
                };
                let text = format!("{name}: {}", without_ports(&failure.text));
                *history.complaints.entry(text).or_default() += 1;
                failure.outcome
            }
        };
        if let Some(call) = history.of(verb).get_mut(index) {
            let lost = false;
            call.end = Some(End { at, outcome, lost });
        }
    }
}

impl History {
    fn of(&mut self, verb: Verb) -> &mut Vec<Call> {
        match verb {
            Verb::Write => &mut self.writes,
            Verb::Read => &mut self.reads,
        }
    }
}

/// So that what is said in many rounds is counted together.
fn without_ports(text: &str) -> String {
    let mut pieces = text.split("127.0.0.1:");
    let mut short = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        short.push_str("127.0.0.1:…");
        short.push_str(piece.trim_start_matches(|c: char| c.is_ascii_digit()));
    }
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_complaint_about_two_ports_is_one() {
        assert_eq!(
            without_ports("master 127.0.0.1:10001: gone; not 127.0.0.1:10002"),
            "master 127.0.0.1:…: gone; not 127.0.0.1:…"
        );
        assert_eq!(without_ports("no port at all"), "no port at all");
    }
}

//! What callers notice of a failover, with redis-rw-pool and with its peers.
//!
//! A round has a deployment of its own and one fault. All candidates write and read in it at a fixed
//! rate, each from a thread and a runtime of its own, so that all of them meet the same failover and
//! none holds up another. Witnesses that share no code with any of them ask every node and every
//! Sentinel what happens, and afterwards every acknowledged write is looked for on the master.

mod call;
mod candidates;
mod client;
mod docs;
mod figures;
mod kind;
mod landmarks;
mod load;
mod options;
mod picture;
mod report;
mod results;
mod round;
mod scene;
mod sightings;
mod stopwatch;
mod summary;
mod targets;
mod track;
mod witness;

use std::thread;

use anyhow::{Context, Result, anyhow};

use crate::{
    failover::{
        kind::Kind, options::Options, results::Results, round::Round, scene::Scene,
        summary::Summary,
    },
    machine::Machine,
};

/// A Sentinel whose vote was split tries again; a machine on which that never ends is of no use.
const ATTEMPTS: usize = 5;

pub(crate) fn run() -> Result<()> {
    let Some(options) = options::parse(std::env::args_os().skip(1))? else {
        print!("{}", options::HELP);
        return Ok(());
    };
    let results = measure(&options)?;
    let summary = Summary::of(&results);
    println!("{}", report::markdown(&results, &summary, &options));
    if let Some(path) = &options.json {
        results.write(path, &options)?;
    }
    if options.write_docs {
        docs::write(&results, &summary, &options)?;
    }
    Ok(())
}

/// Kinds take turns, so that what drifts on the machine meets all of them.
fn measure(options: &Options) -> Result<Results> {
    let mut stage = Stage { next: prepare() };
    let mut results = Results {
        machine: Machine::look(testkit_version()),
        rounds: Vec::new(),
        repeated: 0,
    };
    for number in 0..options.rounds {
        for &kind in &options.kinds {
            for cast in options.casts(number) {
                eprintln!("round {}/{}: {kind}", number + 1, options.rounds);
                let (round, repeated) = stage.play(kind, number, &cast)?;
                eprintln!("  {}", report::line(&round));
                results.rounds.push(round);
                results.repeated += repeated;
            }
        }
    }
    Ok(results)
}

fn testkit_version() -> String {
    let (major, minor) = testkit::redis_version();
    format!("{major}.{minor}")
}

/// The deployment of the next round, which starts while the last one is evaluated.
struct Stage {
    next: thread::JoinHandle<Result<Scene>>,
}

fn prepare() -> thread::JoinHandle<Result<Scene>> {
    thread::spawn(Scene::start)
}

impl Stage {
    /// One round, and how often it was begun again because the Sentinels could not agree.
    fn play(
        &mut self,
        kind: Kind,
        number: usize,
        cast: &[client::Candidate],
    ) -> Result<(Round, usize)> {
        for attempt in 0..ATTEMPTS {
            let scene = join(std::mem::replace(
                &mut self.next,
                thread::spawn(|| Err(anyhow!("BUG: a scene that nobody prepared"))),
            ))?;
            let finale = round::play(&scene, kind, cast)
                .with_context(|| format!("round {} of {kind}", number + 1))?;
            self.next = prepare();
            if finale.landmarks.detour {
                eprintln!("  the Sentinels needed a second attempt; again");
                continue;
            }
            return Ok((finale.evaluate(&scene, kind, number)?, attempt));
        }
        Err(anyhow!(
            "{kind}: {ATTEMPTS} failovers running needed a second attempt"
        ))
    }
}

fn join<T>(thread: thread::JoinHandle<Result<T>>) -> Result<T> {
    thread
        .join()
        .map_err(|_| anyhow!("a deployment could not be started"))?
}

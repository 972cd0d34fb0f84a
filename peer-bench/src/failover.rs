//! What callers notice of a failover, with redis-rw-pool and with its peers.
//!
//! A round has a deployment of its own and one fault. All candidates write and read in it at a fixed
//! rate, each from a thread and a runtime of its own, so that all of them meet the same failover and
//! none holds up another. Witnesses that share no code with any of them ask every node and every
//! Sentinel what happens, and afterwards every acknowledged write is looked for on the master.
//! Subscribers listen to numbers that are published meanwhile.

mod audience;
mod broadcast;
mod call;
mod candidates;
mod client;
mod docs;
mod ear;
mod figures;
mod kind;
mod landmarks;
mod load;
mod missed;
mod options;
mod picture;
mod report;
mod results;
mod round;
mod scene;
mod sightings;
mod stopwatch;
mod subscribers;
mod summary;
mod targets;
mod track;
mod witness;

use std::{
    iter::{once, repeat},
    thread,
};

use anyhow::{Context, Result, anyhow, bail};

use crate::{
    failover::{
        audience::Listener, client::Candidate, kind::Kind, options::Options, results::Results,
        round::Finale, scene::Scene, summary::Summary,
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
    let mut acts = Vec::new();
    for number in 0..options.rounds {
        for &kind in &options.kinds {
            let casts = options.casts(number).into_iter();
            // Rounds of a candidate alone need subscribers once.
            let audiences = once(options.audience(kind)).chain(repeat(Vec::new()));
            acts.extend(casts.zip(audiences).map(|(cast, audience)| Act {
                number,
                kind,
                cast,
                audience,
            }));
        }
    }
    let mut results = Results {
        machine: Machine::look(),
        rounds: Vec::new(),
        repeated: 0,
    };
    let mut acts = acts.iter().peekable();
    let mut scenes = Scenes {
        tls: options.tls,
        next: None,
    };
    while let Some(act) = acts.next() {
        eprintln!("round {}/{}: {}", act.number + 1, options.rounds, act.kind);
        let (scene, finale) = act.play(&mut scenes, &mut results.repeated)?;
        if acts.peek().is_some() {
            scenes.prepare();
        }
        let round = finale.evaluate(&scene, act.kind, act.number)?;
        eprintln!("  {}", report::line(&round));
        results.rounds.push(round);
    }
    Ok(results)
}

/// What is to be played.
struct Act {
    number: usize,
    kind: Kind,
    cast: Vec<Candidate>,
    audience: Vec<Listener>,
}

impl Act {
    /// Until the Sentinels get done at once what is asked of them: this is about clients.
    fn play(&self, scenes: &mut Scenes, repeated: &mut usize) -> Result<(Scene, Finale)> {
        for _ in 0..ATTEMPTS {
            let scene = scenes.take()?;
            let finale = round::play(&scene, self.kind, &self.cast, &self.audience)
                .with_context(|| format!("round {} of {}", self.number + 1, self.kind))?;
            if finale.landmarks.is_straight(self.kind) {
                return Ok((scene, finale));
            }
            *repeated += 1;
            eprintln!("  the first attempt of the Sentinels came to nothing; again");
        }
        bail!("the Sentinels failed {ATTEMPTS} times running")
    }
}

/// The deployment of the next round starts while the last one is evaluated.
struct Scenes {
    tls: bool,
    next: Option<thread::JoinHandle<Result<Scene>>>,
}

impl Scenes {
    fn prepare(&mut self) {
        let tls = self.tls;
        self.next = Some(thread::spawn(move || Scene::start(tls)));
    }

    fn take(&mut self) -> Result<Scene> {
        match self.next.take() {
            None => Scene::start(self.tls),
            Some(thread) => thread
                .join()
                .map_err(|_| anyhow!("a deployment could not be started"))?,
        }
    }
}

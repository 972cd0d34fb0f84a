//! One round: everybody at work, one fault, and what came of it.

use std::{collections::BTreeMap, thread, time::Duration};

use anyhow::{Context, Result};
use serde::Serialize;
use testkit::Server;

use crate::failover::{
    audience::{Audience, Listener},
    broadcast::{Source, Writer},
    call::History,
    client::Candidate,
    ear::Heard,
    figures::Figures,
    kind::Kind,
    landmarks::{self, Landmarks},
    load::{Load, WRITE_PERIOD},
    missed::{Messages, Missed},
    scene::Scene,
    sightings::{Said, Sightings},
    stopwatch::{Stopwatch, between},
    track::Track,
    witness::Witness,
};

const WARM_UP: Duration = Duration::from_secs(1);
/// Long enough for the slowest client that follows at all.
const TAIL: Duration = Duration::from_millis(2_500);
/// From the announcement until a frozen master goes on, and from the kill until replicas do.
const OUTAGE: Duration = Duration::from_secs(2);
/// A vote that is split costs the Sentinels some six seconds.
const PATIENCE: Duration = Duration::from_secs(30);

/// What a round leaves behind.
#[derive(Debug, Serialize)]
pub(crate) struct Round {
    pub(crate) number: usize,
    pub(crate) kind: Kind,
    pub(crate) times: Times,
    /// Of the whole machine while calls were made, servers included.
    pub(crate) cpu_share: Option<f64>,
    pub(crate) players: Vec<Player>,
    pub(crate) subscribers: Vec<Subscriber>,
}

#[derive(Debug, Serialize)]
pub(crate) struct Player {
    pub(crate) candidate: &'static str,
    pub(crate) figures: Figures,
    /// What failed calls said, and how often.
    pub(crate) complaints: BTreeMap<String, usize>,
    pub(crate) track: Track,
}

#[derive(Debug, Serialize)]
pub(crate) struct Subscriber {
    pub(crate) name: &'static str,
    pub(crate) missed: Missed,
}

/// The landmarks, in milliseconds after the fault.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct Times {
    pub(crate) sign: Option<f64>,
    pub(crate) writable: Option<f64>,
    pub(crate) announced: Option<f64>,
    pub(crate) switched: Option<f64>,
    pub(crate) demoted: Option<f64>,
    pub(crate) mended: Option<f64>,
    pub(crate) end: f64,
}

impl Times {
    fn of(landmarks: &Landmarks) -> Self {
        let after = |at: Option<Duration>| at.map(|at| between(landmarks.fault, at));
        Self {
            sign: after(landmarks.sign),
            writable: after(landmarks.writable),
            announced: after(landmarks.announced),
            switched: after(landmarks.switched),
            demoted: after(landmarks.demoted),
            mended: after(landmarks.mended),
            end: between(landmarks.fault, landmarks.end),
        }
    }
}

/// A round that is over and not yet evaluated.
#[derive(Debug)]
pub(crate) struct Finale {
    pub(crate) landmarks: Landmarks,
    master: u16,
    cpu_share: Option<f64>,
    histories: Vec<(&'static str, History)>,
    heard: Vec<(&'static str, Heard)>,
    messages: Messages,
}

pub(crate) fn play(
    scene: &Scene,
    kind: Kind,
    cast: &[Candidate],
    listeners: &[Listener],
) -> Result<Finale> {
    let stopwatch = Stopwatch::start();
    let old_master = scene.master().port();
    let place = scene.place();
    let mut loads = cast
        .iter()
        .map(|candidate| Load::connect(candidate, &place, stopwatch))
        .collect::<Result<Vec<_>>>()?;
    let audience = Audience::gather(listeners, &place, stopwatch)?;
    let mut writer = Writer::connect(&place)?;
    let witness = scene.watch(stopwatch)?;
    let cpu = Cpu::now();
    begin(&mut loads, stopwatch);
    writer.begin(stopwatch);
    thread::sleep(WARM_UP);

    let fault = stopwatch.now();
    let mended = Director {
        scene,
        witness: &witness,
        stopwatch,
        old_master,
    }
    .direct(kind);
    let end = stopwatch.now();
    loads.iter_mut().try_for_each(Load::stop)?;
    let cpu_share = cpu.and_then(|before| Some(Cpu::now()?.share_since(before)));
    let histories = loads
        .into_iter()
        .map(|load| (load.name, load.finish()))
        .collect();
    let by_writer = writer.stop()?;
    let mut sightings = witness.stop();
    let by_witness = std::mem::take(&mut sightings.published);
    let heard = audience.leave();
    let master = landmarks::new_master(&sightings, old_master).unwrap_or(old_master);
    Ok(Finale {
        landmarks: Landmarks::of(&sightings, old_master, fault, mended, end),
        master,
        cpu_share,
        histories,
        heard,
        messages: [(Source::Witness, by_witness), (Source::Writer, by_writer)],
    })
}

/// One after the other, so that they do not all call in the same moment.
fn begin(loads: &mut [Load], stopwatch: Stopwatch) {
    let soon = stopwatch.now() + Duration::from_millis(5);
    let apart = WRITE_PERIOD / u32::try_from(loads.len().max(1)).unwrap_or(1);
    let mut at = soon;
    for load in loads {
        load.begin(at);
        at += apart;
    }
}

struct Director<'a> {
    scene: &'a Scene,
    witness: &'a Witness,
    stopwatch: Stopwatch,
    old_master: u16,
}

impl Director<'_> {
    /// Returns when all is over, and says when what was stopped went on.
    fn direct(&self, kind: Kind) -> Option<Duration> {
        let mended = match kind {
            Kind::Planned => {
                self.scene.hand_over();
                self.await_announcement();
                self.await_demotion();
                None
            }
            Kind::Kill => {
                self.scene.master().kill();
                self.await_announcement();
                None
            }
            Kind::Freeze => {
                self.scene.master().pause();
                self.await_announcement();
                thread::sleep(OUTAGE);
                let mended = self.stopwatch.now();
                self.scene.master().resume();
                thread::sleep(OUTAGE);
                Some(mended)
            }
            Kind::Replicas => {
                self.scene.replicas().iter().for_each(Server::kill);
                thread::sleep(OUTAGE);
                self.scene.replicas().iter().for_each(Server::restart);
                let mended = self.stopwatch.now();
                self.await_replicas();
                Some(mended)
            }
        };
        thread::sleep(TAIL);
        mended
    }

    fn await_announcement(&self) {
        let announced = |seen: &Sightings| landmarks::announced(seen, self.old_master).is_some();
        self.witness.wait_for(PATIENCE, announced);
    }

    fn await_demotion(&self) {
        let demoted = |seen: &Sightings| {
            let says = seen.says_now(self.old_master);
            matches!(says, Some(Said::Replica | Said::InStep))
        };
        self.witness.wait_for(PATIENCE, demoted);
    }

    fn await_replicas(&self) {
        let back = |seen: &Sightings| {
            let mut replicas = self.scene.replicas().iter();
            replicas.all(|node| seen.says_now(node.port()) == Some(Said::InStep))
        };
        self.witness.wait_for(PATIENCE, back);
    }
}

impl Finale {
    pub(crate) fn evaluate(self, scene: &Scene, kind: Kind, number: usize) -> Result<Round> {
        let Self {
            landmarks,
            master,
            cpu_share,
            histories,
            heard,
            messages,
        } = self;
        let players = histories.into_iter().map(|(candidate, mut history)| {
            scene
                .find_lost(master, candidate, &mut history)
                .with_context(|| format!("{candidate}, {kind}"))?;
            Ok(Player {
                candidate,
                figures: Figures::of(&history, &landmarks),
                track: Track::of(&history, &landmarks),
                complaints: history.complaints,
            })
        });
        let heard = heard.into_iter();
        let subscribers = heard.map(|(name, heard)| Subscriber {
            name,
            missed: Missed::of(&heard, &messages, &landmarks),
        });
        Ok(Round {
            number,
            kind,
            times: Times::of(&landmarks),
            cpu_share,
            players: players.collect::<Result<_>>()?,
            subscribers: subscribers.collect(),
        })
    }
}

/// Ticks of all cores since the start of the machine.
#[derive(Debug, Clone, Copy)]
struct Cpu {
    idle: u64,
    all: u64,
}

impl Cpu {
    /// `None` where there is no procfs.
    fn now() -> Option<Self> {
        Self::parse(&std::fs::read_to_string("/proc/stat").ok()?)
    }

    fn parse(stat: &str) -> Option<Self> {
        let line = stat.lines().next()?.strip_prefix("cpu ")?;
        // User, nice, system, idle, iowait, irq, softirq, steal; what follows is in them already.
        let ticks: Vec<u64> = line
            .split_whitespace()
            .take(8)
            .filter_map(|ticks| ticks.parse().ok())
            .collect();
        Some(Self {
            idle: ticks.get(3)? + ticks.get(4)?,
            all: ticks.iter().sum(),
        })
    }

    fn share_since(self, before: Self) -> f64 {
        let all = (self.all - before.all).max(1);
        1.0 - (self.idle - before.idle) as f64 / all as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_share_of_cpu_is_what_was_not_idle() {
        let before = Cpu::parse("cpu  100 0 100 700 100 0 0 0 55 0\ncpu0 1 2 3").unwrap();
        let after = Cpu::parse("cpu  140 0 120 730 110 0 0 0 99 0\n").unwrap();
        assert!((after.share_since(before) - 0.6).abs() < 1e-9);
        assert!(Cpu::parse("intr 1 2 3").is_none());
    }
}

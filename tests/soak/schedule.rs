//! What is done to the servers and when: a pure function of the seed.

use std::fmt;
use std::time::Duration;

use crate::chance::Chance;

/// A fault, from its beginning until it is undone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// A failover is asked of this Sentinel, the old master alive.
    HandOver {
        sentinel: usize,
    },
    /// kill -9; started again so long after there is another master.
    KillMaster {
        down: Duration,
    },
    /// SIGSTOP; goes on so long after there is another master.
    FreezeMaster {
        thaws: Duration,
    },
    /// SIGSTOP, too short for a failover.
    StallMaster {
        lasts: Duration,
    },
    KillReplica {
        which: usize,
        down: Duration,
    },
    FreezeReplica {
        which: usize,
        lasts: Duration,
    },
    KillReplicas {
        down: Duration,
    },
    FreezeReplicas {
        lasts: Duration,
    },
    KillSentinel {
        which: usize,
        down: Duration,
    },
    FreezeSentinel {
        which: usize,
        lasts: Duration,
    },
    KillAllSentinels {
        down: Duration,
    },
    /// One Sentinel forgets replicas and other Sentinels.
    ResetSentinel {
        which: usize,
    },
    /// CLIENT KILL TYPE normal, again and again.
    KillClients {
        on: On,
        times: u64,
        every: Duration,
    },
    /// CLIENT PAUSE, of writes or of everything.
    PauseClients {
        on: On,
        lasts: Duration,
        all: bool,
    },
    /// Bad weather between the pool and these servers, which see each other well.
    Network {
        on: On,
        weather: Weather,
        lasts: Duration,
    },
}

/// What a network does to what passes through it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Weather {
    /// Nothing passes any more, and what was sent arrives when it is over.
    Silence,
    /// The same for what the pool sends only.
    DeafServers,
    /// The same for what the servers send only.
    MuteServers,
    Delay(Duration),
    /// Some bytes at a time.
    Trickle(usize),
    /// What is connected is reset, and nobody can connect.
    Refusal,
    /// What is connected is reset.
    Reset,
    /// Every connection is reset after so many more bytes that the pool sends.
    TornRequests(usize),
    /// Every connection is reset after so many more bytes that the servers send, so that what was
    /// executed stays unanswered.
    TornReplies(usize),
}

/// Which servers it meets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum On {
    Master,
    Replicas,
    /// Master and replicas.
    Nodes,
    Sentinels,
    OneReplica(usize),
    OneSentinel(usize),
}

/// Faults that meet the deployment together; it heals before the next round.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Round {
    pub(crate) number: u64,
    /// Each begins so long after the one before it.
    pub(crate) faults: Vec<(Duration, Fault)>,
    /// The load goes on for so long after everything has healed.
    pub(crate) rest: Duration,
}

impl Round {
    /// Whether nothing stands between the pool and the servers.
    pub(crate) fn has_good_network(&self) -> bool {
        let mut faults = self.faults.iter();
        !faults.any(|(_, fault)| matches!(fault, Fault::Network { .. }))
    }
}

impl fmt::Display for Round {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "round {}:", self.number)?;
        for (after, fault) in &self.faults {
            write!(f, " +{}ms {fault:?};", after.as_millis())?;
        }
        Ok(())
    }
}

/// The rounds that follow from a seed, without an end.
pub(crate) fn schedule(seed: u64) -> impl Iterator<Item = Round> {
    let chance = Chance::new(seed);
    (1..).map(move |number| round(number, &mut chance.fork(number)))
}

fn round(number: u64, chance: &mut Chance) -> Round {
    let main = main(chance);
    let mut faults = Vec::new();
    if chance.one_in(2) {
        faults.push((chance.millis(100..=600), companion(main, chance)));
    }
    faults.push((chance.millis(200..=1200), main));
    Round {
        number,
        faults,
        rest: chance.millis(200..=1000),
    }
}

fn main(chance: &mut Chance) -> Fault {
    let which = |chance: &mut Chance, count| chance.index(count);
    match chance.below(22) {
        0..=3 => Fault::HandOver {
            sentinel: which(chance, 3),
        },
        4 | 5 => Fault::KillMaster {
            down: chance.millis(0..=1500),
        },
        6 | 7 => Fault::FreezeMaster {
            thaws: chance.millis(0..=1500),
        },
        8 => Fault::StallMaster {
            lasts: chance.millis(50..=700),
        },
        9 => Fault::KillReplica {
            which: which(chance, 2),
            down: chance.millis(0..=2500),
        },
        10 => Fault::FreezeReplica {
            which: which(chance, 2),
            lasts: chance.millis(100..=4000),
        },
        11 => sentinel_fault(chance, None),
        12 => Fault::KillAllSentinels {
            down: chance.millis(500..=3000),
        },
        13 | 14 => client_fault(chance),
        15..=18 => network_fault(chance),
        19 => Fault::KillReplicas {
            down: chance.millis(0..=2500),
        },
        20 => Fault::FreezeReplicas {
            lasts: chance.millis(100..=4000),
        },
        _ => Fault::ResetSentinel {
            which: which(chance, 3),
        },
    }
}

/// Something that may go on at the same time. While the master is replaced its replicas must be
/// well, or Redis itself loses what nobody can save; and the Sentinel that leads must live.
fn companion(main: Fault, chance: &mut Chance) -> Fault {
    let leader = match main {
        Fault::HandOver { sentinel } => Some(sentinel),
        _ => None,
    };
    let sentinels = matches!(
        main,
        Fault::KillSentinel { .. }
            | Fault::FreezeSentinel { .. }
            | Fault::KillAllSentinels { .. }
            | Fault::ResetSentinel { .. }
    );
    match chance.below(3) {
        0 if !sentinels => sentinel_fault(chance, leader),
        // A write that is late on its way to a master, or the word that it is being replaced, is
        // nothing that a client could know of.
        1 if leader.is_none() => network_fault(chance),
        _ => Fault::KillClients {
            on: On::Nodes,
            times: 1 + chance.below(10),
            every: chance.millis(5..=100),
        },
    }
}

/// A fault of one Sentinel, though not of that one.
fn sentinel_fault(chance: &mut Chance, spare: Option<usize>) -> Fault {
    let which = match spare {
        Some(spare) => (spare + 1 + chance.index(2)) % 3,
        None => chance.index(3),
    };
    let time = chance.millis(300..=5000);
    if chance.one_in(2) {
        Fault::KillSentinel { which, down: time }
    } else {
        Fault::FreezeSentinel { which, lasts: time }
    }
}

fn client_fault(chance: &mut Chance) -> Fault {
    let on = [On::Master, On::Replicas, On::Nodes][chance.index(3)];
    if chance.one_in(2) {
        Fault::KillClients {
            on,
            times: 1 + chance.below(40),
            every: chance.millis(1..=50),
        }
    } else {
        Fault::PauseClients {
            on,
            lasts: chance.millis(50..=700),
            all: chance.one_in(2),
        }
    }
}

fn network_fault(chance: &mut Chance) -> Fault {
    let on = match chance.below(6) {
        0 => On::Master,
        1 => On::Replicas,
        2 => On::Nodes,
        3 => On::Sentinels,
        4 => On::OneReplica(chance.index(2)),
        _ => On::OneSentinel(chance.index(3)),
    };
    let weather = match chance.below(10) {
        0 => Weather::Silence,
        1 => Weather::DeafServers,
        2 => Weather::MuteServers,
        3 => Weather::Delay(chance.millis(1..=100)),
        4 => Weather::Trickle(1 + chance.index(64)),
        5 => Weather::Refusal,
        6 => Weather::TornRequests(chance.index(3000)),
        7 | 8 => Weather::TornReplies(chance.index(3000)),
        _ => Weather::Reset,
    };
    Fault::Network {
        on,
        weather,
        lasts: chance.millis(50..=5000),
    }
}

#[test]
fn the_schedule_follows_from_the_seed_alone() {
    let rounds = |seed| schedule(seed).take(200).collect::<Vec<_>>();
    assert_eq!(rounds(7), rounds(7));
    assert_ne!(rounds(7), rounds(8));
}

#[test]
fn every_kind_of_fault_has_its_turn() {
    let kinds: std::collections::BTreeSet<_> = schedule(1)
        .take(400)
        .flat_map(|round| round.faults)
        .map(|(_, fault)| format!("{fault:?}").split(' ').next().map(str::to_owned))
        .collect();
    assert_eq!(kinds.len(), 15, "{kinds:?}");
}

#[test]
fn the_sentinel_that_leads_a_planned_failover_is_left_alone() {
    for round in schedule(1).take(2000) {
        let faults: Vec<Fault> = round.faults.iter().map(|(_, fault)| *fault).collect();
        if let [companion, Fault::HandOver { sentinel }] = &faults[..] {
            let spared = match companion {
                Fault::KillSentinel { which, .. } | Fault::FreezeSentinel { which, .. } => {
                    which != sentinel
                }
                other => matches!(other, Fault::KillClients { .. }),
            };
            assert!(spared, "{round}");
        }
    }
}

//! What the page says first: one sentence on writes, and one on reads.

use std::time::Duration;

use redis_rw_pool::{Ability, FenceStatus, MasterStatus, ReadFrom, Topology};
use serde::Serialize;

/// A sentence, what there is to say beside it, and how the page shows both.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Sentence {
    pub(crate) tone: Tone,
    pub(crate) text: String,
    pub(crate) detail: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Tone {
    /// All is well.
    Good,
    /// It works, but not with every node.
    Part,
    /// Callers wait.
    Wait,
    /// Callers get errors.
    Bad,
}

impl Tone {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Part => "part",
            Self::Wait => "wait",
            Self::Bad => "bad",
        }
    }
}

pub(crate) fn of_writes(ability: &Ability, master: &MasterStatus, fence: &FenceStatus) -> Sentence {
    match (ability, &master.node) {
        (Ability::Able, Some(node)) => {
            let detail = format!("reachable for {}", for_a_reader(master.since));
            sentence(Tone::Good, format!("Writes go to {node}."), detail)
        }
        (Ability::Waiting { since, why }, _) => {
            let since = for_a_reader(fence.up_for.unwrap_or(*since));
            let text = match fence.up_for {
                Some(_) => format!("Writes are held back for {since}."),
                None => format!("Writes have waited for {since}."),
            };
            sentence(Tone::Wait, text, why.clone())
        }
        (Ability::Unable { since, why }, _) => {
            let text = format!("No writes for {}.", for_a_reader(*since));
            sentence(Tone::Bad, text, why.clone())
        }
        _ => sentence(Tone::Good, "Writes go on.".to_owned(), String::new()),
    }
}

pub(crate) fn of_reads(ability: &Ability, topology: &Topology, policy: ReadFrom) -> Sentence {
    match ability {
        Ability::Waiting { since, why } => {
            let text = format!("Reads have waited for {}.", for_a_reader(*since));
            sentence(Tone::Wait, text, why.clone())
        }
        Ability::Unable { since, why } => {
            let text = format!("No reads for {}.", for_a_reader(*since));
            sentence(Tone::Bad, text, why.clone())
        }
        _ => of_able_reads(topology, policy),
    }
}

fn of_able_reads(topology: &Topology, policy: ReadFrom) -> Sentence {
    let readable: Vec<String> = topology.readable().map(ToString::to_string).collect();
    let master = topology.master.as_ref().map(ToString::to_string);
    let of_replicas = match policy {
        ReadFrom::Master => false,
        ReadFrom::MasterPreferred => topology.master_error.is_some() && !readable.is_empty(),
        _ => !readable.is_empty(),
    };
    let of_master = match policy {
        ReadFrom::Any => true,
        ReadFrom::Replica => false,
        _ => !of_replicas,
    };
    // Nothing is missed there.
    let by_policy = of_master && matches!(policy, ReadFrom::Master | ReadFrom::MasterPreferred);
    let count = topology.replicas.len();
    let replicas = match &readable[..] {
        [one] if count == 1 => one.clone(),
        [_, ..] if readable.len() == count => format!("{count} replicas"),
        _ => format!("{} of {count} replicas", readable.len()),
    };
    let to = match (of_replicas, of_master, master) {
        (true, true, Some(master)) => format!("{replicas} and to the master, {master}"),
        (false, true, Some(master)) => format!("the master, {master}"),
        _ => replicas,
    };
    let left_out = topology.replicas.iter().filter_map(|replica| {
        let why = replica.excluded.as_ref()?;
        Some(format!("{} {why}", replica.node))
    });
    let left_out: Vec<String> = left_out.collect();
    let (tone, detail) = if !left_out.is_empty() && !by_policy {
        (Tone::Part, format!("left out: {}", left_out.join("; ")))
    } else if count == 0 {
        (Tone::Good, "there is no replica".to_owned())
    } else if by_policy {
        (Tone::Good, "as `read_from` has it".to_owned())
    } else {
        (Tone::Good, readable.join(", "))
    };
    sentence(tone, format!("Reads go to {to}."), detail)
}

fn sentence(tone: Tone, text: String, detail: String) -> Sentence {
    Sentence { tone, text, detail }
}

/// Short, and without digits that change at every look.
fn for_a_reader(time: Duration) -> String {
    match time.as_secs() {
        0..10 => format!("{:.1} s", time.as_secs_f64()),
        seconds @ 10..120 => format!("{seconds} s"),
        seconds @ 120..7_200 => format!("{} min", seconds / 60),
        seconds @ 7_200..172_800 => format!("{} h", seconds / 3_600),
        seconds => format!("{} days", seconds / 86_400),
    }
}

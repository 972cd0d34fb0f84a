//! What is measured: a workload, how many tasks run it, and how many threads run the tasks.

use std::fmt;

use serde::Serialize;

use crate::{
    data::{LIST_LEN, MGET_KEYS, PIPELINE_LEN, VALUE_LEN},
    workers::Workers,
};

pub(crate) const TASKS: [usize; 5] = [1, 16, 64, 256, 1024];

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Workload {
    Get,
    Set,
    Mixed,
    Mget,
    Lrange,
    Pipeline,
}

impl Workload {
    pub(crate) const ALL: [Self; 6] = [
        Self::Get,
        Self::Set,
        Self::Mixed,
        Self::Mget,
        Self::Lrange,
        Self::Pipeline,
    ];

    /// As `--only` takes it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Set => "SET",
            Self::Mixed => "MIXED",
            Self::Mget => "MGET",
            Self::Lrange => "LRANGE",
            Self::Pipeline => "PIPELINE",
        }
    }

    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|workload| workload.name().eq_ignore_ascii_case(name))
    }

    pub(crate) fn writes(self) -> bool {
        matches!(self, Self::Set | Self::Mixed)
    }
}

impl fmt::Display for Workload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Get => write!(f, "GET {VALUE_LEN} B"),
            Self::Set => write!(f, "SET {VALUE_LEN} B"),
            Self::Mixed => write!(f, "80 % GET, 20 % SET, {VALUE_LEN} B"),
            Self::Mget => write!(f, "MGET of {MGET_KEYS}"),
            Self::Lrange => write!(f, "LRANGE of {LIST_LEN}"),
            Self::Pipeline => write!(f, "pipeline of {PIPELINE_LEN} GET"),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(crate) struct Cell {
    pub(crate) workload: Workload,
    pub(crate) tasks: usize,
    pub(crate) workers: Workers,
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plural = if self.tasks == 1 { "" } else { "s" };
        write!(f, "{}, {} task{plural}", self.workload, self.tasks)?;
        f.write_str(&self.workers.suffix())
    }
}

//! Who is measured.

use std::fmt;

use anyhow::Result;
use serde::Serialize;

use crate::{
    cell::{Cell, Workload},
    driver::{self, Timing},
    sample::Sample,
    stage::Stage,
};

/// What exclusive candidates may open, all tasks together.
pub(crate) const CONNECTIONS: usize = 16;

/// One client library, as one task holds it.
///
/// What the reads return is the length of all values together: enough to know that they came, and
/// no work to speak of. Each implementation asks for the owned type that is cheapest for it.
pub(crate) trait Client: Sized + Send + 'static {
    const NAME: &'static str;
    const KIND: Kind;

    /// One handle for each task.
    fn connect(stage: &Stage, cell: Cell) -> impl Future<Output = Result<Vec<Self>>>;

    fn get(&mut self, key: &str) -> impl Future<Output = Result<usize>> + Send;

    /// Fails unless the server says OK.
    fn set(&mut self, key: &str, value: &[u8]) -> impl Future<Output = Result<()>> + Send;

    fn mget(&mut self, keys: &[String]) -> impl Future<Output = Result<usize>> + Send;

    /// The whole list.
    fn lrange(&mut self, list: &str) -> impl Future<Output = Result<usize>> + Send;

    /// One GET for each key, in one pipeline.
    fn pipeline(&mut self, keys: &[String]) -> impl Future<Output = Result<usize>> + Send;
}

/// What a candidate competes in, and so which of ours it stands beside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Kind {
    /// A connection belongs to one task at a time.
    Exclusive,
    /// All tasks share one connection.
    Shared,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exclusive => write!(f, "{CONNECTIONS} exclusive connections"),
            Self::Shared => f.write_str("one shared connection"),
        }
    }
}

/// Which runs a candidate is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Transport {
    /// In both, over TLS where the run is.
    Either,
    /// It does not speak TLS.
    Plain,
    /// What a run over TLS is compared with.
    BesideTls,
}

impl Transport {
    pub(crate) fn is_in(self, tls: bool) -> bool {
        match self {
            Self::Either => true,
            Self::Plain => !tls,
            Self::BesideTls => tls,
        }
    }
}

/// A [`Client`] whose type is forgotten, so that they fit in one list.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Candidate {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    /// What it can do, where that is not everything.
    pub(crate) only: Option<&'static [Workload]>,
    pub(crate) transport: Transport,
    /// Whether it runs on the worker threads of a cell.
    pub(crate) has_workers: bool,
    pub(crate) measure: fn(&Stage, Cell, Timing) -> Result<Sample>,
}

impl Candidate {
    pub(crate) const fn of<C: Client>() -> Self {
        Self {
            name: C::NAME,
            kind: C::KIND,
            only: None,
            transport: Transport::Either,
            has_workers: true,
            measure: driver::measure::<C>,
        }
    }

    pub(crate) const fn only(self, workloads: &'static [Workload]) -> Self {
        Self {
            only: Some(workloads),
            ..self
        }
    }

    pub(crate) const fn over(self, transport: Transport) -> Self {
        Self { transport, ..self }
    }

    pub(crate) fn takes(&self, workload: Workload) -> bool {
        self.only.is_none_or(|only| only.contains(&workload))
    }
}

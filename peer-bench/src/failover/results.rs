//! Everything that was measured, and the file of it.

use std::{
    fs::File,
    io::{BufWriter, Write},
    path::Path,
};

use anyhow::{Context, Result};
use serde::Serialize;

use crate::{
    failover::{kind::Kind, options::Options, round::Round},
    machine::Machine,
};

#[derive(Debug, Serialize)]
pub(crate) struct Results {
    pub(crate) machine: Machine,
    pub(crate) rounds: Vec<Round>,
    /// Rounds that were left out because the first attempt of the Sentinels came to nothing, or they promoted a
    /// second node.
    pub(crate) repeated: usize,
}

impl Results {
    pub(crate) fn of(&self, kind: Kind) -> impl Iterator<Item = &Round> {
        self.rounds.iter().filter(move |round| round.kind == kind)
    }

    pub(crate) fn write(&self, path: &Path, options: &Options) -> Result<()> {
        #[derive(Serialize)]
        struct Document<'a> {
            arguments: &'a [String],
            #[serde(flatten)]
            results: &'a Results,
        }
        let file =
            File::create(path).with_context(|| format!("cannot write {}", path.display()))?;
        let mut file = BufWriter::new(file);
        let document = Document {
            arguments: &options.arguments,
            results: self,
        };
        serde_json::to_writer(&mut file, &document)?;
        file.flush()?;
        Ok(())
    }
}

//! rustis: one connection to the master that all share. It reads from replicas in a cluster only.
//!
//! As it comes, with a deadline for commands: it has none by default.

use std::sync::Arc;

use anyhow::Result;
use rustis::{Error, client::Client as RustisClient, commands::StringCommands};

use crate::failover::{
    call::{Failure, Outcome},
    client::{Answer, Candidate, Client, Place},
};

pub(super) const CANDIDATE: Candidate = Candidate {
    name: "rustis",
    connect: |place| Box::pin(connect(place)),
};

struct Rustis(RustisClient);

async fn connect(place: Place) -> Result<Arc<dyn Client>> {
    let url = format!(
        "redis+sentinel://{}/{}?command_timeout={}",
        place.sentinels.join(","),
        place.master_name,
        super::COMMAND_TIMEOUT.as_millis()
    );
    Ok(Arc::new(Rustis(RustisClient::connect(url).await?)))
}

impl Client for Rustis {
    fn write<'a>(&'a self, key: &'a str) -> Answer<'a> {
        Box::pin(async move { self.0.set(key, super::VALUE).await.map_err(failed) })
    }

    fn read<'a>(&'a self, key: &'a str) -> Answer<'a> {
        Box::pin(async move {
            let _: Option<String> = self.0.get(key).await.map_err(failed)?;
            Ok(())
        })
    }
}

fn failed(error: Error) -> Failure {
    let text = error.to_string();
    let outcome = if super::is_refusal(&text) {
        Outcome::NotExecuted
    } else {
        Outcome::Unknown
    };
    Failure { outcome, text }
}

//! Which replicas have a write.

use std::{sync::Arc, time::Duration};

use redis::RedisError;
use tokio::time::{Instant, sleep_until};

use crate::{
    error::{Error, Reports},
    freshness::{
        Shared,
        line::Line,
        pursuit::Outcome,
        refused,
        together::{boxed, together},
    },
    node::{Node, Role},
    position::token::Token,
    util::far::FAR,
    wire::position_question::NoAnswer,
};

const FIRST_PAUSE: Duration = Duration::from_micros(250);
const LONGEST_PAUSE: Duration = Duration::from_millis(10);

/// The replicas that have a write, see [`Pool::confirm`](crate::Pool::confirm).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Copies {
    /// In the order in which they were found to have it.
    pub nodes: Vec<Node>,
}

impl Shared {
    /// Asks the replicas until so many of them have what the token stands for.
    pub(crate) async fn confirm(
        self: &Arc<Self>,
        line: &Arc<dyn Line>,
        token: &Token,
        copies: usize,
        within: Duration,
    ) -> Result<Copies, Error> {
        let began = Instant::now();
        let deadline = began + within.min(FAR);
        let mut have: Vec<Node> = Vec::new();
        let mut pause = FIRST_PAUSE;
        while have.len() < copies {
            let now = Instant::now();
            // Who does not answer holds up the others no longer.
            let until = (now + LONGEST_PAUSE).min(deadline);
            self.round(line, token, copies, until, &mut have).await?;
            let now = Instant::now();
            if have.len() >= copies {
                break;
            }
            if now >= deadline {
                return Err(Error::TooFewCopies {
                    have: have.len(),
                    wanted: copies,
                    waited: began.elapsed(),
                    reports: self.reports(token, &have),
                });
            }
            sleep_until((now + pause).min(deadline)).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
        Ok(Copies { nodes: have })
    }

    /// Asks those once that are not known to have it.
    async fn round(
        self: &Arc<Self>,
        line: &Arc<dyn Line>,
        token: &Token,
        copies: usize,
        until: Instant,
        have: &mut Vec<Node>,
    ) -> Result<(), Error> {
        let mut targets = line.nodes();
        targets.retain(|target| target.role == Role::Replica && !have.contains(&target.node));
        let asked = targets.into_iter().map(|target| {
            boxed(async move {
                let answer = self.ask_node(&target.node, line, until).await?.ok()?;
                let outcome = Outcome::of(Some(&answer), token, &self.timelines());
                Some(match (outcome, &*answer) {
                    (Outcome::Fresh, _) => Ok(target.node),
                    (Outcome::Lost, _) => Err(Error::Lost {
                        token: token.clone(),
                    }),
                    (Outcome::Refused, Err(NoAnswer::Refused(reply))) => {
                        Err(refused(&target, RedisError::from(reply.clone())))
                    }
                    _ => return None,
                })
            })
        });
        let mut failed = None;
        together(asked.collect(), |found: Result<Node, Error>| {
            match found {
                Ok(node) => have.push(node),
                Err(error) => failed = Some(error),
            }
            failed.is_some() || have.len() >= copies
        })
        .await;
        failed.map_or(Ok(()), Err)
    }

    fn reports(&self, token: &Token, have: &[Node]) -> Reports {
        let topology = self.topology.snapshot();
        let replicas = topology.replicas.iter().map(|replica| &replica.node);
        let missing = replicas.filter(|node| !have.contains(node));
        let reports = missing.map(|node| {
            let what = self.describe(token, &self.node(node));
            (node.to_string(), what)
        });
        reports.collect()
    }
}

#[cfg(test)]
mod tests;

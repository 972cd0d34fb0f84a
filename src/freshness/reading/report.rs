//! Why a read failed that was to see something.

use redis::RedisError;

use crate::{
    error::{Error, Reports},
    freshness::{
        pursuit::{Pursuit, Reason},
        reading::{Carrier, Reading, Served},
        refused,
    },
    retry::request::Request,
    status::freshness::count,
    wire::position_question::NoAnswer,
};

impl<R: Request, C: Carrier<R>> Reading<'_, R, C> {
    /// Without the master nothing can be proven. What is left of the error of a question is that there was
    /// no master.
    pub(super) fn unheard(&self) -> RedisError {
        let shared = &self.nodes.shared;
        let what = match shared.last_heard() {
            Some(heard) => format!("last heard {:?} ago", heard.elapsed()),
            None => "not heard".to_owned(),
        };
        let error = Error::NoMaster {
            master_name: shared.config.master_name.clone(),
            waited: self.terms.began.elapsed(),
            reports: [("the master".to_owned(), what)].into_iter().collect(),
        };
        error.into()
    }

    pub(super) fn failure(
        &self,
        reason: Reason,
        pursuit: &Pursuit,
        served: &Served<R::Reply>,
    ) -> RedisError {
        let error = match reason {
            Reason::Refused => {
                let answer = served.placed.answers.ahead.as_deref();
                let Some(Err(NoAnswer::Refused(reply))) = answer else {
                    unreachable!("BUG: the node has refused");
                };
                refused(&served.target, reply.clone().into())
            }
            Reason::Lost => {
                self.ask.told(pursuit.told());
                Error::Lost {
                    token: pursuit.token().clone(),
                }
            }
            Reason::Stale => {
                count(&self.nodes.shared.stats.failed);
                Error::Stale {
                    wanted: pursuit.token().clone(),
                    waited: self.terms.began.elapsed(),
                    reports: self.reports(pursuit),
                }
            }
        };
        error.into()
    }

    fn reports(&self, pursuit: &Pursuit) -> Reports {
        let shared = &self.nodes.shared;
        let topology = shared.topology.snapshot();
        let mut nodes: Vec<_> = topology.readable().cloned().collect();
        let shared_nodes = self.nodes.line.nodes().into_iter();
        let others = shared_nodes.map(|target| target.node);
        for node in others.chain(topology.master.clone()) {
            if !nodes.contains(&node) {
                nodes.push(node);
            }
        }
        let reports = nodes.into_iter().map(|node| {
            let what = shared.describe(pursuit.token(), &shared.node(&node));
            (node.to_string(), what)
        });
        reports.collect()
    }
}

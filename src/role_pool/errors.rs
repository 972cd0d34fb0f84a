//! What a caller is told when a pool has no connection for it.

use std::time::Duration;

use redis::RedisError;

use crate::{
    error::{
        Error, Reports,
        failure::{Failure, is_tls_refusal},
        reason,
    },
    node::{Node, Role},
    role_pool::RolePool,
    topology::Target,
};

impl RolePool {
    /// After [`close`](Self::close).
    pub(crate) fn ending(&self) -> Error {
        self.end.get().cloned().unwrap_or(Error::Closed)
    }

    /// There is no node to connect to.
    pub(crate) fn nowhere_to_go(&self) -> Error {
        let snapshot = self.topology.snapshot();
        // There may be a node by now. The caller looks again.
        let found = !snapshot.targets(self.policy()).is_empty();
        if snapshot.master.is_none() || found {
            return self.progress.no_master(&self.config, Duration::ZERO);
        }
        let reports: Reports = snapshot
            .replicas
            .iter()
            .filter_map(|replica| {
                Some((
                    replica.node.to_string(),
                    replica.excluded.as_ref()?.to_string(),
                ))
            })
            .collect();
        Error::NoReplica { reports }
    }

    /// A node was asked something and answered this, or did not answer. Which node it was, where the error
    /// does not say so, is a guess: the first of those that it may have been.
    pub(crate) fn failed_at(&self, source: RedisError) -> Error {
        let named = Failure::of(&source).map(|failure| &failure.node);
        let mut targets = self.allowed().into_iter();
        let target = targets.find(|target| named.is_none_or(|named| *named == target.node));
        match target {
            Some(Target { node, role, .. }) => Error::Connect { role, node, source },
            None => self.nowhere_to_go(),
        }
    }

    /// Whether a dial that is tried again would only fail with the same error.
    pub(crate) fn is_final(&self, error: &Error) -> bool {
        match error {
            // The configuration says not to wait for a master to exist.
            _ if self.config.failover_timeout.is_zero() => true,
            Error::NoReplica { .. } => !self.topology.snapshot().in_motion(),
            // While certificates are replaced everywhere, somebody is always the first. The others follow
            // by themselves, so that is an outage.
            error => !error.is_transient() && !is_about_certificates(error),
        }
    }

    /// A caller got no connection in all that time. `last` is the error of the last dial.
    pub(crate) fn timed_out(&self, last: Option<Error>, waited: Duration) -> Error {
        let snapshot = self.topology.snapshot();
        if snapshot.master.is_none() {
            return self.progress.no_master(&self.config, waited);
        }
        let (node, report) = match (last, &snapshot.fence, &snapshot.master) {
            (Some(error), _, _) if self.is_read_pool() && !is_about_certificates(&error) => {
                return error;
            }
            (
                Some(Error::Connect {
                    role: Role::Replica,
                    node,
                    source,
                }),
                _,
                _,
            ) => {
                let report = (node.to_string(), reason(&source));
                return Error::NoReplica {
                    reports: [report].into_iter().collect(),
                };
            }
            (_, Some(sign), Some(node)) if !self.is_read_pool() => {
                (node.to_string(), format!("it is being replaced ({sign})"))
            }
            (Some(Error::Connect { node, source, .. }), _, _) => {
                (node.to_string(), reason(&source))
            }
            (Some(error), _, _) => ("the pool".to_owned(), error.to_string()),
            (None, _, node) => {
                let node = node.as_ref().map_or_else(String::new, Node::to_string);
                let known = snapshot.master_error.clone();
                (
                    node,
                    known.unwrap_or_else(|| "the dial has not ended".to_owned()),
                )
            }
        };
        Error::NoMaster {
            master_name: self.config.master_name.clone(),
            waited,
            reports: [(node, report)].into_iter().collect(),
        }
    }
}

/// Whether it is an error that a pool that runs waits for, as for an outage. What its callers get in the
/// end must say so too.
fn is_about_certificates(error: &Error) -> bool {
    matches!(error, Error::Connect { source, .. } if is_tls_refusal(source))
}

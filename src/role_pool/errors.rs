//! What a caller is told when a pool has no connection for it.

use std::time::Duration;

use crate::{
    error::{Error, Reports, is_refusal, reason},
    role_pool::RolePool,
};

impl RolePool {
    /// After [`close`](Self::close).
    pub(crate) fn ending(&self) -> Error {
        self.end.get().cloned().unwrap_or(Error::Closed)
    }

    /// There is no node to connect to.
    pub(crate) fn nowhere_to_go(&self) -> Error {
        let snapshot = self.topology.snapshot();
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

    /// Whether a dial that is tried again would only fail with the same error.
    pub(crate) fn is_final(&self, error: &Error) -> bool {
        match error {
            // The configuration says not to wait for a master to exist.
            _ if self.config.failover_timeout.is_zero() => true,
            Error::NoReplica { .. } => !self.topology.snapshot().in_motion(),
            Error::Connect { source, .. } => is_refusal(source),
            _ => false,
        }
    }

    /// A caller got no connection in all that time. `last` is the error of the last dial.
    pub(crate) fn timed_out(&self, last: Option<Error>, waited: Duration) -> Error {
        let snapshot = self.topology.snapshot();
        let (node, report) = match (last, &snapshot.fence, &snapshot.master) {
            (Some(error), _, _) if self.is_read_pool() => return error,
            (_, Some(sign), Some(node)) if !self.is_read_pool() => {
                (node.to_string(), format!("it is being replaced ({sign})"))
            }
            (Some(Error::Connect { node, source, .. }), _, _) => {
                (node.to_string(), reason(&source))
            }
            (Some(error), _, _) => ("the pool".to_owned(), error.to_string()),
            (None, _, Some(node)) => (node.to_string(), "the dial has not ended".to_owned()),
            (None, _, None) => ("the pool".to_owned(), "no master is known".to_owned()),
        };
        Error::NoMaster {
            master_name: self.config.master_name.clone(),
            waited,
            reports: [(node, report)].into_iter().collect(),
        }
    }
}

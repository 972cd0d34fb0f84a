//! W6: what may be left when all is quiet.

use std::time::Duration;

use super::rules::{Rule, Violation};

/// What there is of a pool when nobody calls, by its own account and by that of others.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Quiet {
    /// Connections open in the exclusive pools.
    pub active: usize,
    /// Of these, not lent.
    pub idle: usize,
    /// Connections that callers share.
    pub shared: usize,
    /// Callers in line.
    pub waiting: usize,
    /// Commands on their way.
    pub in_flight: usize,
    /// Connections of the pool that the servers see.
    pub on_servers: usize,
}

impl Quiet {
    /// In what it is not quiet; empty if it is.
    #[must_use]
    pub fn verdict(&self, at: Duration) -> Vec<Violation> {
        let counts = [
            (self.active - self.active.min(self.idle), "connections lent"),
            (self.waiting, "callers in line"),
            (self.in_flight, "commands on their way"),
        ];
        let left = counts
            .iter()
            .filter(|(count, _)| *count > 0)
            .map(|(count, what)| format!("{count} {what} when all is quiet: {self:?}"));
        let known = self.active + self.shared;
        let unlike = (self.on_servers != known).then(|| {
            let on_servers = self.on_servers;
            format!("the servers see {on_servers} connections, the pool {known}: {self:?}")
        });
        left.chain(unlike)
            .map(|text| Violation {
                rule: Rule::Conserved,
                at,
                text,
            })
            .collect()
    }
}

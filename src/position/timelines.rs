//! Which timeline came from which.

use crate::{
    node::Role,
    position::{Position, report::Report, timeline::Timeline},
};

/// As many failovers are remembered. What is older is unknown, which costs a question and no more.
const MAX: usize = 64;

/// No offset is as large.
const NO_CUT: u64 = u64::MAX;

/// The tree of timelines as far as it is known, and the timeline that is the master's now.
///
/// It is learned from masters, and from nobody else.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Timelines {
    /// The oldest knowledge first. A timeline has one origin, but others may have come from the
    /// same: a promoted replica, and the old master that was started again.
    branches: Vec<Branch>,
    current: Option<Current>,
}

/// A timeline and where it began.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Branch {
    child: Timeline,
    parent: Timeline,
    /// The first offset that the two do not share.
    cut: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Current {
    timeline: Timeline,
    /// The version of the topology that named its master.
    version: u64,
}

impl Timelines {
    /// Takes note of what a node says. Returns whether that was new.
    ///
    /// `named` is the version of the topology that named this node as the master when it was asked, if one
    /// did. Replies may come in another order than they were sent.
    pub(crate) fn learn(&mut self, report: &Report, named: Option<u64>) -> bool {
        let branch = self.new_branch(report);
        let current = named.and_then(|version| self.new_current(report, version));
        if let Some(branch) = branch {
            if self.branches.len() == MAX {
                self.branches.remove(0);
            }
            self.branches.push(branch);
        }
        self.current = current.or(self.current);
        branch.is_some() || current.is_some()
    }

    /// Whether [`learn`](Self::learn) would change anything.
    pub(crate) fn is_news(&self, report: &Report, named: Option<u64>) -> bool {
        let current = named.and_then(|version| self.new_current(report, version));
        current.is_some() || self.new_branch(report).is_some()
    }

    /// The timeline of the current master, as far as this pool knows.
    pub(crate) fn current(&self) -> Option<Timeline> {
        self.current.map(|current| current.timeline)
    }

    /// The first offset of `ancestor` that is not in the history of `timeline`; `None` if it is not known
    /// to be an ancestor. A timeline has all of itself.
    pub(super) fn shared(&self, timeline: Timeline, ancestor: Timeline) -> Option<u64> {
        let mut line = self.line(timeline);
        let found = line.find(|(passed, _)| *passed == ancestor);
        found.map(|(_, limit)| limit)
    }

    /// Whether a node at this position has data that the current master does not have. It may have been
    /// the master itself, before a failover left its last writes behind.
    pub(super) fn has_strayed(&self, position: Position) -> bool {
        let Some(current) = self.current() else {
            return false;
        };
        match self.shared(current, position.timeline) {
            Some(limit) => position.offset >= limit,
            None => {
                // Where its line meets that of the current master: at the master itself if it is ahead.
                let mut line = self.line(position.timeline);
                let common = line.find(|(passed, _)| self.shared(current, *passed).is_some());
                common.is_some_and(|(common, _)| common != current)
            }
        }
    }

    /// The timeline, the one that it came from, and so on, each with the first offset that is not in the
    /// history of the first.
    fn line(&self, timeline: Timeline) -> impl Iterator<Item = (Timeline, u64)> {
        std::iter::successors(Some((timeline, NO_CUT)), |(child, limit)| {
            let branch = self.branch(*child)?;
            Some((branch.parent, branch.cut.min(*limit)))
        })
    }

    fn branch(&self, child: Timeline) -> Option<&Branch> {
        // The newest are asked for most.
        let mut branches = self.branches.iter().rev();
        branches.find(|branch| branch.child == child)
    }

    fn new_branch(&self, report: &Report) -> Option<Branch> {
        let child = report.position.timeline;
        let origin = report
            .origin
            .filter(|_| report.role == Role::Master && self.branch(child).is_none())?;
        // A server that makes a circle lies, and walking it would not end.
        let is_circle = self.shared(origin.parent, child).is_some();
        (!is_circle).then_some(Branch {
            child,
            parent: origin.parent,
            cut: origin.cut,
        })
    }

    fn new_current(&self, report: &Report, version: u64) -> Option<Current> {
        let timeline = report.position.timeline;
        let new = Current { timeline, version };
        let Some(known) = self.current else {
            return (report.role == Role::Master).then_some(new);
        };
        // While a node stays the master, only its restart begins another timeline. A reply that still
        // has the one before is late.
        let is_older =
            timeline != known.timeline && self.shared(known.timeline, timeline).is_some();
        let is_late = version < known.version || (version == known.version && is_older);
        (report.role == Role::Master && !is_late && new != known).then_some(new)
    }
}

#[cfg(test)]
mod tests;

//! Other masters that Sentinels name under a higher epoch.

use std::collections::BTreeMap;

use crate::{
    node::Node,
    refresh::decide::{
        election, fence::facts::Facts, node_report::NodeReport, sentinel_report::views,
    },
    sentinel::answer::Answer,
};

/// Nodes that a Sentinel names as the master and that deny it, each with the epoch under which it
/// was named.
#[derive(Debug, Default)]
pub(super) struct Refuted(BTreeMap<Node, u64>);

impl Refuted {
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// Records what the named nodes themselves report.
    pub(super) fn observe(&mut self, facts: &Facts<'_>) {
        let mut refuted = BTreeMap::new();
        for view in views(facts.reports) {
            let node = &view.master;
            let epoch = match facts.node_reports.get(node) {
                _ if facts.current.master.as_ref() == Some(node) => continue,
                Some(NodeReport::Master) => continue,
                Some(NodeReport::Failed(_)) if facts.is_named_by_most(node) => continue,
                Some(_) => Some(view.epoch),
                // While it is asked anew, what it said before counts.
                None => self.0.get(node).copied(),
            };
            if let Some(epoch) = epoch {
                let highest = refuted.entry(node.clone()).or_insert(epoch);
                *highest = epoch.max(*highest);
            }
        }
        self.0 = refuted;
    }

    /// Another master that a Sentinel names under a higher epoch. `None` if that node denied it, or
    /// if it does not belong to our deployment ([`election::is_vouched_for`]).
    pub(super) fn rival<'a>(&self, answer: &'a Answer, facts: &Facts<'_>) -> Option<&'a Node> {
        let view = answer.view.as_ref()?;
        let node = &view.master;
        if view.epoch <= facts.current.epoch || Some(node) == facts.current.master.as_ref() {
            return None;
        }
        let refuted = match facts.node_reports.get(node) {
            Some(NodeReport::Failed(_)) if facts.is_named_by_most(node) => false,
            Some(report) => *report != NodeReport::Master,
            None => self.0.get(node).is_some_and(|epoch| *epoch >= view.epoch),
        };
        let views = views(facts.reports);
        let voters = views.clone().count();
        let vouched = election::is_vouched_for(facts.current, node, views, voters);
        (vouched && !refuted).then_some(node)
    }
}

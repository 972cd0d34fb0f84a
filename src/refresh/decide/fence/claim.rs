//! What Sentinels report against a master that is still written to.

use crate::{
    refresh::decide::{node_report::NodeReports, sentinel_report::SentinelReport},
    topology::Topology,
};

/// The text for [`SentinelStatus::claim`](crate::SentinelStatus::claim). The outer `None`: there is
/// no recent report of the master, so the claim stays as it was.
pub(crate) fn claim(
    next: &Topology,
    reports: &[SentinelReport<'_>],
    node_reports: &NodeReports,
) -> Option<Option<String>> {
    let master = next.master.as_ref();
    let master = master.filter(|master| node_reports.contains_key(*master))?;
    let flag_of = |report: &SentinelReport<'_>| {
        let (node, flag) = report.answer?.failover_flag.as_ref()?;
        (node == master).then_some(*flag)
    };
    let flags: Vec<&str> = reports.iter().filter_map(flag_of).collect();
    let flag = flags.first().filter(|_| next.fence.is_none());
    Some(flag.map(|flag| {
        let (count, all) = (flags.len(), reports.len());
        format!("{count} of {all} Sentinels state {flag} for {master}, which says that it is well")
    }))
}

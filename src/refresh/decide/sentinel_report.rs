//! What one Sentinel says. Pure.

use crate::sentinel::{
    answer::{Answer, View},
    id::SentinelId,
};

/// What one Sentinel said last.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SentinelReport<'a> {
    pub(crate) sentinel: &'a SentinelId,
    /// The newest refresh that it answered, or failed to answer. 0 before the first.
    pub(crate) round: u64,
    /// `None` where it could not be asked.
    pub(crate) answer: Option<&'a Answer>,
}

/// The views of the Sentinels that monitor our master name.
pub(crate) fn views<'a>(
    reports: &'a [SentinelReport<'a>],
) -> impl Iterator<Item = &'a View> + Clone {
    reports
        .iter()
        .filter_map(|report| report.answer?.view.as_ref())
}

//! A duration that stands for "never".

use std::time::Duration;

/// Longer than anybody waits, and short enough to be added to an `Instant` without an overflow. tokio
/// puts its far future 30 years away, too.
pub(crate) const FAR: Duration = Duration::from_secs(30 * 365 * 86_400);

//! What one candidate reached in one cell in one round.

use std::{num::NonZeroU64, time::Duration};

use hdrhistogram::Histogram;
use serde::Serialize;

/// Times are in microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct Sample {
    pub(crate) ops_per_second: f64,
    pub(crate) cpu_per_op: f64,
    pub(crate) p50: f64,
    pub(crate) p99: f64,
    /// `redis-benchmark` does not say.
    pub(crate) p999: Option<f64>,
    pub(crate) max: f64,
}

impl Sample {
    /// The latencies are in nanoseconds.
    pub(crate) fn new(
        operations: NonZeroU64,
        elapsed: Duration,
        cpu: Duration,
        latencies: &Histogram<u32>,
    ) -> Self {
        let operations = operations.get() as f64;
        let at = |quantile| latencies.value_at_quantile(quantile) as f64 / 1e3;
        Self {
            ops_per_second: operations / elapsed.as_secs_f64(),
            cpu_per_op: cpu.as_secs_f64() * 1e6 / operations,
            p50: at(0.5),
            p99: at(0.99),
            p999: Some(at(0.999)),
            max: latencies.max() as f64 / 1e3,
        }
    }
}

//! What is watched of every call, where somebody has asked for that. Everybody else pays one branch a call.

use tokio::time::Instant;

use crate::{
    config::{Config, Measure},
    role_pool::RolePool,
    status::histogram::{Histogram, HistogramCounter},
};

/// What is watched of the calls over the connections of one pool, exclusive and shared.
#[derive(Debug)]
pub(crate) struct Calls {
    /// How long they took, if that is measured.
    durations: Option<HistogramCounter>,
}

impl Calls {
    /// `None` where nothing is watched.
    pub(super) fn of(config: &Config) -> Option<Box<Self>> {
        let is_measured = config.measure == Measure::Commands;
        is_measured.then(|| {
            Box::new(Self {
                durations: Some(HistogramCounter::default()),
            })
        })
    }

    /// How long they took, if that is measured.
    pub(crate) fn durations(&self) -> Option<Histogram> {
        self.durations.as_ref().map(HistogramCounter::snapshot)
    }
}

impl RolePool {
    /// Takes the time of a call, if that is measured. A call that is dropped before its end does not count.
    pub(crate) async fn timed<T>(&self, call: impl Future<Output = T> + Send) -> T {
        let durations = self.calls.as_ref().and_then(|it| it.durations.as_ref());
        let Some(durations) = durations else {
            return call.await;
        };
        let began = Instant::now();
        let ended = call.await;
        durations.record(began.elapsed());
        ended
    }
}

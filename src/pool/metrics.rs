//! Pushes the numbers to the recorder of the `metrics` crate.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use crate::{
    pool::{Inner, Pool},
    status::push::Pushed,
};

/// A push reads memory only. Even so nobody looks at numbers more often than this.
const SHORTEST_PAUSE: Duration = Duration::from_millis(10);

impl Pool {
    /// Hands the numbers of [`status`](Self::status) to the recorder that is installed for the
    /// [`metrics`](https://docs.rs/metrics/0.24) crate: now, every so often, and once more when the pool is
    /// closed. Call it once.
    ///
    /// The names are those of [`Status::openmetrics`](crate::Status::openmetrics), so that dashboards fit both.
    /// Some things are different, because that is how recorders work. Times are given as
    /// [`Histogram::since`](crate::Histogram::since) has them: their buckets and their sum are true, so give an
    /// exporter for Prometheus the same buckets. The counter of seconds in which writes were held back is a
    /// gauge. A gauge about a node that is gone is 0.
    ///
    /// Several pools of a process may be pushed, if each has a name of its own ([`Config::name`](crate::Config::name)).
    /// What is of a whole pool has it in the label `redis_rw_pool_name`.
    ///
    /// The task lives on the pool's runtime and does not keep the pool alive. The recorder may be installed
    /// later.
    ///
    /// ```no_run
    /// # async fn example(config: redis_rw_pool::Config) -> Result<(), redis_rw_pool::Error> {
    /// use std::time::Duration;
    ///
    /// let pool = redis_rw_pool::Pool::connect(config).await?;
    /// pool.push_metrics(Duration::from_secs(5));
    /// # Ok(())
    /// # }
    /// ```
    pub fn push_metrics(&self, every: Duration) {
        let role_pool = Arc::clone(self.inner.connections.role_pool());
        let inner = Arc::downgrade(&self.inner);
        let pause = every.max(SHORTEST_PAUSE);
        self.inner.runtime.spawn(async move {
            let mut pushed = Pushed::default();
            while push(&inner, &mut pushed) && !role_pool.is_closed() {
                tokio::select! {
                    () = tokio::time::sleep(pause) => {}
                    () = role_pool.closing() => {}
                }
            }
        });
    }
}

/// Whether there still is a pool.
fn push(inner: &Weak<Inner>, pushed: &mut Pushed) -> bool {
    let Some(inner) = inner.upgrade() else {
        return false;
    };
    let status = inner.status();
    metrics::with_recorder(|recorder| pushed.push(&status, recorder));
    true
}

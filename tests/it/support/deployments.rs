//! One deployment for all tests that do not disturb it.

use std::{sync::OnceLock, time::Duration};

use redis_rw_pool::{Config, Pool};
use testkit::{Deployment, Server};

use super::{patient, pool};

/// A master, a replica and a Sentinel that nobody stops, promotes or blocks.
pub(crate) fn deployment() -> &'static Deployment {
    static SHARED: OnceLock<Deployment> = OnceLock::new();
    SHARED.get_or_init(|| {
        Deployment::builder()
            .replicas(1)
            .sentinels(1)
            // Under the load of many tests a silent second is no failure.
            .down_after(Duration::from_secs(60))
            .start()
    })
}

pub(crate) fn master() -> &'static Server {
    &deployment().nodes()[0]
}

/// A pool on the shared deployment with one write connection, known to the server by `name`.
pub(crate) async fn single(name: &str, change: impl FnOnce(&mut Config)) -> Pool {
    pool(deployment(), |config| {
        config.client_name = Some(name.to_owned());
        config.write.max_active = 1;
        patient(config);
        change(config);
    })
    .await
}

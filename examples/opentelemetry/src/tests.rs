//! What an exporter gets, with a real server.

mod collected;
mod metrics;
mod traces;

use redis_rw_pool::{Config, Measure, Pool, Trace};
use testkit::Server;

/// A pool that is named so, and whose calls are measured and traced.
async fn pool(server: &Server, name: &str) -> Pool {
    let config = Config::standalone(server.addr()).with(|config| {
        config.name = Some(name.to_owned());
        config.measure = Measure::Commands;
        config.trace = Trace::Commands;
    });
    Pool::connect(config).await.unwrap()
}

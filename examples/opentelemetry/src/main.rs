//! A program whose pool is seen through OpenTelemetry. `make cluster` in one terminal, and in another
//!
//! ```text
//! cargo run -p redis-rw-pool-opentelemetry
//! ```
//!
//! prints what a collector would get. `REDIS_URL` names other servers. To send it to a collector, add the
//! crate `opentelemetry-otlp` of the same version, and in the two lines marked so take its exporters instead:
//! `opentelemetry_otlp::SpanExporter::builder().with_tonic().build()?`, and likewise `MetricExporter`.
//!
//! What an application copies is in `metrics.rs` and `traces.rs`.

mod metrics;
#[cfg(test)]
mod tests;
mod traces;

use std::{env, error::Error};

use opentelemetry::{metrics::MeterProvider, trace::TracerProvider};
use opentelemetry_sdk::{Resource, metrics::SdkMeterProvider, trace::SdkTracerProvider};
use redis_rw_pool::{
    Config, Measure, Pool, Trace,
    redis::{AsyncTypedCommands, RedisResult, pipe},
};
use tracing::{Instrument, info_span};
use tracing_subscriber::{layer::SubscriberExt, util::SubscriberInitExt};

use self::metrics::PoolMetrics;

/// What `make cluster` starts.
const REDIS_URL: &str = "redis-sentinel://127.0.0.1:26379,127.0.0.1:26380,127.0.0.1:26381#mymaster";

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let resource = Resource::builder().with_service_name("shop").build();
    let spans = SdkTracerProvider::builder()
        .with_batch_exporter(opentelemetry_stdout::SpanExporter::default()) // OTLP
        .with_resource(resource.clone())
        .build();
    let numbers = SdkMeterProvider::builder()
        .with_periodic_exporter(opentelemetry_stdout::MetricExporter::default()) // OTLP
        .with_resource(resource)
        .build();
    tracing_subscriber::registry()
        .with(traces::layer(spans.tracer("redis-rw-pool")))
        .init();
    let metrics = PoolMetrics::new(&numbers.meter("redis-rw-pool"));

    let pool = Pool::connect(config()?).await?;
    metrics.show(&pool);
    let request = info_span!("GET /visits", otel.kind = "server");
    println!("visit {}", visit(&pool).instrument(request).await?);

    // What is new since the last export, every minute, is sent while the pool is still there.
    numbers.force_flush()?;
    pool.close();
    pool.closed().await;
    spans.shutdown()?;
    numbers.shutdown()?;
    Ok(())
}

/// Calls are neither measured nor traced by default.
fn config() -> Result<Config, Box<dyn Error>> {
    let config = match env::var_os("REDIS_URL") {
        Some(_) => Config::from_env("REDIS")?,
        None => Config::from_url(REDIS_URL)?,
    };
    Ok(config.with(|config| {
        config.measure = Measure::Commands;
        config.trace = Trace::Commands;
    }))
}

async fn visit(pool: &Pool) -> RedisResult<isize> {
    let visits = pool.writer().incr("visits", 1).await?;
    pool.reader().get("visits").await?;
    let mut write = pool.write().await?;
    let mut both = pipe();
    both.set("last", visits).expire("last", 60);
    both.exec_async(&mut write).await?;
    Ok(visits)
}

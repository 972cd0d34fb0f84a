//! The calls of pools in OpenTelemetry's traces.
//!
//! To copy into an application, with the crates `tracing-opentelemetry` and `tracing-subscriber`. A pool tells
//! `tracing` of each call if `Config::trace` is `Trace::Commands`.

use opentelemetry_sdk::trace::SdkTracer;
use tracing::{Level, Subscriber};
use tracing_subscriber::{Layer, filter::Targets, registry::LookupSpan};

/// A layer that makes a client span of each call, beside the application's own spans from INFO on.
pub(crate) fn layer<S>(tracer: SdkTracer) -> impl Layer<S>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    let shown = Targets::new()
        .with_default(Level::INFO)
        .with_target("redis_rw_pool::command", Level::DEBUG);
    // The conventions for client spans have none of these attributes.
    tracing_opentelemetry::layer()
        .with_tracer(tracer)
        .with_location(false)
        .with_target(false)
        .with_threads(false)
        .with_tracked_inactivity(false)
        .with_filter(shown)
}

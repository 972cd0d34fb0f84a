//! What other programs read: numbers, who is who, and whether to send requests here.

use axum::{
    Json, Router,
    extract::State,
    http::{HeaderMap, StatusCode, header},
    response::IntoResponse,
    routing::get,
};
use redis_rw_pool::{Need, Pool};

const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
const PLAIN: &str = "text/plain; version=0.0.4; charset=utf-8";

pub(crate) fn routes(pool: Pool) -> Router {
    Router::new()
        .route("/metrics", get(metrics))
        .route("/live", get(live))
        .route("/ready", get(ready))
        .route("/status", get(status))
        .route("/topology", get(topology))
        .with_state(pool)
}

/// Prometheus asks for OpenMetrics. Others, as `promtool check metrics`, know the older format only.
async fn metrics(State(pool): State<Pool>, headers: HeaderMap) -> impl IntoResponse {
    let accepted = headers.get_all(header::ACCEPT).iter();
    let mut accepted = accepted.filter_map(|value| value.to_str().ok());
    let status = pool.status();
    let (format, text) = if accepted.any(|value| value.contains("application/openmetrics-text")) {
        (OPENMETRICS, status.openmetrics())
    } else {
        (PLAIN, status.prometheus())
    };
    ([(header::CONTENT_TYPE, format)], text)
}

/// Says nothing of Redis: a restart of this program would not bring it back.
async fn live() -> &'static str {
    "alive\n"
}

/// Stays 200 during a failover, which requests just wait for. Becomes 503 when they get errors.
async fn ready(State(pool): State<Pool>) -> impl IntoResponse {
    let health = pool.health();
    let code = if health.is_ready(Need::Both) {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    (code, format!("{health}\n"))
}

async fn status(State(pool): State<Pool>) -> impl IntoResponse {
    Json(pool.status())
}

async fn topology(State(pool): State<Pool>) -> impl IntoResponse {
    Json((*pool.topology()).clone())
}

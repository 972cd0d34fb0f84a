//! A web backend on a pool: `make cluster` in one terminal, `cargo run --release --example web` in
//! another, and in a third
//!
//! ```text
//! curl http://127.0.0.1:3333/
//! curl -X PUT http://127.0.0.1:3333/kv/colour -d blue
//! curl http://127.0.0.1:3333/kv/colour
//! curl http://127.0.0.1:3333/topology
//! ab -c 10 -n 20 http://127.0.0.1:3333/
//! ```
//!
//! `LISTEN` moves it elsewhere. `REDIS_URL` names other servers, and the other variables that
//! [`Config::from_env`] reads change other settings.

use std::{env, error::Error, process::ExitCode};

use axum::{
    Json, Router,
    extract::{Path, State},
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use redis_rw_pool::{
    Config, ConfigError, Node, Outcome, Pool, PoolStatus, outcome,
    redis::{AsyncCommands, RedisError},
};
use serde_json::{Map, Value, json};
use tokio::net::TcpListener;

/// What `make cluster` starts, for when `REDIS_URL` says nothing else.
const REDIS_URL: &str = "redis-sentinel://127.0.0.1:26379,127.0.0.1:26380,127.0.0.1:26381#mymaster";

#[tokio::main]
async fn main() -> ExitCode {
    match serve().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{}", with_causes(&*error));
            ExitCode::FAILURE
        }
    }
}

async fn serve() -> Result<(), Box<dyn Error>> {
    let address = env::var("LISTEN").unwrap_or_else(|_| "127.0.0.1:3333".to_owned());
    let pool = Pool::connect(config()?).await?;
    let app = Router::new()
        .route("/", get(count))
        .route("/kv/{key}", get(get_value).put(put_value))
        .route("/topology", get(topology))
        .route("/status", get(status))
        .with_state(pool.clone());

    let listener = TcpListener::bind(&address).await?;
    println!("listening on http://{}/", listener.local_addr()?);
    axum::serve(listener, app)
        .with_graceful_shutdown(asked_to_stop()?)
        .await?;
    // Requests under way have been answered; nobody is left to need a connection.
    pool.close();
    println!("stopped");
    Ok(())
}

fn config() -> Result<Config, ConfigError> {
    match env::var_os("REDIS_URL") {
        Some(_) => Config::from_env("REDIS"),
        None => Config::from_url(REDIS_URL),
    }
}

/// Counts the visit on the master and reads the count from a replica, which may be a visit behind.
async fn count(State(pool): State<Pool>) -> Result<String, Failure> {
    let mut master = pool.write().await?;
    let written: u64 = master.incr("visits", 1).await?;
    let wrote_to = master.node().to_string();
    // Given back before the next checkout: a handler that holds one connection while it waits for
    // another can keep others from both.
    drop(master);

    let mut replica = pool.read().await?;
    let read: Option<u64> = replica.get("visits").await?;
    let read = read.unwrap_or(0);
    let (role, node) = (replica.role().to_string(), replica.node().to_string());
    // Always of one length, since `ab` takes an answer of another length for a failure.
    Ok(format!(
        "visit {written:>9}, written to the master  {wrote_to:>21}\n\
         visit {read:>9}, read from    the {role:<7} {node:>21}\n"
    ))
}

async fn get_value(State(pool): State<Pool>, Path(key): Path<String>) -> Result<Response, Failure> {
    let value: Option<Vec<u8>> = pool.read().await?.get(format!("kv:{key}")).await?;
    Ok(match value {
        Some(value) => value.into_response(),
        None => (StatusCode::NOT_FOUND, "no such key\n").into_response(),
    })
}

async fn put_value(
    State(pool): State<Pool>,
    Path(key): Path<String>,
    value: axum::body::Bytes,
) -> Result<StatusCode, Failure> {
    let () = pool
        .write()
        .await?
        .set(format!("kv:{key}"), &value[..])
        .await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn topology(State(pool): State<Pool>) -> Json<Value> {
    let topology = pool.topology();
    let replicas = topology.replicas.iter().map(|replica| {
        json!({
            "node": replica.node.to_string(),
            "readable": replica.is_readable(),
            "excluded": replica.excluded.as_ref().map(ToString::to_string),
        })
    });
    Json(json!({
        "version": topology.version,
        "epoch": topology.epoch,
        "master": topology.master.as_ref().map(Node::to_string),
        "replicas": replicas.collect::<Vec<_>>(),
    }))
}

async fn status(State(pool): State<Pool>) -> Json<Value> {
    let status = pool.status();
    let sentinel = &status.sentinel;
    let reports: Map<String, Value> = sentinel
        .reports
        .iter()
        .map(|(who, what)| (who.to_owned(), what.into()))
        .collect();
    Json(json!({
        "write": pool_status(&status.write),
        "read": pool_status(&status.read),
        "sentinel": {
            "known": sentinel.known,
            "reachable": sentinel.reachable,
            "last_answer_ms": sentinel.last_answer.map(|ago| ago.as_secs_f64() * 1e3),
            "refreshes": sentinel.refreshes,
            "stale_answers": sentinel.stale_answers,
            "events": sentinel.events,
            "reports": reports,
        },
    }))
}

fn pool_status(status: &PoolStatus) -> Value {
    let discards: Map<String, Value> = status
        .discards
        .iter()
        .map(|(reason, count)| (reason.to_string(), count.into()))
        .collect();
    json!({
        "max_active": status.max_active,
        "active": status.active,
        "idle": status.idle,
        "waiting": status.waiting,
        "wait_count": status.wait_count,
        "wait_duration_ms": status.wait_duration.as_secs_f64() * 1e3,
        "created": status.created,
        "dial_failures": status.dial_failures,
        "discards": discards,
    })
}

/// Why a request cannot be answered. An error of the pool becomes one of the redis crate, which keeps it.
#[derive(Debug)]
struct Failure(RedisError);

impl From<redis_rw_pool::Error> for Failure {
    fn from(error: redis_rw_pool::Error) -> Self {
        Self(error.into())
    }
}

impl From<RedisError> for Failure {
    fn from(error: RedisError) -> Self {
        Self(error)
    }
}

/// The text of an error with everything that caused it.
fn with_causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        // An I/O error of the redis crate says itself what its cause says again.
        if !text.ends_with(&more) {
            text = format!("{text}: {more}");
        }
        cause = error.source();
    }
    text
}

impl Failure {
    fn status(&self) -> StatusCode {
        // No later request fares better: the pool is closed, or its settings are wrong.
        if redis_rw_pool::Error::of(&self.0).is_some_and(|error| !error.is_transient()) {
            return StatusCode::INTERNAL_SERVER_ERROR;
        }
        match outcome(&self.0) {
            // A failover, a full pool: proxies and clients may send the request again.
            Outcome::NotExecuted => StatusCode::SERVICE_UNAVAILABLE,
            // It may have been executed. Only who knows that twice does no harm sends it again.
            Outcome::Unknown => StatusCode::GATEWAY_TIMEOUT,
            // Redis has answered, and this program had not expected that.
            Outcome::Executed => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let status = self.status();
        // The log gets the cause. The client does not: it names nodes and keys.
        eprintln!("{status}: {}", with_causes(&self.0));
        let text = format!("{}: {status}\n", outcome(&self.0).as_str());
        let mut response = (status, text).into_response();
        if status == StatusCode::SERVICE_UNAVAILABLE {
            let seconds = HeaderValue::from_static("1");
            response.headers_mut().insert(header::RETRY_AFTER, seconds);
        }
        response
    }
}

/// Ends at Ctrl-C, and at the SIGTERM that service managers send.
#[cfg(unix)]
fn asked_to_stop() -> std::io::Result<impl Future<Output = ()>> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}

#[cfg(windows)]
fn asked_to_stop() -> std::io::Result<impl Future<Output = ()>> {
    let mut ctrl_c = tokio::signal::windows::ctrl_c()?;
    Ok(async move { drop(ctrl_c.recv().await) })
}

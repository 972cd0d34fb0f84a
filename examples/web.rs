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
//!
//! A browser sees on any instance what it has written, from replicas that have it: the token of its session
//! is in a cookie. Start another instance with `LISTEN=127.0.0.1:3334`, and let both replicas take nothing
//! from their master for a minute. Anna, who wrote, sees it at the other instance; Ben, who has no cookie,
//! sees the old value.
//!
//! ```text
//! curl -c anna -X PUT http://127.0.0.1:3333/kv/colour -d blue
//! redis-cli -p 6380 client pause 60000 write; redis-cli -p 6381 client pause 60000 write
//! curl -c anna -b anna -X PUT http://127.0.0.1:3333/kv/colour -d red
//! curl -w '\n' -b anna http://127.0.0.1:3334/kv/colour    # red, from the master
//! curl -w '\n' -b ben http://127.0.0.1:3334/kv/colour     # blue
//!
//! redis-cli -p 6381 client unpause
//! for i in $(seq 20); do curl -s -w '\n' -b anna http://127.0.0.1:3334/kv/colour; done | sort | uniq -c    # 20 red
//! for i in $(seq 20); do curl -s -w '\n' -b ben http://127.0.0.1:3334/kv/colour; done | sort | uniq -c     # a mixture
//! curl http://127.0.0.1:3334/status    # "freshness": one read went to the master, those after it to 6381
//! ```

use std::{env, error::Error, process::ExitCode};

use axum::{
    Extension, Json, Router,
    extract::{Path, Request, State},
    http::{HeaderValue, StatusCode, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::get,
};
use redis_rw_pool::{
    Config, ConfigError, FreshnessStatus, Node, Outcome, Pool, PoolStatus, Session, outcome,
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
        .layer(middleware::from_fn_with_state(pool.clone(), own_writes))
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

/// Resumes the session of the browser that sent the request, and gives it the token of what the request
/// has written, so that its next request sees that on any instance of this program.
///
/// The token is no secret and grants nothing. Behind HTTPS add `Secure` to the cookie. It lasts for longer
/// than a replica should lag.
async fn own_writes(State(pool): State<Pool>, mut request: Request, next: Next) -> Response {
    let cookies = request.headers().get_all(header::COOKIE).iter();
    let tokens = cookies
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(';'))
        .filter_map(|cookie| cookie.trim().strip_prefix("own_writes="));
    let session = tokens.fold(pool.session(), Session::resume); // what is no token is ignored
    let before = session.token();
    request.extensions_mut().insert(session.clone());

    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    let state = HeaderValue::from_static(session.state().as_str());
    headers.insert("session-state", state);
    // Only after a write, also where the request failed later: a slow read would put an older token back.
    if let Some(token) = session
        .token()
        .filter(|token| before.as_ref() != Some(token))
    {
        let cookie = format!("own_writes={token}; HttpOnly; SameSite=Lax; Path=/; Max-Age=60");
        let cookie = cookie.try_into().expect("BUG: a token is ASCII");
        headers.append(header::SET_COOKIE, cookie);
    }
    response
}

/// Counts the visit on the master and reads the count from a replica, which has it. Where all replicas are
/// behind, the master answers instead, and the replica is named all the same.
async fn count(Extension(session): Extension<Session>) -> Result<String, Failure> {
    let mut master = session.write().await?;
    let written: u64 = master.incr("visits", 1).await?;
    let wrote_to = master.node().to_string();
    // Given back before the next checkout: a handler that holds one connection while it waits for
    // another can keep others from both.
    drop(master);

    let mut replica = session.read().await?;
    let read: Option<u64> = replica.get("visits").await?;
    let read = read.unwrap_or(0);
    let (role, node) = (replica.role().to_string(), replica.node().to_string());
    // Always of one length, since `ab` takes an answer of another length for a failure.
    Ok(format!(
        "visit {written:>9}, written to the master  {wrote_to:>21}\n\
         visit {read:>9}, read from    the {role:<7} {node:>21}\n"
    ))
}

/// From a replica that has what this browser has written.
async fn get_value(
    Extension(session): Extension<Session>,
    Path(key): Path<String>,
) -> Result<Response, Failure> {
    let value: Option<Vec<u8>> = session.reader().get(format!("kv:{key}")).await?;
    Ok(match value {
        Some(value) => value.into_response(),
        None => (StatusCode::NOT_FOUND, "no such key\n").into_response(),
    })
}

async fn put_value(
    Extension(session): Extension<Session>,
    Path(key): Path<String>,
    value: axum::body::Bytes,
) -> Result<StatusCode, Failure> {
    let () = session
        .writer()
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
        "freshness": freshness(&status.freshness),
    }))
}

fn freshness(status: &FreshnessStatus) -> Value {
    let bytes_behind: Map<String, Value> = status
        .nodes
        .iter()
        .map(|lag| (lag.node.to_string(), lag.bytes.into()))
        .collect();
    json!({
        "proven": status.proven,
        "thrown_away": status.thrown_away,
        "waited": status.waited,
        "from_master": status.from_master,
        "lost": status.lost,
        "unknown": status.unknown,
        "bytes_behind": bytes_behind,
    })
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

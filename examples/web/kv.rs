//! What the backend is for: values under keys. Each browser sees its own writes.

use axum::{
    Extension, Router,
    extract::{Path, Request, State},
    http::{HeaderValue, StatusCode, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::get,
};
use redis_rw_pool::{Pool, Session, redis::AsyncCommands};

use super::failure::Failure;

pub(crate) fn routes(pool: Pool) -> Router {
    Router::new()
        .route("/visits", get(count))
        .route("/kv/{key}", get(get_value).put(put_value))
        .layer(middleware::from_fn_with_state(pool, own_writes))
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

//! The answer to a request that failed.

use std::error::Error;

use axum::{
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use redis_rw_pool::{Outcome, outcome, redis::RedisError};

/// Why a request cannot be answered. An error of the pool becomes one of the redis crate, which keeps it.
#[derive(Debug)]
pub(crate) struct Failure(RedisError);

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

/// The text of an error with everything that caused it.
pub(crate) fn with_causes(error: &dyn Error) -> String {
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

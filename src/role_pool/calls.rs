//! What is watched of every call, where somebody has asked for that. Everybody else pays one branch a call.

use std::{net::SocketAddr, sync::Arc};

use parking_lot::Mutex;
use redis::{ErrorKind, RedisError, RedisResult};
use tokio::time::Instant;
use tracing::{Span, field::Empty};

use crate::{
    config::{Config, Measure, Trace},
    error::{
        label,
        outcome::{Outcome, outcome},
    },
    node::Node,
    retry::request::Request,
    role_pool::RolePool,
    status::histogram::{Histogram, HistogramCounter},
};

/// What is watched of the calls over the connections of one pool, exclusive and shared.
#[derive(Debug)]
pub(crate) struct Calls {
    /// How long they took, if that is measured.
    durations: Option<HistogramCounter>,
    /// Whether each has a span.
    traces: bool,
}

impl Calls {
    /// `None` where nothing is watched.
    pub(super) fn of(config: &Config) -> Option<Box<Self>> {
        let is_measured = config.measure == Measure::Commands;
        let traces = config.trace == Trace::Commands;
        (is_measured || traces).then(|| {
            Box::new(Self {
                durations: is_measured.then(HistogramCounter::default),
                traces,
            })
        })
    }

    /// How long they took, if that is measured.
    pub(crate) fn durations(&self) -> Option<Histogram> {
        self.durations.as_ref().map(HistogramCounter::snapshot)
    }
}

/// What a call went through.
#[derive(Debug, Default)]
pub(crate) struct Course {
    /// Where it was sent last.
    pub(crate) node: Option<Node>,
    /// The address that this node was reached at, if it is known.
    pub(crate) peer: Option<SocketAddr>,
    /// How often it was sent, or tried to be.
    pub(crate) attempts: u32,
}

impl Course {
    /// It is sent to this node.
    #[cold]
    pub(crate) fn note(&mut self, node: &Node, peer: Option<SocketAddr>) {
        self.node = Some(node.clone());
        self.peer = peer;
        self.attempts = self.attempts.saturating_add(1);
    }
}

/// One call under way. Dropped before its end it was cancelled, and its time does not count.
pub(crate) struct Call<'a> {
    durations: Option<(&'a HistogramCounter, Instant)>,
    span: Span,
    /// Kept by whoever sends it, too: what is known of a call that is cancelled. `None` where it is not
    /// traced.
    course: Option<Arc<Mutex<Course>>>,
    has_ended: bool,
}

impl RolePool {
    /// Begins to watch a call.
    pub(crate) fn begin_call<R: Request>(&self, request: R) -> Call<'_> {
        let calls = self.calls.as_deref();
        let durations = calls.and_then(|calls| calls.durations.as_ref());
        let traces = calls.is_some_and(|calls| calls.traces);
        let span = if traces {
            self.span(request)
        } else {
            Span::none()
        };
        Call {
            durations: durations.map(|durations| (durations, Instant::now())),
            course: (!span.is_disabled()).then(Arc::default),
            span,
            has_ended: false,
        }
    }

    /// Numbers are recorded as `i64`, since `tracing-opentelemetry` makes a text of a `u64`.
    fn span<R: Request>(&self, request: R) -> Span {
        let span = tracing::debug_span!(
            target: "redis_rw_pool::command",
            "command",
            otel.name = Empty,
            otel.kind = "client",
            otel.status_code = Empty,
            db.system.name = "redis",
            db.operation.name = Empty,
            db.operation.batch.size = Empty,
            db.stored_procedure.name = Empty,
            db.namespace = Empty,
            db.response.status_code = Empty,
            server.address = Empty,
            server.port = Empty,
            network.peer.address = Empty,
            network.peer.port = Empty,
            error.type = Empty,
            redis_rw_pool.role = Empty,
            redis_rw_pool.attempts = Empty,
        );
        // Nobody may listen, and then nothing need be known of it.
        if !span.is_disabled() {
            let operation = request.operation();
            span.record("otel.name", &*operation.name);
            span.record("db.operation.name", &*operation.name);
            if operation.size > 1 {
                span.record("db.operation.batch.size", operation.size as i64);
            }
            if let Some(procedure) = operation.procedure {
                span.record("db.stored_procedure.name", procedure);
            }
            span.record("db.namespace", self.config.db.to_string());
            span.record("redis_rw_pool.role", self.name.as_str());
        }
        span
    }

    /// Tells of a call that may or may not have been executed. Others go by in silence.
    #[cold]
    pub(crate) fn tell_unknown<R: Request>(&self, request: R, error: &RedisError) {
        if self.config.trace == Trace::Off || outcome(error) != Outcome::Unknown {
            return;
        }
        let operation = request.operation();
        tracing::debug!(
            target: "redis_rw_pool::command",
            {
                db.operation.name = &*operation.name,
                error.type = label::of(error),
                redis_rw_pool.role = self.name.as_str(),
            },
            "the outcome of a call is unknown: it may have been executed"
        );
    }
}

impl Call<'_> {
    /// Everything that happens to the call belongs in here.
    pub(crate) fn span(&self) -> Span {
        self.span.clone()
    }

    /// Its course, if that is of interest.
    pub(crate) fn course(&self) -> Option<&Arc<Mutex<Course>>> {
        self.course.as_ref()
    }

    pub(crate) fn end<R: Request>(mut self, request: R, result: &RedisResult<R::Reply>) {
        self.has_ended = true;
        if let Some((durations, began)) = self.durations {
            durations.record(began.elapsed());
        }
        let Some(course) = &self.course else {
            return;
        };
        match result {
            Ok(reply) => {
                if let Some(error) = request.first_error(reply) {
                    let code = label::of_reply(error);
                    self.span.record("db.response.status_code", code);
                    self.failed(code);
                }
            }
            Err(error) => {
                if error.kind() == ErrorKind::Client {
                    // It was sent nowhere.
                    *course.lock() = Course::default();
                }
                self.failed(label::of(error));
            }
        }
    }

    fn failed(&self, what: &str) {
        self.span.record("error.type", what);
        self.span.record("otel.status_code", "ERROR");
    }
}

impl Drop for Call<'_> {
    fn drop(&mut self) {
        let Some(course) = &self.course else {
            return;
        };
        if !self.has_ended {
            self.failed("cancelled");
        }
        let course = std::mem::take(&mut *course.lock());
        if let Some(node) = &course.node {
            self.span.record("server.address", node.host());
            if !node.is_unix() {
                self.span.record("server.port", i64::from(node.port()));
            }
        }
        if let Some(peer) = course.peer {
            self.span
                .record("network.peer.address", peer.ip().to_string());
            self.span
                .record("network.peer.port", i64::from(peer.port()));
        }
        let attempts = i64::from(course.attempts);
        self.span.record("redis_rw_pool.attempts", attempts);
    }
}

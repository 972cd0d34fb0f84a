use std::{sync::OnceLock, time::Duration};

use opentelemetry::{
    Value as Attribute,
    trace::{SpanKind, Status, TracerProvider},
};
use opentelemetry_sdk::trace::{InMemorySpanExporter, SdkTracerProvider, SpanData};
use opentelemetry_semantic_conventions::attribute;
use redis_rw_pool::redis::{AsyncCommands, Script, cmd, pipe};
use testkit::Server;
use tracing::{Instrument, info_span, subscriber};
use tracing_subscriber::layer::SubscriberExt;

use super::{
    collected::{Attributes, attributes},
    pool,
};
use crate::traces;

/// In every key and every value that the tests send.
const CANARY: &str = "canary";

/// Collects the spans of the test's own thread.
struct Spans {
    exporter: InMemorySpanExporter,
    _subscriber: subscriber::DefaultGuard,
}

impl Spans {
    fn start() -> Self {
        // With one subscriber only, tracing asks the thread that is first, which may be that of another test.
        static SECOND: OnceLock<tracing::Dispatch> = OnceLock::new();
        SECOND.get_or_init(|| tracing::Dispatch::new(tracing_subscriber::registry()));
        let exporter = InMemorySpanExporter::default();
        let provider = SdkTracerProvider::builder()
            .with_simple_exporter(exporter.clone())
            .build();
        let layer = traces::layer(provider.tracer("test"));
        let registry = tracing_subscriber::registry().with(layer);
        Self {
            exporter,
            _subscriber: subscriber::set_default(registry),
        }
    }

    /// Those that ended since the last look.
    fn take(&self) -> Vec<SpanData> {
        let spans = self.exporter.get_finished_spans().unwrap();
        self.exporter.reset();
        let all = format!("{spans:?}").to_lowercase();
        assert!(!all.contains(CANARY), "{spans:#?}");
        spans
    }

    fn one(&self) -> SpanData {
        let spans = self.take();
        assert_eq!(spans.len(), 1, "{spans:#?}");
        spans.into_iter().next().unwrap()
    }
}

fn value<'a>(span: &'a SpanData, name: &str) -> Option<&'a Attribute> {
    let mut values = span.attributes.iter();
    let found = values.find(|attribute| attribute.key.as_str() == name);
    found.map(|attribute| &attribute.value)
}

/// A span has these attributes and no others.
fn assert_attributes(span: &SpanData, expected: &[(&str, &str)]) {
    let expected = expected.iter();
    let expected = expected.map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    let expected: Attributes = expected.collect();
    assert_eq!(attributes(span.attributes.iter()), expected);
}

#[tokio::test]
async fn a_call_is_a_client_span_as_the_conventions_for_redis_have_it() {
    let spans = Spans::start();
    let server = Server::standalone(&[]);
    let pool = pool(&server, "shop").await;
    let port = server.port().to_string();
    let (mut writer, mut conn) = (pool.writer(), pool.write().await.unwrap());
    assert_eq!(spans.take().len(), 0, "the pool's own commands have none");

    let called = |name: &'static str| {
        vec![
            (attribute::DB_SYSTEM_NAME, "redis"),
            (attribute::DB_OPERATION_NAME, name),
            (attribute::DB_NAMESPACE, "0"),
            (attribute::SERVER_ADDRESS, "127.0.0.1"),
            (attribute::SERVER_PORT, &*port),
            (attribute::NETWORK_PEER_ADDRESS, "127.0.0.1"),
            (attribute::NETWORK_PEER_PORT, &*port),
            ("redis_rw_pool.role", "write"),
            ("redis_rw_pool.attempts", "1"),
        ]
    };
    let _: Option<String> = writer.get(CANARY).await.unwrap();
    let by_writer = spans.one();
    let _: Option<String> = conn.get(CANARY).await.unwrap();
    for span in [by_writer, spans.one()] {
        assert_eq!((&*span.name, &span.span_kind), ("GET", &SpanKind::Client));
        assert_eq!(span.status, Status::Unset);
        assert_attributes(&span, &called("GET"));
        for number in [attribute::SERVER_PORT, attribute::NETWORK_PEER_PORT] {
            let expected = Attribute::I64(server.port().into());
            assert_eq!(value(&span, number), Some(&expected), "{number}");
        }
    }

    let mut two = pipe();
    two.set(CANARY, CANARY).get(CANARY);
    let () = two.query_async(&mut conn).await.unwrap();
    let span = spans.one();
    assert_eq!(span.name, "PIPELINE");
    let mut expected = called("PIPELINE");
    expected.push((attribute::DB_OPERATION_BATCH_SIZE, "2"));
    assert_attributes(&span, &expected);
    let size = value(&span, attribute::DB_OPERATION_BATCH_SIZE);
    assert_eq!(size, Some(&Attribute::I64(2)));

    let script = Script::new("return ARGV[1]");
    let mut invocation = script.key(CANARY);
    let invocation = invocation.arg(CANARY);
    let _: String = invocation.invoke_async(&mut writer).await.unwrap();
    spans.take();
    let _: String = invocation.invoke_async(&mut writer).await.unwrap();
    let mut expected = called("EVALSHA");
    expected.push((attribute::DB_STORED_PROCEDURE_NAME, script.get_hash()));
    assert_attributes(&spans.one(), &expected);
}

#[tokio::test]
async fn a_call_that_fails_has_an_error_type_and_the_status_of_an_error() {
    let spans = Spans::start();
    let server = Server::standalone(&[]);
    let pool = pool(&server, "shop").await;
    let mut writer = pool.writer();
    let () = writer.set(CANARY, CANARY).await.unwrap();
    spans.take();

    let wrong = writer.lpush::<_, _, i64>(CANARY, CANARY).await;
    wrong.unwrap_err();
    let span = spans.one();
    let code = Some(&Attribute::from("WRONGTYPE"));
    assert_eq!((&*span.name, &span.span_kind), ("LPUSH", &SpanKind::Client));
    assert_eq!(value(&span, attribute::DB_RESPONSE_STATUS_CODE), code);
    assert_eq!(value(&span, attribute::ERROR_TYPE), code);
    assert_eq!(span.status, Status::error(""));

    server.pause();
    let mut get = cmd("GET");
    let get = get.arg(CANARY).query_async::<String>(&mut writer);
    let late = tokio::time::timeout(Duration::from_millis(50), get).await;
    late.unwrap_err();
    server.resume();
    let span = spans.one();
    let cancelled = Some(&Attribute::from("cancelled"));
    assert_eq!(value(&span, attribute::ERROR_TYPE), cancelled);
    assert_eq!(value(&span, attribute::DB_RESPONSE_STATUS_CODE), None);
    assert_eq!(span.status, Status::error(""));
}

#[tokio::test]
async fn calls_are_children_of_the_span_in_which_they_are_made() {
    let spans = Spans::start();
    let server = Server::standalone(&[]);
    let pool = pool(&server, "shop").await;
    let request = info_span!("GET /visits", otel.kind = "server");
    async {
        let () = pool.writer().set(CANARY, CANARY).await.unwrap();
        let _: String = pool.read().await.unwrap().get(CANARY).await.unwrap();
    }
    .instrument(request)
    .await;
    let spans = spans.take();
    let names: Vec<_> = spans.iter().map(|span| &*span.name).collect();
    assert_eq!(names, ["SET", "GET", "GET /visits"]);
    let request = &spans[2].span_context;
    for call in &spans[..2] {
        assert_eq!(call.span_context.trace_id(), request.trace_id());
        assert_eq!(call.parent_span_id, request.span_id());
    }
}

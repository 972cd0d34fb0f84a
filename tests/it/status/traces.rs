//! Calls in traces: one span each, with OpenTelemetry's names, and never a key or a value.

use std::{
    collections::BTreeMap,
    fmt::Debug,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use parking_lot::Mutex;
use redis_rw_pool::{
    AddressMap, Config, Node, Pool, Tls, Trace, Verify,
    redis::{AsyncCommands, RedisResult, Script, Value, cmd, pipe},
};
use testkit::{
    Authority, Deployment, Server, ServerTls,
    fake::{Action, FakeServer},
};
use tracing::{
    Event, Metadata, Subscriber,
    field::{Field, Visit},
    span,
    subscriber::{DefaultGuard, set_default},
};

use crate::support::{knows, node_with};

const TARGET: &str = "redis_rw_pool::command";
/// In every key and every value that the tests send.
const CANARY: &str = "canary";

type Fields = BTreeMap<String, String>;

#[derive(Default)]
struct Heard {
    spans: Vec<Fields>,
    /// Those within a span, with its place.
    events: Vec<(Option<usize>, Fields)>,
    entered: Vec<usize>,
}

/// Collects the spans of calls, and all events.
#[derive(Clone, Default)]
struct Listener(Arc<Mutex<Heard>>);

struct Reader<'a> {
    fields: &'a mut Fields,
    is_call: bool,
}

impl Visit for Reader<'_> {
    fn record_u64(&mut self, field: &Field, value: u64) {
        assert!(
            !self.is_call,
            "tracing-opentelemetry makes a text of {field}, since it is a u64"
        );
        self.record_debug(field, &value);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let text = format!("{value:?}");
        let text = text.trim_matches('"').to_owned();
        let before = self.fields.insert(field.name().to_owned(), text);
        assert_eq!(before, None, "{field} is recorded twice");
    }
}

impl Subscriber for Listener {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, attributes: &span::Attributes<'_>) -> span::Id {
        let mut fields = Fields::new();
        let target = attributes.metadata().target();
        attributes.record(&mut Reader {
            fields: &mut fields,
            is_call: target == TARGET,
        });
        fields.insert("target".to_owned(), target.to_owned());
        let mut heard = self.0.lock();
        heard.spans.push(fields);
        span::Id::from_u64(heard.spans.len() as u64)
    }

    fn record(&self, span: &span::Id, values: &span::Record<'_>) {
        let mut heard = self.0.lock();
        let fields = &mut heard.spans[place(span)];
        let is_call = fields["target"] == TARGET;
        values.record(&mut Reader { fields, is_call });
    }

    fn event(&self, event: &Event<'_>) {
        let mut fields = Fields::new();
        event.record(&mut Reader {
            fields: &mut fields,
            is_call: false,
        });
        let target = event.metadata().target();
        fields.insert("target".to_owned(), target.to_owned());
        let mut heard = self.0.lock();
        let within = heard.entered.last().copied();
        heard.events.push((within, fields));
    }

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn enter(&self, span: &span::Id) {
        self.0.lock().entered.push(place(span));
    }

    fn exit(&self, _: &span::Id) {
        self.0.lock().entered.pop();
    }
}

fn place(span: &span::Id) -> usize {
    usize::try_from(span.into_u64()).unwrap() - 1
}

impl Listener {
    fn start() -> (Self, DefaultGuard) {
        // As in `support::logs`: with one subscriber only, tracing asks the thread that is first.
        static SECOND: OnceLock<tracing::Dispatch> = OnceLock::new();
        SECOND.get_or_init(|| tracing::Dispatch::new(Self::default()));
        let listener = Self::default();
        let guard = set_default(listener.clone());
        (listener, guard)
    }

    /// The spans of calls since the last look.
    fn calls(&self) -> Vec<Fields> {
        let mut heard = self.0.lock();
        let is_call = |fields: &&mut Fields| fields.get("target").is_some_and(|it| it == TARGET);
        let calls = heard.spans.iter_mut().filter(is_call);
        let calls: Vec<Fields> = calls
            .map(|call| {
                let fields = call.clone();
                call.insert("target".to_owned(), "seen".to_owned());
                fields
            })
            .collect();
        for call in &calls {
            assert!(
                !format!("{call:?}").to_lowercase().contains(CANARY),
                "{call:?}"
            );
        }
        calls
    }

    fn call(&self) -> Fields {
        let calls = self.calls();
        assert_eq!(calls.len(), 1, "{calls:#?}");
        calls.into_iter().next().unwrap()
    }

    /// Events of this target, or with this message.
    fn events(&self, like: impl Fn(&Fields) -> bool) -> Vec<(Option<usize>, Fields)> {
        let heard = self.0.lock();
        let events = heard.events.iter().filter(|(_, fields)| like(fields));
        events.cloned().collect()
    }

    fn assert_no_canary(&self) {
        let heard = self.0.lock();
        let all = format!("{:?} {:?}", heard.spans, heard.events);
        assert!(!all.to_lowercase().contains(CANARY), "{all}");
    }
}

fn assert_fields(call: &Fields, expected: &[(&str, &str)]) {
    for (field, value) in expected {
        let found = call.get(*field).map(String::as_str);
        let value = (!value.is_empty()).then_some(*value);
        assert_eq!(found, value, "{field} of {call:#?}");
    }
}

async fn pool(port: u16, trace: Trace) -> Pool {
    let mut config = Config::standalone(format!("127.0.0.1:{port}"));
    config.trace = trace;
    config.command_timeout = Some(Duration::from_secs(1));
    Pool::connect(config).await.unwrap()
}

#[tokio::test]
async fn every_call_has_one_span_with_opentelemetrys_names_and_no_key_or_value() {
    let (listener, _guard) = Listener::start();
    let server = Server::standalone(&[]);
    let pool = pool(server.port(), Trace::Commands).await;
    let port = server.port().to_string();
    let (key, value) = ("canary:key", "Canary-value");

    let mut conn = pool.write().await.unwrap();
    let mut writer = pool.writer();
    assert_eq!(listener.calls(), [], "the pool's own commands have none");

    let well = |name: &'static str| {
        [
            ("otel.name", name),
            ("db.operation.name", name),
            ("otel.kind", "client"),
            ("db.system.name", "redis"),
            ("db.namespace", "0"),
            ("server.address", "127.0.0.1"),
            ("network.peer.address", "127.0.0.1"),
            ("db.stored_procedure.name", ""),
            ("redis_rw_pool.role", "write"),
            ("redis_rw_pool.attempts", "1"),
            ("error.type", ""),
            ("otel.status_code", ""),
            ("db.response.status_code", ""),
        ]
    };
    let () = conn.set(key, value).await.unwrap();
    assert_fields(&listener.call(), &well("SET"));
    let () = writer.set(key, value).await.unwrap();
    let call = listener.call();
    assert_fields(&call, &well("SET"));
    assert_fields(
        &call,
        &[
            ("server.port", &port),
            ("network.peer.port", &port),
            ("db.operation.batch.size", ""),
        ],
    );
    let () = cmd("get").arg(key).query_async(&mut writer).await.unwrap();
    assert_fields(&listener.call(), &well("GET"));

    let sizes = [("db.operation.batch.size", "2"), ("server.port", &*port)];
    let () = pipe()
        .get(key)
        .get(key)
        .query_async(&mut conn)
        .await
        .unwrap();
    let call = listener.call();
    assert_fields(&call, &well("PIPELINE GET"));
    assert_fields(&call, &sizes);
    let () = pipe()
        .set(key, value)
        .get(key)
        .query_async(&mut writer)
        .await
        .unwrap();
    let call = listener.call();
    assert_fields(&call, &well("PIPELINE"));
    assert_fields(&call, &sizes);
    for _ in 0..2 {
        let () = pipe()
            .atomic()
            .set(key, value)
            .get(key)
            .query_async(&mut writer)
            .await
            .unwrap();
        let call = listener.call();
        assert_fields(&call, &well("MULTI"));
        assert_fields(&call, &sizes);
    }
    let _: Vec<()> = conn
        .transaction(key, |mut conn, mut pipeline| async move {
            pipeline.set(key, value).query_async(&mut conn).await
        })
        .await
        .unwrap();
    let calls = listener.calls();
    assert_eq!(calls.len(), 2, "{calls:#?}");
    assert_fields(&calls[0], &well("WATCH"));
    assert_fields(&calls[1], &well("MULTI"));
    let _: String = pool
        .reader()
        .within(Duration::from_secs(1))
        .get(key)
        .await
        .unwrap();
    assert_fields(
        &listener.call(),
        &[("redis_rw_pool.role", "read"), ("otel.name", "GET")],
    );

    // A key in the place of a command.
    cmd("canary:command")
        .exec_async(&mut conn)
        .await
        .unwrap_err();
    let failed = [
        ("otel.name", "_OTHER"),
        ("error.type", "ERR"),
        ("otel.status_code", "ERROR"),
    ];
    assert_fields(&listener.call(), &failed);
    listener.assert_no_canary();
}

#[tokio::test]
async fn errors_are_named_by_codes_and_never_by_what_a_server_or_a_script_says() {
    let (listener, _guard) = Listener::start();
    let server = Server::standalone(&[]);
    let pool = pool(server.port(), Trace::Commands).await;
    let mut conn = pool.write().await.unwrap();
    let mut writer = pool.writer();
    let () = writer.set("canary", "canary").await.unwrap();
    listener.calls();

    let wrong_type = [
        ("db.response.status_code", "WRONGTYPE"),
        ("error.type", "WRONGTYPE"),
        ("otel.status_code", "ERROR"),
    ];
    conn.lpush::<_, _, ()>("canary", "canary")
        .await
        .unwrap_err();
    assert_fields(&listener.call(), &wrong_type);
    writer
        .lpush::<_, _, ()>("canary", "canary")
        .await
        .unwrap_err();
    assert_fields(&listener.call(), &wrong_type);
    for atomic in [false, true] {
        let mut pipeline = pipe();
        if atomic {
            pipeline.atomic();
        }
        pipeline.get("canary").lpush("canary", "canary");
        pipeline.exec_async(&mut conn).await.unwrap_err();
        assert_fields(&listener.call(), &wrong_type);
        pipeline.exec_async(&mut writer).await.unwrap_err();
        assert_fields(&listener.call(), &wrong_type);
    }
    let mut script = cmd("EVAL");
    script
        .arg("return redis.error_reply('CANARY ' .. ARGV[1])")
        .arg(0)
        .arg("canary");
    script.exec_async(&mut conn).await.unwrap_err();
    let other = [
        ("db.response.status_code", "_OTHER"),
        ("error.type", "_OTHER"),
    ];
    assert_fields(&listener.call(), &other);

    writer.blpop::<_, ()>("canary", 1.0).await.unwrap_err();
    let refused = [
        ("error.type", "refused"),
        ("db.response.status_code", ""),
        ("server.address", ""),
        ("network.peer.address", ""),
        ("redis_rw_pool.attempts", "0"),
    ];
    assert_fields(&listener.call(), &refused);
    listener.assert_no_canary();
}

/// A master that says LOADING to every other GET, and says nothing to HANG.
fn stubborn() -> FakeServer {
    let gets = AtomicUsize::new(0);
    node_with(move |_, words| match &*words[0] {
        "GET" if gets.fetch_add(1, SeqCst).is_multiple_of(2) => {
            Some(Action::reply("-LOADING canary\r\n"))
        }
        "GET" => Some(Action::reply("$6\r\ncanary\r\n")),
        "HANG" => Some(Action::Silence),
        _ => None,
    })
}

#[tokio::test]
async fn what_is_sent_again_is_in_one_span_and_so_are_its_events() {
    let (listener, _guard) = Listener::start();
    let server = stubborn();
    let pool = pool(server.port(), Trace::Commands).await;
    let mut conn = pool.write().await.unwrap();
    let mut writer = pool.writer();
    for shared in [false, true] {
        for pipelined in [false, true] {
            if pipelined {
                let mut gets = pipe();
                gets.get("canary");
                let () = if shared {
                    gets.query_async(&mut writer).await.unwrap()
                } else {
                    gets.query_async(&mut conn).await.unwrap()
                };
            } else if shared {
                let () = writer.get("canary").await.unwrap();
            } else {
                let () = conn.get("canary").await.unwrap();
            }
            let fields = [
                ("redis_rw_pool.attempts", "2"),
                ("error.type", ""),
                ("server.address", "127.0.0.1"),
            ];
            assert_fields(&listener.call(), &fields);
        }
    }
    let again = |fields: &Fields| {
        fields
            .get("message")
            .is_some_and(|it| it.contains("is sent again"))
    };
    let events = listener.events(again);
    assert_eq!(events.len(), 4, "{events:#?}");
    assert!(
        events.iter().all(|(within, _)| within.is_some()),
        "{events:#?}"
    );
    listener.assert_no_canary();
}

#[tokio::test]
async fn a_call_that_is_dropped_or_lost_says_so() {
    let (listener, _guard) = Listener::start();
    let server = stubborn();
    let pool = pool(server.port(), Trace::Commands).await;
    let mut conn = pool.write().await.unwrap();
    let mut writer = pool.writer();
    let hang = cmd("HANG").arg("canary").take();
    let soon = Duration::from_millis(30);
    tokio::time::timeout(soon, hang.exec_async(&mut conn))
        .await
        .unwrap_err();
    let fields = [
        ("otel.name", "HANG"),
        ("error.type", "cancelled"),
        ("otel.status_code", "ERROR"),
        ("server.address", "127.0.0.1"),
        ("network.peer.address", "127.0.0.1"),
        ("redis_rw_pool.attempts", "1"),
    ];
    assert_fields(&listener.call(), &fields);
    tokio::time::timeout(soon, hang.exec_async(&mut writer))
        .await
        .unwrap_err();
    assert_fields(&listener.call(), &fields);
    let mut pipeline = pipe();
    pipeline.cmd("HANG").arg("canary");
    tokio::time::timeout(soon, pipeline.exec_async(&mut writer))
        .await
        .unwrap_err();
    assert_fields(&listener.call(), &fields[1..]);

    let late: RedisResult<Value> = hang.query_async(&mut conn).await;
    late.unwrap_err();
    let fields = [
        ("error.type", "timeout"),
        ("otel.status_code", "ERROR"),
        ("network.peer.address", "127.0.0.1"),
    ];
    assert_fields(&listener.call(), &fields);
    listener.assert_no_canary();
}

#[tokio::test]
async fn the_server_is_named_as_it_is_announced_and_its_peer_address_is_where_it_was_reached() {
    let (listener, _guard) = Listener::start();
    let server = Server::standalone(&[]);
    let port = server.port();
    let announced = Config::standalone(format!("redis.internal:{port}")).with(|config| {
        config.address_map = Some(AddressMap::new(move |_| Node::new("127.0.0.1", port)));
    });
    let socket = server.unix_socket().to_str().unwrap().to_owned();
    let ca = Authority::new("ours");
    let encrypted = Deployment::builder()
        .replicas(0)
        .sentinels(1)
        .tls(ServerTls {
            identity: ca.issue(&["redis.internal"]),
            trusted: ca.pem().to_owned(),
            client_auth: false,
        })
        .start();
    let tls_port = encrypted.nodes()[0].port();
    let over_tls = Config::standalone(format!("localhost:{tls_port}")).with(|config| {
        let tls = Tls::builder().ca_pem(ca.pem()).verify(Verify::Ca);
        config.tls = Some(tls.build().unwrap());
    });
    let [port, tls_port] = [port, tls_port].map(|port| port.to_string());
    for (config, [address, server_port, peer, peer_port]) in [
        (announced, ["redis.internal", &*port, "127.0.0.1", &*port]),
        (Config::standalone(&*socket), [&*socket, "", "", ""]),
        (over_tls, ["localhost", &*tls_port, "127.0.0.1", &*tls_port]),
    ] {
        let pool = Pool::connect(config.with(|config| config.trace = Trace::Commands)).await;
        let pool = pool.unwrap();
        let fields = [
            ("server.address", address),
            ("server.port", server_port),
            ("network.peer.address", peer),
            ("network.peer.port", peer_port),
        ];
        let mut conn = pool.read().await.unwrap();
        let _: Option<String> = conn.get("canary").await.unwrap();
        assert_fields(&listener.call(), &fields);
        let mut reader = pool.reader();
        let _: Option<String> = reader.get("canary").await.unwrap();
        assert_fields(&listener.call(), &fields);
        let () = pipe().get("canary").query_async(&mut reader).await.unwrap();
        assert_fields(&listener.call(), &fields);
    }
}

#[tokio::test]
async fn scripts_and_functions_are_named_without_their_arguments() {
    let (listener, _guard) = Listener::start();
    let server = Server::standalone(&[]);
    let pool = pool(server.port(), Trace::Commands).await;
    let mut conn = pool.write().await.unwrap();
    let mut writer = pool.writer();
    let script = Script::new("return redis.call('SET', KEYS[1], ARGV[1])");
    let mut invocation = script.key("canary");
    let invocation = invocation.arg("canary");
    let _: Value = invocation.invoke_async(&mut conn).await.unwrap();
    listener.calls();
    let digest = script.get_hash();

    let _: Value = invocation.invoke_async(&mut conn).await.unwrap();
    let evalsha = [
        ("otel.name", "EVALSHA"),
        ("db.stored_procedure.name", digest),
    ];
    assert_fields(&listener.call(), &evalsha);
    let _: Value = invocation.invoke_async(&mut writer).await.unwrap();
    assert_fields(&listener.call(), &evalsha);
    if knows(&server, "FCALL") {
        let function = "#!lua name=it\nredis.register_function('store', function(keys, args)
            return redis.call('SET', keys[1], args[1]) end)";
        server.cmd(&["FUNCTION", "LOAD", function]);
        let mut call = cmd("FCALL");
        call.arg("store").arg(1).arg("canary").arg("canary");
        let () = call.query_async(&mut writer).await.unwrap();
        let fcall = [
            ("otel.name", "FCALL"),
            ("db.stored_procedure.name", "store"),
        ];
        assert_fields(&listener.call(), &fcall);
    }
    listener.assert_no_canary();
}

#[tokio::test]
async fn by_default_there_is_an_event_for_an_unknown_outcome_and_nothing_else() {
    for (trace, told) in [(Trace::default(), 2), (Trace::Off, 0)] {
        let (listener, _guard) = Listener::start();
        let server = stubborn();
        let pool = pool(server.port(), trace).await;
        let mut conn = pool.write().await.unwrap();
        let () = conn.set("canary", "canary").await.unwrap();
        cmd("NOTHING")
            .arg("canary")
            .exec_async(&mut conn)
            .await
            .unwrap_err();
        let hang = cmd("HANG").arg("canary").take();
        hang.exec_async(&mut conn).await.unwrap_err();
        hang.exec_async(&mut pool.writer()).await.unwrap_err();
        assert_eq!(listener.calls(), []);
        let events = listener.events(|fields| fields["target"] == TARGET);
        assert_eq!(events.len(), told, "{events:#?}");
        for (_, fields) in events {
            let expected = [
                ("db.operation.name", "HANG"),
                ("error.type", "timeout"),
                ("redis_rw_pool.role", "write"),
            ];
            assert_fields(&fields, &expected);
        }
        listener.assert_no_canary();
    }
}

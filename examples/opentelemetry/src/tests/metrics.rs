use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    time::Duration,
};

use opentelemetry_semantic_conventions::{attribute, metric};
use redis_rw_pool::{Config, EventKind, Measure, Pool, redis::AsyncCommands};
use testkit::{
    Deployment, Server,
    fake::{self, SentinelView},
    ports,
};

use super::{
    collected::{Attributes, Collector, Instrument, Instruments, Kind, Value},
    pool,
};

/// An attribute that is needed only to tell pools apart.
const NAME: &str = "redis_rw_pool.name";

fn number(instruments: &Instruments, instrument: &str, attributes: &[(&str, &str)]) -> f64 {
    match &instruments[instrument].series[&to_map(attributes)] {
        Value::Number(number) => *number,
        times => panic!("{instrument} has {times:?}"),
    }
}

fn times(instruments: &Instruments, instrument: &str, attributes: &[(&str, &str)]) -> (u64, f64) {
    match &instruments[instrument].series[&to_map(attributes)] {
        Value::Times { counts, sum, .. } => (counts.iter().sum(), *sum),
        number => panic!("{instrument} has {number:?}"),
    }
}

fn to_map(attributes: &[(&str, &str)]) -> Attributes {
    let attributes = attributes.iter();
    attributes
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect()
}

async fn some_work(pool: &Pool) {
    let () = pool.writer().set("key", 1).await.unwrap();
    let () = pool.write().await.unwrap().set("key", 1).await.unwrap();
    let _: Option<i64> = pool.read().await.unwrap().get("key").await.unwrap();
    let _: Option<i64> = pool.reader().get("key").await.unwrap();
    let wrong = pool.writer().lpush::<_, _, i64>("key", 1).await;
    wrong.unwrap_err();
}

#[tokio::test]
async fn instruments_are_those_of_opentelemetrys_conventions() {
    let server = Server::standalone(&[]);
    let pool = pool(&server, "shop").await;
    let collector = Collector::new();
    assert!(collector.metrics.show(&pool));
    some_work(&pool).await;
    let collected = collector.collect();

    let pool_name = attribute::DB_CLIENT_CONNECTION_POOL_NAME;
    let state = attribute::DB_CLIENT_CONNECTION_STATE;
    let of_pool: &[&str] = &[pool_name];
    for (name, kind, unit, attributes) in [
        (
            metric::DB_CLIENT_OPERATION_DURATION,
            Kind::Histogram,
            "s",
            &[attribute::DB_SYSTEM_NAME, NAME, "redis_rw_pool.role"][..],
        ),
        (
            metric::DB_CLIENT_CONNECTION_COUNT,
            Kind::UpDownCounter,
            "{connection}",
            &[pool_name, state],
        ),
        (
            metric::DB_CLIENT_CONNECTION_IDLE_MAX,
            Kind::UpDownCounter,
            "{connection}",
            of_pool,
        ),
        (
            metric::DB_CLIENT_CONNECTION_IDLE_MIN,
            Kind::UpDownCounter,
            "{connection}",
            of_pool,
        ),
        (
            metric::DB_CLIENT_CONNECTION_MAX,
            Kind::UpDownCounter,
            "{connection}",
            of_pool,
        ),
        (
            metric::DB_CLIENT_CONNECTION_PENDING_REQUESTS,
            Kind::UpDownCounter,
            "{request}",
            of_pool,
        ),
        (
            metric::DB_CLIENT_CONNECTION_TIMEOUTS,
            Kind::Counter,
            "{timeout}",
            of_pool,
        ),
        (
            metric::DB_CLIENT_CONNECTION_CREATE_TIME,
            Kind::Histogram,
            "s",
            of_pool,
        ),
        (
            metric::DB_CLIENT_CONNECTION_WAIT_TIME,
            Kind::Histogram,
            "s",
            of_pool,
        ),
        (
            metric::DB_CLIENT_CONNECTION_USE_TIME,
            Kind::Histogram,
            "s",
            of_pool,
        ),
        // Those of the official Redis clients.
        (
            "redis.client.connection.closed",
            Kind::Counter,
            "{connection}",
            &[pool_name, "redis.client.connection.close.reason"],
        ),
        (
            "redis.client.errors",
            Kind::Counter,
            "{error}",
            &[pool_name, attribute::ERROR_TYPE],
        ),
        (
            "redis.client.pubsub.messages",
            Kind::Counter,
            "{message}",
            &["redis.client.pubsub.direction", NAME],
        ),
    ] {
        let found = &collected[name];
        assert_eq!((found.kind, &*found.unit), (kind, unit), "{name}");
        assert!(
            !found.about.is_empty() && !found.series.is_empty(),
            "{name}"
        );
        for series in found.series.keys() {
            let names: Vec<_> = series.keys().map(String::as_str).collect();
            assert_eq!(names, attributes, "{name}");
        }
    }
    // Whatever else there is has our own name.
    let known = ["db.client.", "redis.client.", "redis_rw_pool."];
    let is_known = |name: &String| known.iter().any(|known| name.starts_with(known));
    assert!(collected.keys().all(is_known), "{collected:#?}");

    // The buckets that the conventions advise are among them.
    let durations = collected[metric::DB_CLIENT_OPERATION_DURATION]
        .series
        .values();
    for times in durations {
        let Value::Times { bounds, .. } = times else {
            panic!("{times:?}")
        };
        for advised in [0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0] {
            assert!(bounds.contains(&advised), "{advised} in {bounds:?}");
        }
    }
}

/// As a collector names it for Prometheus.
fn prometheus_name(name: &str, instrument: &Instrument) -> String {
    let mut name = name.replace('.', "_");
    if instrument.unit == "s" && !name.ends_with("_seconds") {
        name.push_str("_seconds");
    }
    if instrument.kind == Kind::Counter {
        name.push_str("_total");
    }
    name
}

fn prometheus_labels(attributes: &Attributes) -> Attributes {
    let attributes = attributes.iter().filter(|(name, _)| *name != NAME);
    attributes
        .map(|(name, value)| (name.replace('.', "_"), value.clone()))
        .collect()
}

/// The samples of a text for Prometheus, by name and labels. No value in these tests has a quote in it.
fn samples(text: &str) -> BTreeMap<(String, Attributes), f64> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines
        .map(|line| {
            let (series, value) = line.rsplit_once(' ').unwrap();
            let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
            let labels = labels.strip_suffix('}').unwrap();
            let labels = labels.split_terminator("\",").map(|label| {
                let (name, value) = label.split_once("=\"").unwrap();
                (name.to_owned(), value.trim_end_matches('"').to_owned())
            });
            ((name.to_owned(), labels.collect()), value.parse().unwrap())
        })
        .collect()
}

/// Each number is also in the text for Prometheus, in the same words, and has the same value.
fn assert_same(collected: &Instruments, text: &str) {
    let samples = samples(text);
    let sample = |name: &str, suffix: &str, labels: &Attributes| {
        let key = (format!("{name}{suffix}"), labels.clone());
        *samples
            .get(&key)
            .unwrap_or_else(|| panic!("{key:?} is not in {text}"))
    };
    for (name, instrument) in collected {
        let name = prometheus_name(name, instrument);
        for (attributes, value) in &instrument.series {
            let labels = prometheus_labels(attributes);
            match value {
                Value::Number(number) => {
                    let expected = sample(&name, "", &labels);
                    assert!(
                        (number - expected).abs() < 1e-9,
                        "{name} {labels:?}: {number}"
                    );
                }
                Value::Times {
                    bounds,
                    counts,
                    sum,
                } => {
                    let mut total = 0;
                    let bounds = bounds.iter().copied().chain([f64::INFINITY]);
                    for (bound, count) in bounds.zip(counts) {
                        total += count;
                        let mut labels = labels.clone();
                        // As Prometheus' own libraries write it.
                        let le = match bound {
                            bound if bound.is_infinite() => "+Inf".to_owned(),
                            bound if bound < 1e-4 => format!("{:.0}e-05", bound * 1e5),
                            bound => format!("{bound:?}"),
                        };
                        labels.insert("le".to_owned(), le);
                        assert_eq!(total as f64, sample(&name, "_bucket", &labels), "{name}");
                    }
                    let expected = sample(&name, "_sum", &labels);
                    let off = (sum - expected).abs();
                    assert!(off <= 1e-9 * total as f64, "{name}: {sum}, not {expected}");
                }
            }
        }
    }
    // And of these instruments no series is left out. A histogram of nothing is not exported.
    for ((name, labels), _) in samples.iter().filter(|(_, value)| **value > 0.0) {
        let name = name.trim_end_matches("_bucket").trim_end_matches("_sum");
        let mut labels = labels.clone();
        labels.remove("le");
        let mut all = collected.iter();
        let found = all.find(|(known, it)| prometheus_name(known, it) == name);
        if let Some((known, instrument)) = found {
            let mut series = instrument.series.keys().map(prometheus_labels);
            assert!(
                series.any(|series| series == labels),
                "{known} lacks {labels:?}"
            );
        }
    }
}

/// Compares at a moment at which nothing changes.
fn assert_same_now(collector: &Collector, pool: &Pool) -> Instruments {
    loop {
        let collected = collector.collect();
        let collected_text = || {
            let names = collected.iter();
            let names: Vec<_> = names.map(|(name, it)| prometheus_name(name, it)).collect();
            let text = pool.status().openmetrics();
            let lines = text.lines();
            let lines = lines.filter(|line| names.iter().any(|name| line.starts_with(name)));
            lines.map(|line| format!("{line}\n")).collect::<String>()
        };
        let before = collected_text();
        let collected = collector.collect();
        if before == collected_text() {
            assert_same(&collected, &before);
            return collected;
        }
    }
}

/// Every number and every label in the expressions of the dashboard and the alerts.
fn words_of_the_dashboard() -> BTreeSet<String> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/grafana");
    let files = ["redis-rw-pool.json", "alerts.yml"];
    let files = files.map(|file| fs::read_to_string(format!("{folder}/{file}")).unwrap());
    let words = files
        .iter()
        .flat_map(|file| file.split(|c: char| !c.is_ascii_alphanumeric() && c != '_'));
    let ours = ["db_client_", "redis_client_", "redis_rw_pool_"];
    let words = words.filter(|word| ours.iter().any(|ours| word.starts_with(ours)));
    words.map(str::to_owned).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_number_is_the_one_that_prometheus_gets_and_a_dashboard_finds_all_that_it_shows() {
    let deployment = Deployment::start();
    let config = Config::new(deployment.sentinel_addrs(), deployment.master_name());
    let config = config.with(|config| config.measure = Measure::Commands);
    let pool = Pool::connect(config).await.unwrap();
    let collector = Collector::new();
    assert!(collector.metrics.show(&pool));
    assert_same_now(&collector, &pool);
    some_work(&pool).await;
    assert_same_now(&collector, &pool);
    let mut changes = pool.watch();
    let both = changes.wait_for(|topology| topology.readable().count() == 2);
    drop(both.await.unwrap());
    deployment.nodes()[1].kill();
    let left_out = changes.wait_for(|topology| topology.readable().count() < 2);
    drop(left_out.await.unwrap());
    some_work(&pool).await;
    let mut collected = assert_same_now(&collector, &pool);
    let excluded = &collected["redis_rw_pool.replica.excluded"].series;
    assert!(!excluded.is_empty());

    // Writes are held back as long as a Sentinel says that a node is the new master which nobody can reach.
    let sentinel = fake::sentinel(SentinelView::of_master(deployment.nodes()[0].port()));
    let held_back = Pool::connect(Config::new([sentinel.addr()], "mymaster").with(|config| {
        config.name = Some("held-back".to_owned());
        config.refresh_interval = Duration::from_millis(100);
    }));
    let held_back = held_back.await.unwrap();
    let collector = Collector::new();
    assert!(collector.metrics.show(&held_back));
    let mut events = held_back.events();
    sentinel.update(|view| {
        view.master.1 = ports::take(1)[0];
        view.epoch = 1;
    });
    while !matches!(
        events.next().await.unwrap().kind,
        EventKind::FenceRaised { .. }
    ) {}
    let during = collector.collect();
    let name = [(NAME, "held-back")];
    assert_eq!(number(&during, "redis_rw_pool.fence", &name), 1.0);
    assert_eq!(number(&during, "redis_rw_pool.fence.raised", &name), 1.0);
    assert!(number(&during, "redis_rw_pool.fence.seconds", &name) > 0.0);
    let sign = during["redis_rw_pool.fence.info"]
        .series
        .keys()
        .next()
        .unwrap();
    assert_eq!(sign["kind"], "other_master");
    collected.extend(during);

    let names = collected.iter();
    let names = names.map(|(name, it)| prometheus_name(name, it));
    let labels = collected.values().flat_map(|it| it.series.keys());
    let labels = labels.flat_map(|series| prometheus_labels(series).into_keys());
    let known: BTreeSet<_> = names.chain(labels).collect();
    let words = words_of_the_dashboard();
    assert!(words.len() > 15, "{words:?}");
    for word in words {
        let name = word.strip_suffix("_bucket").unwrap_or(&word);
        assert!(known.contains(name), "{word} is shown and not bridged");
    }
}

#[tokio::test]
async fn what_happened_is_counted_once_however_often_it_is_collected() {
    let server = Server::standalone(&[]);
    let pool = pool(&server, "shop").await;
    let collector = Collector::new();
    assert!(collector.metrics.show(&pool));
    let part = |part| [("db.client.connection.pool.name", part)];
    let calls = |role| {
        [
            ("db.system.name", "redis"),
            (NAME, "shop"),
            ("redis_rw_pool.role", role),
        ]
    };
    for round in 1..=3 {
        for _ in 0..5 {
            some_work(&pool).await;
        }
        collector.collect();
        let collected = collector.collect();
        let each = 5.0 * f64::from(round);
        let count =
            |instrument, attributes: &[_]| times(&collected, instrument, attributes).0 as f64;
        for name in ["shop/write", "shop/read"] {
            assert_eq!(count("db.client.connection.wait_time", &part(name)), each);
            assert_eq!(count("db.client.connection.create_time", &part(name)), 1.0);
            let role = name.trim_start_matches("shop/");
            let commands = [part(name)[0], ("role", role)];
            assert_eq!(
                number(&collected, "redis_rw_pool.commands", &commands),
                each
            );
            let idle = [part(name)[0], ("db.client.connection.state", "idle")];
            assert_eq!(number(&collected, "db.client.connection.count", &idle), 1.0);
        }
        let duration = "db.client.operation.duration";
        assert_eq!(count(duration, &calls("write")), 3.0 * each);
        assert_eq!(count(duration, &calls("read")), 2.0 * each);
        let failed = [part("shop/writer")[0], ("error.type", "error_reply")];
        assert_eq!(number(&collected, "redis.client.errors", &failed), each);
        let durations = pool.status().durations.unwrap().write;
        let off = times(&collected, duration, &calls("write")).1 - durations.sum().as_secs_f64();
        assert!(off.abs() <= 1e-9 * durations.count() as f64, "{off}");
    }
}

#[tokio::test]
async fn pools_are_told_apart_and_one_that_is_gone_is_shown_no_more() {
    let server = Server::standalone(&[]);
    let (shop, other) = (pool(&server, "shop").await, pool(&server, "sessions").await);
    let collector = Collector::new();
    let metrics = &collector.metrics;
    assert!(metrics.show(&shop) && metrics.show(&other));
    assert!(!metrics.show(&shop), "it is shown already");
    let namesake = pool(&server, "shop").await;
    assert!(!metrics.show(&namesake), "they could not be told apart");
    some_work(&shop).await;
    for _ in 0..2 {
        some_work(&other).await;
    }
    let wait = |collected: &Instruments, name| {
        let name = [("db.client.connection.pool.name", name)];
        times(collected, "db.client.connection.wait_time", &name).0
    };
    let collected = collector.collect();
    assert_eq!(wait(&collected, "shop/write"), 1);
    assert_eq!(wait(&collected, "sessions/write"), 2);

    let weak = shop.downgrade();
    drop(shop);
    assert!(weak.upgrade().is_none(), "the instruments keep it running");
    let collected = collector.collect();
    for (name, instrument) in &collected {
        // What was recorded stays with the SDK.
        if instrument.kind != Kind::Histogram {
            let series = instrument.series.keys().flat_map(Attributes::values);
            let of_shop = series.filter(|value| value.starts_with("shop"));
            assert_eq!(of_shop.count(), 0, "{name}");
        }
    }
    assert!(metrics.show(&namesake), "the name is free again");
    some_work(&namesake).await;
    other.close();
    other.closed().await;
    let collected = collector.collect();
    assert_eq!(wait(&collected, "shop/write"), 2);
    for state in ["idle", "used"] {
        let name = ("db.client.connection.pool.name", "sessions/write");
        let attributes = [name, ("db.client.connection.state", state)];
        assert_eq!(
            number(&collected, "db.client.connection.count", &attributes),
            0.0
        );
    }
}

use std::{sync::Arc, time::Duration};

use metrics::{Counter, CounterFn, Gauge, GaugeFn, HistogramFn, SharedString};
use parking_lot::Mutex;

use super::*;
use crate::{
    node::Node,
    status::{histogram::HistogramCounter, testing::nothing},
};

/// Keeps what it is given.
#[derive(Default)]
struct Kept(Arc<Mutex<HashMap<String, Vec<f64>>>>);

struct Series {
    all: Arc<Mutex<HashMap<String, Vec<f64>>>>,
    name: String,
}

impl Series {
    fn add(&self, value: f64) {
        self.all
            .lock()
            .entry(self.name.clone())
            .or_default()
            .push(value);
    }
}

impl CounterFn for Series {
    fn increment(&self, _: u64) {
        panic!("the pool counts by itself");
    }

    fn absolute(&self, value: u64) {
        self.add(value as f64);
    }
}

impl GaugeFn for Series {
    fn increment(&self, _: f64) {
        panic!("the pool counts by itself");
    }

    fn decrement(&self, _: f64) {
        panic!("the pool counts by itself");
    }

    fn set(&self, value: f64) {
        self.add(value);
    }
}

impl HistogramFn for Series {
    fn record(&self, value: f64) {
        self.add(value);
    }
}

impl Kept {
    fn series(&self, key: &Key) -> Arc<Series> {
        let labels = key
            .labels()
            .map(|label| format!("{}={}", label.key(), label.value()));
        let labels: Vec<_> = labels.collect();
        Arc::new(Series {
            all: Arc::clone(&self.0),
            name: format!("{} {}", key.name(), labels.join(",")),
        })
    }

    fn take(&self, name: &str) -> Vec<f64> {
        self.0.lock().remove(name).unwrap_or_default()
    }
}

impl Recorder for Kept {
    fn describe_counter(&self, key: KeyName, unit: Option<Unit>, help: SharedString) {
        let (key, unit) = (key.as_str(), unit.map(|unit| unit.as_str().to_owned()));
        self.0
            .lock()
            .insert(format!("{key} {unit:?} {help}"), vec![]);
    }

    fn describe_gauge(&self, key: KeyName, unit: Option<Unit>, help: SharedString) {
        self.describe_counter(key, unit, help);
    }

    fn describe_histogram(&self, key: KeyName, unit: Option<Unit>, help: SharedString) {
        self.describe_counter(key, unit, help);
    }

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        Counter::from_arc(self.series(key))
    }

    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::from_arc(self.series(key))
    }

    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> metrics::Histogram {
        metrics::Histogram::from_arc(self.series(key))
    }
}

#[test]
fn each_number_is_handed_over_under_the_name_that_prometheus_gets() {
    let (kept, mut pushed) = (Kept::default(), Pushed::default());
    let mut status = nothing("shop");
    status.write.checkouts = 7;
    status.fence.held = Duration::from_millis(1500);
    pushed.push(&status, &kept);
    let pool = "db_client_connection_pool_name=shop/write";
    for (name, expected) in [
        (format!("redis_rw_pool_checkouts_total {pool}"), vec![7.0]),
        (format!("db_client_connection_max {pool}"), vec![0.0]),
        (
            "redis_rw_pool_fence_seconds_total redis_rw_pool_name=shop".to_owned(),
            vec![1.5],
        ),
        (
            format!("db_client_connection_wait_time_seconds {pool}"),
            vec![],
        ),
    ] {
        assert_eq!(kept.take(&name), expected, "{name}");
    }
    let described = kept.0.lock();
    let described = |name: &str| described.keys().any(|known| known == name);
    assert!(described(
        "redis_rw_pool_checkouts_total None Connections lent."
    ));
    assert!(described(
        "db_client_connection_create_time_seconds Some(\"seconds\") How long it took to make a connection."
    ));
}

#[test]
fn times_are_handed_over_once() {
    let (kept, mut pushed) = (Kept::default(), Pushed::default());
    let times = HistogramCounter::default();
    let mut status = nothing("shop");
    let mut push = |count: usize, micros: u64| {
        status.read.wait = times.snapshot();
        pushed.push(&status, &kept);
        let name =
            "db_client_connection_wait_time_seconds db_client_connection_pool_name=shop/read";
        let given = kept.take(name);
        let sum = Duration::from_secs_f64(given.iter().sum());
        assert_eq!(given.len(), count);
        let off = sum.abs_diff(Duration::from_micros(micros));
        assert!(off < Duration::from_micros(1), "{given:?}");
        for millis in [3, 3, 90_000] {
            times.record(Duration::from_millis(millis));
        }
    };
    push(0, 0);
    push(3, 90_006_000);
    times.record(Duration::from_micros(7));
    push(4, 90_006_007);
}

#[test]
fn what_is_gone_is_set_to_zero() {
    let (kept, mut pushed) = (Kept::default(), Pushed::default());
    let mut status = nothing("shop");
    let name = |port| format!("redis_rw_pool_master_info node=a:{port},redis_rw_pool_name=shop");
    let mut push = |port: u16| {
        status.master.node = Some(Node::new("a", port));
        pushed.push(&status, &kept);
    };
    push(1);
    push(2);
    push(2);
    assert_eq!(kept.take(&name(1)), [1.0, 0.0]);
    assert_eq!(kept.take(&name(2)), [1.0, 1.0]);
}

#[test]
fn two_pools_do_not_overwrite_each_other() {
    let kept = Kept::default();
    for (name, fences) in [("shop", 2), ("cache", 3)] {
        let mut status = nothing(name);
        status.fence.raised = fences;
        Pushed::default().push(&status, &kept);
    }
    for (name, fences) in [("shop", 2.0), ("cache", 3.0)] {
        let name = format!("redis_rw_pool_fence_raised_total redis_rw_pool_name={name}");
        assert_eq!(kept.take(&name), [fences]);
    }
    let all = kept.0.lock();
    let mut twice = all.iter().filter(|(_, values)| values.len() > 1);
    assert_eq!(twice.next(), None);
}

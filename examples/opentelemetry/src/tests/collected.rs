//! Numbers as an exporter gets them, in a form that is easy to compare.

use std::collections::BTreeMap;

use opentelemetry::{KeyValue, metrics::MeterProvider};
use opentelemetry_sdk::metrics::{
    InMemoryMetricExporter, PeriodicReader, SdkMeterProvider, Temporality,
    data::{AggregatedMetrics, Metric, MetricData},
};

use crate::metrics::PoolMetrics;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Counter,
    UpDownCounter,
    Gauge,
    Histogram,
}

/// Names in the order of the alphabet, and their values.
pub(super) type Attributes = BTreeMap<String, String>;

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value {
    Number(f64),
    /// How many fell into each bucket, with the upper bounds of all but the last, and the sum.
    Times {
        bounds: Vec<f64>,
        counts: Vec<u64>,
        sum: f64,
    },
}

#[derive(Debug)]
pub(super) struct Instrument {
    pub(super) kind: Kind,
    pub(super) unit: String,
    pub(super) about: String,
    pub(super) series: BTreeMap<Attributes, Value>,
}

/// By their names.
pub(super) type Instruments = BTreeMap<String, Instrument>;

/// A meter whose numbers are collected when a test asks for them. That happens on a thread of the SDK, outside
/// of tokio, as in a program.
pub(super) struct Collector {
    provider: SdkMeterProvider,
    exporter: InMemoryMetricExporter,
    pub(super) metrics: PoolMetrics,
}

impl Collector {
    pub(super) fn new() -> Self {
        let exporter = InMemoryMetricExporter::default();
        let reader = PeriodicReader::builder(exporter.clone()).build();
        let provider = SdkMeterProvider::builder().with_reader(reader).build();
        let metrics = PoolMetrics::new(&provider.meter("test"));
        Self {
            provider,
            exporter,
            metrics,
        }
    }

    pub(super) fn collect(&self) -> Instruments {
        self.exporter.reset();
        self.provider.force_flush().unwrap();
        let exported = self.exporter.get_finished_metrics().unwrap();
        let metrics = exported
            .iter()
            .flat_map(|resource| resource.scope_metrics());
        let metrics = metrics.flat_map(|scope| scope.metrics());
        metrics
            .map(|metric| (metric.name().to_owned(), instrument(metric)))
            .collect()
    }
}

fn instrument(metric: &Metric) -> Instrument {
    let (kind, series) = match metric.data() {
        AggregatedMetrics::F64(data) => series(data, |value| value),
        AggregatedMetrics::U64(data) => series(data, |value| value as f64),
        AggregatedMetrics::I64(data) => series(data, |value| value as f64),
    };
    Instrument {
        kind,
        unit: metric.unit().to_owned(),
        about: metric.description().to_owned(),
        series,
    }
}

fn series<T: Copy>(
    data: &MetricData<T>,
    number: impl Fn(T) -> f64,
) -> (Kind, BTreeMap<Attributes, Value>) {
    match data {
        MetricData::Gauge(gauge) => {
            let points = gauge.data_points();
            let numbers = points.map(|point| {
                let value = Value::Number(number(point.value()));
                (attributes(point.attributes()), value)
            });
            (Kind::Gauge, numbers.collect())
        }
        MetricData::Sum(sum) => {
            assert_eq!(sum.temporality(), Temporality::Cumulative);
            let kind = if sum.is_monotonic() {
                Kind::Counter
            } else {
                Kind::UpDownCounter
            };
            let points = sum.data_points();
            let numbers = points.map(|point| {
                let value = Value::Number(number(point.value()));
                (attributes(point.attributes()), value)
            });
            (kind, numbers.collect())
        }
        MetricData::Histogram(histogram) => {
            let points = histogram.data_points();
            let times = points.map(|point| {
                let times = Value::Times {
                    bounds: point.bounds().collect(),
                    counts: point.bucket_counts().collect(),
                    sum: number(point.sum()),
                };
                (attributes(point.attributes()), times)
            });
            (Kind::Histogram, times.collect())
        }
        MetricData::ExponentialHistogram(_) => panic!("ours have fixed buckets"),
    }
}

pub(super) fn attributes<'a>(attributes: impl Iterator<Item = &'a KeyValue>) -> Attributes {
    let attributes = attributes.map(|attribute| {
        let value = attribute.value.as_str().into_owned();
        (attribute.key.to_string(), value)
    });
    attributes.collect()
}

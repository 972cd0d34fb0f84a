//! Every number of the status, with its name and its labels, in an order that is always the same.

mod certificates;
mod commands;
mod connections;
mod reads;
mod topology;

use std::time::Duration;

use crate::status::{MultiplexedStatus, PoolStatus, Status, histogram::Histogram};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// It only grows.
    Counter,
    Gauge,
    Histogram,
}

/// Numbers of one name.
#[derive(Debug)]
pub(crate) struct Family {
    /// That of a counter without `_total`.
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    pub(crate) help: &'static str,
}

impl Family {
    /// The unit, which is the end of the name.
    pub(crate) fn unit(&self) -> Option<&'static str> {
        let mut units = ["seconds", "bytes"].into_iter();
        units.find(|unit| self.name.ends_with(unit))
    }

    /// What a number's own name has behind that of its family.
    pub(crate) fn suffix(&self) -> &'static str {
        match self.kind {
            Kind::Counter => "_total",
            Kind::Gauge | Kind::Histogram => "",
        }
    }
}

pub(crate) type Labels<'a> = &'a [(&'static str, &'a str)];

/// Takes the numbers. A family comes before its numbers.
pub(crate) trait Sink {
    fn family(&mut self, family: &Family);
    fn integer(&mut self, family: &Family, labels: Labels<'_>, value: u64);
    fn float(&mut self, family: &Family, labels: Labels<'_>, value: f64);
    fn histogram(&mut self, family: &Family, labels: Labels<'_>, value: &Histogram);
}

/// OpenTelemetry's `db.client.connection.pool.name`, and the like.
pub(crate) const POOL: &str = "db_client_connection_pool_name";
const STATE: &str = "db_client_connection_state";

/// A text that comes from the network is cut where it is longer. Names and addresses never are: two of them
/// might be the same then.
pub(crate) const LONGEST_TEXT: usize = 256;

/// Hands out all numbers of this status.
pub(crate) fn visit(status: &Status, sink: &mut impl Sink) {
    let pools = Pools::new(status);
    connections::connections(&pools, sink);
    connections::times(&pools, sink);
    commands::commands(&pools, sink);
    commands::durations(status, sink);
    topology::writes(status, sink);
    topology::replicas(status, sink);
    topology::sentinels(status, sink);
    reads::freshness(status, sink);
    reads::subscribers(status, sink);
    certificates::certificates(status, sink);
}

/// What is called a pool in metrics.
struct Pools<'a> {
    names: [String; 4],
    exclusive: [&'a PoolStatus; 2],
    shared: [&'a MultiplexedStatus; 2],
}

/// `role`, in the order of both kinds of pools.
const ROLES: [&str; 2] = ["write", "read"];

impl<'a> Pools<'a> {
    fn new(status: &'a Status) -> Self {
        let name = |pool| format!("{}/{pool}", status.name);
        Self {
            names: ["write", "read", "writer", "reader"].map(name),
            exclusive: [&status.write, &status.read],
            shared: [&status.writer, &status.reader],
        }
    }

    fn exclusive(&self) -> impl Iterator<Item = (&str, &'a PoolStatus)> {
        let names = self.names.iter().map(String::as_str);
        names.zip(self.exclusive)
    }

    fn shared(&self) -> impl Iterator<Item = (&str, &'a MultiplexedStatus)> {
        let names = self.names[2..].iter().map(String::as_str);
        names.zip(self.shared)
    }

    /// The same number of all four.
    fn all<T>(
        &self,
        exclusive: impl Fn(&'a PoolStatus) -> T,
        shared: impl Fn(&'a MultiplexedStatus) -> T,
    ) -> impl Iterator<Item = (&str, T)> {
        let exclusive = self
            .exclusive()
            .map(move |(name, pool)| (name, exclusive(pool)));
        let shared = self.shared().map(move |(name, pool)| (name, shared(pool)));
        exclusive.chain(shared)
    }
}

/// A family of which each of these pools has one number.
fn each<'a>(sink: &mut impl Sink, family: &Family, values: impl Iterator<Item = (&'a str, u64)>) {
    sink.family(family);
    for (pool, value) in values {
        sink.integer(family, &[(POOL, pool)], value);
    }
}

/// A family of which each of these pools has one histogram.
fn each_time<'a, 'b>(
    sink: &mut impl Sink,
    family: &Family,
    values: impl Iterator<Item = (&'a str, &'b Histogram)>,
) {
    sink.family(family);
    for (pool, value) in values {
        sink.histogram(family, &[(POOL, pool)], value);
    }
}

/// A family of one number.
fn one(sink: &mut impl Sink, family: &Family, value: u64) {
    sink.family(family);
    sink.integer(family, &[], value);
}

/// A family of one duration.
fn one_time(sink: &mut impl Sink, family: &Family, value: Duration) {
    sink.family(family);
    sink.float(family, &[], value.as_secs_f64());
}

/// A family whose numbers differ in one label.
fn labelled<'a>(
    sink: &mut impl Sink,
    family: &Family,
    label: &'static str,
    values: impl IntoIterator<Item = (&'a str, u64)>,
) {
    sink.family(family);
    for (value, number) in values {
        sink.integer(family, &[(label, value)], number);
    }
}

const fn counter(name: &'static str, help: &'static str) -> Family {
    let kind = Kind::Counter;
    Family { name, kind, help }
}

const fn gauge(name: &'static str, help: &'static str) -> Family {
    let kind = Kind::Gauge;
    Family { name, kind, help }
}

const fn histogram(name: &'static str, help: &'static str) -> Family {
    let kind = Kind::Histogram;
    Family { name, kind, help }
}

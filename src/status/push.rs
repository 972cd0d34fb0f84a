//! Hands the numbers of a status to the recorder that an application has installed for the `metrics` crate.

use std::{
    collections::{HashMap, HashSet},
    mem,
};

use metrics::{Key, KeyName, Label, Level, Metadata, Recorder, Unit};

use crate::status::{
    Status,
    families::{self, Family, Kind, Labels, Sink},
    histogram::Histogram,
};

const ORIGIN: Metadata<'static> =
    Metadata::new(env!("CARGO_PKG_NAME"), Level::INFO, Some(module_path!()));

/// The pool, where no other label names it.
const NAME: &str = "redis_rw_pool_name";

/// What was handed over so far.
#[derive(Debug, Default)]
pub(crate) struct Pushed {
    /// The families that were described.
    described: HashSet<&'static str>,
    /// A recorder takes times one by one, so only those are handed over that are new.
    times: HashMap<Key, Histogram>,
    /// The gauges of the last push.
    gauges: HashSet<Key>,
}

impl Pushed {
    /// Hands everything over.
    pub(crate) fn push(&mut self, status: &Status, recorder: &dyn Recorder) {
        let before = mem::take(&mut self.gauges);
        let mut push = Push {
            recorder,
            pushed: self,
            pool: &status.name,
        };
        families::visit(status, &mut push);
        // Those of nodes and masters that are gone would keep their last value for ever.
        for gone in before.difference(&self.gauges) {
            recorder.register_gauge(gone, &ORIGIN).set(0.0);
        }
    }
}

struct Push<'a> {
    recorder: &'a dyn Recorder,
    pushed: &'a mut Pushed,
    pool: &'a str,
}

impl Push<'_> {
    fn gauge(&mut self, family: &Family, labels: Labels<'_>, value: f64) {
        let key = self.key(family, labels);
        self.recorder.register_gauge(&key, &ORIGIN).set(value);
        self.pushed.gauges.insert(key);
    }

    /// Several pools of a process share the recorder, so each number says whose it is.
    fn key(&self, family: &Family, labels: Labels<'_>) -> Key {
        let says_whose = labels.iter().any(|(name, _)| *name == families::POOL);
        let whose = (!says_whose).then_some((NAME, self.pool));
        let labels = labels.iter().copied().chain(whose);
        let labels = labels.map(|(name, value)| Label::new(name, value.to_owned()));
        Key::from_parts(name(family), labels.collect::<Vec<_>>())
    }
}

fn name(family: &Family) -> String {
    format!("{}{}", family.name, family.suffix())
}

impl Sink for Push<'_> {
    fn family(&mut self, family: &Family) {
        if !self.pushed.described.insert(family.name) {
            return;
        }
        let unit = family.unit().and_then(Unit::from_string);
        let name = KeyName::from(name(family));
        match family.kind {
            Kind::Counter => self
                .recorder
                .describe_counter(name, unit, family.help.into()),
            Kind::Gauge => self.recorder.describe_gauge(name, unit, family.help.into()),
            Kind::Histogram => self
                .recorder
                .describe_histogram(name, unit, family.help.into()),
        }
    }

    fn integer(&mut self, family: &Family, labels: Labels<'_>, value: u64) {
        if family.kind == Kind::Counter {
            let key = self.key(family, labels);
            self.recorder
                .register_counter(&key, &ORIGIN)
                .absolute(value);
        } else {
            self.gauge(family, labels, value as f64);
        }
    }

    /// Counters of that crate are whole numbers.
    fn float(&mut self, family: &Family, labels: Labels<'_>, value: f64) {
        self.gauge(family, labels, value);
    }

    fn histogram(&mut self, family: &Family, labels: Labels<'_>, value: &Histogram) {
        let key = self.key(family, labels);
        let known = self.pushed.times.insert(key.clone(), *value);
        let recorder = self.recorder.register_histogram(&key, &ORIGIN);
        for (time, count) in value.since(&known.unwrap_or_default()) {
            let count = usize::try_from(count).unwrap_or(usize::MAX);
            recorder.record_many(time.as_secs_f64(), count);
        }
    }
}

#[cfg(test)]
mod tests;

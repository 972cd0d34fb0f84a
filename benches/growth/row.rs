//! One row of a table, and the process that measures it.

use std::{
    collections::BTreeMap,
    env,
    process::{Command, Stdio},
};

use redis_rw_pool::Config;
use testkit::{Deployment, Spread};

/// What a row measured, by name.
pub(crate) type Sample = Vec<(&'static str, f64)>;

/// The first argument of a process that is to measure one row.
const ROW: &str = "--row";

/// What is to be measured: `how` tells the variants of one subject apart, `n` is what grows.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    pub(crate) subject: String,
    pub(crate) how: String,
    pub(crate) n: usize,
    master_name: String,
    sentinels: Vec<String>,
}

/// The medians of one row.
#[derive(Debug)]
pub(crate) struct Measured {
    pub(crate) how: String,
    pub(crate) n: f64,
    values: BTreeMap<String, f64>,
}

impl Row {
    pub(crate) fn new(subject: &str, how: &str, n: usize, deployment: &Deployment) -> Self {
        Self {
            subject: subject.to_owned(),
            how: how.to_owned(),
            n,
            master_name: deployment.master_name().to_owned(),
            sentinels: deployment.sentinel_addrs(),
        }
    }

    /// The row this process was started for, if it was started for one.
    pub(crate) fn asked_for() -> Option<Self> {
        let mut arguments = env::args().skip(1);
        if arguments.next()? != ROW {
            return None;
        }
        let mut next = || arguments.next().expect("a row has five arguments");
        Some(Self {
            subject: next(),
            how: next(),
            n: next().parse().expect("a number"),
            master_name: next(),
            sentinels: next().split(',').map(str::to_owned).collect(),
        })
    }

    pub(crate) fn config(&self) -> Config {
        Config::new(self.sentinels.clone(), self.master_name.clone())
    }

    pub(crate) fn master_name(&self) -> &str {
        &self.master_name
    }

    pub(crate) fn sentinel_ports(&self) -> Vec<u16> {
        let port = |address: &String| address.rsplit(':').next()?.parse().ok();
        self.sentinels.iter().filter_map(port).collect()
    }

    /// Measures in a process of its own.
    fn measure(&self) -> BTreeMap<String, f64> {
        let program = env::current_exe().expect("this program has a path");
        let output = Command::new(program)
            .args([ROW, &self.subject, &self.how, &self.n.to_string()])
            .args([&self.master_name, &self.sentinels.join(",")])
            .stderr(Stdio::inherit())
            .output()
            .expect("this program can be started");
        assert!(output.status.success(), "{self:?}: {}", output.status);
        String::from_utf8_lossy(&output.stdout)
            .lines()
            .filter_map(|line| line.split_once('='))
            .map(|(name, value)| (name.to_owned(), value.parse().expect("a number")))
            .collect()
    }
}

impl Measured {
    pub(crate) fn get(&self, name: &str) -> f64 {
        match self.values.get(name) {
            Some(value) => *value,
            None => panic!("{} did not measure {name}", self.how),
        }
    }

    /// The share of one of `n`.
    pub(crate) fn each(&self, name: &str) -> f64 {
        self.get(name) / self.n
    }
}

/// Tells the process that started this one what was measured.
pub(crate) fn report(sample: &Sample) {
    for (name, value) in sample {
        println!("{name}={value}");
    }
}

/// Each row once a round, so that what the machine does besides falls on all of them alike.
pub(crate) fn medians(rows: &[Row], rounds: usize) -> Vec<Measured> {
    let mut samples = vec![BTreeMap::<String, Vec<f64>>::new(); rows.len()];
    for round in 1..=rounds {
        for (row, samples) in rows.iter().zip(&mut samples) {
            eprintln!("round {round}: {} {} {}", row.subject, row.how, row.n);
            for (name, value) in row.measure() {
                samples.entry(name).or_default().push(value);
            }
        }
    }
    let measured = rows.iter().zip(samples).map(|(row, samples)| Measured {
        how: row.how.clone(),
        n: row.n as f64,
        values: samples
            .into_iter()
            .map(|(name, values)| (name, median(&values)))
            .collect(),
    });
    measured.collect()
}

fn median(values: &[f64]) -> f64 {
    let spread = Spread::of(values.iter().copied());
    spread.expect("BUG: every name has a value").median
}

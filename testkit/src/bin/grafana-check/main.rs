//! `make grafana-check`: every expression of `docs/grafana/` in a real Prometheus, which scrapes the `web`
//! example while its master hands over, then while things go wrong for which there are alerts.
//!
//! Every expression of a panel must have a series with a number in it, every variable a value, and every alert
//! must fire when it should and at no other time.
#![forbid(unsafe_code)]
#![allow(
    clippy::disallowed_types,
    reason = "real processes live by the real clock"
)]

mod dashboard;
mod http;
mod program;
mod prometheus;

use std::collections::BTreeSet;
use std::env;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use testkit::{Deployment, Folder, Server, ports};

use dashboard::Dashboard;
use program::Program;
use prometheus::{Prometheus, promtool};

/// More than the connections that the example may have, so that callers stand in line when it gets slow.
const CALLERS: usize = 8;
const MAX_ACTIVE: &str = "4";
/// All is well for so long, before and after a failover.
const WELL: Duration = Duration::from_secs(8);
/// Within this an alert whose time has come fires, or ends.
const PATIENCE: Duration = Duration::from_secs(30);
/// They look back over minutes, and so they stay.
const LOOK_BACK: [&str; 2] = ["RedisCheckoutTimeouts", "RedisUnknownOutcomes"];

fn main() -> ExitCode {
    match check() {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("grafana-check: {problem}");
            ExitCode::FAILURE
        }
    }
}

fn check() -> Result<(), String> {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/grafana");
    let alerts = docs.join("alerts.yml");
    promtool(&["check", "rules", &alerts.to_string_lossy()])?;
    promtool(&[
        "test",
        "rules",
        &docs.join("alerts.test.yml").to_string_lossy(),
    ])?;
    let dashboard = Dashboard::read(&docs.join("redis-rw-pool.json"))?;

    let deployment = Deployment::start();
    let folder = Folder::create();
    let example = Example::start(&folder, &deployment)?;
    let prometheus = Prometheus::start(&folder, example.port, &alerts)?;
    let scene = Scene {
        deployment: &deployment,
        prometheus: &prometheus,
    };
    let load = Load::start(example.port);
    scene.a_planned_failover()?;
    scene.a_slow_master()?;
    scene.no_sentinels_and_no_replicas()?;
    scene.no_master()?;
    drop(load);
    expressions(&dashboard, &prometheus)
}

/// The `web` example. `make grafana-check` has built it.
struct Example {
    port: u16,
    _program: Program,
}

impl Example {
    fn start(folder: &Folder, deployment: &Deployment) -> Result<Self, String> {
        let port = ports::take(1)[0];
        let link = folder.path().join("web");
        symlink(built_example()?, &link).map_err(|error| error.to_string())?;
        let mut command = Command::new(link);
        let sentinels = deployment.sentinel_addrs().join(",");
        let name = deployment.master_name();
        command
            .env("LISTEN", format!("127.0.0.1:{port}"))
            .env("REDIS_URL", format!("redis-sentinel://{sentinels}#{name}"))
            .env("REDIS_MAX_ACTIVE", MAX_ACTIVE)
            // Shorter than a command may take, so that those in line give up first.
            .env("REDIS_WAIT_TIMEOUT", "1s");
        let program = Program::start(folder, "web", &mut command)?;
        let this = Self {
            port,
            _program: program,
        };
        within(
            PATIENCE,
            "the example does not serve /metrics and /visits",
            || {
                let numbers = http::get(port, "/metrics");
                Ok(numbers.is_ok_and(|(status, body)| {
                    status == 200 && body.contains("\nredis_rw_pool_fence ")
                }) && http::get(port, "/visits").is_ok_and(|(status, _)| status == 200))
            },
        )?;
        Ok(this)
    }
}

fn built_example() -> Result<PathBuf, String> {
    let own = env::current_exe().map_err(|error| error.to_string())?;
    let example = own.with_file_name("examples").join("web");
    let missing = || {
        format!(
            "{} is missing: cargo build --example web",
            example.display()
        )
    };
    example
        .exists()
        .then(|| example.clone())
        .ok_or_else(missing)
}

/// Callers that each count a visit, again and again.
struct Load {
    stop: Arc<AtomicBool>,
    callers: Vec<thread::JoinHandle<()>>,
}

impl Load {
    fn start(port: u16) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let caller = |_| {
            let stop = Arc::clone(&stop);
            thread::spawn(move || {
                while !stop.load(Relaxed) {
                    // What it answers is seen in the numbers.
                    let _ = http::get(port, "/visits");
                    let _ = http::get(port, "/kv/colour");
                    thread::sleep(Duration::from_millis(20));
                }
            })
        };
        let callers = (0..CALLERS).map(caller).collect();
        Self { stop, callers }
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.stop.store(true, Relaxed);
        for caller in self.callers.drain(..) {
            let _ = caller.join();
        }
    }
}

struct Scene<'a> {
    deployment: &'a Deployment,
    prometheus: &'a Prometheus,
}

impl Scene<'_> {
    fn a_planned_failover(&self) -> Result<(), String> {
        self.stays_silent(WELL)?;
        println!("silent while all is well");
        let old = self.deployment.master().port();
        self.deployment.failover();
        self.deployment.wait_for_master_other_than(old, PATIENCE);
        self.stays_silent(WELL)?;
        println!("silent through a planned failover");
        Ok(())
    }

    /// Writes hang, and the Sentinels see nothing wrong.
    fn a_slow_master(&self) -> Result<(), String> {
        // They send PING behind a PUBLISH, which is held up as well.
        self.down_after("60000");
        let master = self.deployment.master();
        master.cmd(&["CLIENT", "PAUSE", "30000", "WRITE"]);
        self.fires(
            &[
                "RedisPoolSaturated",
                "RedisCheckoutTimeouts",
                "RedisUnknownOutcomes",
            ],
            "a slow master",
        )?;
        master.cmd(&["CLIENT", "UNPAUSE"]);
        self.is_over()?;
        self.down_after("1000");
        Ok(())
    }

    fn down_after(&self, millis: &str) {
        for sentinel in self.deployment.sentinels() {
            let name = self.deployment.master_name();
            sentinel.cmd(&["SENTINEL", "SET", name, "down-after-milliseconds", millis]);
        }
    }

    fn no_sentinels_and_no_replicas(&self) -> Result<(), String> {
        let replicas = self.deployment.replicas();
        let gone: Vec<&Server> = self.deployment.sentinels().iter().chain(replicas).collect();
        gone.iter().for_each(|server| server.kill());
        self.fires(
            &["RedisSentinelsUnreachable", "RedisNoReadableReplica"],
            "no Sentinels and no replicas",
        )?;
        gone.iter().for_each(|server| server.restart());
        self.is_over()
    }

    /// The master is dead, and no replica may be promoted.
    fn no_master(&self) -> Result<(), String> {
        let master = self.deployment.master();
        for replica in self.deployment.replicas() {
            replica.cmd(&["CONFIG", "SET", "replica-priority", "0"]);
        }
        // The Sentinels learn of it from INFO.
        thread::sleep(Duration::from_secs(2));
        master.kill();
        self.fires(&["RedisWritesHeldBack"], "no master")?;
        master.restart();
        self.is_over()
    }

    fn firing(&self) -> Result<BTreeSet<String>, String> {
        let alerts = self.prometheus.alerts()?;
        let firing = alerts.into_iter().filter(|alert| alert.state == "firing");
        Ok(firing.map(|alert| alert.name).collect())
    }

    fn stays_silent(&self, time: Duration) -> Result<(), String> {
        let end = Instant::now() + time;
        while Instant::now() < end {
            let firing = self.firing()?;
            if !firing.is_empty() {
                return Err(format!("these alerts fire while all is well: {firing:?}"));
            }
            thread::sleep(Duration::from_millis(500));
        }
        Ok(())
    }

    fn fires(&self, expected: &[&str], when: &str) -> Result<(), String> {
        let expected: BTreeSet<String> = expected.iter().map(|name| (*name).to_owned()).collect();
        let mut firing = BTreeSet::new();
        let all = within(PATIENCE, "", || {
            firing = self.firing()?;
            Ok(firing.is_superset(&expected))
        });
        all.map_err(|error| {
            format!("{when}: {expected:?} should fire, but only {firing:?} do {error}")
        })?;
        println!("{when}:");
        for alert in self.prometheus.alerts()? {
            if expected.contains(&alert.name) {
                let summary = alert.summaries.first().map_or("", String::as_str);
                println!("  {} fires: {summary}", alert.name);
            }
        }
        Ok(())
    }

    fn is_over(&self) -> Result<(), String> {
        within(
            PATIENCE,
            "an alert goes on after its cause has gone",
            || {
                let firing = self.firing()?;
                Ok(firing.iter().all(|name| LOOK_BACK.contains(&name.as_str())))
            },
        )
    }
}

fn within(
    time: Duration,
    problem: &str,
    mut done: impl FnMut() -> Result<bool, String>,
) -> Result<(), String> {
    let end = Instant::now() + time;
    while !done()? {
        if Instant::now() > end {
            return Err(problem.to_owned());
        }
        thread::sleep(Duration::from_millis(200));
    }
    Ok(())
}

fn expressions(dashboard: &Dashboard, prometheus: &Prometheus) -> Result<(), String> {
    let mut problems = Vec::new();
    println!("{} panels:", dashboard.panels);
    for expression in &dashboard.expressions {
        let now = prometheus.instant(&expression.text);
        let over_time = prometheus.over_time(&expression.text);
        match now.and_then(|now| over_time.map(|then| (now.len(), then))) {
            Ok((_, 0)) => problems.push(format!(
                "{}: no series for {}",
                expression.place, expression.text
            )),
            Ok((now, then)) => println!("  {}: {then} series, {now} of them now", expression.place),
            Err(error) => problems.push(format!(
                "{}: {error} in {}",
                expression.place, expression.text
            )),
        }
    }
    for variable in &dashboard.variables {
        let values = prometheus.label_values(&variable.series, &variable.label)?;
        println!("  ${}: {}", variable.name, values.join(", "));
        if values.is_empty() {
            problems.push(format!("${}: no values", variable.name));
        }
    }
    for alert in prometheus.alerts()? {
        if let Err(error) = prometheus.instant(&alert.expression) {
            problems.push(format!("{}: {error}", alert.name));
        }
    }
    if problems.is_empty() {
        Ok(())
    } else {
        Err(problems.join("\n"))
    }
}

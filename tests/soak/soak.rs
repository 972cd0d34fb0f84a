//! One pool, round after round: load, faults, healing, quiet, judgement.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use redis_rw_pool::{Adopt, Config, Node, Pool};
use testkit::history::{
    Call, Event, History, Outcome, Quiet, Rule, Rules, State, Summary, Violation,
    longest_resumption, lost, verdict,
};
use testkit::proxy::Proxy;
use testkit::{Deployment, Observer, Proxies};
use tokio::task::block_in_place;
use tokio::time::Instant;

use crate::End;
use crate::chance::Chance;
use crate::faults;
use crate::kind::Kind;
use crate::load::{Limits, Load};
use crate::schedule::{Round, schedule};

const CLIENT_NAME: &str = "soak";
/// From a healthy deployment to service of every kind, on a busy machine.
const RESUME: Duration = Duration::from_secs(15);
/// From the first word of a new master to the first write that it acknowledges, likewise.
const SWITCH: Duration = Duration::from_secs(5);
/// Until all is quiet after the last call.
const SETTLE: Duration = Duration::from_secs(15);
/// A pause of this process that the sign of a failover may not outlast.
const HICCUP: Duration = Duration::from_millis(40);
const TICK: Duration = Duration::from_millis(5);
/// So much of the log is shown before and after a violation.
const AROUND: Duration = Duration::from_secs(4);

fn config(
    deployment: &Deployment,
    proxies: &Proxies,
    balancer: Option<&Proxy>,
    adopt: Adopt,
) -> Config {
    let seeds = balancer.map_or_else(|| proxies.sentinel_addrs(), |one| vec![one.addr()]);
    let mut config = Config::new(seeds, deployment.master_name());
    let dial = proxies.dial().into_iter();
    let dial = dial.flat_map(|(node, proxy)| {
        ["127.0.0.1", "localhost"].map(|host| (Node::new(host, node), Node::new(host, proxy)))
    });
    config.address_map = Some(dial.collect());
    config.adopt = adopt;
    config.client_name = Some(CLIENT_NAME.to_owned());
    config.refresh_interval = Duration::from_secs(1);
    config.command_timeout = Some(Duration::from_secs(2));
    config.failover_timeout = Duration::from_secs(20);
    for limits in [&mut config.write, &mut config.read] {
        // Fewer than there are callers, so that some wait in line.
        limits.max_active = 6;
        limits.wait_timeout = Some(Duration::from_secs(25));
        limits.test_idle_after = Some(Duration::from_secs(1));
        limits.max_lifetime = Some(Duration::from_secs(20));
        limits.idle_timeout = Some(Duration::from_secs(5));
    }
    config
}

fn adopt(seed: u64) -> Adopt {
    match seed % 2 {
        0 => Adopt::Promoted,
        _ => Adopt::Announced,
    }
}

pub(crate) async fn run(seed: u64, kind: Kind, end: End) {
    let adopt = adopt(seed);
    println!(
        "soak: SEED={seed} until {end:?}, {adopt:?}; \
         `make soak SEED={seed} DEPLOYMENT={kind}` does the same again"
    );
    let began = Instant::now();
    let mut soak = Soak::start(seed, kind).await;
    for round in schedule(seed) {
        if end.has_come(round.number - 1, began.elapsed()) {
            break;
        }
        println!("{:7.1?} {round}", began.elapsed());
        soak.round(&round).await;
    }
    println!("{}", soak.summary());
    soak.finish().await;
}

/// Tasks and file descriptors of this process.
fn left_over() -> (usize, usize) {
    let metrics = tokio::runtime::Handle::current().metrics();
    let open = std::fs::read_dir("/proc/self/fd").map_or(0, Iterator::count);
    (metrics.num_alive_tasks(), open)
}

struct Soak {
    seed: u64,
    kind: Kind,
    deployment: Deployment,
    proxies: Proxies,
    balancer: Option<Proxy>,
    pool: Pool,
    limits: Limits,
    rules: Rules,
    /// What is written to now.
    current: Arc<Mutex<History>>,
    observer: Observer,
    ticker: tokio::task::JoinHandle<()>,
    /// The writes that each node had refused as a replica when it was looked at last.
    refused: BTreeMap<u16, u64>,
    summary: Summary,
    /// Acknowledged writes that the servers lost.
    lost: usize,
    /// How often this process did not get to run, and for how long at most.
    starved: (usize, Duration),
    faults: BTreeMap<String, u64>,
    baseline: (usize, usize),
}

impl Soak {
    async fn start(seed: u64, kind: Kind) -> Self {
        let deployment = block_in_place(|| kind.start());
        let proxies = Proxies::before(&deployment);
        let balancer = kind.balancer(&proxies);
        let baseline = left_over();
        let current = Arc::new(Mutex::new(History::default()));
        // As the pool hears them.
        let ports = proxies.sentinels().iter().map(Proxy::port);
        let seen = Arc::clone(&current);
        let observer =
            Observer::start(ports, deployment.master_name(), move || seen.lock().clone());
        block_in_place(|| kind.prepare(&deployment));
        let mut config = config(&deployment, &proxies, balancer.as_ref(), adopt(seed));
        kind.configure(&mut config);
        let limits = Limits::of(&config);
        let rules = Rules {
            reply_timeout: config.command_timeout.unwrap_or_default(),
            ..kind.rules()
        };
        let pool = Pool::connect(config).await.expect("all is well");
        Self {
            seed,
            kind,
            deployment,
            proxies,
            balancer,
            pool,
            limits,
            rules,
            ticker: tokio::spawn(tick(Arc::clone(&current))),
            current,
            observer,
            refused: BTreeMap::new(),
            summary: Summary::default(),
            lost: 0,
            starved: (0, Duration::ZERO),
            faults: BTreeMap::new(),
            baseline,
        }
    }

    async fn round(&mut self, round: &Round) {
        block_in_place(|| self.kind.prepare(&self.deployment));
        let history = History::default();
        *self.current.lock() = history.clone();
        let deployment = &self.deployment;
        block_in_place(|| history.in_step(deployment, faults::LIMIT).port());
        let chance = Chance::new(self.seed).fork(round.number);
        let load = Load::start(&self.pool, &history, self.limits, round.number, &chance);
        block_in_place(|| faults::run(deployment, &self.proxies, &history, round));
        let mut violations = self.resume(&history).await;
        tokio::time::sleep(round.rest).await;
        violations.extend(self.silence(load, &history).await);
        violations.extend(self.judge(round, &history));
        for (_, fault) in &round.faults {
            let text = format!("{fault:?}");
            let kind = text.split(' ').next().unwrap_or_default().to_owned();
            *self.faults.entry(kind).or_default() += 1;
        }
        if !violations.is_empty() {
            println!("{}", self.summary());
            panic!("{}", self.report(round, &history, &violations));
        }
        if self.kind == Kind::WithoutEvents {
            assert_eq!(self.pool.status().sentinel.events, 0, "the pool is deaf");
        }
        block_in_place(|| self.deployment.master().cmd(&["FLUSHALL"]));
    }

    /// Waits until everybody is served again.
    async fn resume(&self, history: &History) -> Vec<Violation> {
        let since = history.now();
        let served = |write: bool, who: &str| {
            let by_them = |call: &Call| {
                call.start > since
                    && call.outcome == Outcome::Ok
                    && call.action.is_write() == write
                    && call.caller.starts_with(who)
            };
            history.count(by_them) >= 10
        };
        let missing = || {
            let topology = self.pool.topology();
            let mut missing = Vec::new();
            if let Some(sign) = &topology.fence {
                missing.push(format!("the fence is up ({sign})"));
            }
            if topology.readable().count() < self.deployment.nodes().len() - 1 {
                missing.push(format!("not all replicas are read from: {topology:?}"));
            }
            for (write, who) in [
                (true, "exclusive"),
                (false, "exclusive"),
                (true, "shared"),
                (false, "shared"),
            ] {
                if !served(write, who) {
                    let what = if write { "writes" } else { "reads" };
                    missing.push(format!("{who} {what} do not succeed"));
                }
            }
            missing
        };
        let deadline = Instant::now() + RESUME;
        loop {
            let missing = missing();
            if missing.is_empty() {
                return Vec::new();
            }
            if Instant::now() > deadline {
                let text = format!("{RESUME:?} after all was healthy: {}", missing.join(", "));
                return vec![Violation {
                    rule: Rule::Live,
                    at: history.now(),
                    text,
                }];
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Ends the load, and waits until nothing of it is left.
    async fn silence(&self, load: Load, history: &History) -> Vec<Violation> {
        let stuck = load.finish(self.limits.longest() + self.rules.slack).await;
        if stuck > 0 {
            let text = format!("{stuck} calls never end: {:?}", self.pool);
            return vec![Violation {
                rule: Rule::Live,
                at: history.now(),
                text,
            }];
        }
        let deadline = Instant::now() + SETTLE;
        loop {
            let left = block_in_place(|| self.quiet()).verdict(history.now());
            if left.is_empty() || Instant::now() > deadline {
                return left;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    fn quiet(&self) -> Quiet {
        let status = self.pool.status();
        let nodes = self.deployment.nodes().iter();
        Quiet {
            active: status.write.active + status.read.active,
            idle: status.write.idle + status.read.idle,
            shared: status.writer.connections + status.reader.connections,
            waiting: status.write.waiting
                + status.read.waiting
                + status.writer.waiting
                + status.reader.waiting,
            in_flight: status.writer.in_flight + status.reader.in_flight,
            on_servers: nodes.map(|node| node.client_count_named(CLIENT_NAME)).sum(),
        }
    }

    fn judge(&mut self, round: &Round, history: &History) -> Vec<Violation> {
        block_in_place(|| {
            for node in self.deployment.nodes() {
                let stats = node.info("errorstats");
                let count = stats
                    .get("errorstat_READONLY")
                    .and_then(|stat| stat.strip_prefix("count="));
                let count = count.and_then(|count| count.parse().ok()).unwrap_or(0);
                let before = self.refused.insert(node.port(), count).unwrap_or(0);
                // A node that was started again counts from zero.
                let writes = count.checked_sub(before).unwrap_or(count);
                history.note(Event::Refused {
                    node: node.port(),
                    writes,
                });
            }
            let (calls, events) = (history.calls(), history.events());
            let rules = Rules {
                resume: round.has_good_network().then_some(SWITCH),
                ..self.rules
            };
            let mut summary = Summary::default();
            summary.add(&calls);
            println!(
                "        {} calls; longest stalls: writes {:.2?}, reads {:.2?}; new master: {:.2?}",
                calls.len(),
                summary.write_stall,
                summary.read_stall,
                longest_resumption(&calls, &events, &rules),
            );
            self.summary.add(&calls);
            let end = State::of(self.deployment.master(), &calls).expect("the master answers");
            for (_, event) in &events {
                if let Event::Starved { lasted } = event {
                    let (times, longest) = self.starved;
                    self.starved = (times + 1, longest.max(*lasted));
                }
            }
            let lost = lost(&calls, &end);
            if lost > 0 {
                println!("        {lost} acknowledged writes were lost");
            }
            self.lost += lost;
            verdict(&calls, &events, &end, &rules)
        })
    }

    fn summary(&self) -> String {
        let mut text = format!(
            "soak: SEED={} DEPLOYMENT={}\n{}",
            self.seed, self.kind, self.summary
        );
        let _ = writeln!(
            text,
            "  {:6} acknowledged writes were lost where the servers may lose them",
            self.lost
        );
        let (times, longest) = self.starved;
        let _ = writeln!(
            text,
            "  {times:6} times this process stood still, for {longest:.2?} at most"
        );
        for (kind, count) in &self.faults {
            let _ = writeln!(text, "  {count:6} x {kind}");
        }
        text
    }

    fn report(&self, round: &Round, history: &History, violations: &[Violation]) -> String {
        let mut text = format!(
            "{} rules broken; SEED={} DEPLOYMENT={} {round}\n",
            violations.len(),
            self.seed,
            self.kind
        );
        for violation in violations.iter().take(20) {
            let _ = writeln!(text, "{violation}");
        }
        let (first, last) = violations.iter().fold(
            (Duration::MAX, Duration::ZERO),
            |(first, last), violation| (first.min(violation.at), last.max(violation.at)),
        );
        let mut log: Vec<(Duration, String)> = history
            .events()
            .into_iter()
            .map(|(at, event)| (at, format!("{event:?}")))
            .collect();
        let failed = |call: &Call| call.outcome != Outcome::Ok && call.error != "cancelled";
        let failed = history.calls().into_iter().filter(failed).take(200);
        log.extend(failed.map(|call| (call.end, call.to_string())));
        log.sort();
        let window = first.saturating_sub(AROUND)..=last.saturating_add(AROUND);
        for (at, line) in log.iter().filter(|(at, _)| window.contains(at)) {
            let _ = writeln!(text, "  {:9.3} {line}", at.as_secs_f64());
        }
        let _ = writeln!(text, "{:?}\n{}", self.pool, self.deployment.describe());
        text
    }

    /// Lets go of everything, and looks what is left.
    async fn finish(self) {
        let Self {
            pool,
            observer,
            ticker,
            deployment,
            proxies,
            balancer,
            baseline,
            ..
        } = self;
        drop(pool);
        block_in_place(|| drop(observer));
        ticker.abort();
        let deadline = Instant::now() + SETTLE;
        loop {
            let (tasks, files) = left_over();
            if tasks <= baseline.0 && files <= baseline.1 {
                break;
            }
            assert!(
                Instant::now() < deadline,
                "W6: {tasks} tasks and {files} files are left, there were {baseline:?}"
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        drop((balancer, proxies, deployment));
    }
}

/// Takes down when this process does not get to run.
async fn tick(current: Arc<Mutex<History>>) {
    let mut last = Instant::now();
    loop {
        tokio::time::sleep(TICK).await;
        let lasted = last.elapsed();
        if lasted > HICCUP {
            current.lock().note(Event::Starved { lasted });
        }
        last = Instant::now();
    }
}

//! Reads that must have seen something, while replicas lag, stand still, go back and take over with writes
//! missing.
//!
//! Every key is written once. A read with the token of its write either returns it, or its caller is told
//! that it is lost; the rules W8 to W10 judge that. Reads that ask for nothing go along, as a control: the
//! faults are too mild if none of them is stale.

mod faults;
mod load;

use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

use redis_rw_pool::{Adopt, Config, Node, Pool, Protocol, ReadFrom};
use testkit::history::{Event, FreshCounts, History, Rules, State, Violation, verdict};
use testkit::{Deployment, Proxies};
use tokio::task::block_in_place;
use tokio::time::Instant;

use crate::chance::Chance;
use faults::{Lineage, Main};
use load::{Load, Ring, Wells};

/// Until the replicas are readable again after the servers are healthy.
const READABLE: Duration = Duration::from_secs(60);
/// After a round as many tokens are tried once more, over each pool.
const TRIED_AGAIN: usize = 400;

/// One round for each kind of main fault, and as many more as it takes.
pub(crate) async fn run(seed: u64, reads: usize) {
    println!("fresh reads: SEED={seed}, {reads} reads");
    let began = Instant::now();
    let servers = Servers::start();
    let old = servers.connect(|_| ()).await;
    let mut sum = FreshCounts::default();
    let chance = Chance::new(seed);
    let mut number = 0;
    while number < Main::ALL.len() || sum.fresh() < reads {
        let main = Main::ALL[number % Main::ALL.len()];
        let chance = chance.fork(number as u64);
        let counts = round(&servers, &old, number, main, chance).await;
        println!("{:7.1?} {main:?}: {counts}", began.elapsed());
        sum.add(&counts);
        number += 1;
    }
    println!("fresh reads: SEED={seed}, {number} rounds: {sum}");
    println!("{:?}", old.status().freshness);
    assert!(
        sum.stale > 0,
        "no plain read is stale: the faults are too mild"
    );
    assert!(sum.lost > 0, "no write is lost: the faults are too mild");
    assert!(sum.fresh() >= reads, "{sum}");
}

/// The servers, and how the pools reach them.
struct Servers {
    deployment: Deployment,
    proxies: Proxies,
}

impl Servers {
    fn start() -> Self {
        let deployment = block_in_place(|| {
            Deployment::builder()
                // So little that a replica that stood still gets everything anew.
                .node_config("repl-backlog-size 16kb")
                .start()
        });
        let proxies = Proxies::before(&deployment);
        Self {
            deployment,
            proxies,
        }
    }

    async fn connect(&self, change: impl FnOnce(&mut Config)) -> Pool {
        let mut config = Config::new(self.proxies.sentinel_addrs(), self.deployment.master_name());
        let dial = self.proxies.dial().into_iter();
        let table = dial.map(|(node, proxy)| {
            let at = |port| Node::new("127.0.0.1", port);
            (at(node), at(proxy))
        });
        config.address_map = Some(table.collect());
        config.refresh_interval = Duration::from_secs(1);
        config.command_timeout = Some(Duration::from_secs(2));
        config.failover_timeout = Duration::from_secs(20);
        change(&mut config);
        Pool::connect(config).await.expect("all is well")
    }
}

/// Another kind of pool in each round.
fn vary(config: &mut Config, number: usize) {
    if number % 2 == 1 {
        (config.protocol, config.adopt) = (Protocol::Resp2, Adopt::Promoted);
    }
    // Each fault meets each of them.
    let kinds = [ReadFrom::ReplicaPreferred, ReadFrom::Any, ReadFrom::Replica];
    config.read_from = kinds[number / Main::ALL.len() % kinds.len()];
}

/// Load while one main fault and many small ones happen; then everything heals and is judged.
async fn round(
    servers: &Servers,
    old: &Pool,
    number: usize,
    main: Main,
    chance: Chance,
) -> FreshCounts {
    let history = History::default();
    // One that has seen no failover.
    let young = servers.connect(|config| vary(config, number)).await;
    let wells = Wells {
        old: old.clone(),
        young,
    };
    let ring = Arc::new(Ring::default());
    let lineage = Lineage::watch(&servers.deployment, &history);
    let load = Load::start(&wells, &history, &ring, number, &chance);
    block_in_place(|| {
        faults::run(
            &servers.deployment,
            &servers.proxies,
            &history,
            main,
            chance.fork(1),
        )
    });
    all_are_readable(servers, &wells).await;
    load.finish().await;
    drop(lineage);
    let (violations, counts) = judge(servers, &wells, &history, &ring).await;
    if !violations.is_empty() {
        panic!("{}", report(&violations, &history, servers, &wells));
    }
    block_in_place(|| servers.deployment.master().cmd(&["FLUSHALL"]));
    counts
}

async fn all_are_readable(servers: &Servers, wells: &Wells) {
    let replicas = servers.deployment.nodes().len() - 1;
    let deadline = Instant::now() + READABLE;
    for pool in [&wells.old, &wells.young] {
        loop {
            let topology = pool.topology();
            if topology.fence.is_none() && topology.readable().count() == replicas {
                break;
            }
            assert!(Instant::now() < deadline, "not readable: {topology:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

/// What the last master says is true. All tokens are tried once more, also by a pool that knows nothing.
async fn judge(
    servers: &Servers,
    wells: &Wells,
    history: &History,
    ring: &Ring,
) -> (Vec<Violation>, FreshCounts) {
    let master = block_in_place(|| servers.deployment.master());
    let info = block_in_place(|| master.info("replication"));
    faults::note_master(history, &info);
    history.note(Event::Settled {
        history: info["master_replid"].clone(),
    });
    let stranger = servers.connect(|_| ()).await;
    for pool in [&wells.old, &wells.young, &stranger] {
        load::try_again(pool, history, &ring.sample(TRIED_AGAIN)).await;
    }
    let (calls, events) = (history.calls(), history.events());
    let end = block_in_place(|| State::of(master, &calls)).expect("the master answers");
    // Only those rules: writes may be lost here.
    let violations = verdict(&calls, &events, &end, &Rules::default()).into_iter();
    let violations = violations.filter(|violation| violation.rule.is_about_freshness());
    (violations.collect(), FreshCounts::of(&calls, &events, &end))
}

fn report(violations: &[Violation], history: &History, servers: &Servers, wells: &Wells) -> String {
    let mut text = format!("{} rules broken\n", violations.len());
    for violation in violations.iter().take(20) {
        let _ = writeln!(text, "{violation}");
    }
    for (at, event) in history.events() {
        let _ = writeln!(text, "  {:9.3} {event:?}", at.as_secs_f64());
    }
    let _ = writeln!(text, "{:?}\n{:?}", wells.old, wells.old.topology());
    text + &servers.deployment.describe()
}

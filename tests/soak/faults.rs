//! Does to the servers what the schedule says, and undoes it.

use std::thread;
use std::time::Duration;

use testkit::history::{Event, History};
use testkit::proxy::{Door, Ending, Flow, Proxy, Toward};
use testkit::{Deployment, Proxies, Reply, Server};

use tokio::time::Instant;

use crate::schedule::{Fault, On, Round, Weather};

/// A vote that is split costs the Sentinels some seconds, and may be split again and again.
pub(crate) const LIMIT: Duration = Duration::from_secs(120);
/// How long a planned failover may take before it is asked for again: it may have been given up.
const SWITCH: Duration = Duration::from_secs(15);

/// Runs the faults of a round, each on a thread of its own, and returns when the deployment is
/// healthy again.
pub(crate) fn run(deployment: &Deployment, proxies: &Proxies, history: &History, round: &Round) {
    thread::scope(|scope| {
        for (after, fault) in &round.faults {
            thread::sleep(*after);
            history.note(Event::Note(format!("fault: {fault:?}")));
            scope.spawn(move || {
                inflict(deployment, proxies, history, *fault);
                history.note(Event::Note(format!("undone: {fault:?}")));
            });
        }
    });
    deployment.wait_healthy(LIMIT);
    let master = deployment.master().port();
    history.note(Event::Stands { master });
    history.note(Event::Note("healthy".to_owned()));
}

fn inflict(deployment: &Deployment, proxies: &Proxies, history: &History, fault: Fault) {
    let sentinel = |which: usize| &deployment.sentinels()[which];
    match fault {
        Fault::HandOver { sentinel: which } => hand_over(deployment, history, sentinel(which)),
        Fault::KillMaster { down } => {
            let old = lossy(deployment, history, "killed");
            old.kill();
            let _ = deployment.wait_for_master_other_than(old.port(), LIMIT);
            thread::sleep(down);
            old.restart();
        }
        Fault::FreezeMaster { thaws } => {
            let old = lossy(deployment, history, "frozen");
            old.pause();
            let _ = deployment.wait_for_master_other_than(old.port(), LIMIT);
            thread::sleep(thaws);
            old.resume();
        }
        Fault::StallMaster { lasts } => freeze(&[lossy(deployment, history, "stalled")], lasts),
        Fault::KillReplica { which, down } => kill(&[replicas(deployment)[which]], down),
        Fault::FreezeReplica { which, lasts } => freeze(&[replicas(deployment)[which]], lasts),
        Fault::KillReplicas { down } => kill(&replicas(deployment), down),
        Fault::FreezeReplicas { lasts } => freeze(&replicas(deployment), lasts),
        Fault::KillSentinel { which, down } => kill(&[sentinel(which)], down),
        Fault::FreezeSentinel { which, lasts } => freeze(&[sentinel(which)], lasts),
        Fault::KillAllSentinels { down } => kill(&servers(deployment, On::Sentinels), down),
        Fault::ResetSentinel { which } => {
            sentinel(which).cmd(&["SENTINEL", "RESET", deployment.master_name()]);
        }
        Fault::KillClients { on, times, every } => {
            let nodes = servers(deployment, on);
            for _ in 0..times {
                for node in &nodes {
                    // A node that is being replaced may be dead or frozen.
                    let _ = node.try_cmd(&["CLIENT", "KILL", "TYPE", "normal"]);
                }
                thread::sleep(every);
            }
        }
        Fault::PauseClients { on, lasts, all } => {
            let (time, what) = (
                lasts.as_millis().to_string(),
                ["WRITE", "ALL"][usize::from(all)],
            );
            for node in servers(deployment, on) {
                node.cmd(&["CLIENT", "PAUSE", &time, what]);
            }
            thread::sleep(lasts);
        }
        Fault::Network { on, weather, lasts } => {
            let met = servers(deployment, on);
            let proxies: Vec<&Proxy> = met.into_iter().map(|server| proxies.of(server)).collect();
            proxies.iter().for_each(|proxy| storm(proxy, weather));
            if weather != Weather::Reset {
                thread::sleep(lasts);
            }
            proxies.iter().for_each(|proxy| proxy.heal());
        }
    }
}

fn servers(deployment: &Deployment, on: On) -> Vec<&Server> {
    match on {
        On::Master => vec![deployment.master()],
        On::Replicas => replicas(deployment),
        On::Nodes => deployment.nodes().iter().collect(),
        On::Sentinels => deployment.sentinels().iter().collect(),
        On::OneReplica(which) => vec![replicas(deployment)[which]],
        On::OneSentinel(which) => vec![&deployment.sentinels()[which]],
    }
}

/// Every node but the master. A replica whose answer is late, or whose client was just killed, is one
/// all the same.
fn replicas(deployment: &Deployment) -> Vec<&Server> {
    let master = deployment.master().port();
    let nodes = deployment.nodes().iter();
    nodes.filter(|node| node.port() != master).collect()
}

fn storm(proxy: &Proxy, weather: Weather) {
    match weather {
        Weather::Silence => proxy.set_both(Flow::Hold),
        Weather::DeafServers => proxy.set(Toward::Server, Flow::Hold),
        Weather::MuteServers => proxy.set(Toward::Client, Flow::Hold),
        Weather::Delay(time) => proxy.set_both(Flow::Delay(time)),
        Weather::Trickle(piece) => proxy.set_both(Flow::Trickle {
            piece,
            every: Duration::from_millis(5),
        }),
        Weather::Refusal => {
            proxy.set_door(Door::Refuse);
            proxy.end_connections(Ending::Reset);
        }
        Weather::Reset => proxy.end_connections(Ending::Reset),
        Weather::TornRequests(after) => proxy.set(Toward::Server, torn(after)),
        Weather::TornReplies(after) => proxy.set(Toward::Client, torn(after)),
    }
}

fn torn(after: usize) -> Flow {
    let ending = Ending::Reset;
    Flow::Cut { after, ending }
}

fn kill(servers: &[&Server], down: Duration) {
    servers.iter().for_each(|server| server.kill());
    thread::sleep(down);
    servers.iter().for_each(|server| server.restart());
}

fn freeze(servers: &[&Server], lasts: Duration) {
    servers.iter().for_each(|server| server.pause());
    thread::sleep(lasts);
    servers.iter().for_each(|server| server.resume());
}

fn lossy<'a>(deployment: &'a Deployment, history: &History, what: &str) -> &'a Server {
    let server = history.in_step(deployment, LIMIT);
    let (master, what) = (server.port(), what.to_owned());
    history.note(Event::Lossy { master, what });
    server
}

fn hand_over(deployment: &Deployment, history: &History, leader: &Server) {
    let deadline = Instant::now() + LIMIT;
    loop {
        let old = history.in_step(deployment, LIMIT).port();
        history.note(Event::Planned { master: old });
        let reply = leader.try_cmd(&["SENTINEL", "FAILOVER", deployment.master_name()]);
        let accepted = matches!(reply, Ok(Reply::Status(_)));
        if accepted && deployment.gets_master_other_than(old, SWITCH) {
            return;
        }
        history.note(Event::Note(format!("no failover: {reply:?}")));
        assert!(
            Instant::now() < deadline,
            "{} hands nothing over: {reply:?}\n{}",
            leader.name(),
            deployment.describe()
        );
        thread::sleep(Duration::from_millis(100));
    }
}

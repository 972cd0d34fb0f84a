//! What the servers themselves saw: no write reached a replica, and no read a node that reads were
//! not to go to.

use redis_rw_pool::{Config, Pool, ReadFrom};
use testkit::{Builder, Client, Deployment, Reply, Server};
use tokio::task::block_in_place;

use crate::support::{
    self, FAILOVER_LIMIT, eventually,
    load::{Load, assert_conserved, in_step, seed},
    readable_are, unique_name,
};

/// The user that the pool is; everybody else, the servers among them, is another.
const USER: &str = "app";
const PASSWORD: &str = "secret";

/// A deployment, and a pool on it that reads from replicas only.
async fn stage(builder: Builder) -> (Deployment, Pool, String) {
    let builder = builder.username_acl(USER, PASSWORD, "~* &* +@all");
    let deployment = block_in_place(|| builder.start());
    let name = unique_name();
    let change = |config: &mut Config| {
        config.client_name = Some(name.clone());
        config.username = Some(USER.to_owned());
        config.password = Some(PASSWORD.into());
        config.read_from = ReadFrom::Replica;
        config.failover_timeout = FAILOVER_LIMIT;
        config.command_timeout = Some(FAILOVER_LIMIT);
    };
    let pool = support::pool(&deployment, change).await;
    seed(&pool, 2).await;
    (deployment, pool, name)
}

/// Takes a right from the pool's user; what it tries all the same is noted.
fn trap(server: &Server, right: &str) {
    let reply = server.cmd(&["ACL", "SETUSER", USER, right]);
    assert!(!reply.is_error(), "{reply:?}");
}

/// The commands that the pool's user was denied.
fn trapped(server: &Server) -> Vec<String> {
    let log = server.cmd(&["ACL", "LOG"]);
    let of = |entry: &[Reply], field: &str| {
        let mut pairs = entry.chunks(2);
        let found = pairs.find(|pair| pair[0].as_str() == field);
        found.map_or_else(String::new, |pair| pair[1].as_str().to_owned())
    };
    let entries = log.array().iter().map(Reply::array);
    entries
        .filter(|entry| of(entry, "username") == USER)
        .map(|entry| of(entry, "object"))
        .collect()
}

fn as_user(server: &Server) -> Client {
    let mut client = server.connect().unwrap();
    assert!(!client.call(&["AUTH", USER, PASSWORD]).unwrap().is_error());
    client
}

/// How often a command was executed, and how often the server would not execute it.
fn count(server: &Server, command: &str) -> (u64, u64) {
    let stats = server.info("commandstats");
    let stats = stats.get(&format!("cmdstat_{command}"));
    let field = |name: &str| {
        let mut fields = stats?.split(',').filter_map(|field| field.split_once('='));
        fields.find(|(found, _)| *found == name)?.1.parse().ok()
    };
    let of = |name| field(name).unwrap_or(0);
    (of("calls"), of("rejected_calls"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replicas_that_note_every_write_and_a_master_that_notes_every_read_note_nothing() {
    let (deployment, pool, name) = stage(Deployment::builder()).await;
    let master = deployment.master();
    let replicas = deployment.replicas();
    for replica in &replicas {
        trap(replica, "-@write");
    }
    trap(master, "-@read");
    let load = Load::start(&pool);
    load.goes_on(200).await;
    let history = load.finish().await;

    assert_eq!(history.failed().count(), 0, "{:?}", history.failed().next());
    for node in deployment.nodes() {
        assert_eq!(trapped(node), Vec::<String>::new(), "{}", node.name());
    }
    history.assert_nothing_lost_and_nothing_twice(master);
    assert_conserved(&pool, &deployment, &name).await;

    // The traps are traps, and reads did reach the replicas.
    assert!(as_user(master).call(&["GET", "k"]).unwrap().is_error());
    assert_eq!(trapped(master), ["get"]);
    for replica in &replicas {
        assert!(
            as_user(replica)
                .call(&["SET", "k", "v"])
                .unwrap()
                .is_error()
        );
        assert_eq!(trapped(replica), ["set"]);
        assert!(count(replica, "get").0 > 0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn through_a_planned_failover_no_write_reaches_a_replica_and_no_read_the_master() {
    let (deployment, pool, name) = stage(Deployment::builder()).await;
    let load = Load::start(&pool);
    load.goes_on(50).await;
    in_step(&pool, 2).await;
    let old = deployment.master();
    assert_eq!(count(old, "get"), (0, 0), "read before it was replaced");
    block_in_place(|| deployment.failover());
    let new = block_in_place(|| deployment.wait_for_master_other_than(old.port(), FAILOVER_LIMIT));
    eventually("the pool follows", FAILOVER_LIMIT, || async {
        let master = pool.topology().master.clone();
        master.is_some_and(|master| master.port() == new.port())
    })
    .await;
    // Reads that were on their way to it when it was a replica still are.
    load.goes_on(20).await;
    let before = block_in_place(|| count(new, "get"));
    load.goes_on(50).await;
    assert_eq!(
        block_in_place(|| count(new, "get")),
        before,
        "read as a master"
    );
    // Now the old one, a replica by then, notes it if it is taken for the master.
    block_in_place(|| deployment.wait_healthy(FAILOVER_LIMIT));
    block_in_place(|| trap(old, "-@write"));
    readable_are(&pool, 2, FAILOVER_LIMIT).await;
    load.goes_on(50).await;
    let history = load.finish().await;

    for node in deployment.nodes() {
        for command in ["set", "incr"] {
            let (_, rejected) = count(node, command);
            assert_eq!(rejected, 0, "{command} at {}", node.name());
        }
        assert_eq!(trapped(node), Vec::<String>::new(), "{}", node.name());
    }
    assert!(count(old, "get").0 > 0, "it is read from as a replica");
    let failed = history.failed_writes();
    assert!(failed.is_empty(), "{failed:#?}");
    history.assert_nothing_lost_and_nothing_twice(new);
    assert_conserved(&pool, &deployment, &name).await;

    // A write at a replica would have been counted.
    let replicas = deployment.replicas();
    assert!(replicas[0].cmd(&["SET", "k", "v"]).is_error());
    assert_eq!(count(replicas[0], "set").1, 1);
}

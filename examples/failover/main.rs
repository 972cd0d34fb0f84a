//! `make demo`: a planned failover and a `kill -9` of the master, under load, told as it happens.
//!
//! Starts one master, two replicas and three Sentinels of its own. Through one pool work writers and
//! readers, users who read what they have written, and a publisher with its subscriber. Afterwards it
//! looks on the master for every write that was acknowledged. The servers, and nobody else, are asked
//! what is there: the check does not go through the pool.

mod load;
mod news;
mod report;
mod tally;
mod timeline;
mod users;
mod witness;

use std::{error::Error, sync::Arc, time::Duration};

use redis_rw_pool::{Config, Pool};
use testkit::{Deployment, Server};
use tokio::task::{block_in_place, spawn_blocking};

use crate::{load::Load, tally::Phase, timeline::Timeline};

const QUIET: Duration = Duration::from_secs(2);
const SETTLE: Duration = Duration::from_secs(1);
/// Far more than any step takes; on a machine that is that busy there is nothing to see.
const PATIENCE: Duration = Duration::from_secs(60);

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    println!("redis-rw-pool: a failover under load\n");
    let deployment = Arc::new(spawn_blocking(Deployment::start).await?);
    introduce(&deployment);

    let config = Config::new(deployment.sentinel_addrs(), deployment.master_name());
    let pool = Pool::connect(config).await?;
    let timeline = Timeline::start();
    let _topology = witness::follow_topology(&pool, &timeline);
    let _roles = witness::follow_roles(&deployment, &timeline);
    let load = Load::start(&pool, &timeline).await?;
    timeline.say(&format!(
        "{} writers, {} readers, {} users who read what they have written, a publisher and a subscriber",
        load::WRITERS,
        load::READERS,
        users::USERS,
    ));
    tokio::time::sleep(QUIET).await;

    planned_failover(&deployment, &pool, &load, &timeline).await;
    kill(&deployment, &pool, &load, &timeline).await;

    let tally = load.stop().await;
    timeline.say("all have stopped; looking for every acknowledged write");
    let missing = block_in_place(|| report::missing(deployment.master(), &tally));
    println!("\n{}", report::table(&tally, &missing));
    pool.close();
    drop(pool);
    Ok(())
}

/// What an operator does before maintenance: the master is healthy and hands over.
async fn planned_failover(deployment: &Deployment, pool: &Pool, load: &Load, timeline: &Timeline) {
    let old = block_in_place(|| deployment.master());
    load.begin(Phase::Planned, old.port());
    timeline.headline("planned failover: SENTINEL FAILOVER");
    block_in_place(|| {
        let leader = deployment.failover();
        timeline.say(&format!("sentinel {} leads it", leader.addr()));
        deployment.wait_for_master_other_than(old.port(), PATIENCE);
        deployment.wait_healthy(PATIENCE);
    });
    settle(deployment, pool).await;
    timeline.say("everything is healthy again");
}

/// What happens to a machine at night: the master is gone without a word.
async fn kill(deployment: &Deployment, pool: &Pool, load: &Load, timeline: &Timeline) {
    let old = block_in_place(|| deployment.master());
    load.begin(Phase::Kill, old.port());
    let pid = old.pid().unwrap_or_default();
    timeline.headline(&format!("kill -9 {pid}, the master {}", old.addr()));
    block_in_place(|| {
        old.kill();
        deployment.wait_for_master_other_than(old.port(), PATIENCE);
    });
    tokio::time::sleep(2 * SETTLE).await;
    timeline.say(&format!("the old master {} is started again", old.addr()));
    block_in_place(|| {
        old.restart();
        deployment.wait_healthy(PATIENCE);
    });
    settle(deployment, pool).await;
    timeline.say("everything is healthy again");
}

/// Waits until the pool reads from every replica, and then a little, so that it shows.
async fn settle(deployment: &Deployment, pool: &Pool) {
    let replicas = deployment.nodes().len() - 1;
    let mut topology = pool.watch();
    let all_readable = topology.wait_for(|topology| topology.readable().count() == replicas);
    if tokio::time::timeout(PATIENCE, all_readable).await.is_err() {
        println!("not every replica became readable: {:?}", pool.topology());
    }
    tokio::time::sleep(SETTLE).await;
}

fn introduce(deployment: &Deployment) {
    let list = |role, servers: &[Server]| {
        for server in servers {
            println!("  {role:<9} {}", server.addr());
        }
    };
    list("master", &deployment.nodes()[..1]);
    list("replica", &deployment.nodes()[1..]);
    list("sentinel", deployment.sentinels());
    let folder = deployment.nodes()[0].config_path().with_file_name("");
    println!(
        "  folder    {} (removed at the end; TESTKIT_KEEP=1 keeps it)\n",
        folder.display()
    );
}

//! `make page`: the live page of `examples/web`, on servers of its own that have something to do.
//!
//! Starts one master, two replicas and three Sentinels, lets writers and readers work through the pool, and
//! prints the address of the page. Ctrl-C stops everything. `LISTEN` moves the page elsewhere.

mod load;
#[expect(
    dead_code,
    reason = "its `main`, which has servers that are there already"
)]
#[path = "../web/main.rs"]
mod web;

use std::{error::Error, net::SocketAddr, process::ExitCode, time::Duration};

use redis_rw_pool::{Config, Pool};
use testkit::Deployment;
use tokio::task::spawn_blocking;

#[tokio::main]
async fn main() -> ExitCode {
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<(), Box<dyn Error>> {
    // Before the servers, which take some seconds: somebody else may have the port.
    let listener = web::listen().await?;
    println!("starting one master, two replicas and three Sentinels");
    let deployment = spawn_blocking(deployment).await?;
    let config = Config::new(deployment.sentinel_addrs(), deployment.master_name());
    let read_from = config.read_from;
    let pool = Pool::connect(config).await?;
    let stop = web::asked_to_stop()?;
    introduce(&deployment, listener.local_addr()?);

    let _load = load::start(&pool);
    web::serve(pool, read_from, listener, stop).await?;
    println!("\nstopped");
    Ok(())
}

/// Its Sentinels take as much time as in production, so that there is something to see.
fn deployment() -> Deployment {
    Deployment::builder()
        .fast(false)
        .down_after(Duration::from_secs(5))
        .failover_timeout(Duration::from_secs(10))
        .start()
}

fn introduce(deployment: &Deployment, address: SocketAddr) {
    let program = testkit::program();
    let server = program.path().display();
    let cli = program.companion("cli");
    let cli = cli.display();
    let name = deployment.master_name();
    let (nodes, sentinel) = (deployment.nodes(), deployment.sentinels()[0].port());
    let master = nodes[0].port();
    println!("\n  the page: http://{address}/        Ctrl-C stops everything\n");
    println!(
        "In another terminal, let the master hand over, kill it, or freeze a replica for 20 seconds:"
    );
    println!("  {cli} -p {sentinel} sentinel failover {name}");
    println!("  {cli} -p {master} shutdown nosave");
    println!("  {cli} -p {} debug sleep 20", nodes[1].port());
    println!("\nStart a server again after it has gone:");
    for node in nodes {
        let file = node.config_path();
        println!("  {server} {} --daemonize yes", file.display());
    }
}

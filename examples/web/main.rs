//! A web backend on a pool, with a page that shows what the pool knows. `make page` shows it with servers and load
//! of its own. By hand: `make cluster` in one terminal, in another
//! `cargo run --release --features serde --example web`, which is then at <http://127.0.0.1:3333/>, and in a third
//!
//! ```text
//! curl http://127.0.0.1:3333/visits
//! curl -X PUT http://127.0.0.1:3333/kv/colour -d blue
//! curl http://127.0.0.1:3333/kv/colour
//! curl http://127.0.0.1:3333/topology    # who is who, and why a replica is left out
//! curl http://127.0.0.1:3333/status      # everything that is counted, as JSON
//! curl http://127.0.0.1:3333/metrics     # and for Prometheus
//! curl -i http://127.0.0.1:3333/ready    # whether to send requests here; /live: whether to restart
//! ab -c 10 -n 20 http://127.0.0.1:3333/visits
//! ```
//!
//! `LISTEN` moves it elsewhere. `REDIS_URL` names other servers, and the other variables that
//! [`Config::from_env`] reads change other settings.
//!
//! A browser sees on any instance what it has written, from replicas that have it: the token of its session
//! is in a cookie. Start another instance with `LISTEN=127.0.0.1:3334`, and let both replicas take nothing
//! from their master for a minute. Anna, who wrote, sees it at the other instance; Ben, who has no cookie,
//! sees the old value.
//!
//! ```text
//! curl -c anna -X PUT http://127.0.0.1:3333/kv/colour -d blue
//! redis-cli -p 6380 client pause 60000 write; redis-cli -p 6381 client pause 60000 write
//! curl -c anna -b anna -X PUT http://127.0.0.1:3333/kv/colour -d red
//! curl -w '\n' -b anna http://127.0.0.1:3334/kv/colour    # red, from the master
//! curl -w '\n' -b ben http://127.0.0.1:3334/kv/colour     # blue
//!
//! redis-cli -p 6381 client unpause
//! for i in $(seq 20); do curl -s -w '\n' -b anna http://127.0.0.1:3334/kv/colour; done | sort | uniq -c    # 20 red
//! for i in $(seq 20); do curl -s -w '\n' -b ben http://127.0.0.1:3334/kv/colour; done | sort | uniq -c     # a mixture
//! curl http://127.0.0.1:3334/status    # "freshness": one read went to the master, those after it to 6381
//! ```

mod failure;
mod feed;
mod kv;
mod numbers;
pub(crate) mod pace;
mod page;
pub(crate) mod sentence;
mod stop;
pub(crate) mod timeline;
mod watcher;

use std::{env, error::Error, io, process::ExitCode, sync::Arc, time::Duration};

use axum::Router;
use redis_rw_pool::{Config, ConfigError, Pool, ReadFrom};
use tokio::{net::TcpListener, sync::oneshot, time::sleep};

pub(crate) use self::stop::asked_to_stop;
use self::{failure::with_causes, feed::Feed};

/// What `make cluster` starts, for when `REDIS_URL` says nothing else.
const REDIS_URL: &str = "redis-sentinel://127.0.0.1:26379,127.0.0.1:26380,127.0.0.1:26381#mymaster";
/// Only for this machine, where `LISTEN` says nothing else: nobody signs in here, anybody who reaches it may
/// write, and the page and the numbers show the addresses of all nodes. Elsewhere it belongs on a port that
/// only the own network reaches.
const LISTEN: &str = "127.0.0.1:3333";
/// How long a stop waits for requests under way. Somebody who has stopped reading would hold it up for ever.
const PATIENCE: Duration = Duration::from_secs(5);

#[tokio::main]
async fn main() -> ExitCode {
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{}", with_causes(&*error));
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<(), Box<dyn Error>> {
    let config = config()?;
    let read_from = config.read_from;
    let pool = Pool::connect(config).await?;
    let (listener, stop) = (listen().await?, asked_to_stop()?);
    println!("listening on http://{}/", listener.local_addr()?);
    serve(pool, read_from, listener, stop).await?;
    println!("stopped");
    Ok(())
}

fn config() -> Result<Config, ConfigError> {
    match env::var_os("REDIS_URL") {
        Some(_) => Config::from_env("REDIS"),
        None => Config::from_url(REDIS_URL),
    }
}

/// Where `LISTEN` says.
pub(crate) async fn listen() -> Result<TcpListener, Box<dyn Error>> {
    let address = env::var("LISTEN").unwrap_or_else(|_| LISTEN.to_owned());
    let listener = TcpListener::bind(&address).await;
    listener.map_err(|error| {
        format!("cannot listen on {address}: {error}; choose with LISTEN=address:port").into()
    })
}

/// Answers requests until `stop`, then those that are under way, and closes the pool.
pub(crate) async fn serve(
    pool: Pool,
    read_from: ReadFrom,
    listener: TcpListener,
    stop: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    let feed = Arc::new(Feed::default());
    tokio::spawn(watcher::watch(pool.clone(), read_from, Arc::clone(&feed)));
    let app = Router::new()
        .merge(page::routes(Arc::clone(&feed)))
        .merge(numbers::routes(pool.clone()))
        .merge(kv::routes(pool.clone()));

    let (stopping, asked) = oneshot::channel();
    let server = axum::serve(listener, app).with_graceful_shutdown(async move {
        stop.await;
        // The streams of open pages are requests under way, too. They would never end by themselves.
        feed.end();
        let _ = stopping.send(());
    });
    let patience = async {
        match asked.await {
            Ok(()) => sleep(PATIENCE).await,
            // The server has ended by itself.
            Err(_) => std::future::pending().await,
        }
    };
    let result = tokio::select! {
        result = server.into_future() => result,
        () = patience => Ok(()),
    };
    pool.close();
    result
}

//! Checkout and return, without a command: what the pool itself costs, beside bare deadpool and bb8
//! holding the very same connections.
//!
//! *At once*: a task gives the connection back without having waited for anything, so two workers
//! never need more than two. *Over a yield*: it lets others run while it holds the connection, so
//! with more tasks than connections most of them wait in line.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    reason = "a bench is a program: criterion makes its functions public, and it may panic"
)]

use std::{hint::black_box, time::Duration};

use criterion::{BenchmarkId, Criterion, Throughput};
use redis_rw_pool::{Config, Pool, internals::RawConnection, redis::RedisError};
use testkit::Deployment;
use tokio::{
    runtime::Runtime,
    task::{JoinSet, yield_now},
    time::Instant,
};

const CONNECTIONS: usize = 16;
const TASKS: [usize; 5] = [1, 2, 16, 64, 256];

trait Checkout: Clone + Send + Sync + 'static {
    fn checkout(&self) -> impl Future<Output = impl Send> + Send;
}

#[derive(Clone)]
struct OursWrite(Pool);

impl Checkout for OursWrite {
    async fn checkout(&self) -> impl Send {
        self.0.write().await.unwrap()
    }
}

#[derive(Clone)]
struct OursRead(Pool);

impl Checkout for OursRead {
    async fn checkout(&self) -> impl Send {
        self.0.read().await.unwrap()
    }
}

struct Manager(u16);

impl deadpool::managed::Manager for Manager {
    type Type = RawConnection;
    type Error = RedisError;

    async fn create(&self) -> Result<RawConnection, RedisError> {
        RawConnection::connect(self.0).await
    }

    async fn recycle(
        &self,
        _: &mut RawConnection,
        _: &deadpool::managed::Metrics,
    ) -> deadpool::managed::RecycleResult<RedisError> {
        Ok(())
    }
}

#[derive(Clone)]
struct Deadpool(deadpool::managed::Pool<Manager>);

impl Checkout for Deadpool {
    async fn checkout(&self) -> impl Send {
        self.0.get().await.unwrap()
    }
}

/// With a limit on the wait, which costs a timer: ours and bb8 have one as they come.
#[derive(Clone)]
struct DeadpoolLimited(deadpool::managed::Pool<Manager>);

impl Checkout for DeadpoolLimited {
    async fn checkout(&self) -> impl Send {
        const LIMITED: deadpool::managed::Timeouts = deadpool::managed::Timeouts {
            wait: Some(Duration::from_secs(5)),
            create: None,
            recycle: None,
        };
        self.0.timeout_get(&LIMITED).await.unwrap()
    }
}

impl bb8::ManageConnection for Manager {
    type Connection = RawConnection;
    type Error = RedisError;

    async fn connect(&self) -> Result<RawConnection, RedisError> {
        RawConnection::connect(self.0).await
    }

    async fn is_valid(&self, _: &mut RawConnection) -> Result<(), RedisError> {
        Ok(())
    }

    fn has_broken(&self, _: &mut RawConnection) -> bool {
        false
    }
}

#[derive(Clone)]
struct Bb8(bb8::Pool<Manager>);

impl Checkout for Bb8 {
    async fn checkout(&self) -> impl Send {
        // Owned, as ours are: a handler may keep it.
        self.0.get_owned().await.unwrap()
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Hold {
    AtOnce,
    OverAYield,
}

async fn work<P: Checkout>(pool: P, checkouts: u64, hold: Hold) {
    for _ in 0..checkouts {
        let conn = pool.checkout().await;
        if hold == Hold::OverAYield {
            yield_now().await;
        }
        drop(black_box(conn));
    }
}

/// The time of so many checkouts, shared among so many tasks.
async fn measure<P: Checkout>(pool: &P, tasks: usize, hold: Hold, checkouts: u64) -> Duration {
    let share = checkouts.div_ceil(tasks as u64);
    let mut set = JoinSet::new();
    let started = Instant::now();
    for _ in 0..tasks {
        set.spawn(work(pool.clone(), share, hold));
    }
    set.join_all().await;
    started
        .elapsed()
        .mul_f64(checkouts as f64 / (share * tasks as u64) as f64)
}

/// Opens all connections, so that none is dialled while the clock runs.
async fn warm<P: Checkout>(pool: P) -> P {
    let mut conns = Vec::new();
    for _ in 0..CONNECTIONS {
        conns.push(pool.checkout().await);
    }
    drop(conns);
    pool
}

struct Pools {
    write: OursWrite,
    read: OursRead,
    deadpool: Deadpool,
    limited: DeadpoolLimited,
    bb8: Bb8,
}

async fn pools(deployment: &Deployment) -> Pools {
    let mut config = Config::new(deployment.sentinel_addrs(), deployment.master_name());
    config.write.max_active = CONNECTIONS;
    config.read.max_active = CONNECTIONS;
    let ours = Pool::connect(config).await.unwrap();
    let port = deployment.nodes()[0].port();
    let deadpool = deadpool::managed::Pool::builder(Manager(port))
        .max_size(CONNECTIONS)
        .runtime(deadpool::Runtime::Tokio1)
        .build()
        .unwrap();
    let bb8 = bb8::Pool::builder()
        .max_size(u32::try_from(CONNECTIONS).unwrap())
        .test_on_check_out(false);
    Pools {
        write: warm(OursWrite(ours.clone())).await,
        read: warm(OursRead(ours)).await,
        deadpool: warm(Deadpool(deadpool.clone())).await,
        limited: DeadpoolLimited(deadpool),
        bb8: warm(Bb8(bb8.build(Manager(port)).await.unwrap())).await,
    }
}

fn main() {
    let mut criterion = Criterion::default()
        .sample_size(15)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_millis(1200))
        .configure_from_args();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    let deployment = Deployment::builder().replicas(1).sentinels(1).start();
    let pools = runtime.block_on(pools(&deployment));

    for (name, hold) in [
        ("checkout at once", Hold::AtOnce),
        ("checkout over a yield", Hold::OverAYield),
    ] {
        let mut group = criterion.benchmark_group(name);
        group.throughput(Throughput::Elements(1));
        for tasks in TASKS {
            // One task count after the other, and in it every pool, so that what the machine does
            // besides falls on all of them alike.
            let mut bench = Bench {
                group: &mut group,
                runtime: &runtime,
                tasks,
                hold,
            };
            bench.run("ours write", &pools.write);
            bench.run("ours read", &pools.read);
            bench.run("deadpool", &pools.deadpool);
            bench.run("deadpool, limited wait", &pools.limited);
            bench.run("bb8", &pools.bb8);
        }
        group.finish();
    }
    criterion.final_summary();
}

struct Bench<'a, 'c> {
    group: &'a mut criterion::BenchmarkGroup<'c, criterion::measurement::WallTime>,
    runtime: &'a Runtime,
    tasks: usize,
    hold: Hold,
}

impl Bench<'_, '_> {
    fn run<P: Checkout>(&mut self, name: &str, pool: &P) {
        let id = BenchmarkId::new(name, format!("{} tasks", self.tasks));
        let (runtime, tasks, hold) = (self.runtime, self.tasks, self.hold);
        self.group.bench_function(id, |bencher| {
            bencher.iter_custom(|checkouts| {
                // On a worker, as a handler would be: the thread of `block_on` is not one.
                let pool = pool.clone();
                let run = async move { measure(&pool, tasks, hold, checkouts).await };
                runtime.block_on(runtime.spawn(run)).unwrap()
            });
        });
    }
}

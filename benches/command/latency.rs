//! One caller, one command after another.

use std::time::Duration;

use criterion::{Criterion, Throughput};
use redis_rw_pool::{
    Pool,
    redis::{Cmd, Pipeline, Value, cmd, pipe},
};
use testkit::Deployment;
use tokio::runtime::Runtime;

use crate::{
    LARGE, SMALL,
    pools::{BareRedis, DeadpoolRedis, Lend, Ours, Raw},
};

enum Task {
    One(Cmd),
    Many(Pipeline),
}

impl Task {
    async fn run(&self, pool: &impl Lend) {
        let mut conn = pool.lend().await;
        let reply: Value = match self {
            Self::One(cmd) => cmd.query_async(&mut conn).await.unwrap(),
            Self::Many(pipeline) => pipeline.query_async(&mut conn).await.unwrap(),
        };
        drop(conn);
        assert!(reply != Value::Nil);
    }
}

pub(crate) fn run(runtime: &Runtime, deployment: &Deployment, pool: &Pool) {
    let mut criterion = Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_millis(1500))
        .configure_from_args();
    let mut pipeline = pipe();
    for index in 0..100 {
        pipeline.get(format!("many:{index}"));
    }
    let many: Vec<_> = (0..100).map(|index| format!("many:{index}")).collect();
    let reads = [
        ("GET 64 B", 1, Task::One(Cmd::get("small"))),
        ("GET 16 KiB", 1, Task::One(Cmd::get("large"))),
        ("pipeline of 100 GET 64 B", 100, Task::Many(pipeline)),
        ("MGET of 100", 100, Task::One(cmd("MGET").arg(many).take())),
        (
            "LRANGE of 10 000",
            10_000,
            Task::One(Cmd::lrange("list", 0, -1)),
        ),
    ];
    let writes = [
        ("SET 64 B", 1, Task::One(Cmd::set("w", "s".repeat(SMALL)))),
        ("SET 16 KiB", 1, Task::One(Cmd::set("w", "l".repeat(LARGE)))),
    ];
    let (master, replica) = (deployment.nodes()[0].port(), deployment.nodes()[1].port());
    for (ours, port, tasks) in [
        (Ours::Read(pool.clone()), replica, &reads[..]),
        (Ours::Write(pool.clone()), master, &writes[..]),
    ] {
        let others = (DeadpoolRedis::new(port), BareRedis::new(port));
        for (name, elements, task) in tasks {
            let mut group = criterion.benchmark_group(*name);
            group.throughput(Throughput::Elements(*elements));
            let mut bench = |name, call: &dyn Fn()| {
                group.bench_function(name, |bencher| bencher.iter(call));
            };
            bench("ours", &|| runtime.block_on(task.run(&ours)));
            bench("deadpool-redis", &|| runtime.block_on(task.run(&others.0)));
            bench("deadpool of redis-rs, no PING", &|| {
                runtime.block_on(task.run(&others.1));
            });
            if *name == "GET 64 B" {
                let raw = Raw::new(port);
                bench("deadpool of raw sockets", &|| runtime.block_on(raw.get()));
            }
            group.finish();
        }
    }
    criterion.final_summary();
}

//! Failover after failover in one process: no task, no descriptor and no memory stays behind.

use std::{fs, process::Command, time::Duration};

use redis::AsyncCommands;
use redis_rw_pool::Pool;
use testkit::Deployment;
use tokio::{runtime::Handle, task::block_in_place};

use crate::support::{self, FAILOVER_LIMIT, eventually, local};

const MIB: usize = 1 << 20;

/// What this process holds.
#[derive(Debug, Clone, Copy)]
struct Holdings {
    tasks: usize,
    descriptors: usize,
    memory: usize,
}

impl Holdings {
    fn now() -> Self {
        let statm = fs::read_to_string("/proc/self/statm").expect("this is Linux");
        let pages = statm.split(' ').nth(1).expect("the resident pages");
        Self {
            tasks: Handle::current().metrics().num_alive_tasks(),
            descriptors: fs::read_dir("/proc/self/fd")
                .expect("this is Linux")
                .count(),
            memory: pages.parse::<usize>().expect("a number") * 4096,
        }
    }
}

/// All four ways to the nodes, several times at once.
async fn traffic(pool: &Pool) {
    let callers = (0..16).map(|caller| {
        let pool = pool.clone();
        tokio::spawn(async move {
            let (mut writer, mut reader) = (pool.writer(), pool.reader());
            for round in 0..10 {
                let key = format!("{caller}:{round}");
                // Replicas come and go, and a read may meet one that does.
                let _ = writer.set::<_, _, ()>(&key, "v").await;
                let _ = reader.get::<_, Option<String>>(&key).await;
                if let Ok(mut conn) = pool.write().await {
                    let _ = conn.set::<_, _, ()>(&key, "v").await;
                }
                if let Ok(mut conn) = pool.read().await {
                    let _ = conn.get::<_, Option<String>>(&key).await;
                }
            }
        })
    });
    for caller in callers.collect::<Vec<_>>() {
        caller.await.expect("no caller panics");
    }
}

async fn at_rest(pool: &Pool) -> Holdings {
    eventually("all is quiet", FAILOVER_LIMIT, || async {
        let status = pool.status();
        status.read.active + status.write.active == 0
            && (status.writer.connections, status.reader.connections) == (1, 2)
            && status.sentinel.reachable == 3
            && pool.topology().readable().count() == 2
            && pool.topology().fence.is_none()
    })
    .await;
    // A look at the nodes may be under way; what is left over stays.
    let mut least = Holdings::now();
    for _ in 0..100 {
        tokio::time::sleep(Duration::from_millis(10)).await;
        let now = Holdings::now();
        least.tasks = least.tasks.min(now.tasks);
        least.descriptors = least.descriptors.min(now.descriptors);
    }
    least.memory = Holdings::now().memory;
    least
}

async fn failovers(count: usize) {
    let deployment = block_in_place(|| {
        let builder = Deployment::builder();
        builder.failover_timeout(Duration::from_secs(1)).start()
    });
    let pool = support::pool(&deployment, |config| {
        config.refresh_interval = Duration::from_millis(500);
        config.failover_timeout = FAILOVER_LIMIT;
        for limits in [&mut config.read, &mut config.write] {
            limits.max_active = 8;
            limits.idle_timeout = Some(Duration::from_millis(300));
        }
    })
    .await;
    let mut first = None;
    for round in 0..=count {
        let old = block_in_place(|| deployment.master().port());
        let busy = pool.clone();
        let load = tokio::spawn(async move { traffic(&busy).await });
        block_in_place(|| deployment.failover());
        let new = block_in_place(|| {
            deployment
                .wait_for_master_other_than(old, FAILOVER_LIMIT)
                .port()
        });
        load.await.expect("no caller panics");
        eventually("the pool has followed", FAILOVER_LIMIT, || async {
            pool.topology().master == Some(local(new))
        })
        .await;
        block_in_place(|| deployment.wait_healthy(FAILOVER_LIMIT));
        traffic(&pool).await;
        let now = at_rest(&pool).await;
        eprintln!("after {} failovers: {now:?}", round + 1);
        // The first failover fills what is filled once.
        let base = *first.get_or_insert(now);
        assert!(now.tasks <= base.tasks, "{now:?} after {base:?}");
        assert!(
            now.descriptors <= base.descriptors,
            "{now:?} after {base:?}"
        );
        let grown = now.memory.saturating_sub(base.memory);
        assert!(grown < 8 * MIB, "{now:?} after {base:?}");
    }
}

/// In a process of its own: other tests have descriptors and memory of their own in this one.
fn alone(name: &str, count: usize) {
    const MARK: &str = "GROWTH_ALONE";
    if std::env::var_os(MARK).is_some() {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        let runtime = builder.worker_threads(2).enable_all().build().unwrap();
        return runtime.block_on(failovers(count));
    }
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture", "--include-ignored"])
        .env(MARK, "1")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    eprintln!("{said}");
    assert!(output.status.success(), "{said}");
}

#[cfg(target_os = "linux")]
#[test]
fn three_failovers_leave_nothing_behind() {
    alone("checkout::leaks::three_failovers_leave_nothing_behind", 3);
}

/// `cargo test --test it -- --ignored --nocapture leaks` shows what is held after each.
#[cfg(target_os = "linux")]
#[test]
#[ignore = "takes minutes"]
fn fifty_failovers_leave_nothing_behind() {
    alone("checkout::leaks::fifty_failovers_leave_nothing_behind", 50);
}

//! Many callers over shared connections.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use nix::sys::{
    resource::{UsageWho, getrusage},
    time::TimeValLike as _,
};
use redis_rw_pool::{Multiplexed, Pool, Token, redis::AsyncCommands};
use tokio::{task::JoinSet, time::Instant};

use crate::{VALUE, show};

const TASKS: [usize; 3] = [256, 64, 16];
const ROUNDS: usize = 25;
const WINDOW: Duration = Duration::from_millis(60);

/// What a window of one candidate gave.
#[derive(Clone, Copy)]
struct Window {
    per_second: f64,
    /// CPU of this process for one command.
    cpu: f64,
}

#[derive(Clone, Copy)]
enum Load {
    Set { token: bool },
    Get { proof: bool },
}

pub(crate) async fn run(pool: &Pool) {
    let token = pool.token().await.unwrap();
    println!(
        "| shared connections | tasks | without | with, ops/s | ratio of ops | ratio of CPU |"
    );
    println!("|---|---|---|---|---|---|");
    for (name, plain, fresh) in [
        (
            "SET, a token behind each",
            Load::Set { token: false },
            Load::Set { token: true },
        ),
        (
            "GET, a proof ahead of each",
            Load::Get { proof: false },
            Load::Get { proof: true },
        ),
    ] {
        for tasks in TASKS {
            let (mut before, mut after) = (Vec::new(), Vec::new());
            for round in 0..ROUNDS {
                // Whoever comes first must not always be the same.
                if round % 2 == 0 {
                    before.push(window(pool, &token, plain, tasks).await);
                    after.push(window(pool, &token, fresh, tasks).await);
                } else {
                    after.push(window(pool, &token, fresh, tasks).await);
                    before.push(window(pool, &token, plain, tasks).await);
                }
            }
            let ratios = |of: fn(&Window) -> f64| -> Vec<f64> {
                let pairs = before.iter().zip(&after);
                pairs.map(|(plain, fresh)| of(fresh) / of(plain)).collect()
            };
            let per_second = |windows: &[Window]| {
                let all: Vec<_> = windows.iter().map(|it| it.per_second).collect();
                show(&all, 0)
            };
            println!(
                "| {name} | {tasks} | {} | {} | {} | {} |",
                per_second(&before),
                per_second(&after),
                show(&ratios(|it| it.per_second), 2),
                show(&ratios(|it| it.cpu), 2),
            );
        }
    }
    println!();
}

async fn window(pool: &Pool, token: &Token, load: Load, tasks: usize) -> Window {
    let over = Arc::new(AtomicBool::new(false));
    let (began, cpu) = (Instant::now(), cpu());
    let mut running = JoinSet::new();
    for task in 0..tasks {
        let over = Arc::clone(&over);
        let key = format!("key:{task}");
        match load {
            Load::Set { token: false } => running.spawn(set(pool.writer(), key, over)),
            Load::Set { token: true } => running.spawn(set(pool.session().writer(), key, over)),
            Load::Get { proof: false } => running.spawn(get(pool.reader(), over)),
            Load::Get { proof: true } => {
                running.spawn(get(pool.session().after(token).reader(), over))
            }
        };
    }
    tokio::time::sleep(WINDOW).await;
    over.store(true, Relaxed);
    let mut sent = 0;
    while let Some(commands) = running.join_next().await {
        sent += commands.unwrap();
    }
    let sent = f64::from(sent);
    Window {
        per_second: sent / began.elapsed().as_secs_f64(),
        cpu: (self::cpu() - cpu).as_secs_f64() / sent,
    }
}

async fn set(mut writer: Multiplexed, key: String, over: Arc<AtomicBool>) -> u32 {
    let value = "v".repeat(VALUE);
    let mut sent = 0;
    while !over.load(Relaxed) {
        let () = writer.set(&key, &value).await.unwrap();
        sent += 1;
    }
    sent
}

async fn get(mut reader: Multiplexed, over: Arc<AtomicBool>) -> u32 {
    let mut sent = 0;
    while !over.load(Relaxed) {
        let value: String = reader.get("key").await.unwrap();
        assert_eq!(value.len(), VALUE);
        sent += 1;
    }
    sent
}

/// CPU this process has used so far, all its threads together.
fn cpu() -> Duration {
    let usage = getrusage(UsageWho::RUSAGE_SELF).expect("a process may ask for its own usage");
    let micros = (usage.user_time() + usage.system_time()).num_microseconds();
    Duration::from_micros(u64::try_from(micros).expect("time does not run backwards"))
}

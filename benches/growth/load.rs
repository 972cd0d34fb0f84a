//! Many callers in closed loops, for as long as it takes to know what one operation costs.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering::Relaxed},
    },
    time::Duration,
};

use redis_rw_pool::redis::{Cmd, Value};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep},
};

use crate::{handle::Handle, meter};

const WARM_UP: Duration = Duration::from_millis(200);
const MEASURED: Duration = Duration::from_millis(700);

const WARMING: u8 = 0;
const MEASURING: u8 = 1;
const OVER: u8 = 2;

#[derive(Debug, Clone, Copy)]
pub(crate) struct Load {
    pub(crate) per_second: f64,
    /// Of this process, for one operation.
    pub(crate) cpu_micros: f64,
}

/// `warm` is called when the load begins to be measured.
pub(crate) async fn run(handle: &Handle, cmd: &Cmd, tasks: usize, warm: impl FnOnce()) -> Load {
    let mut set = JoinSet::new();
    let stage = Arc::new(AtomicU8::new(WARMING));
    for _ in 0..tasks {
        set.spawn(repeat(handle.clone(), cmd.clone(), Arc::clone(&stage)));
    }
    sleep(WARM_UP).await;
    warm();
    let (clock, cpu) = (Instant::now(), meter::cpu());
    stage.store(MEASURING, Relaxed);
    sleep(MEASURED).await;
    stage.store(OVER, Relaxed);
    let (elapsed, used) = (clock.elapsed(), meter::cpu() - cpu);
    let operations = set.join_all().await.into_iter().sum::<u64>() as f64;
    Load {
        per_second: operations / elapsed.as_secs_f64(),
        cpu_micros: used.as_secs_f64() * 1e6 / operations,
    }
}

async fn repeat(handle: Handle, cmd: Cmd, stage: Arc<AtomicU8>) -> u64 {
    let mut count = 0;
    loop {
        let reply = handle.send(&cmd).await;
        assert!(matches!(reply, Value::BulkString(_)), "{reply:?}");
        match stage.load(Relaxed) {
            WARMING => {}
            MEASURING => count += 1,
            _ => return count,
        }
    }
}

//! One candidate in one cell: tasks that each wait for a reply before they ask again.

use std::{
    num::NonZeroU64,
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering::Relaxed},
    },
    thread,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use hdrhistogram::Histogram;
use tokio::{runtime::Runtime, time::timeout};

use crate::{
    candidate::Client,
    cell::{Cell, Workload},
    clock::{Instant, cpu_of_this_process},
    data::{Data, ITEM_LEN, LIST, LIST_LEN, MGET_KEYS, PIPELINE_LEN, VALUE_LEN},
    sample::Sample,
    stage::Stage,
};

/// Longer than any connect and any command takes, unless it never ends.
const PATIENCE: Duration = Duration::from_secs(20);
const LONGEST: Duration = Duration::from_secs(60);

const WARMING_UP: u8 = 0;
const MEASURING: u8 = 1;
const OVER: u8 = 2;

#[derive(Debug, Clone, Copy)]
pub(crate) struct Timing {
    pub(crate) warm_up: Duration,
    pub(crate) window: Duration,
}

type Latencies = Histogram<u32>;

/// The runtime is new each time: nothing that a candidate leaves behind runs beside the next one.
pub(crate) fn measure<C: Client>(stage: &Stage, cell: Cell, timing: Timing) -> Result<Sample> {
    let runtime = cell.workers.runtime()?;
    let sample = measure_on::<C>(&runtime, stage, cell, timing);
    // A candidate that hangs must not keep the error from being told.
    runtime.shutdown_timeout(Duration::from_secs(1));
    sample
}

fn measure_on<C: Client>(
    runtime: &Runtime,
    stage: &Stage,
    cell: Cell,
    timing: Timing,
) -> Result<Sample> {
    let clients = runtime
        .block_on(async { timeout(PATIENCE, C::connect(stage, cell)).await })
        .context("connecting takes too long")?
        .context("connecting failed")?;
    let phase = Arc::new(AtomicU8::new(WARMING_UP));
    let callers: Vec<_> = clients
        .into_iter()
        .enumerate()
        .map(|(index, client)| {
            let (data, phase) = (Arc::clone(&stage.data), Arc::clone(&phase));
            runtime.spawn(call(client, cell.workload, index, data, phase))
        })
        .collect();
    thread::sleep(timing.warm_up);
    let (begun, cpu_before) = (Instant::now(), cpu_of_this_process()?);
    phase.store(MEASURING, Relaxed);
    thread::sleep(timing.window);
    phase.store(OVER, Relaxed);
    let (elapsed, cpu) = (begun.elapsed(), cpu_of_this_process()? - cpu_before);
    let mut all = latencies();
    runtime.block_on(async {
        for caller in callers {
            let latencies = timeout(PATIENCE, caller).await;
            let latencies = latencies.context("a command never ends")???;
            all.add(latencies).expect("BUG: the bounds are the same");
        }
        anyhow::Ok(())
    })?;
    let operations = NonZeroU64::new(all.len()).context("no command ended in the window")?;
    Ok(Sample::new(operations, elapsed, cpu, &all))
}

/// Every reply is checked in every phase, and every one ends with a look at the clock; only those
/// that end while measuring count.
async fn call<C: Client>(
    mut client: C,
    workload: Workload,
    index: usize,
    data: Arc<Data>,
    phase: Arc<AtomicU8>,
) -> Result<Latencies> {
    let mut latencies = latencies();
    // Neighbours start at different keys and, when mixed, at different commands.
    let mut turn = index;
    let mut begun = Instant::now();
    loop {
        call_once(&mut client, workload, turn, &data).await?;
        turn += 1;
        let ended = Instant::now();
        match phase.load(Relaxed) {
            WARMING_UP => {}
            MEASURING => {
                let nanos = (ended - begun).as_nanos();
                latencies.saturating_record(u64::try_from(nanos).unwrap_or(u64::MAX));
            }
            _ => return Ok(latencies),
        }
        begun = ended;
    }
}

async fn call_once<C: Client>(
    client: &mut C,
    workload: Workload,
    turn: usize,
    data: &Data,
) -> Result<()> {
    let key = &data.keys[turn % data.keys.len()];
    let (got, expected) = match workload {
        Workload::Mixed if turn.is_multiple_of(5) => return client.set(key, &data.value).await,
        Workload::Set => return client.set(key, &data.value).await,
        Workload::Get | Workload::Mixed => (client.get(key).await?, VALUE_LEN),
        Workload::Mget => (
            client.mget(&data.keys[..MGET_KEYS]).await?,
            MGET_KEYS * VALUE_LEN,
        ),
        Workload::Lrange => (client.lrange(LIST).await?, LIST_LEN * ITEM_LEN),
        Workload::Pipeline => (
            client.pipeline(&data.keys[..PIPELINE_LEN]).await?,
            PIPELINE_LEN * VALUE_LEN,
        ),
    };
    ensure!(
        got == expected,
        "the reply has {got} bytes instead of {expected}"
    );
    Ok(())
}

/// From 0.1 µs, within one per cent, and small, because every task has one.
fn latencies() -> Latencies {
    let highest = u64::try_from(LONGEST.as_nanos()).expect("BUG: a minute fits");
    Latencies::new_with_bounds(100, highest, 2).expect("BUG: the bounds are in order")
}

//! Messages, by their numbers, on two channels.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    thread,
    time::Duration,
};

use anyhow::{Result, anyhow};
use redis::{AsyncCommands, RedisResult};
use redis_rw_pool::{Config, Pool};
use serde::Serialize;
use tokio::runtime::Runtime;

use crate::failover::{client::Place, stopwatch::Stopwatch};

/// Between two messages of one source.
pub(crate) const PUBLISH_PERIOD: Duration = Duration::from_millis(5);

/// Who publishes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(crate) enum Source {
    /// A witness, at whoever is the master: on the new one as soon as that takes writes.
    Witness,
    /// `Pool::writer` of ours with its defaults, which waits behind the fence.
    Writer,
}

impl Source {
    pub(crate) const ALL: [Self; 2] = [Self::Witness, Self::Writer];

    pub(crate) fn channel(self) -> &'static str {
        match self {
            Self::Witness => "by-witness",
            Self::Writer => "by-writer",
        }
    }

    pub(crate) fn of(channel: &[u8]) -> Option<Self> {
        let mut all = Self::ALL.into_iter();
        all.find(|source| source.channel().as_bytes() == channel)
    }
}

pub(crate) fn channels() -> [&'static str; 2] {
    Source::ALL.map(Source::channel)
}

/// A message that a server took.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Published {
    pub(crate) number: u64,
    /// It was published between these two: when it was sent, and when the reply was here.
    pub(crate) sent: Duration,
    pub(crate) acknowledged: Duration,
}

/// [`Source::Writer`] at work.
pub(crate) struct Writer {
    runtime: Runtime,
    pool: Pool,
    stop: Arc<AtomicBool>,
    thread: Option<thread::JoinHandle<Vec<Published>>>,
}

impl Writer {
    pub(crate) fn connect(place: &Place) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()?;
        let mut config = Config::new(place.sentinels.clone(), place.master_name.clone());
        config.tls = place.tls.clone();
        let pool = runtime.block_on(Pool::connect(config))?;
        Ok(Self {
            runtime,
            pool,
            stop: Arc::default(),
            thread: None,
        })
    }

    pub(crate) fn begin(&mut self, stopwatch: Stopwatch) {
        let (pool, stop) = (self.pool.clone(), Arc::clone(&self.stop));
        let handle = self.runtime.handle().clone();
        self.thread = Some(thread::spawn(move || {
            handle.block_on(publish(&pool, &stop, stopwatch))
        }));
    }

    pub(crate) fn stop(mut self) -> Result<Vec<Published>> {
        self.stop.store(true, Relaxed);
        let published = self.thread.take().map(thread::JoinHandle::join);
        self.pool.close();
        self.runtime.shutdown_background();
        let published = published.unwrap_or_else(|| Ok(Vec::new()));
        published.map_err(|_| anyhow!("the publisher panicked"))
    }
}

async fn publish(pool: &Pool, stop: &AtomicBool, stopwatch: Stopwatch) -> Vec<Published> {
    let mut published = Vec::new();
    let mut number = 0;
    while !stop.load(Relaxed) {
        number += 1;
        let channel = Source::Writer.channel();
        let sent = stopwatch.now();
        let reply: RedisResult<i64> = pool.writer().publish(channel, number).await;
        if reply.is_ok() {
            published.push(Published {
                number,
                sent,
                acknowledged: stopwatch.now(),
            });
        }
        tokio::time::sleep(PUBLISH_PERIOD).await;
    }
    published
}

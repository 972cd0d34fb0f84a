//! Somebody publishes numbers, and a subscriber listens.

use std::{sync::Arc, time::Duration};

use redis_rw_pool::{
    Notice, Pool, Subscriber,
    redis::{AsyncCommands, RedisResult},
};
use tokio::{
    sync::watch,
    time::{Instant, sleep, timeout},
};

use crate::{load::Shared, tally::Call};

const CHANNEL: &str = "news";
/// Between two messages.
const PAUSE: Duration = Duration::from_millis(5);
/// Longer than a message is on its way.
const DRAIN: Duration = Duration::from_millis(200);

pub(crate) async fn subscribe(pool: &Pool) -> RedisResult<Subscriber> {
    let updates = pool.subscriber();
    updates.subscribe([CHANNEL]).await?;
    Ok(updates)
}

/// One number after another. Where it fails it is not published again.
pub(crate) async fn publish(shared: Arc<Shared>, stopped: watch::Receiver<bool>) {
    let mut number = 0;
    while !*stopped.borrow() {
        number += 1;
        let began = Instant::now();
        let sent: RedisResult<i64> = shared.pool.writer().publish(CHANNEL, number).await;
        match sent {
            Ok(_) => shared.published(number, began),
            Err(error) => shared.failed(Call::Publish, &error),
        }
        sleep(PAUSE).await;
    }
}

/// Counts what comes, and how long nothing came.
pub(crate) async fn listen(
    mut updates: Subscriber,
    shared: Arc<Shared>,
    mut stopped: watch::Receiver<bool>,
) {
    let mut last = Instant::now();
    loop {
        let is_stopped = *stopped.borrow();
        let notice = if is_stopped {
            // What is on its way still counts.
            timeout(DRAIN, updates.next()).await.ok().flatten()
        } else {
            tokio::select! {
                notice = updates.next() => notice,
                _ = stopped.changed() => continue,
            }
        };
        match notice {
            Some(Notice::Message(message)) => {
                let silence = last.elapsed();
                last = Instant::now();
                shared.count(|counts| counts.silence = counts.silence.max(silence));
                shared.received(message.get().unwrap_or(0));
            }
            Some(Notice::Gap(gap)) => shared.gap(&gap),
            Some(_) => {}
            None => return,
        }
    }
}

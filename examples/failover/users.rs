//! Users who read what they have just written, with a session and without.

use std::{sync::Arc, time::Duration};

use redis_rw_pool::{
    Node, Pool, Role, SessionState,
    redis::{AsyncCommands, RedisError},
};
use tokio::{sync::watch, time::sleep};

use crate::{load::Shared, tally::Call};

pub(crate) const USERS: usize = 4;
const PAUSE: Duration = Duration::from_millis(4);

/// Writes a number, and reads it in both ways at the same time: neither gives replicas time to catch up
/// for the other.
pub(crate) async fn work(id: usize, shared: Arc<Shared>, stopped: watch::Receiver<bool>) {
    let mut session = shared.pool.session();
    let key = format!("user:{id}");
    let mut number = 0_u64;
    while !*stopped.borrow() {
        sleep(PAUSE).await;
        number += 1;
        let written: Result<(), RedisError> = session.writer().set(&key, number).await;
        if let Err(error) = written {
            shared.failed(Call::Own, &error);
            continue;
        }
        let mut reader = session.reader();
        let (fresh, plain) = tokio::join!(reader.get(&key), plain(&shared.pool, &key));
        let is_lost = session.state() == SessionState::WriteLost;
        match fresh {
            Ok(found) => shared.count(|counts| {
                counts.fresh_reads += 1;
                match is_stale(found, number) {
                    true if is_lost => counts.lost_and_told += 1,
                    true => counts.fresh_and_stale += 1,
                    false => {}
                }
            }),
            Err(error) => shared.failed(Call::Own, &error),
        }
        match plain {
            Ok((found, by)) => shared.count(|counts| {
                counts.plain_reads += 1;
                if is_stale(found, number) {
                    *counts.stale_by_node.entry(by).or_default() += 1;
                }
            }),
            Err(error) => shared.failed(Call::Own, &error),
        }
        if is_lost {
            session = shared.pool.session();
        }
    }
}

/// What any replica has, and which one it was.
async fn plain(pool: &Pool, key: &str) -> Result<(Option<u64>, (Role, Node)), RedisError> {
    let mut replica = pool.read().await?;
    let found = replica.get(key).await?;
    Ok((found, (replica.role(), replica.node())))
}

fn is_stale(found: Option<u64>, written: u64) -> bool {
    found.unwrap_or(0) < written
}

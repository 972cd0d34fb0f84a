//! Something to do for the pool: what the handlers of a web backend would.

use std::time::Duration;

use redis_rw_pool::{
    Pool,
    redis::{AsyncCommands, RedisResult},
};
use tokio::{task::JoinSet, time::sleep};

/// Of each of the four ways to reach Redis.
const CALLERS: usize = 6;
/// Between two calls of one caller: a steady load that leaves the machine some air.
const PAUSE: Duration = Duration::from_millis(12);

/// Ends when it is dropped.
pub(crate) fn start(pool: &Pool) -> JoinSet<()> {
    let mut callers = JoinSet::new();
    for caller in 0..CALLERS {
        let key = format!("page:{caller}");
        callers.spawn(again_and_again(pool.clone(), key.clone(), write));
        callers.spawn(again_and_again(pool.clone(), key.clone(), read));
        callers.spawn(again_and_again(pool.clone(), key.clone(), share_write));
        callers.spawn(again_and_again(pool.clone(), key, share_read));
    }
    callers
}

/// What fails is seen on the page, which counts it.
async fn again_and_again<Call, Called>(pool: Pool, key: String, call: Call)
where
    Call: Fn(Pool, String) -> Called,
    Called: Future<Output = RedisResult<()>>,
{
    loop {
        let _ = call(pool.clone(), key.clone()).await;
        sleep(PAUSE).await;
    }
}

async fn write(pool: Pool, key: String) -> RedisResult<()> {
    let mut master = pool.write().await?;
    let _: u64 = master.incr(&key, 1).await?;
    master.expire(&key, 60).await
}

async fn read(pool: Pool, key: String) -> RedisResult<()> {
    let _: Option<u64> = pool.read().await?.get(key).await?;
    Ok(())
}

async fn share_write(pool: Pool, key: String) -> RedisResult<()> {
    let text = "seen on the page";
    pool.writer().set(format!("{key}:text"), text).await
}

async fn share_read(pool: Pool, key: String) -> RedisResult<()> {
    let _: Option<String> = pool.reader().get(format!("{key}:text")).await?;
    Ok(())
}

//! The ways to send a read, where a table compares them.

use redis_rw_pool::{
    Multiplexed, Pool,
    redis::{Cmd, Value, aio::ConnectionLike, cmd},
};

/// What rows call them.
pub(crate) const HANDLES: [&str; 2] = ["read()", "reader()"];

#[derive(Clone)]
pub(crate) enum Handle {
    Exclusive(Pool),
    Shared(Multiplexed),
}

impl Handle {
    pub(crate) fn new(name: &str, pool: &Pool) -> Self {
        match name {
            "read()" => Self::Exclusive(pool.clone()),
            "reader()" => Self::Shared(pool.reader()),
            other => panic!("there is no handle `{other}`"),
        }
    }

    /// Opens all connections that so many callers would.
    pub(crate) async fn warm(&self, callers: usize) {
        match self {
            Self::Exclusive(pool) => {
                let mut lent = Vec::new();
                while lent.len() < callers.min(pool.status().read.max_active) {
                    let mut conn = pool.read().await.expect("the deployment is healthy");
                    let reply = conn.req_packed_command(&cmd("PING")).await;
                    reply.expect("the deployment is healthy");
                    lent.push(conn);
                }
            }
            Self::Shared(_) => {
                self.send(&cmd("PING")).await;
            }
        }
    }

    pub(crate) async fn send(&self, cmd: &Cmd) -> Value {
        let reply = match self {
            Self::Exclusive(pool) => {
                let mut conn = pool.read().await.expect("the deployment is healthy");
                conn.req_packed_command(cmd).await
            }
            Self::Shared(handle) => handle.clone().req_packed_command(cmd).await,
        };
        reply.expect("the deployment is healthy")
    }
}

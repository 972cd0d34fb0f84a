//! What the tests of checkout and return use: a pool with a name of its own, and the server that
//! its connections go to.
//!
//! Most of these tests share one deployment, which they do not disturb; each knows its connections
//! by their client name. Those that stop their server or count its commands have one of their own,
//! with a fake Sentinel to name it, since a real one would send commands to it too.

use std::time::Duration;

use redis_rw_pool::{Config, Connection, Discard, Error, Pool, PoolStatus, ReadFrom};
use testkit::{
    Server,
    fake::{self, FakeSentinel, SentinelView},
};

use super::{LONG, deployment, eventually, prepare, unique_name};

/// The connection to each node over which the pool asks it for its role.
pub(crate) const PROBE: usize = 1;

/// Which of the two pools a test looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    Write,
    Read,
}

impl Side {
    pub(crate) const BOTH: [Self; 2] = [Self::Write, Self::Read];

    pub(crate) async fn checkout(self, pool: &Pool) -> Result<Connection, Error> {
        match self {
            Self::Write => pool.write().await,
            Self::Read => pool.read().await,
        }
    }

    pub(crate) fn status(self, pool: &Pool) -> PoolStatus {
        match self {
            Self::Write => pool.status().write,
            Self::Read => pool.status().read,
        }
    }
}

/// One pool, seen from one of its two sides, and the server behind that side.
#[derive(Debug)]
pub(crate) struct Stage {
    pub(crate) pool: Pool,
    pub(crate) side: Side,
    pub(crate) name: String,
    own: Option<(FakeSentinel, Server)>,
}

impl Stage {
    /// On the deployment that all share. `change` sets the limits in `config.write`; the read pool
    /// gets the same.
    pub(crate) async fn shared(side: Side, change: impl FnOnce(&mut Config)) -> Self {
        let deployment = deployment();
        let config = Config::new(deployment.sentinel_addrs(), deployment.master_name());
        Self::connect(side, config, change, None).await
    }

    /// As [`shared`](Self::shared), on a server that nobody else uses.
    pub(crate) async fn own(side: Side, change: impl FnOnce(&mut Config)) -> Self {
        let server = Server::standalone(&[]);
        let sentinel = fake::sentinel(SentinelView::of_master(server.port()));
        let config = Config::new([sentinel.addr()], "mymaster");
        Self::connect(side, config, change, Some((sentinel, server))).await
    }

    async fn connect(
        side: Side,
        mut config: Config,
        change: impl FnOnce(&mut Config),
        own: Option<(FakeSentinel, Server)>,
    ) -> Self {
        let name = unique_name();
        prepare(&mut config, &name);
        if own.is_none() {
            // A single replica, so that no connection is made for the sake of an even spread.
            config.read_from = ReadFrom::Replica;
        }
        change(&mut config);
        config.read = config.write.clone();
        let pool = Pool::connect(config).await.expect("all is well");
        let stage = Self {
            pool,
            side,
            name,
            own,
        };
        // A new pool first asks the nodes for their roles, over connections with its name.
        stage.settled().await;
        stage
    }

    /// The server that this side's connections go to.
    pub(crate) fn server(&self) -> &Server {
        match (&self.own, self.side) {
            (Some((_, server)), _) => server,
            (None, Side::Write) => &deployment().nodes()[0],
            (None, Side::Read) => &deployment().nodes()[1],
        }
    }

    /// Lets go of the pool and of the Sentinel.
    pub(crate) fn into_server(self) -> Server {
        self.own.expect("a server of its own").1
    }

    pub(crate) async fn checkout(&self) -> Result<Connection, Error> {
        self.side.checkout(&self.pool).await
    }

    pub(crate) async fn take(&self) -> Connection {
        tokio::time::timeout(LONG, self.checkout())
            .await
            .expect("a connection comes")
            .expect("a connection comes")
    }

    /// So many connections at once.
    pub(crate) async fn take_many(&self, count: usize) -> Vec<Connection> {
        let mut lent = Vec::with_capacity(count);
        for _ in 0..count {
            lent.push(self.take().await);
        }
        lent
    }

    pub(crate) fn status(&self) -> PoolStatus {
        self.side.status(&self.pool)
    }

    pub(crate) fn discarded(&self, reason: Discard) -> u64 {
        self.status().discards.get(reason)
    }

    /// Open connections of this side, those that callers share included.
    fn open(&self) -> usize {
        let status = self.pool.status();
        let shared = match self.side {
            Side::Write => status.writer,
            Side::Read => status.reader,
        };
        self.status().active + shared.connections
    }

    /// How many connections of this pool the server sees.
    pub(crate) fn on_server(&self) -> usize {
        self.server().client_count_named(&self.name)
    }

    /// Waits until the pool's count of open connections holds.
    pub(crate) async fn active_is(&self, count: usize) {
        let what = format!("{count} {:?} connections are open", self.side);
        eventually(&what, LONG, || async { self.status().active == count }).await;
    }

    pub(crate) async fn idle_is(&self, count: usize) {
        let what = format!("{count} {:?} connections are idle", self.side);
        eventually(&what, LONG, || async { self.status().idle == count }).await;
    }

    pub(crate) async fn waiting_is(&self, count: usize) {
        let what = format!("{count} callers wait");
        eventually(&what, LONG, || async { self.status().waiting == count }).await;
    }

    /// Waits until pool and server agree on how many connections are open.
    pub(crate) async fn settled(&self) {
        eventually("the server sees what the pool counts", LONG, || async {
            self.on_server() == self.open()
        })
        .await;
    }

    /// What must hold whenever nothing is lent and nobody calls: nothing is lost, neither a
    /// connection nor a place in the pool nor a count.
    pub(crate) async fn assert_conserved(&self) {
        let max_active = self.status().max_active;
        eventually("nobody waits", LONG, || async {
            self.status().waiting == 0
        })
        .await;
        let lent = self.take_many(max_active).await;
        let beyond = tokio::time::timeout(Duration::from_millis(20), self.checkout()).await;
        assert!(
            matches!(beyond, Err(_) | Ok(Err(Error::Exhausted { .. }))),
            "more than {max_active} were lent: {beyond:?}"
        );
        let status = self.status();
        assert_eq!((status.active, status.idle), (max_active, 0), "{status:?}");
        drop(lent);
        eventually("every connection is accounted for", LONG, || async {
            let status = self.status();
            self.open() == self.on_server()
                && status.active == status.idle
                && status.created == status.active as u64 + status.discards.total()
                && status.waiting == 0
        })
        .await;
    }
}

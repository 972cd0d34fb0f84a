//! The servers of one round, and what can be done to them.

use anyhow::{Context, Result, bail};
use redis_rw_pool::Tls;
use testkit::{Deployment, Reply, Server};

use crate::{
    encryption::Encryption,
    failover::{
        call::{End, History},
        client::Place,
        load::{READ_KEY, write_key},
        stopwatch::Stopwatch,
        witness::{Asked, Witness},
    },
};

/// Keys asked for at once.
const BATCH: usize = 500;
/// Seconds for the replicas to report for the first time.
const PATIENCE: usize = 10;

#[derive(Debug)]
pub(crate) struct Scene {
    deployment: Deployment,
    tls: Option<Tls>,
}

impl Scene {
    /// One master, two replicas, three Sentinels that take a silent node for dead after a second and
    /// are otherwise as they come. With `tls` they speak it, also among themselves, and plain text to
    /// witnesses.
    pub(crate) fn start(tls: bool) -> Result<Self> {
        let mut builder = Deployment::builder().fast(false);
        let mut trust = None;
        if tls {
            let encryption = Encryption::new();
            builder = builder.tls(encryption.servers());
            trust = Some(Tls::builder().ca_pem(encryption.ca_pem()).build()?);
        }
        let deployment = builder.start();
        let scene = Self {
            deployment,
            tls: trust,
        };
        scene.put_in_step()?;
        Ok(scene)
    }

    /// A replica that has just copied everything gets no more before its first report, up to a
    /// second later; what is lost by that is no client's doing.
    fn put_in_step(&self) -> Result<()> {
        let mut client = self.master().connect()?;
        client.call(&["SET", READ_KEY, "v"])?;
        for _ in 0..PATIENCE {
            if client.call(&["WAIT", "2", "1000"])? == Reply::Int(2) {
                return Ok(());
            }
        }
        bail!("the replicas do not follow")
    }

    pub(crate) fn place(&self) -> Place {
        Place {
            sentinels: self.deployment.sentinel_addrs(),
            master_name: self.deployment.master_name().to_owned(),
            tls: self.tls.clone(),
        }
    }

    pub(crate) fn watch(&self, stopwatch: Stopwatch) -> Result<Witness> {
        Witness::start(
            stopwatch,
            self.deployment.master_name(),
            self.master().port(),
            &asked(self.deployment.nodes()),
            &asked(self.deployment.sentinels()),
        )
    }

    /// The first one.
    pub(crate) fn master(&self) -> &Server {
        &self.deployment.nodes()[0]
    }

    pub(crate) fn replicas(&self) -> &[Server] {
        &self.deployment.nodes()[1..]
    }

    pub(crate) fn hand_over(&self) {
        self.deployment.failover();
    }

    /// Looks on this node for every write that was acknowledged.
    pub(crate) fn find_lost(&self, port: u16, name: &str, history: &mut History) -> Result<()> {
        let mut client = self.deployment.node(port).connect()?;
        let ends = history.writes.iter_mut().enumerate();
        let mut acknowledged: Vec<(usize, &mut End)> = ends
            .filter(|(_, call)| call.acknowledged().is_some())
            .filter_map(|(index, call)| Some((index, call.end.as_mut()?)))
            .collect();
        for batch in acknowledged.chunks_mut(BATCH) {
            let mut command = vec!["MGET".to_owned()];
            command.extend(batch.iter().map(|(index, _)| write_key(name, *index)));
            let reply = client
                .call(&command)
                .context("looking for what was written")?;
            for ((_, end), found) in batch.iter_mut().zip(reply.array()) {
                end.lost = found.is_nil();
            }
        }
        Ok(())
    }
}

fn asked(servers: &[Server]) -> Vec<Asked> {
    let asked = |server: &Server| Asked {
        port: server.port(),
        plain: server.plain_port(),
    };
    servers.iter().map(asked).collect()
}

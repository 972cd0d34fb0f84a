//! How connections are encrypted.

mod builder;
mod error;
mod pem;
mod recipe;
mod sentinel_tls;
mod server_name;
mod verify;

use std::{
    collections::HashMap,
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use parking_lot::Mutex;
use rustls::{ClientConfig, pki_types};
use tokio::sync::watch;

pub use crate::config::tls::{
    builder::TlsBuilder, error::TlsError, sentinel_tls::SentinelTls, server_name::ServerName,
    verify::Verify,
};
use crate::{
    config::{
        edition::{Edition, NewEditions},
        tls::recipe::Recipe,
    },
    node::Node,
};

/// How connections are encrypted: whom to trust, and what to show.
///
/// ```no_run
/// # fn example() -> Result<(), redis_rw_pool::Error> {
/// use std::time::Duration;
///
/// use redis_rw_pool::{Config, Tls};
///
/// let mut config = Config::new(["sentinel-a.internal", "sentinel-b.internal"], "mymaster");
/// config.tls = Some(
///     Tls::builder()
///         .ca_file("/etc/redis/ca.crt")
///         .client_files("/etc/redis/app.crt", "/etc/redis/app.key")
///         .server_name("redis.internal") // the Sentinels announce addresses
///         .reload_every(Duration::from_secs(60))
///         .build()?,
/// );
/// # Ok(())
/// # }
/// ```
///
/// Cloning shares it: a reload reaches every clone, and every pool that uses one.
///
/// # What is encrypted
///
/// With [`Config::tls`](crate::Config::tls) every connection to a node, and to the Sentinels unless
/// [`Config::sentinel_tls`](crate::Config::sentinel_tls) says otherwise. There is one setting for all
/// nodes, since a Sentinel announces one port for each: a deployment of which only some nodes speak TLS
/// cannot be used. Connections over Unix sockets are never encrypted.
///
/// Versions 1.2 and 1.3 are spoken. Connections with the same `Tls` resume each other's sessions.
///
/// # What it costs the servers
///
/// A handshake takes Redis about 1.5 ms, in which it serves nobody. So prefer
/// [`writer`](crate::Pool::writer) and [`reader`](crate::Pool::reader), which need one connection to a node.
/// Exclusive connections that nobody waits for ([`min_idle`](crate::PoolLimits::min_idle), and those for a
/// new master) are not made all at once over TLS: four at first, and then about ten in a second.
///
/// # New certificates
///
/// [`reload`](Self::reload) reads the files again, and
/// [`reload_every`](TlsBuilder::reload_every) has the pool do so. Connections made from then on use what
/// was read. Those made before are replaced without failing a command, as soon as their server has let a
/// new one in:
///
/// - Each shared connection ends when another has taken its place.
/// - Exclusive connections are closed one by one, while they are idle or when they come back
///   ([`Discard::Certificates`](crate::Discard::Certificates)): to each node at most one in about a second,
///   or as many as it takes to be done after a minute or two. So the servers can serve others in between.
/// - The connections that the pool asks the nodes and the Sentinels over follow within a few
///   [`refresh_interval`](crate::Config::refresh_interval)s.
///
/// A server that does not accept the new certificates yet is tried again now and then, and the connections
/// made before are used on. So the order in which servers and clients get theirs does not matter, as long
/// as the connections live. Where a connection is needed that cannot be made, calls wait as in an outage:
/// one that waits for a reload or for the server goes on then, and one whose time runs out fails with the
/// reason. Only [`Pool::connect`](crate::Pool::connect) fails at once.
///
/// To stop trusting a CA at once, connect another pool: connections that are open stay open until their
/// server has accepted the new certificates.
#[derive(Clone)]
pub struct Tls {
    shared: Arc<Shared>,
    server_name: ServerName,
}

struct Shared {
    /// `None` where the application has made the configuration itself.
    recipe: Option<Recipe>,
    verify: Option<Verify>,
    reload_every: Option<Duration>,
    state: Mutex<State>,
    /// The number of the newest material.
    newest: Arc<AtomicU64>,
    changes: watch::Sender<()>,
    /// Held during a reload, so that an older one does not overtake a newer one.
    reloading: Mutex<()>,
}

struct State {
    material: Material,
    /// The number of the newest material with which each server has let us in. Every checkout compares
    /// that of its server.
    accepted: HashMap<Node, Arc<AtomicU64>>,
    /// Why the last reload failed.
    error: Option<TlsError>,
}

impl State {
    fn accepted_by(&mut self, server: &Node) -> Arc<AtomicU64> {
        if let Some(accepted) = self.accepted.get(server) {
            return Arc::clone(accepted);
        }
        // Addresses come and go. Those without a connection are forgotten.
        self.accepted
            .retain(|_, accepted| Arc::strong_count(accepted) > 1);
        let accepted = Arc::default();
        self.accepted.insert(server.clone(), Arc::clone(&accepted));
        accepted
    }
}

/// What rustls dials with. All dials share it, and in it the sessions that they resume.
struct Material {
    config: Arc<ClientConfig>,
    fingerprint: u64,
    number: u64,
    roots: Option<usize>,
    client: bool,
}

impl Material {
    fn new(config: impl Into<Arc<ClientConfig>>) -> Self {
        let config = config.into();
        Self {
            client: config.client_auth_cert_resolver.has_certs(),
            config,
            fingerprint: 0,
            number: 0,
            roots: None,
        }
    }
}

/// All that one dial needs.
pub(crate) struct TlsDial {
    pub(crate) config: Arc<ClientConfig>,
    pub(crate) name: pki_types::ServerName<'static>,
    pub(crate) edition: Edition,
    /// For the text of an error.
    pub(crate) facts: DialFacts,
}

/// What the settings say, for the text of an error.
#[derive(Debug, Clone, Copy)]
pub(crate) struct DialFacts {
    /// The name that is verified is the host that is dialled.
    pub(crate) dialled: bool,
    /// The CAs are those of `ca_file`, not those of the system.
    pub(crate) own_cas: bool,
    pub(crate) client_cert: bool,
}

impl Tls {
    /// Settings to choose from.
    pub fn builder() -> TlsBuilder {
        TlsBuilder::default()
    }

    /// With a configuration of rustls, for everything that [`builder`](Self::builder) does not cover.
    ///
    /// [`reload`](Self::reload) does nothing then.
    pub fn from_rustls(config: Arc<ClientConfig>) -> Self {
        Self::new(None, None, Material::new(config), ServerName::Dialled, None)
    }

    fn from_recipe(
        recipe: Recipe,
        server_name: ServerName,
        reload_every: Option<Duration>,
    ) -> Result<Self, TlsError> {
        let material = recipe.read(None)?;
        let material = material.expect("BUG: what is read first differs from nothing");
        let verify = Some(recipe.verify);
        Ok(Self::new(
            Some(recipe),
            verify,
            material,
            server_name,
            reload_every,
        ))
    }

    fn new(
        recipe: Option<Recipe>,
        verify: Option<Verify>,
        material: Material,
        server_name: ServerName,
        reload_every: Option<Duration>,
    ) -> Self {
        Self {
            shared: Arc::new(Shared {
                recipe,
                verify,
                reload_every,
                state: Mutex::new(State {
                    material,
                    accepted: HashMap::new(),
                    error: None,
                }),
                newest: Arc::default(),
                changes: watch::Sender::new(()),
                reloading: Mutex::new(()),
            }),
            server_name,
        }
    }

    /// The same with another server name. A reload of either reaches both.
    pub fn server_name(mut self, name: impl Into<ServerName>) -> Self {
        self.server_name = name.into();
        self
    }

    /// Reads the files again. `true` means that they had changed, and are in use from now on.
    ///
    /// Blocks while it reads; in an async function use `spawn_blocking`. What changes while it is read
    /// is not taken for good: a key that does not belong to its certificate is an error.
    ///
    /// # Errors
    ///
    /// As [`TlsBuilder::build`]. Then nothing changes: what was in use stays in use, and
    /// [`Status::tls`](crate::Status::tls) has the error until a reload succeeds.
    pub fn reload(&self) -> Result<bool, TlsError> {
        let shared = &self.shared;
        let Some(recipe) = &shared.recipe else {
            return Ok(false);
        };
        let _alone = shared.reloading.lock();
        let before = shared.state.lock().material.fingerprint;
        let read = recipe.read(Some(before));
        let mut state = shared.state.lock();
        state.error = read.as_ref().err().cloned();
        let Some(mut material) = read? else {
            return Ok(false);
        };
        material.number = state.material.number + 1;
        shared.newest.store(material.number, Relaxed);
        state.material = material;
        drop(state);
        shared.changes.send_replace(());
        Ok(true)
    }

    pub(crate) fn reload_every(&self) -> Option<Duration> {
        self.shared.reload_every
    }

    pub(crate) fn new_editions(&self) -> NewEditions {
        NewEditions(Some(self.shared.changes.subscribe()))
    }

    /// How often new files came into use, and why the last reload failed.
    pub(crate) fn reload_status(&self) -> (u64, Option<String>) {
        let state = self.shared.state.lock();
        let error = state.error.as_ref().map(ToString::to_string);
        (state.material.number, error)
    }

    /// Whether whoever answers is trusted.
    pub(crate) fn trusts_anybody(&self) -> bool {
        self.shared.verify == Some(Verify::None)
    }

    pub(crate) fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.shared, &other.shared)
    }

    /// What is wrong with the server name.
    pub(super) fn check(&self) -> Result<(), String> {
        self.server_name.check()
    }

    /// For the server that was announced as the one and is dialled as the other. An error says what is
    /// wrong with its name.
    pub(crate) fn dial(&self, announced: &Node, dialled: &Node) -> Result<TlsDial, String> {
        let name = self.server_name.of(announced, dialled)?;
        let mut state = self.shared.state.lock();
        let accepted = state.accepted_by(announced);
        let material = &state.material;
        let recipe = self.shared.recipe.as_ref();
        Ok(TlsDial {
            config: Arc::clone(&material.config),
            name,
            edition: Edition::new(material.number, &self.shared.newest, &accepted),
            facts: DialFacts {
                dialled: matches!(self.server_name, ServerName::Dialled),
                own_cas: recipe.is_some_and(|recipe| !recipe.cas.is_empty()),
                client_cert: material.client,
            },
        })
    }
}

impl fmt::Debug for Tls {
    /// Without paths, and without what was read.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.shared.state.lock();
        let mut shown = f.debug_struct("Tls");
        if let Some(roots) = state.material.roots {
            shown.field("roots", &roots);
        }
        shown.field("client", &state.material.client);
        if let Some(verify) = self.shared.verify {
            shown.field("verify", &verify);
        }
        shown
            .field("server_name", &self.server_name)
            .field("reload_every", &self.shared.reload_every)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;

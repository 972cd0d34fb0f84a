//! What a connection signs in with, whether it is configured or comes from a source.

use std::sync::Arc;

use redis::{RedisError, RedisResult};
use tokio::time::Instant;

use crate::{
    config::{
        Config, Secret,
        credentials::keyring::{Keyring, News},
    },
    node::Node,
    util::runtime::Runtime,
};

/// What one connection signs in with.
#[derive(Debug, Clone, Default)]
pub(crate) struct Login {
    pub(crate) username: Option<String>,
    /// `None`: it does not sign in.
    pub(crate) password: Option<Secret>,
    /// Grows with every change of the credentials; 0 for those that are configured.
    pub(crate) generation: u64,
    pub(super) ends_at: Option<Instant>,
}

impl Login {
    pub(crate) fn secret(&self) -> Option<&str> {
        self.password.as_ref().map(Secret::expose)
    }

    /// Whether it has the same user and password.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        (&self.username, &self.password) == (&other.username, &other.password)
    }

    /// For a connection that is signed in with this already. Once the credentials have expired the
    /// server would refuse them, and the connection is as good as before.
    pub(crate) fn again(mut self, signed_in: u64) -> Self {
        let expired = self.ends_at.is_some_and(|at| at <= Instant::now());
        if expired && signed_in == self.generation {
            self.password = None;
        }
        self
    }
}

/// The sources of a running pool. Set when a pool takes the configuration.
#[derive(Debug, Clone, Default)]
pub(crate) struct Keyrings {
    nodes: Option<Arc<Keyring>>,
    sentinels: Option<Arc<Keyring>>,
}

/// What the connections to one kind of server sign in with.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Logins<'a> {
    keyring: Option<&'a Arc<Keyring>>,
    username: Option<&'a String>,
    password: Option<&'a Secret>,
}

impl Config {
    /// As a pool uses it, which asks its sources on this runtime.
    pub(crate) fn with_keyrings(mut self, runtime: &Arc<Runtime>) -> Self {
        let within = self.connect_timeout;
        let keyring = |source: &Option<_>, username: &Option<String>| {
            let source = Clone::clone(source.as_ref()?);
            let runtime = Arc::clone(runtime);
            Some(Arc::new(Keyring::new(
                source,
                username.clone(),
                within,
                runtime,
            )))
        };
        self.keyrings = Keyrings {
            nodes: keyring(&self.credentials, &self.username),
            sentinels: keyring(&self.sentinel_credentials, &self.sentinel_username),
        };
        self
    }

    /// For the connections to data nodes.
    pub(crate) fn node_logins(&self) -> Logins<'_> {
        Logins {
            keyring: self.keyrings.nodes.as_ref(),
            username: self.username.as_ref(),
            password: self.password.as_ref(),
        }
    }

    /// For the connections to Sentinels, which must never see the credentials of the data nodes.
    pub(crate) fn sentinel_logins(&self) -> Logins<'_> {
        Logins {
            keyring: self.keyrings.sentinels.as_ref(),
            username: self.sentinel_username.as_ref(),
            password: self.sentinel_password.as_ref(),
        }
    }
}

impl Logins<'_> {
    fn configured(self) -> Login {
        Login {
            username: self.username.cloned(),
            password: self.password.cloned(),
            generation: 0,
            ends_at: None,
        }
    }

    /// For a dial. Asks the source, where there is one and its last answer does not say that it lasts.
    pub(crate) async fn for_dial(self, deadline: Instant) -> RedisResult<Login> {
        match self.keyring {
            Some(keyring) => keyring.login(deadline).await,
            None => Ok(self.configured()),
        }
    }

    /// Another login after a server has refused this one; `None` if there is none, or if the error has
    /// another reason.
    pub(crate) async fn after(
        self,
        refused: &Login,
        node: &Node,
        error: &RedisError,
        deadline: Instant,
    ) -> Option<Login> {
        let keyring = self.keyring.filter(|_| refuses_login(error))?;
        keyring.login_after(refused, node, deadline).await
    }

    /// For a connection that is signed in: the newest known, without a wait. Sees to it that there is
    /// soon a newer one, where one is due.
    pub(crate) fn newest(self) -> Option<Login> {
        match self.keyring {
            Some(keyring) => keyring.newest(),
            None => Some(self.configured()),
        }
    }

    /// The newest known.
    pub(crate) fn known(self) -> Option<Login> {
        match self.keyring {
            Some(keyring) => keyring.known(),
            None => Some(self.configured()),
        }
    }

    /// A server has let us in with this.
    pub(crate) fn accepted(self, node: &Node, login: &Login) {
        if let Some(keyring) = self.keyring {
            keyring.accepted(node, login);
        }
    }

    /// Whether the node has accepted this, as far as that matters.
    pub(crate) fn has_accepted(self, node: &Node, login: &Login) -> bool {
        self.keyring
            .is_none_or(|keyring| keyring.has_accepted(node, login.generation))
    }

    /// Whether the node has accepted newer credentials than those with which a connection to it was
    /// made.
    pub(crate) fn is_outdated(self, node: &Node, generation: u64) -> bool {
        self.keyring
            .is_some_and(|keyring| keyring.has_accepted_newer(node, generation))
    }

    /// Waits until the credentials have changed, or a node has accepted those that did.
    pub(crate) async fn news(self) -> News {
        match self.keyring {
            Some(keyring) => keyring.news().await,
            None => std::future::pending().await,
        }
    }
}

/// Whether the server refused who we are. Before 6.0 there was no code for it.
fn refuses_login(error: &RedisError) -> bool {
    let detail = error.detail().unwrap_or_default();
    matches!(error.code(), Some("WRONGPASS" | "NOAUTH")) || detail.starts_with("invalid password")
}

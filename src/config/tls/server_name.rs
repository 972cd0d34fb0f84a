//! The name that a server's certificate must be for.

use std::{
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use rustls::pki_types;

use crate::node::Node;

/// The name for which a server's certificate must be valid, and which the server is told (SNI).
///
/// Sentinels announce addresses unless they are told to announce names, and few certificates are for
/// addresses. There are three ways out: have the Sentinels announce names (`sentinel resolve-hostnames
/// yes`, `sentinel announce-hostnames yes`, and `replica-announce-ip <name>` at every node), dial names
/// with an [`AddressMap`](crate::AddressMap), or give the name here.
#[derive(Clone, Default)]
#[non_exhaustive]
pub enum ServerName {
    /// The host that is dialled, after the [`AddressMap`](crate::AddressMap). The default.
    ///
    /// If that is an IP address the certificate must be for the address.
    #[default]
    Dialled,
    /// The same name for all servers.
    Fixed(String),
    /// The name for the server at this address: as it was announced, or as it stands in
    /// [`Config::sentinels`](crate::Config::sentinels), before the address map.
    ///
    /// It is asked at every dial, so it should be quick and must not block. If it panics the dial
    /// fails, and the next one asks again.
    By(Arc<dyn Fn(&Node) -> String + Send + Sync>),
}

impl ServerName {
    /// [`By`](Self::By) this function.
    ///
    /// ```
    /// use redis_rw_pool::ServerName;
    ///
    /// // 10.0.0.7:6380 has a certificate for redis-7.internal
    /// let name = ServerName::by(|node| {
    ///     let last = node.host().rsplit('.').next().unwrap_or_default();
    ///     format!("redis-{last}.internal")
    /// });
    /// ```
    pub fn by(name: impl Fn(&Node) -> String + Send + Sync + 'static) -> Self {
        Self::By(Arc::new(name))
    }

    /// What cannot be used, without a server to dial.
    pub(super) fn check(&self) -> Result<(), String> {
        match self {
            Self::Fixed(name) => parse(name).map(drop),
            Self::Dialled | Self::By(_) => Ok(()),
        }
    }

    /// The name for one dial.
    pub(crate) fn of(
        &self,
        announced: &Node,
        dialled: &Node,
    ) -> Result<pki_types::ServerName<'static>, String> {
        match self {
            Self::Dialled => parse(dialled.host()),
            Self::Fixed(name) => parse(name),
            Self::By(by) => {
                let name = catch_unwind(AssertUnwindSafe(|| by(announced)));
                parse(&name.map_err(|_| "the function in `server_name` panicked".to_owned())?)
            }
        }
    }
}

fn parse(name: &str) -> Result<pki_types::ServerName<'static>, String> {
    // The dot at the end of a complete name is for the resolver, and in no certificate.
    let bare = name.strip_suffix('.').unwrap_or(name);
    pki_types::ServerName::try_from(bare.to_owned()).map_err(|_| {
        format!("must be a host name or an IP address, without port or wildcard, and is {name:?}")
    })
}

impl From<&str> for ServerName {
    fn from(name: &str) -> Self {
        Self::Fixed(name.to_owned())
    }
}

impl From<String> for ServerName {
    fn from(name: String) -> Self {
        Self::Fixed(name)
    }
}

impl fmt::Debug for ServerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dialled => f.write_str("Dialled"),
            Self::Fixed(name) => f.debug_tuple("Fixed").field(name).finish(),
            Self::By(_) => f.write_str("By(..)"),
        }
    }
}

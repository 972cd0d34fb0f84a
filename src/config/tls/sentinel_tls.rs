//! Whether connections to the Sentinels are encrypted.

use crate::config::tls::Tls;

/// How connections to the Sentinels are encrypted.
///
/// Sentinels and data nodes are set up apart, so one may speak TLS and the other not.
///
/// Where the Sentinels' certificates are for another name than the nodes', they share the rest:
///
/// ```no_run
/// # fn example() -> Result<(), redis_rw_pool::Error> {
/// use redis_rw_pool::{Config, SentinelTls, Tls};
///
/// let mut config = Config::new(["10.0.0.1", "10.0.0.2", "10.0.0.3"], "mymaster");
/// let tls = Tls::builder().ca_file("/etc/redis/ca.crt").build()?;
/// config.sentinel_tls = SentinelTls::Own(tls.clone().server_name("sentinel.internal"));
/// config.tls = Some(tls.server_name("redis.internal"));
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub enum SentinelTls {
    /// As [`Config::tls`](crate::Config::tls) says for the nodes; plain text where that is `None`. The
    /// default.
    ///
    /// All of it, so a [`ServerName::Fixed`](crate::ServerName::Fixed) must be in the Sentinels'
    /// certificates too.
    #[default]
    AsNodes,
    /// Plain text, whatever the nodes speak.
    Off,
    /// With settings of their own, whatever the nodes speak.
    Own(Tls),
}

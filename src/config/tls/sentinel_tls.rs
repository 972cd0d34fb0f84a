//! Whether connections to the Sentinels are encrypted.

use crate::config::tls::Tls;

/// How connections to the Sentinels are encrypted.
///
/// Sentinels and data nodes are set up apart, so one may speak TLS and the other not.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub enum SentinelTls {
    /// As [`Config::tls`](crate::Config::tls) says for the nodes; plain text where that is `None`. The
    /// default.
    #[default]
    AsNodes,
    /// Plain text, whatever the nodes speak.
    Off,
    /// With settings of their own, whatever the nodes speak.
    Own(Tls),
}

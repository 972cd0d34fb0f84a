//! What the scheme of a URL says.

use crate::config::ConfigError;

/// What the hosts of a URL are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Source {
    Sentinels,
    Nodes,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Scheme {
    pub(super) source: Source,
    pub(super) tls: bool,
}

/// Each scheme without and with TLS, as this crate and others write it.
pub(super) const SCHEMES: [(&str, &str, Source); 6] = [
    ("redis-sentinel", "rediss-sentinel", Source::Sentinels),
    ("redis+sentinel", "rediss+sentinel", Source::Sentinels),
    ("valkey-sentinel", "valkeys-sentinel", Source::Sentinels),
    ("valkey+sentinel", "valkeys+sentinel", Source::Sentinels),
    ("redis", "rediss", Source::Nodes),
    ("valkey", "valkeys", Source::Nodes),
];

impl Scheme {
    /// Reads a scheme in any case.
    fn parse(text: &str) -> Option<Self> {
        let text = text.to_ascii_lowercase();
        SCHEMES.iter().find_map(|&(plain, encrypted, source)| {
            let tls = text == encrypted;
            (tls || text == plain).then_some(Self { source, tls })
        })
    }
}

/// The scheme, and what follows it.
pub(super) fn split(url: &str) -> Result<(Scheme, &str), ConfigError> {
    let invalid = |reason| Err(ConfigError::new("url", reason));
    let Some((scheme, rest)) = url.split_once("://") else {
        return invalid(
            "must begin with `redis-sentinel://`, or with `redis://` where there are no Sentinels",
        );
    };
    match Scheme::parse(scheme) {
        Some(scheme) if scheme.tls && cfg!(not(feature = "tls")) => invalid(
            "the scheme asks for TLS, and this build has none: add the feature `tls-ring` or \
             `tls-aws-lc-rs` of redis-rw-pool",
        ),
        Some(scheme) => Ok((scheme, rest)),
        None => invalid(
            "the scheme is not supported; use `redis-sentinel://`, or `redis://` where there are \
             no Sentinels (`rediss-sentinel://` and `rediss://` for TLS)",
        ),
    }
}

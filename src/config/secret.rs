//! A password that does not show itself.

use std::fmt;

/// A password or token. `Debug` shows `***`, and there is neither `Display` nor `Serialize`, so it does
/// not get into a log by chance.
///
/// Made from a `&str` or a `String`. To read it one must say so, with [`expose`](Self::expose). It is
/// not wiped from memory when it is dropped: it has passed through buffers on its way to the server.
///
/// ```
/// use redis_rw_pool::{Config, Secret};
///
/// let config = Config::new(["10.0.0.1"], "mymaster").with(|c| c.password = Some("p@ss".into()));
/// assert_eq!(config.password.as_ref().map(Secret::expose), Some("p@ss"));
/// assert_eq!(format!("{:?}", config.password), "Some(***)");
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Box<str>);

impl Secret {
    /// The password itself. Do not log it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl From<&str> for Secret {
    fn from(text: &str) -> Self {
        Self(text.into())
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self(text.into())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

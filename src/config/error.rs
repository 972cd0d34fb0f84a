//! What is wrong with a configuration.

use std::{borrow::Cow, fmt};

/// A setting that cannot be used, with the reason.
///
/// The text names the field as it is written in [`Config`](crate::Config), such as
/// `write.max_active` or `sentinels[1]`, then the value and what is allowed. It never holds a
/// password or a whole URL, so it may be logged; a value that could be part of a secret is left
/// out.
///
/// ```
/// use redis_rw_pool::Config;
///
/// let mut config = Config::new(["127.0.0.1"], "mymaster");
/// config.write.max_active = 0;
/// let error = config.validate().unwrap_err();
/// assert_eq!(error.field(), "write.max_active");
/// assert_eq!(error.to_string(), "invalid `write.max_active` (0): must be from 1 to 65535");
/// ```
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid `{field}`{}: {reason}", Shown(.value.as_ref()))]
pub struct ConfigError {
    field: Cow<'static, str>,
    value: Option<Value>,
    reason: Cow<'static, str>,
}

impl ConfigError {
    /// The field, named as in [`Config`](crate::Config) with a dot before the fields of its limits,
    /// or `url` if the problem belongs to no field. What came from the environment is named by
    /// its variable.
    pub fn field(&self) -> &str {
        &self.field
    }

    /// The offending value, escaped and shortened, unless it could be part of a secret.
    pub fn value(&self) -> Option<&str> {
        self.value.as_ref().map(Value::as_str)
    }

    /// What is allowed instead.
    pub fn reason(&self) -> &str {
        &self.reason
    }

    pub(super) fn new(
        field: impl Into<Cow<'static, str>>,
        reason: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self {
            field: field.into(),
            value: None,
            reason: reason.into(),
        }
    }

    /// For values that hold no text, so can hold no secret.
    pub(super) fn with_value(mut self, value: impl fmt::Debug) -> Self {
        self.value = Some(Value::Typed(format!("{value:?}")));
        self
    }

    /// An `@` suggests that somebody put a URL with credentials where a plain name belongs.
    pub(super) fn with_text(mut self, text: &str) -> Self {
        if !text.contains('@') {
            let mut shown: String = text.chars().take(MAX_SHOWN_CHARS).collect();
            if shown.len() < text.len() {
                shown.push('…');
            }
            self.value = Some(Value::Text(format!("{shown:?}")));
        }
        self
    }

    /// For a field that its user knows by another name.
    pub(super) fn named(mut self, field: String) -> Self {
        self.field = field.into();
        self
    }

    /// For text that came from a URL in which a badly encoded secret may have spilled over.
    pub(super) fn without_text(mut self) -> Self {
        self.value = self.value.filter(|value| matches!(value, Value::Typed(_)));
        self
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Value {
    Typed(String),
    Text(String),
}

impl Value {
    fn as_str(&self) -> &str {
        match self {
            Self::Typed(value) | Self::Text(value) => value,
        }
    }
}

struct Shown<'a>(Option<&'a Value>);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(value) => write!(f, " ({})", value.as_str()),
            None => Ok(()),
        }
    }
}

const MAX_SHOWN_CHARS: usize = 64;

#[cfg(test)]
mod tests;

//! Why a text is no token.

/// A text that is not a [`Token`](crate::Token), with the reason.
///
/// It repeats nothing of the text, which may have come from anywhere, so it may be logged.
///
/// ```
/// use redis_rw_pool::Token;
///
/// let error = "2.abc".parse::<Token>().unwrap_err();
/// assert_eq!(error.to_string(), "not a token: it does not begin with `1.`");
/// ```
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a token: {reason}")]
pub struct TokenError {
    reason: &'static str,
}

impl TokenError {
    pub(super) const fn new(reason: &'static str) -> Self {
        Self { reason }
    }

    /// What is wrong with the text.
    pub fn reason(&self) -> &str {
        self.reason
    }
}

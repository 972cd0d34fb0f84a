//! Why bytes are not a reply.

/// Boxed, because every token comes in a result that has room for it.
pub(super) type Fault = Box<CodecError>;

/// How much of what was malformed an error shows.
const FOUND_LIMIT: usize = 32;

/// Why the bytes are not a reply that we take. The connection cannot be used any further.
#[derive(Debug, thiserror::Error, Clone, PartialEq, Eq)]
pub(crate) enum CodecError {
    #[error("reply is nested deeper than max_depth ({limit} levels)")]
    TooDeep { limit: usize },
    #[error("bulk string of {declared} bytes is longer than max_bulk_bytes ({limit})")]
    BulkTooLong { declared: u64, limit: usize },
    #[error("aggregate of {declared} elements has more than max_elements ({limit})")]
    TooManyElements { declared: u64, limit: usize },
    #[error("reply is longer than max_reply_bytes ({limit})")]
    ReplyTooLong { limit: usize },
    #[error("line has no end within {limit} bytes")]
    LineTooLong { limit: usize },
    /// `found` is escaped and cut short: it comes from the peer and may go to logs.
    #[error("malformed reply: {what}, found \"{found}\"")]
    Malformed { what: &'static str, found: String },
}

impl CodecError {
    /// What is wrong, without the bytes themselves: they may be what callers store.
    pub(crate) fn discreet(&self) -> String {
        match self {
            Self::Malformed { what, .. } => format!("malformed reply: {what}"),
            other => other.to_string(),
        }
    }

    #[cold]
    pub(super) fn malformed(what: &'static str, bytes: &[u8]) -> Fault {
        let shown = &bytes[..bytes.len().min(FOUND_LIMIT)];
        let cut = if shown.len() < bytes.len() { "..." } else { "" };
        Box::new(Self::Malformed {
            what,
            found: format!("{}{cut}", shown.escape_ascii()),
        })
    }
}

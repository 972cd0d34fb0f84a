//! How large a reply may be. (Placeholder: `wire::codec` brings the real one.)

/// How large and how deep one reply may be before the connection is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReplyLimits {
    /// How deep arrays, maps and sets may nest. Defaults to 128.
    pub max_depth: usize,
    /// How many bytes one string may have. Defaults to 512 MiB.
    pub max_bulk_bytes: usize,
    /// How many elements one array, map or set may have. Defaults to 16 Mi.
    pub max_elements: usize,
    /// How many bytes a whole reply may have. Defaults to 1 GiB.
    pub max_reply_bytes: usize,
}

impl Default for ReplyLimits {
    fn default() -> Self {
        Self {
            max_depth: 128,
            max_bulk_bytes: 512 << 20,
            max_elements: 16 << 20,
            max_reply_bytes: 1 << 30,
        }
    }
}

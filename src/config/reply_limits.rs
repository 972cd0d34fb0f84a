//! How large a reply may be.

/// How large one reply of the server may be. A larger one closes the connection.
///
/// The limits protect memory: nothing is ever allocated for a declared length, only for bytes that
/// have arrived. A value takes more memory than its bytes on the wire; a nested one of tiny elements
/// takes up to about 40 times more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReplyLimits {
    /// How deep arrays, maps and the like may be nested. 100 by default, as in the redis crate, so
    /// that every reply that was read with the redis crate is read here. Redis itself stays below 10.
    /// More than 512 counts as 512.
    pub max_depth: usize,
    /// The longest bulk string. 512 MiB by default, which is Redis's own `proto-max-bulk-len`.
    pub max_bulk_bytes: usize,
    /// The most elements in one array, set or push; a map of n entries has 2n. 2^27 by default:
    /// that many one-byte strings are about what `max_reply_bytes` can carry.
    pub max_elements: usize,
    /// The most bytes of one whole reply on the wire. 1 GiB by default, twice the largest value that
    /// Redis stores.
    pub max_reply_bytes: usize,
}

impl Default for ReplyLimits {
    fn default() -> Self {
        Self {
            max_depth: 100,
            max_bulk_bytes: 512 << 20,
            max_elements: 1 << 27,
            max_reply_bytes: 1 << 30,
        }
    }
}

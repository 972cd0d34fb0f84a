//! The name of one history of data.

use std::fmt;

/// One uninterrupted history of the data, named by Redis's replication id. A failover begins another,
/// and so does a restart of the master.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Timeline([u8; 20]);

impl Timeline {
    /// Reads a replication id: 40 lower-case hexadecimal digits. All zeros stand for no id at all.
    pub(crate) fn parse(id: &[u8]) -> Option<Self> {
        let (pairs, []) = id.as_chunks::<2>() else {
            return None;
        };
        let pairs: &[[u8; 2]; 20] = pairs.try_into().ok()?;
        let mut bytes = [0; 20];
        for (byte, [high, low]) in bytes.iter_mut().zip(pairs) {
            *byte = digit(*high)? << 4 | digit(*low)?;
        }
        (bytes != [0; 20]).then_some(Self(bytes))
    }

    /// One that is nobody's, from random bits.
    pub(crate) fn stranger(mut bits: impl FnMut() -> u64) -> Self {
        let mut bytes = [0; 20];
        for chunk in bytes.chunks_mut(8) {
            let random = bits().to_be_bytes();
            chunk.copy_from_slice(&random[..chunk.len()]);
        }
        // All zeros stand for no id at all.
        bytes[0] |= 1;
        Self(bytes)
    }

    #[cfg(test)]
    pub(crate) const fn of(bytes: [u8; 20]) -> Self {
        Self(bytes)
    }
}

fn digit(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    }
}

impl fmt::Display for Timeline {
    /// As `redis-cli info replication` shows it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Timeline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests;

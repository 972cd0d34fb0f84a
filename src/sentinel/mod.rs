//! The Sentinels: asking them, understanding them.

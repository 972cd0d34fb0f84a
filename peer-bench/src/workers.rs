//! How many threads run the tasks.

use std::{fmt, io, num::NonZeroUsize};

use serde::Serialize;
use tokio::runtime::{Builder, Runtime};

/// In JSON a number, or null for tokio's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub(crate) enum Workers {
    /// As many as it takes when nobody says how many: one for each core.
    Tokio,
    Exactly(NonZeroUsize),
}

impl Workers {
    pub(crate) const ONE: Self = Self::Exactly(NonZeroUsize::MIN);

    pub(crate) fn runtime(self) -> io::Result<Runtime> {
        let mut builder = Builder::new_multi_thread();
        if let Self::Exactly(number) = self {
            builder.worker_threads(number.get());
        }
        builder.enable_all().build()
    }

    /// What a heading ends with. Tokio's own number goes without saying.
    pub(crate) fn suffix(self) -> String {
        match self {
            Self::Tokio => String::new(),
            Self::Exactly(_) => format!(", {self}"),
        }
    }
}

impl fmt::Display for Workers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Tokio => f.write_str("tokio's own number of worker threads"),
            Self::ONE => f.write_str("one worker thread"),
            Self::Exactly(number) => write!(f, "{number} worker threads"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_runtime_has_as_many_workers() {
        for number in [1, 3] {
            let workers = Workers::Exactly(NonZeroUsize::new(number).unwrap());
            assert_eq!(workers.runtime().unwrap().metrics().num_workers(), number);
        }
    }

    #[test]
    fn only_a_number_that_was_chosen_is_told() {
        let three = Workers::Exactly(NonZeroUsize::new(3).unwrap());
        assert_eq!(Workers::Tokio.suffix(), "");
        assert_eq!(Workers::ONE.suffix(), ", one worker thread");
        assert_eq!(three.suffix(), ", 3 worker threads");
    }

    #[test]
    fn json_has_a_number_or_null() {
        let json = |workers| serde_json::to_string(&workers).unwrap();
        assert_eq!(json(Workers::ONE), "1");
        assert_eq!(json(Workers::Tokio), "null");
    }
}

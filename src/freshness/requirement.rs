//! What a read must have seen, without a session.

use std::time::Duration;

use crate::position::token::Token;

/// The shortest time that [`Freshness::Within`] can stand for: the master is not asked more often.
const SHORTEST: Duration = Duration::from_millis(10);

/// What a read must have seen.
///
/// It is proven by the node that serves the read, and by what that node has at this moment. No clock but
/// the one of this process counts.
///
/// ```
/// use std::time::Duration;
///
/// use redis_rw_pool::{Freshness, Token};
///
/// fn of_request(cookie: Option<&str>) -> Freshness {
///     match cookie.and_then(|text| text.parse::<Token>().ok()) {
///         Some(token) => Freshness::After(token),
///         None => Freshness::Within(Duration::from_secs(1)),
///     }
/// }
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Freshness {
    /// Whatever the node has. The default, and free.
    #[default]
    Any,
    /// Everything that the master had when this token was made.
    After(Token),
    /// Everything that was acknowledged longer ago than this when the call began. Less than 10 milliseconds
    /// counts as 10.
    ///
    /// While somebody reads so, and for 10 seconds after, the pool asks the master for its position four times
    /// in the shortest such time, at most 100 times a second and at least once. So from 40 milliseconds on, a
    /// replica that lags by less than three quarters of the time serves the read. The first read asks the
    /// master itself.
    ///
    /// It is the master that this pool knows. While the process is cut off together with a master that was
    /// deposed, reads may be older, until the pool hears of the failover. A token has no such gap. If the
    /// master does not answer, nothing can be proven: the read waits up to
    /// [`command_timeout`](crate::Config::command_timeout). Then it fails with
    /// [`Error::NoMaster`](crate::Error::NoMaster), or with [`Otherwise::Stale`](crate::Otherwise::Stale)
    /// returns what there is.
    Within(Duration),
    /// What the master has: the read goes there, over the connections behind
    /// [`Pool::writer`](crate::Pool::writer), and waits for the next master as a write does.
    Master,
}

/// [`Freshness`] that asks for anything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Requirement {
    After(Token),
    Within(Duration),
    Master,
}

impl Requirement {
    /// `None` where nothing is asked for.
    pub(crate) fn of(freshness: Freshness) -> Option<Self> {
        match freshness {
            Freshness::Any => None,
            Freshness::After(token) => Some(Self::After(token)),
            Freshness::Within(age) => Some(Self::Within(age.max(SHORTEST))),
            Freshness::Master => Some(Self::Master),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_time_is_shorter_than_the_master_is_asked() {
        for (given, counts) in [(0, 10), (1, 10), (10, 10), (11, 11), (60_000, 60_000)] {
            let age = Duration::from_millis(given);
            let counts = Requirement::Within(Duration::from_millis(counts));
            assert_eq!(Requirement::of(Freshness::Within(age)), Some(counts));
        }
        assert_eq!(Requirement::of(Freshness::default()), None);
    }
}

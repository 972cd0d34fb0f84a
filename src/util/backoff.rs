//! How long to pause before the next try: one rule, and a named policy for each kind of pause.

use std::time::Duration;

use crate::util::jitter;

/// Pauses grow by a factor from `first` to `longest`, and chance shortens or lengthens each of them.
/// Many clients fail at the same moment, and must not come back at the same moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Policy {
    pub(crate) first: Duration,
    pub(crate) longest: Duration,
    growth: Growth,
    jitter: Jitter,
}

/// How much longer the next pause is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Growth {
    Half,
    Double,
    Triple,
}

/// The range from which a pause is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Jitter {
    /// From nothing to the whole.
    Full,
    /// From half of it to the whole.
    Half,
    /// From this many percent less, to this many more.
    Percent(u32),
    /// From the first pause to the whole. A caller that grows each pause from the one drawn before
    /// has "decorrelated jitter": the draws of two clients drift apart.
    FromFirst,
}

/// Before a command that was refused, or lost for the second time, is sent again.
pub(crate) const RESEND: Policy = Policy {
    first: Duration::from_millis(5),
    longest: Duration::from_millis(250),
    growth: Growth::Double,
    jitter: Jitter::Half,
};

/// Between two refreshes because of one node that keeps refusing: soon at first, since the node may
/// just have been replaced, and later as rarely as the Sentinels are polled.
pub(crate) const REFRESH_FOR_REFUSAL: Policy = Policy {
    first: Duration::from_millis(25),
    longest: Duration::from_secs(5),
    growth: Growth::Double,
    jitter: Jitter::Half,
};

/// Before a node is dialled again. Drawn within the limit and not cut to it, or all clients that have
/// reached the limit would dial in step.
pub(crate) const DIAL: Policy = Policy {
    first: Duration::from_millis(25),
    longest: Duration::from_secs(1),
    growth: Growth::Triple,
    jitter: Jitter::FromFirst,
};

/// Before a connection is made once more to take the place of one with old certificates: those that
/// there are still work.
pub(crate) const REPLACEMENT: Policy = Policy {
    first: Duration::from_millis(250),
    longest: Duration::from_secs(30),
    growth: Growth::Double,
    jitter: Jitter::Half,
};

/// Before a transaction begins anew because a watched key was changed. Pauses grow until most of the
/// clients that change the same keys are waiting at any moment.
pub(crate) const TRANSACTION: Policy = Policy {
    first: Duration::from_millis(1),
    longest: Duration::from_millis(64),
    growth: Growth::Double,
    jitter: Jitter::Full,
};

/// Before the work of `Pool::retry_write` is done again; the caller sets the limits.
pub(crate) const fn retry_write(first: Duration, longest: Duration) -> Policy {
    Policy {
        first,
        longest,
        growth: Growth::Double,
        jitter: Jitter::Full,
    }
}

/// The first pause of [`subscribe`].
pub(crate) const FIRST_SUBSCRIBE: Duration = Duration::from_millis(100);

/// Before the events of a Sentinel are subscribed to again.
pub(crate) const fn subscribe(longest: Duration) -> Policy {
    Policy {
        first: FIRST_SUBSCRIBE,
        longest,
        growth: Growth::Double,
        jitter: Jitter::Percent(30),
    }
}

/// The first pause of [`refresh`].
pub(crate) const FIRST_REFRESH: Duration = Duration::from_millis(100);

/// Between refreshes while something is unsettled (a nominee that is not proven, a replica about to
/// be readable): the next one comes soon, and then ever later up to the poll interval.
pub(crate) const fn refresh(refresh_interval: Duration) -> Policy {
    Policy {
        first: FIRST_REFRESH,
        longest: refresh_interval,
        growth: Growth::Half,
        jitter: Jitter::Percent(20),
    }
}

impl Policy {
    /// The pause after one of this length, without jitter.
    pub(crate) fn grow(&self, pause: Duration) -> Duration {
        let grown = match self.growth {
            Growth::Half => pause.saturating_mul(3) / 2,
            Growth::Double => pause.saturating_mul(2),
            Growth::Triple => pause.saturating_mul(3),
        };
        grown.max(self.first).min(self.longest)
    }

    /// The pause after this many failures, without jitter. Zero after none.
    pub(crate) fn after(&self, failures: u32) -> Duration {
        if failures == 0 {
            return Duration::ZERO;
        }
        let mut pause = self.first.min(self.longest);
        for _ in 1..failures {
            let grown = self.grow(pause);
            if grown == pause {
                break;
            }
            pause = grown;
        }
        pause
    }

    /// This pause, with jitter.
    pub(crate) fn draw(&self, pause: Duration) -> Duration {
        match self.jitter {
            Jitter::Full => jitter::between(Duration::ZERO, pause),
            Jitter::Half => jitter::between(pause / 2, pause),
            Jitter::Percent(percent) => jitter::around(pause, percent),
            Jitter::FromFirst => jitter::between(self.first, pause),
        }
    }
}

#[cfg(test)]
mod tests;

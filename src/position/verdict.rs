//! Whether what a node answered has seen what a token stands for.

use std::cmp::Ordering;

use crate::{
    node::Role,
    position::{Position, report::Report, timelines::Timelines, token::Token},
};

/// What a node's position, asked ahead of a read on the same connection, says about the read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It has seen everything up to the token. The only verdict that lets a read through.
    Fresh,
    /// It may not have: the node has not got so far, has not heard of the failover, or has data that the
    /// current master does not have.
    Behind,
    /// Nobody can have it: the current master's history was cut off before it.
    /// [`Timelines::left_of`] is what can still be reached.
    Lost,
    /// Too little is known of these timelines. The master must be asked where it is. If that tells
    /// nothing new, the node counts as behind.
    Unknown,
}

/// What became of the data that a token stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    /// The current master has it.
    Kept,
    /// A failover, or a restart of the master, left it behind. The token is a position *behind* a write,
    /// so a write that reached the master just ahead of other writes may have survived alone.
    Lost,
    /// The timelines known do not tell.
    Unknown,
}

impl Timelines {
    /// Whether a read is fresh whose node gave this report ahead of it.
    ///
    /// If the node was asked as the current master, [`learn`](Self::learn) from its report first.
    pub(crate) fn verdict(&self, report: &Report, token: &Token) -> Verdict {
        let (node, wanted) = (report.position, token.position());
        let standing = self.standing(token);
        if standing == Standing::Lost {
            return Verdict::Lost;
        }
        if self.has_strayed(node) {
            return Verdict::Behind;
        }
        match self.shared(node.timeline, wanted.timeline) {
            Some(limit) if wanted.offset >= limit && standing == Standing::Kept => Verdict::Behind,
            Some(limit) if wanted.offset >= limit => Verdict::Unknown,
            Some(_) if node.offset >= wanted.offset => Verdict::Fresh,
            // A master has all of its own history, so the token was not made by its like.
            Some(_) if report.role == Role::Master => Verdict::Unknown,
            Some(_) => Verdict::Behind,
            None if self.shared(wanted.timeline, node.timeline).is_some() => Verdict::Behind,
            None => Verdict::Unknown,
        }
    }

    /// What became of the data that a token stands for, as far as this pool knows.
    pub(crate) fn standing(&self, token: &Token) -> Standing {
        let wanted = token.position();
        let current = self.current();
        match current.and_then(|current| self.shared(current, wanted.timeline)) {
            Some(limit) if wanted.offset < limit => Standing::Kept,
            Some(_) => Standing::Lost,
            None => Standing::Unknown,
        }
    }

    /// Whether nobody knows what became of the data that a token stands for.
    pub(crate) fn is_strange(&self, token: &Token) -> bool {
        self.standing(token) == Standing::Unknown
    }

    /// What can be reached of a token whose data is lost: everything up to where the current master's
    /// history left it. `None` if it is not lost.
    pub(crate) fn left_of(&self, token: &Token) -> Option<Token> {
        let wanted = token.position();
        let current = self.current()?;
        let cut = self.shared(current, wanted.timeline)?;
        let left = Position {
            timeline: current,
            offset: cut.checked_sub(1)?,
        };
        (wanted.offset >= cut).then(|| Token::new(left, token.epoch()))
    }

    /// Which of two positions goes further; `None` where neither is known to come from the other. On a
    /// later timeline it always does: what is left of the earlier one is in it.
    pub(crate) fn compare(&self, one: Position, other: Position) -> Option<Ordering> {
        if one.timeline == other.timeline {
            Some(one.offset.cmp(&other.offset))
        } else if self.shared(one.timeline, other.timeline).is_some() {
            Some(Ordering::Greater)
        } else {
            let is_earlier = self.shared(other.timeline, one.timeline).is_some();
            is_earlier.then_some(Ordering::Less)
        }
    }

    /// The bytes of replication stream that a node at the first position lacks of the second; `None` where
    /// the first is not known to be in the history of the second.
    pub(crate) fn distance(&self, from: Position, to: Position) -> Option<u64> {
        let limit = self.shared(to.timeline, from.timeline)?;
        (from.offset < limit).then(|| to.offset.saturating_sub(from.offset))
    }

    /// Whether the first of two positions is known to go further than the second.
    pub(crate) fn is_further(&self, first: Position, second: Position) -> bool {
        self.compare(first, second) == Some(Ordering::Greater)
    }

    /// One token for both: who has seen it has seen what is left of either. Where nothing is known of their
    /// timelines, it is the one of the greater epoch, or `second`.
    pub(crate) fn later(&self, first: &Token, second: &Token) -> Token {
        let by_epoch = || first.epoch().cmp(&second.epoch());
        let order = self.compare(first.position(), second.position());
        let later = match order.unwrap_or_else(by_epoch) {
            Ordering::Greater => first,
            Ordering::Less | Ordering::Equal => second,
        };
        Token::new(later.position(), first.epoch().max(second.epoch()))
    }
}

#[cfg(test)]
mod tests;

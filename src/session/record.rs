//! What a session has written, and what its next read must see. Pure.

use crate::{
    freshness::{asks::Need, session_state::SessionState},
    position::{timelines::Timelines, token::Token, verdict::Standing},
};

/// What all clones of a session know together.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Record {
    token: Option<Token>,
    /// Writes whose outcome is unknown, or whose position is.
    doubts: u64,
    /// As many of them were followed by a question to the master.
    settled: u64,
    told: SessionState,
    monotonic: bool,
}

impl Record {
    /// Whether reads never go back behind what earlier reads of the session have seen.
    pub(crate) fn is_monotonic(&self) -> bool {
        self.monotonic
    }

    pub(crate) fn monotonic(self, monotonic: bool) -> Self {
        Self { monotonic, ..self }
    }

    /// What the session has written or gone on with.
    pub(crate) fn token(&self) -> Option<&Token> {
        self.token.as_ref()
    }

    /// A write was answered, with the master's position behind it if that is known.
    pub(crate) fn wrote(self, token: Option<Token>, timelines: &Timelines) -> Self {
        match token {
            Some(token) => self.with(token, timelines),
            None => self.outcome_unknown(),
        }
    }

    /// A write was sent, and nobody knows whether it was executed.
    pub(crate) fn outcome_unknown(self) -> Self {
        let doubts = self.doubts + 1;
        Self { doubts, ..self }
    }

    /// A read has seen this. Only a monotonic session keeps it.
    pub(crate) fn saw(self, token: Token, timelines: &Timelines) -> Self {
        if self.monotonic {
            self.with(token, timelines)
        } else {
            self
        }
    }

    /// The session goes on with a token from elsewhere.
    pub(crate) fn resumed(self, token: Token, timelines: &Timelines) -> Self {
        self.with(token, timelines)
    }

    /// How many writes there were whose outcome is unknown, or whose position is, if the last of them is not
    /// settled. The token does not cover those.
    pub(crate) fn doubts(&self) -> Option<u64> {
        (self.doubts > self.settled).then_some(self.doubts)
    }

    /// Whether the next read needs anything.
    pub(crate) fn needs_anything(&self) -> bool {
        self.doubts().is_some() || self.token.is_some()
    }

    /// What the next read needs.
    pub(crate) fn need(&self) -> Need {
        if let Some(doubts) = self.doubts() {
            return Need::MasterNow { doubts };
        }
        self.token.clone().map_or(Need::Nothing, Need::After)
    }

    /// The master was asked because of [`Need::MasterNow`] with this number.
    pub(crate) fn asked(self, master: Token, doubts: u64, timelines: &Timelines) -> Self {
        let settled = self.settled.max(doubts);
        Self { settled, ..self }.with(master, timelines)
    }

    /// What became of the writes that a read was to see.
    pub(crate) fn told(self, state: SessionState) -> Self {
        let told = self.told.and(state);
        Self { told, ..self }
    }

    pub(crate) fn state(&self, timelines: &Timelines) -> SessionState {
        self.told.and(self.standing(timelines))
    }

    fn with(self, token: Token, timelines: &Timelines) -> Self {
        // After this nobody can tell any more.
        let mut told = self.state(timelines);
        let token = match &self.token {
            Some(known) => {
                // There was a failover in between of which this pool knows nothing.
                if timelines.standing(known) == Standing::Unknown
                    && timelines.standing(&token) == Standing::Kept
                {
                    told = told.and(SessionState::Unknown);
                }
                timelines.later(known, &token)
            }
            None => token,
        };
        Self {
            token: Some(token),
            told,
            ..self
        }
    }

    /// What the timelines say of the token. One that they do not know may be the master's next.
    fn standing(&self, timelines: &Timelines) -> SessionState {
        let token = self.token.as_ref();
        match token.map(|token| timelines.standing(token)) {
            Some(Standing::Lost) => SessionState::WriteLost,
            Some(Standing::Kept | Standing::Unknown) | None => SessionState::Consistent,
        }
    }
}

#[cfg(test)]
mod tests;

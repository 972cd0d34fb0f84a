//! A request with the positions around it.

use redis::{RedisResult, ServerError};

use crate::{
    error::{outcome::Outcome, reply_class::ReplyClass},
    retry::request::{Askable, Request},
    wire::{
        command::{affinity::Affinity, operation::Operation},
        connection::WireConnection,
        position_question::{Placed, Want},
    },
};

/// A request that is sent with questions around it, and whose reply has the answers.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Positioned<R> {
    pub(crate) request: R,
    pub(crate) want: Want,
}

impl<R: Askable> Request for Positioned<R> {
    type Reply = Placed<R::Reply>;

    fn over(
        self,
        wire: &mut WireConnection,
    ) -> impl Future<Output = RedisResult<Self::Reply>> + Send {
        self.request.over_placed(wire, self.want)
    }

    #[inline]
    fn count(self, placed: &Self::Reply) -> usize {
        self.request.count(&placed.reply)
    }

    #[inline]
    fn has_error(self, placed: &Self::Reply) -> bool {
        self.request.has_error(&placed.reply)
    }

    fn outcome(self, placed: &Self::Reply) -> Outcome {
        self.request.outcome(&placed.reply)
    }

    fn class(self, placed: &Self::Reply) -> ReplyClass {
        self.request.class(&placed.reply)
    }

    fn is_refused(self, placed: &Self::Reply) -> bool {
        self.request.is_refused(&placed.reply)
    }

    fn has_effect(self, placed: &Self::Reply) -> bool {
        self.request.has_effect(&placed.reply)
    }

    fn is_read(self) -> bool {
        self.request.is_read()
    }

    fn affinity(self) -> Affinity {
        self.request.affinity()
    }

    fn publishes(self) -> bool {
        self.request.publishes()
    }

    fn name(self) -> String {
        self.request.name()
    }

    fn operation(self) -> Operation {
        self.request.operation()
    }

    fn first_error(self, placed: &Self::Reply) -> Option<&ServerError> {
        self.request.first_error(&placed.reply)
    }
}

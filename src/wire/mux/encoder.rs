//! What a caller sends, encoded in portions that are handed in at once.

use std::task::Waker;

use redis::{Cmd, Pipeline};

use crate::wire::{
    mux::{call::Call, outbox::BIG},
    pipeline,
};

/// How many commands of a pipeline are handed in at a time, so that a call that comes after a long
/// pipeline does not wait for all of it.
const PORTION: usize = 64;

pub(super) enum Encoder<'a> {
    One(&'a Cmd),
    Many(Portions<'a>),
}

/// A pipeline and how far it has been handed in.
pub(super) struct Portions<'a> {
    pipeline: &'a Pipeline,
    /// The first command that is not handed in.
    next: usize,
    /// The most commands that may be handed in at a time.
    most: usize,
}

impl<'a> Encoder<'a> {
    /// A pipeline from the command at `next` on. `limit` is how many commands may be in flight.
    pub(super) fn many(pipeline: &'a Pipeline, next: usize, limit: usize) -> Self {
        Self::Many(Portions {
            pipeline,
            next,
            most: limit.min(PORTION),
        })
    }

    /// Begins the call, and puts the first portion into it; says how many commands that has.
    #[inline]
    pub(super) fn begin(&mut self, call: &mut Call, waker: &Waker) -> usize {
        match self {
            Self::One(cmd) => call.begin(waker, cmd.is_no_response()),
            Self::Many(portions) => call.begin_pipeline(waker, portions.total()),
        }
        self.encode(call)
    }

    /// Puts the next portion into the call; says how many commands it has.
    #[inline]
    pub(super) fn encode(&mut self, call: &mut Call) -> usize {
        match self {
            Self::One(cmd) => {
                if !call.room.encode(cmd) {
                    cmd.write_packed_command(call.long());
                }
                call.hand_in(false);
                1
            }
            Self::Many(portions) => {
                let count = portions.encode(call.long());
                call.hand_in(portions.next < portions.pipeline.len());
                count
            }
        }
    }
}

impl Portions<'_> {
    /// How many replies are expected. Asked before anything is encoded.
    fn total(&self) -> usize {
        pipeline::replies(self.pipeline) - self.next
    }

    fn encode(&mut self, out: &mut Vec<u8>) -> usize {
        if self.pipeline.is_transaction() {
            // No other caller's command may come between MULTI and EXEC.
            pipeline::encode(self.pipeline, out);
            self.next = self.pipeline.len();
            return pipeline::replies(self.pipeline);
        }
        let before = self.next;
        let portion = self.pipeline.cmd_iter().skip(before).take(self.most);
        for cmd in portion {
            // Not much more bytes than can be copied quickly.
            if out.len() > BIG {
                break;
            }
            cmd.write_packed_command(out);
            self.next += 1;
        }
        self.next - before
    }
}

//! A caller's command or pipeline, encoded in portions that are handed in at once.

use std::{mem, task::Waker};

use redis::{Cmd, Pipeline};

use crate::wire::{
    mux::{outbox::BIG, state::MuxState},
    pipeline,
};

/// How many commands of a pipeline are handed in at a time, so that a call that comes after a long
/// pipeline does not wait for all of it.
const PORTION: usize = 64;

pub(super) struct Encoder<'a> {
    what: What<'a>,
    /// The next portion, where it was encoded ahead of the lock.
    encoded: Vec<u8>,
    /// How many commands are to be handed in next.
    wanted: usize,
    /// The most commands that may be handed in at a time.
    portion: usize,
}

enum What<'a> {
    One(&'a Cmd),
    Atomic(&'a Pipeline),
    Plain { pipeline: &'a Pipeline, next: usize },
}

impl<'a> Encoder<'a> {
    #[inline]
    pub(super) fn one(cmd: &'a Cmd) -> Self {
        Self {
            what: What::One(cmd),
            encoded: Vec::new(),
            wanted: 1,
            portion: 1,
        }
    }

    /// A pipeline from the command at `next` on. `limit` is how many commands may be in flight.
    pub(super) fn many(pipeline: &'a Pipeline, next: usize, limit: usize) -> Self {
        let portion = limit.min(PORTION);
        let (what, wanted) = if pipeline.is_transaction() {
            // No other caller's command may come between MULTI and EXEC.
            (What::Atomic(pipeline), pipeline::replies(pipeline))
        } else {
            let wanted = fitting(pipeline, next, portion);
            (What::Plain { pipeline, next }, wanted)
        };
        Self {
            what,
            encoded: Vec::new(),
            wanted,
            portion,
        }
    }

    /// How many replies to a pipeline are expected; `None` for a single command. To be asked before
    /// anything is handed in.
    pub(super) fn total(&self) -> Option<usize> {
        match &self.what {
            What::One(_) => None,
            What::Atomic(pipeline) => Some(pipeline::replies(pipeline)),
            What::Plain { pipeline, next } => Some(pipeline::replies(pipeline) - next),
        }
    }

    /// How many commands the next portion has; 0 when all have been handed in.
    #[inline]
    pub(super) fn wanted(&self) -> usize {
        self.wanted
    }

    /// Whether the caller wants no reply.
    #[inline]
    pub(super) fn is_silent(&self) -> bool {
        matches!(&self.what, What::One(cmd) if cmd.is_no_response())
    }

    /// Encodes the next portion where that would take long under the lock.
    #[inline]
    pub(super) fn prepare(&mut self) {
        if self.wanted == 0 || !self.encoded.is_empty() {
            return;
        }
        match &self.what {
            What::One(cmd) => {
                if size(cmd) > BIG {
                    cmd.write_packed_command(&mut self.encoded);
                }
            }
            What::Atomic(pipeline) => pipeline::encode(pipeline, &mut self.encoded),
            What::Plain { pipeline, next } => {
                for cmd in pipeline.cmd_iter().skip(*next).take(self.wanted) {
                    cmd.write_packed_command(&mut self.encoded);
                }
            }
        }
    }

    /// Hands in the portion that the call was admitted for.
    #[inline]
    pub(super) fn hand_in(&mut self, state: &mut MuxState, key: usize) -> Option<Waker> {
        let count = mem::take(&mut self.wanted);
        if let What::Plain { pipeline, next } = &mut self.what {
            *next += count;
            // Counted now: the call asks for room for exactly this portion.
            self.wanted = fitting(pipeline, *next, self.portion);
        }
        if self.encoded.len() > BIG {
            return state.hand_in_big(key, mem::take(&mut self.encoded));
        }
        let driver = state.hand_in(key, |out| match &self.what {
            What::One(cmd) if self.encoded.is_empty() => cmd.write_packed_command(out),
            _ => out.extend_from_slice(&self.encoded),
        });
        self.encoded.clear();
        driver
    }
}

/// How many commands from the one at `from` on make a portion: at most `most`, and not much more
/// bytes than can be copied quickly.
fn fitting(pipeline: &Pipeline, from: usize, most: usize) -> usize {
    let mut bytes = 0;
    let rest = pipeline.cmd_iter().skip(from).take(most);
    rest.take_while(|cmd| {
        let fits = bytes <= BIG;
        bytes += size(cmd);
        fits
    })
    .count()
}

#[inline]
fn size(cmd: &Cmd) -> usize {
    cmd.args_iter()
        .map(|arg| match arg {
            redis::Arg::Simple(bytes) => bytes.len(),
            _ => 0,
        })
        .sum()
}

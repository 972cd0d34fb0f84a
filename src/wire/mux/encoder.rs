//! What a caller wants to hand in, in portions that the queue takes at once.

use std::{mem, task::Waker};

use redis::{Cmd, Pipeline};

use crate::wire::{
    mux::queue::{BIG, RequestQueue},
    pipeline,
};

/// A pipeline is handed in so many commands at a time, so that whoever comes after a long one does
/// not wait for all of it.
const PORTION: usize = 64;

pub(super) struct Encoder<'a> {
    what: What<'a>,
    /// Encoded outside of the lock, because it is long.
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

    /// A pipeline from the command at `next` on. `limit` is how many commands may be on their way at
    /// once.
    pub(super) fn many(pipeline: &'a Pipeline, next: usize, limit: usize) -> Self {
        let portion = limit.min(PORTION);
        let (what, wanted) = if pipeline.is_transaction() {
            // Between MULTI and EXEC must be nobody else's command.
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

    /// Replies to expect together, before anything is handed in; `None` for a single command.
    pub(super) fn total(&self) -> Option<usize> {
        match &self.what {
            What::One(_) => None,
            What::Atomic(pipeline) => Some(pipeline::replies(pipeline)),
            What::Plain { pipeline, next } => Some(pipeline::replies(pipeline) - next),
        }
    }

    /// How many commands are left to hand in, as far as they go together.
    #[inline]
    pub(super) fn wanted(&self) -> usize {
        self.wanted
    }

    /// Whether the caller wants no reply.
    #[inline]
    pub(super) fn is_silent(&self) -> bool {
        matches!(&self.what, What::One(cmd) if cmd.is_no_response())
    }

    /// Encodes ahead of the lock what would take long under it.
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

    /// Hands in what was [`wanted`](Self::wanted).
    #[inline]
    pub(super) fn hand_in(&mut self, queue: &mut RequestQueue, key: usize) -> Option<Waker> {
        let count = mem::take(&mut self.wanted);
        if let What::Plain { pipeline, next } = &mut self.what {
            *next += count;
            // Counted now, because the queue must be asked for room for exactly as many.
            self.wanted = fitting(pipeline, *next, self.portion);
        }
        if self.encoded.len() > BIG {
            return queue.hand_in_big(key, mem::take(&mut self.encoded));
        }
        let driver = queue.hand_in(key, |out| match &self.what {
            What::One(cmd) if self.encoded.is_empty() => cmd.write_packed_command(out),
            _ => out.extend_from_slice(&self.encoded),
        });
        self.encoded.clear();
        driver
    }
}

/// How many commands from this one on go together: so many at most, and not much more than can be
/// copied quickly.
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

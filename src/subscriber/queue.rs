//! Notices on their way from the task to the reader.
//!
//! It has no hard limit: a gap must always fit, and so must what stands before a confirmation. The task
//! asks whether it is full before it reads from the socket.

use std::{
    collections::VecDeque,
    mem,
    task::{Context, Poll, Waker},
};

use parking_lot::Mutex;

use crate::{
    node::Node,
    subscriber::{
        notice::{Gap, Message, Notice},
        options::SubscriberOptions,
    },
};

#[derive(Debug)]
pub(super) struct Queue {
    /// How many notices, and how many bytes of them, make it full.
    most: usize,
    most_bytes: usize,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    notices: VecDeque<Notice>,
    bytes: usize,
    ended: bool,
    /// The node that messages come from.
    node: Option<Node>,
    reader: Option<Waker>,
    task: Option<Waker>,
}

impl Queue {
    pub(super) fn new(options: &SubscriberOptions) -> Self {
        Self {
            most: options.buffer.max(1),
            most_bytes: options.buffer_bytes.max(1),
            state: Mutex::default(),
        }
    }

    pub(super) fn message(&self, message: Message) {
        self.push(message.len(), Notice::Message(message));
    }

    pub(super) fn gap(&self, gap: Gap) {
        self.push(0, Notice::Gap(gap));
    }

    fn push(&self, bytes: usize, notice: Notice) {
        let mut state = self.state.lock();
        state.notices.push_back(notice);
        state.bytes += bytes;
        let reader = state.reader.take();
        drop(state);
        if let Some(reader) = reader {
            reader.wake();
        }
    }

    /// How many more messages may be read before it is full.
    pub(super) fn room(&self) -> usize {
        let state = self.state.lock();
        if state.bytes >= self.most_bytes {
            return 0;
        }
        self.most.saturating_sub(state.notices.len())
    }

    /// Ready when a full queue has been read to the half. A task that was woken for each notice would
    /// read them one by one.
    pub(super) fn poll_drained(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.state.lock();
        if self.is_drained(&state) {
            return Poll::Ready(());
        }
        state.task = Some(cx.waker().clone());
        Poll::Pending
    }

    fn is_drained(&self, state: &State) -> bool {
        state.notices.len() <= self.most / 2 && state.bytes <= self.most_bytes / 2
    }

    /// The next notice. `None` after the end.
    pub(super) fn poll_next(&self, cx: &mut Context<'_>) -> Poll<Option<Notice>> {
        let mut state = self.state.lock();
        let Some(notice) = state.notices.pop_front() else {
            if state.ended {
                return Poll::Ready(None);
            }
            let waker = cx.waker();
            if !state.reader.as_ref().is_some_and(|it| it.will_wake(waker)) {
                state.reader = Some(waker.clone());
            }
            return Poll::Pending;
        };
        if let Notice::Message(message) = &notice {
            state.bytes -= message.len();
        }
        let drained = self.is_drained(&state);
        let task = if drained { state.task.take() } else { None };
        drop(state);
        if let Some(task) = task {
            task.wake();
        }
        Poll::Ready(Some(notice))
    }

    /// No more notices come. Those that are here are still handed out.
    pub(super) fn end(&self) {
        let mut state = self.state.lock();
        state.ended = true;
        state.node = None;
        let reader = mem::take(&mut state.reader);
        drop(state);
        if let Some(reader) = reader {
            reader.wake();
        }
    }

    pub(super) fn node(&self) -> Option<Node> {
        self.state.lock().node.clone()
    }

    pub(super) fn set_node(&self, node: Option<Node>) {
        self.state.lock().node = node;
    }
}

#[cfg(test)]
mod tests;

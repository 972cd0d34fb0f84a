//! One question at a time to one node, for all who want to know where it is.
//!
//! An answer counts only for those who asked before the question was sent. So who comes while one is under
//! way waits for the next, and all who come meanwhile share that one.

mod state;

use std::{future::Future, sync::Arc};

use parking_lot::Mutex;
use redis::RedisResult;
use tokio::{sync::watch, time::Instant};

use crate::{
    freshness::asker::state::{Action, Event, State},
    util::runtime::Runtime,
};

/// Asks one node, for all callers who want to know the same.
#[derive(Debug)]
pub(crate) struct Asker<T> {
    state: Mutex<State>,
    /// The number of the last question that is over, and its answer; no answer where nobody could wait for
    /// it.
    over: watch::Sender<(u64, Option<RedisResult<T>>)>,
}

impl<T: Clone + Send + Sync + 'static> Asker<T> {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::default(),
            over: watch::Sender::new((0, None)),
        })
    }

    /// The answer to a question that is sent after this call began; `None` if there is none until then, or
    /// the runtime has ended.
    ///
    /// The question is sent on the pool's runtime, so that a caller who leaves takes nothing away from the
    /// others.
    ///
    /// # Cancel safety
    ///
    /// The question goes on.
    pub(crate) async fn ask<F, Q>(
        self: &Arc<Self>,
        runtime: &Runtime,
        until: Instant,
        question: F,
    ) -> Option<RedisResult<T>>
    where
        F: Fn() -> Q + Send + 'static,
        Q: Future<Output = RedisResult<T>> + Send + 'static,
    {
        if runtime.has_ended() {
            return None;
        }
        let (number, action) = {
            let mut state = self.state.lock();
            let action = state.step(Event::Wanted);
            (state.awaited(), action)
        };
        let mut over = self.over.subscribe();
        if action == Action::Start {
            let run = Run {
                asker: Arc::clone(self),
                is_over: false,
            };
            drop(runtime.spawn(run.run(question)));
        }
        let answered = over.wait_for(|(last, _)| *last >= number);
        let answered = tokio::time::timeout_at(until, answered).await.ok()?.ok()?;
        answered.1.clone()
    }

    /// Takes an answer, and returns whether somebody wants another one. Nobody sees the one without the
    /// other: a later question may be over before this one is published.
    fn publish(&self, event: Event, answer: Option<RedisResult<T>>) -> Action {
        let mut state = self.state.lock();
        let action = state.step(event);
        let _unchanged = self.over.send_replace((state.over(), answer));
        action
    }
}

/// Sends the questions for as long as somebody wants one.
struct Run<T: Clone + Send + Sync + 'static> {
    asker: Arc<Asker<T>>,
    is_over: bool,
}

impl<T: Clone + Send + Sync + 'static> Run<T> {
    async fn run<F, Q>(mut self, question: F)
    where
        F: Fn() -> Q,
        Q: Future<Output = RedisResult<T>>,
    {
        while !self.is_over {
            self.asker.state.lock().step(Event::Sent);
            let answer = question().await;
            let action = self.asker.publish(Event::Answered, Some(answer));
            self.is_over = action != Action::Start;
        }
    }
}

impl<T: Clone + Send + Sync + 'static> Drop for Run<T> {
    fn drop(&mut self) {
        // The runtime ended, or the question panicked: nobody is to wait for it.
        if !self.is_over {
            self.asker.publish(Event::Dropped, None);
        }
    }
}

#[cfg(test)]
mod tests;

//! Callers, driver and server in many orders of their steps.
//!
//! All the code is the real one, and runs on shuttle, which decides after each step who goes next. A
//! step ends when a task is about to take the lock, has just released it, uses the socket or wakes
//! another task. A test fails when all tasks that are left wait for each other: a wake-up was lost.
//!
//! They were seen to fail with each of these bugs: the driver does not look at the intake once more
//! before it sleeps; handing in, or retiring, does not wake the driver. What is wrong in any order of the
//! steps, the tests of the state and of the driver find.

use redis::{Value, pipe};
use shuttle::future::JoinHandle;

use super::*;
use crate::util::schedule_model::{Socket, Wire, answered, echo, explore, go, serve, step, text};

const ROOM: usize = 40;

struct Model {
    wire: Arc<Mutex<Wire>>,
    mux: Arc<Mux>,
    driver: JoinHandle<Result<(), Cause>>,
    server: JoinHandle<Vec<String>>,
}

fn careful(mux: &Arc<Mux>) -> impl Fn() + Send + Sync + 'static {
    let mux = Arc::clone(mux);
    move || {
        let free = mux.intake.0.try_lock().is_some();
        assert!(free, "woken under the lock");
        step();
    }
}

impl Model {
    fn new(max_in_flight: usize) -> Self {
        let socket = Socket::new(ROOM);
        let wire = socket.wire();
        let limits = MultiplexedLimits {
            max_in_flight,
            ..MultiplexedLimits::default()
        };
        let (mux, driver) = Mux::open(socket.connection(), limits, || {
            step();
            Admission::Open
        });
        let driver = go(careful(&mux), driver);
        let server = go(careful(&mux), serve(Arc::clone(&wire)));
        Self {
            wire,
            mux,
            driver,
            server,
        }
    }

    /// A call that wants both positions.
    fn placed(&self, word: usize) -> JoinHandle<Result<Value, MuxError>> {
        let mux = Arc::clone(&self.mux);
        go(careful(&self.mux), async move {
            let placed = mux.command(&echo(word), Want::BOTH, None).await?;
            assert!(placed.answers.ahead.is_some());
            Ok(placed.reply)
        })
    }

    fn call(&self, word: usize) -> JoinHandle<Result<Value, MuxError>> {
        let mux = Arc::clone(&self.mux);
        go(careful(&self.mux), async move {
            mux.reply_to(&echo(word)).await
        })
    }

    /// A call that is dropped after so many polls.
    fn impatient(&self, word: usize, mut polls: usize) -> JoinHandle<()> {
        let mux = Arc::clone(&self.mux);
        go(careful(&self.mux), async move {
            let cmd = echo(word);
            let mut call = Box::pin(mux.reply_to(&cmd));
            poll_fn(|cx| {
                if polls == 0 {
                    return Poll::Ready(());
                }
                polls -= 1;
                if polls == 0 {
                    // It may be admitted by then, and is dropped all the same.
                    cx.waker().wake_by_ref();
                }
                call.as_mut().poll(cx).map(drop)
            })
            .await;
        })
    }

    /// A caller that uses one slot for all its commands, and drops every second one.
    fn reusing(&self, want: Want, words: std::ops::Range<usize>) -> JoinHandle<()> {
        let mux = Arc::clone(&self.mux);
        go(careful(&self.mux), async move {
            let mut slot = Slot::default();
            for word in words {
                let cmd = echo(word);
                let begun =
                    poll_fn(|cx| Poll::Ready(mux.begin(&mut slot, &cmd, want, cx.waker()))).await;
                assert_eq!(begun, Ok(()));
                if word % 2 == 0 {
                    step();
                    mux.abandon(&slot);
                } else {
                    let reply = poll_fn(|cx| Mux::poll_reply(&slot, cx)).await;
                    assert_eq!(reply, Ok(text(word)));
                    let answers = slot.take_answers();
                    assert_eq!(answers.ahead.is_some(), want.ahead());
                    assert_eq!(answers.behind.is_some(), want.behind());
                }
            }
        })
    }

    fn pipeline(&self, words: std::ops::Range<usize>) -> JoinHandle<Result<Vec<Value>, MuxError>> {
        let mux = Arc::clone(&self.mux);
        go(careful(&self.mux), async move {
            let mut pipeline = pipe();
            for word in words {
                pipeline.add_command(echo(word));
            }
            mux.replies_to(&pipeline).await
        })
    }

    /// Ends the connection, after which nothing may be left. Returns what the server was told.
    async fn end(self) -> Vec<String> {
        self.mux.retire();
        assert_eq!(self.driver.await.unwrap(), Ok(()));
        let heard = self.server.await.unwrap();
        assert_eq!((self.mux.in_flight(), self.mux.waiting()), (0, 0));
        heard
    }
}

/// The call has its own reply, or an error that is right in saying that it was not written.
fn assert_own(ended: &Result<Value, MuxError>, word: usize, heard: &[String]) {
    let told = heard.contains(&word.to_string());
    match ended {
        Ok(value) => assert_eq!(*value, text(word)),
        Err(MuxError::NotWritten) => assert!(!told, "{word} was written"),
        Err(MuxError::Failed(..)) => assert!(!told, "{word} was written whole and has a reply"),
    }
}

#[test]
fn every_call_in_a_crowd_gets_its_own_reply() {
    explore(|| async {
        let model = Model::new(1);
        let calls = [0, 1, 2].map(|word| model.call(word));
        for (word, call) in calls.into_iter().enumerate() {
            assert_eq!(call.await.unwrap(), Ok(text(word)));
        }
        assert_eq!(model.end().await.len(), 3);
    });
}

#[test]
fn calls_that_are_dropped_hold_up_nobody() {
    explore(|| async {
        let model = Model::new(1);
        let dropped = [(10, 1), (11, 1), (12, 2)].map(|(word, polls)| model.impatient(word, polls));
        let calls = [0, 1].map(|word| model.call(word));
        for (word, call) in calls.into_iter().enumerate() {
            assert_eq!(call.await.unwrap(), Ok(text(word)));
        }
        for call in dropped {
            call.await.unwrap();
        }
        model.end().await;
    });
}

#[test]
fn a_slot_that_is_used_again_has_the_reply_to_its_newest_command() {
    explore(|| async {
        let model = Model::new(1);
        let callers = [(Want::NOTHING, 0..4), (Want::NOTHING, 10..14)];
        let callers = callers.map(|(want, words)| model.reusing(want, words));
        for caller in callers {
            caller.await.unwrap();
        }
        model.end().await;
    });
}

#[test]
fn calls_that_wait_for_a_position_lose_nobody_and_are_used_again() {
    explore(|| async {
        let model = Model::new(2);
        let callers = [(Want::BEHIND, 0..4), (Want::BOTH, 10..13)];
        let callers = callers.map(|(want, words)| model.reusing(want, words));
        let plain = model.call(20);
        for caller in callers {
            caller.await.unwrap();
        }
        assert_eq!(plain.await.unwrap(), Ok(text(20)));
        model.end().await;
    });
}

#[test]
fn a_connection_retired_while_calls_wait_for_a_position_gives_them_their_replies() {
    explore(|| async {
        let model = Model::new(2);
        let calls = [0, 1].map(|word| model.placed(word));
        answered(&model.wire).await;
        model.mux.retire();
        let mut ended = Vec::new();
        for call in calls {
            ended.push(call.await.unwrap());
        }
        let heard = model.end().await;
        for (word, end) in ended.iter().enumerate() {
            assert_own(end, word, &heard);
        }
    });
}

#[test]
fn portions_and_single_calls_take_turns() {
    explore(|| async {
        let model = Model::new(2);
        let pipeline = model.pipeline(10..15);
        let calls = [0, 1].map(|word| model.call(word));
        for (word, call) in calls.into_iter().enumerate() {
            assert_eq!(call.await.unwrap(), Ok(text(word)));
        }
        let replies = (10..15).map(text).collect();
        assert_eq!(pipeline.await.unwrap(), Ok(replies));
        assert_eq!(model.end().await.len(), 7);
    });
}

#[test]
fn a_connection_retired_under_load_ends_and_says_what_was_written() {
    explore(|| async {
        let model = Model::new(2);
        let calls = [0, 1, 2].map(|word| model.call(word));
        let dropped = model.impatient(10, 1);
        model.mux.retire();
        let mut ended = Vec::new();
        for call in calls {
            ended.push(call.await.unwrap());
        }
        dropped.await.unwrap();
        let heard = model.end().await;
        for (word, end) in ended.iter().enumerate() {
            assert_own(end, word, &heard);
        }
    });
}

#[test]
fn a_connection_retired_at_rest_ends() {
    explore(|| async {
        let model = Model::new(1);
        assert_eq!(model.call(0).await.unwrap(), Ok(text(0)));
        assert_eq!(model.end().await, ["0"]);
    });
}

#[test]
fn a_connection_retired_beside_its_last_call_ends() {
    explore(|| async {
        let model = Model::new(1);
        let call = model.call(0);
        answered(&model.wire).await;
        model.mux.retire();
        let ended = call.await.unwrap();
        let heard = model.end().await;
        assert_own(&ended, 0, &heard);
    });
}

//! One direction of one connection: what its flow lets through, and when.

use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex, MutexGuard};

use super::{Ending, Flow};

#[derive(Debug)]
pub(super) struct Lane {
    state: Mutex<State>,
    changed: Condvar,
    // Injected bytes must not land inside a chunk.
    turn: Mutex<()>,
}

#[derive(Debug)]
struct State {
    flow: Flow,
    /// Grows with every change of flow.
    version: u64,
    /// Bytes that were let through under this flow.
    passed: usize,
    finished: bool,
}

/// What to do with the bytes at hand.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// So many of them are to be written now.
    Write(usize),
    /// None of them; the connection ends.
    End(Ending),
    /// None of them.
    Forget,
}

impl Lane {
    pub(super) fn new(flow: Flow) -> Self {
        Self {
            state: Mutex::new(State {
                flow,
                version: 0,
                passed: 0,
                finished: false,
            }),
            changed: Condvar::new(),
            turn: Mutex::new(()),
        }
    }

    pub(super) fn set(&self, flow: Flow) {
        let mut state = self.state.lock();
        state.flow = flow;
        state.version += 1;
        state.passed = 0;
        self.changed.notify_all();
    }

    pub(super) fn finish(&self) {
        self.state.lock().finished = true;
        self.changed.notify_all();
    }

    pub(super) fn is_finished(&self) -> bool {
        self.state.lock().finished
    }

    pub(super) fn turn(&self) -> MutexGuard<'_, ()> {
        self.turn.lock()
    }

    /// Waits until bytes may be read; false when the lane has come to its end instead.
    pub(super) fn await_reading(&self) -> bool {
        self.await_flow(|flow| !matches!(flow, Flow::Hold))
    }

    /// Waits until anything is let through; false when the lane has come to its end instead.
    pub(super) fn await_passing(&self) -> bool {
        self.await_flow(|flow| !matches!(flow, Flow::Hold | Flow::Drop))
    }

    fn await_flow(&self, is_right: impl Fn(&Flow) -> bool) -> bool {
        let mut state = self.state.lock();
        self.changed.wait_while(&mut state, |state| {
            !state.finished && !is_right(&state.flow)
        });
        !state.finished
    }

    /// How the connection ends when the flow has let through all that it lets through.
    pub(super) fn used_up(&self) -> Option<Ending> {
        let state = self.state.lock();
        match state.flow {
            // Nothing has passed under a flow that was set this moment.
            Flow::Cut { after, ending } if state.passed > 0 && state.passed >= after => {
                Some(ending)
            }
            _ => None,
        }
    }

    /// Waits until something is to be done with the `available` bytes. A flow that changes meanwhile
    /// counts at once.
    pub(super) fn next(&self, available: usize) -> Step {
        let mut state = self.state.lock();
        loop {
            if state.finished {
                return Step::Forget;
            }
            let (wait, count) = match state.flow {
                Flow::Pass => (Duration::ZERO, available),
                Flow::Drop => return Step::Forget,
                Flow::Hold => {
                    self.changed.wait(&mut state);
                    continue;
                }
                Flow::Delay(delay) => (delay, available),
                Flow::Trickle { piece, every } => (every, piece.clamp(1, available)),
                Flow::Cut { after, ending } => match after.saturating_sub(state.passed) {
                    0 => return Step::End(ending),
                    left => (Duration::ZERO, left.min(available)),
                },
            };
            if self.is_undisturbed_for(wait, &mut state) {
                state.passed += count;
                return Step::Write(count);
            }
        }
    }

    fn is_undisturbed_for(&self, time: Duration, state: &mut MutexGuard<'_, State>) -> bool {
        let (deadline, version) = (Instant::now() + time, state.version);
        while !time.is_zero() && !state.finished && state.version == version {
            if self.changed.wait_until(state, deadline).timed_out() {
                break;
            }
        }
        !state.finished && state.version == version
    }
}

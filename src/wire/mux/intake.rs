//! The intake of a connection: where callers leave their calls for the driver.
//!
//! Callers on all threads meet at its lock, and nowhere else. So it is held for a moment only: a caller
//! has encoded its command before and leaves a pointer, and the driver takes all pointers at once.

use std::{mem, task::Waker};

use crate::wire::{mux::call::SharedCall, position_question::Want};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    Open,
    /// Nothing is taken in and nothing written until it is reopened; replies still come.
    Paused,
    /// Nothing is taken in or written any more.
    Closed,
}

/// A command, or a portion of a pipeline, that was handed in.
#[derive(Debug)]
pub(super) struct Arrival {
    pub(super) call: SharedCall,
    /// How many commands it has.
    pub(super) count: usize,
    /// The tick in which the call came.
    pub(super) since: u32,
    /// Which positions the call wants to know.
    pub(super) want: Want,
}

#[derive(Debug)]
pub(super) struct Intake {
    phase: Phase,
    arrived: Vec<Arrival>,
    /// The current tick.
    now: u32,
    /// How many calls were abandoned, since the driver's last turn, that it had not taken.
    abandoned: usize,
    /// The connection is to be drained; the driver does so in its next turn.
    retired: bool,
    driver: Option<Waker>,
    /// The driver has seen everything that was handed in, and waits for more.
    asleep: bool,
}

/// What the driver finds at the intake.
#[derive(Debug, Clone, Copy)]
pub(super) struct Orders {
    pub(super) phase: Phase,
    pub(super) retired: bool,
    /// How many calls were abandoned, since the driver's last turn, that it had not taken.
    pub(super) abandoned: usize,
}

/// The callers' side. The waker that a method returns is the driver's, to be called without the lock.
impl Intake {
    pub(super) fn new() -> Self {
        Self {
            phase: Phase::Open,
            arrived: Vec::new(),
            now: 0,
            abandoned: 0,
            retired: false,
            driver: None,
            asleep: false,
        }
    }

    /// Leaves a call, or its next portion. `since` is the tick in which the call came, if it came before.
    /// Returns that tick, or the call where nothing is taken in.
    #[inline]
    pub(super) fn leave(
        &mut self,
        call: SharedCall,
        count: usize,
        want: Want,
        since: Option<u32>,
    ) -> Result<(u32, Option<Waker>), SharedCall> {
        if self.phase != Phase::Open {
            return Err(call);
        }
        let since = since.unwrap_or(self.now);
        self.arrived.push(Arrival {
            call,
            count,
            since,
            want,
        });
        Ok((since, self.rouse()))
    }

    /// A call was abandoned that the driver had not taken. It may stand in the way of others.
    pub(super) fn abandoned(&mut self) -> Option<Waker> {
        self.abandoned += 1;
        self.rouse()
    }

    #[inline]
    fn rouse(&mut self) -> Option<Waker> {
        if mem::take(&mut self.asleep) {
            return self.driver.clone();
        }
        None
    }

    /// Takes calls again after a pause; whether it takes them now.
    pub(super) fn reopen(&mut self) -> bool {
        if self.phase == Phase::Paused {
            self.phase = Phase::Open;
        }
        self.phase == Phase::Open
    }

    /// Asks the driver to drain the connection. It may wait for the socket rather than sleep, so it
    /// is to be woken in any case.
    pub(super) fn retire(&mut self) -> Option<Waker> {
        self.retired = true;
        self.driver.clone()
    }

    /// How to wake the driver, whatever it waits for.
    pub(super) fn driver(&self) -> Option<Waker> {
        self.driver.clone()
    }

    /// How many calls the driver has not seen.
    pub(super) fn len(&self) -> usize {
        self.arrived.len()
    }
}

/// The driver's side.
impl Intake {
    /// The driver's turn begins: it is awake, and this is how to wake it after that. Moves what was handed
    /// in to `arrived`, which is empty.
    #[inline]
    pub(super) fn take(&mut self, driver: &Waker, arrived: &mut Vec<Arrival>) -> Orders {
        self.asleep = false;
        match &mut self.driver {
            Some(known) => known.clone_from(driver),
            none => *none = Some(driver.clone()),
        }
        mem::swap(&mut self.arrived, arrived);
        Orders {
            phase: self.phase,
            retired: self.retired,
            abandoned: mem::take(&mut self.abandoned),
        }
    }

    /// The driver waits until something is handed in; false when something was.
    pub(super) fn sleep(&mut self) -> bool {
        self.asleep = self.arrived.is_empty() && self.abandoned == 0;
        self.asleep
    }

    /// A tick has passed. Moves what was handed in before to `arrived`, which is empty.
    pub(super) fn tick(&mut self, now: u32, arrived: &mut Vec<Arrival>) {
        mem::swap(&mut self.arrived, arrived);
        self.now = now;
    }

    /// Takes nothing in any more, for now or ever. Returns what the driver has not seen.
    pub(super) fn stop(&mut self, phase: Phase) -> Vec<Arrival> {
        self.phase = phase;
        mem::take(&mut self.arrived)
    }

    /// Nobody can wake the driver any more. Its waker is to be dropped without the lock.
    pub(super) fn forget_driver(&mut self) -> Option<Waker> {
        self.driver.take()
    }

    /// Gives back what grew under load.
    pub(super) fn shrink(&mut self) {
        if self.arrived.is_empty() {
            self.arrived = Vec::new();
        }
    }
}

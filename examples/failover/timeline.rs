//! Prints what happens, with the time since the load began.

use std::sync::Arc;

use tokio::time::Instant;

#[derive(Clone, Debug)]
pub(crate) struct Timeline {
    started: Instant,
    /// One line at a time, and in the order of their time stamps.
    turn: Arc<parking_lot::Mutex<()>>,
}

impl Timeline {
    pub(crate) fn start() -> Self {
        Self {
            started: Instant::now(),
            turn: Arc::default(),
        }
    }

    pub(crate) fn say(&self, text: &str) {
        let _turn = self.turn.lock();
        println!("{:7.2} s  {text}", self.started.elapsed().as_secs_f64());
    }

    pub(crate) fn headline(&self, text: &str) {
        let _turn = self.turn.lock();
        println!(
            "\n{:7.2} s  == {text}",
            self.started.elapsed().as_secs_f64()
        );
    }
}

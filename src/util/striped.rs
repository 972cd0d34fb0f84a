//! A counter that many threads raise at once.

use std::{
    cell::Cell,
    sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
};

/// More workers than this share stripes.
const STRIPES: usize = 8;

/// Each thread raises a stripe of its own: a common number would go from core to core with every call.
#[derive(Debug, Default)]
pub(crate) struct Striped([Stripe; STRIPES]);

/// Processors fetch lines of 64 bytes in pairs.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Stripe(AtomicU64);

impl Striped {
    #[inline]
    pub(crate) fn count(&self) {
        self.0[stripe()].0.fetch_add(1, Relaxed);
    }

    pub(crate) fn sum(&self) -> u64 {
        self.0.iter().map(|stripe| stripe.0.load(Relaxed)).sum()
    }
}

fn stripe() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static MINE: Cell<usize> = Cell::new(NEXT.fetch_add(1, Relaxed) % STRIPES);
    }
    MINE.get()
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, thread};

    use super::*;

    #[test]
    fn nothing_that_several_threads_count_is_lost() {
        let counter = Arc::new(Striped::default());
        let threads = [(); 2 * STRIPES + 1].map(|()| {
            let counter = Arc::clone(&counter);
            thread::spawn(move || (0..1000).for_each(|_| counter.count()))
        });
        for thread in threads {
            thread.join().unwrap();
        }
        assert_eq!(counter.sum(), 1000 * (2 * STRIPES as u64 + 1));
    }
}

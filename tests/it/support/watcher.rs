//! A thread that counts the connections of one name all the time.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use testkit::Server;

/// Looks at the number of connections of one name again and again, from a thread of its own.
pub(crate) struct Watcher {
    stop: Arc<AtomicBool>,
    thread: thread::JoinHandle<(usize, usize)>,
}

impl Watcher {
    pub(crate) fn start(server: &Server, name: &str) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let mut client = server.connect().unwrap();
        let needle = format!(" name={name} ");
        let thread = thread::spawn({
            let stop = Arc::clone(&stop);
            move || {
                let (mut most, mut looks) = (0, 0);
                while !stop.load(Ordering::Relaxed) {
                    let list = client.call(&["CLIENT", "LIST"]).unwrap();
                    most = most.max(list.as_str().matches(&needle).count());
                    looks += 1;
                }
                (most, looks)
            }
        });
        Self { stop, thread }
    }

    /// The most connections there ever were.
    pub(crate) fn most(self) -> usize {
        self.stop.store(true, Ordering::Relaxed);
        let (most, looks) = self.thread.join().unwrap();
        assert!(looks > 0, "never looked");
        most
    }
}

//! Listens to Sentinels on the test's own account.

use std::io::ErrorKind;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::client::{Client, Reply};
use crate::history::{Event, History, parse};

const READ_TIMEOUT: Duration = Duration::from_millis(200);
const RETRY: Duration = Duration::from_millis(20);

/// Takes down in a [`History`] what Sentinels publish, until it is dropped.
#[derive(Debug)]
pub struct Observer {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Observer {
    /// Listens on these ports. `history` is asked for the one to write to at every message.
    pub fn start(
        ports: impl IntoIterator<Item = u16>,
        master_name: &str,
        history: impl Fn() -> History + Clone + Send + 'static,
    ) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let listen = |port| {
            let (stop, history) = (Arc::clone(&stop), history.clone());
            let master_name = master_name.to_owned();
            thread::spawn(move || {
                while !stop.load(Relaxed) {
                    listen(port, &master_name, &history, &stop);
                    thread::sleep(RETRY);
                }
            })
        };
        let threads = ports.into_iter().map(listen).collect();
        Self { stop, threads }
    }
}

impl Drop for Observer {
    fn drop(&mut self) {
        self.stop.store(true, Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

/// Listens for as long as the connection holds.
fn listen(port: u16, master_name: &str, history: &impl Fn() -> History, stop: &AtomicBool) {
    let Ok(mut client) = Client::connect(port, READ_TIMEOUT) else {
        return;
    };
    if client.send(&["PSUBSCRIBE", "*"]).is_err() {
        return;
    }
    while !stop.load(Relaxed) {
        match client.read() {
            Ok(Reply::Array(message)) => {
                let [kind, _, channel, payload] = &message[..] else {
                    continue;
                };
                if kind.as_str() != "pmessage" {
                    continue;
                }
                let (channel, payload) = (channel.as_str(), payload.as_str());
                let history = history();
                history.note(Event::Note(format!("{port}: {channel} {payload}")));
                if let Some(event) = parse(channel, payload, master_name) {
                    history.note(event);
                }
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            _ => return,
        }
    }
}

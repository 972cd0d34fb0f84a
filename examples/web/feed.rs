//! What the page is told, once for all who look at it.

use std::{collections::VecDeque, sync::Arc};

use parking_lot::Mutex;
use tokio::sync::broadcast::{Receiver, Sender};

/// So many messages wait for a browser that is slow: some ten seconds of them.
const ROOM: usize = 32;
/// So many events are told to a browser that comes.
const EVENTS: usize = 200;

/// A message for the page, as the JSON text that every browser gets.
#[derive(Debug, Clone)]
pub(crate) struct Message {
    /// `snapshot` or `event`.
    pub(crate) name: &'static str,
    pub(crate) json: Arc<str>,
}

/// Any number may follow it. Nobody holds it up.
#[derive(Debug)]
pub(crate) struct Feed {
    /// None after the end.
    live: Mutex<Option<Live>>,
}

#[derive(Debug)]
struct Live {
    sender: Sender<Message>,
    events: VecDeque<Message>,
    snapshot: Option<Message>,
}

impl Default for Feed {
    fn default() -> Self {
        let live = Live {
            sender: Sender::new(ROOM),
            events: VecDeque::new(),
            snapshot: None,
        };
        Self {
            live: Mutex::new(Some(live)),
        }
    }
}

impl Feed {
    /// What has been told so far, and a receiver of all that follows. `None` after the end.
    pub(crate) fn follow(&self) -> Option<(Vec<Message>, Receiver<Message>)> {
        let live = self.live.lock();
        let live = live.as_ref()?;
        // Under the lock, so that nothing is told twice or left out.
        let so_far = live.events.iter().chain(&live.snapshot).cloned();
        Some((so_far.collect(), live.sender.subscribe()))
    }

    pub(crate) fn event(&self, json: String) {
        self.tell("event", json);
    }

    pub(crate) fn snapshot(&self, json: String) {
        self.tell("snapshot", json);
    }

    fn tell(&self, name: &'static str, json: String) {
        let mut live = self.live.lock();
        let Some(live) = live.as_mut() else { return };
        let json = json.into();
        let message = Message { name, json };
        if name == "event" {
            live.events.push_back(message.clone());
            if live.events.len() > EVENTS {
                live.events.pop_front();
            }
        } else {
            live.snapshot = Some(message.clone());
        }
        // An error says that nobody looks.
        let _ = live.sender.send(message);
    }

    /// Everybody's stream ends.
    pub(crate) fn end(&self) {
        drop(self.live.lock().take());
    }
}

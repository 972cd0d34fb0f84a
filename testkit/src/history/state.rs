//! What a server holds of that which a history speaks of.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::io;

use super::{Action, Call};
use crate::client::Reply;
use crate::server::Server;

/// What a server holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct State {
    /// Keys that were set, with their values.
    pub keys: HashMap<String, String>,
    /// Counters that exist.
    pub counters: HashMap<String, i64>,
    /// Lists that exist.
    pub lists: HashMap<String, Vec<String>>,
    members: HashMap<String, HashSet<String>>,
}

impl State {
    /// Asks a server for everything that these calls set, counted or appended.
    ///
    /// # Errors
    ///
    /// When the server does not answer.
    pub fn of(server: &Server, calls: &[Call]) -> io::Result<Self> {
        let mut keys = Vec::new();
        let (mut counters, mut lists) = (BTreeSet::new(), BTreeSet::new());
        for call in calls {
            match &call.action {
                Action::Set { key, .. } => keys.push(key.as_str()),
                Action::Incr { key } => drop(counters.insert(key.as_str())),
                Action::Push { key, .. } => drop(lists.insert(key.as_str())),
                Action::Get { .. } | Action::Echo { .. } => {}
            }
        }
        let mut client = server.connect()?;
        let mut state = Self::default();
        for some in keys.chunks(500) {
            let command: Vec<&str> = ["MGET"].into_iter().chain(some.iter().copied()).collect();
            let values = client.call(&command)?;
            for (key, value) in some.iter().zip(values.array()) {
                if !value.is_nil() {
                    let value = value.as_str().to_owned();
                    state.keys.insert((*key).to_owned(), value);
                }
            }
        }
        for key in counters {
            let value = client.call(&["GET", key])?;
            if value != Reply::Nil {
                state.counters.insert(key.to_owned(), value.as_int());
            }
        }
        for key in lists {
            let elements = client.call(&["LRANGE", key, "0", "-1"])?;
            let elements = elements.array().iter();
            state.add_list(key, elements.map(|element| element.as_str().to_owned()));
        }
        Ok(state)
    }

    /// Adds a list.
    pub fn add_list(&mut self, key: &str, elements: impl IntoIterator<Item = String>) {
        let elements: Vec<String> = elements.into_iter().collect();
        let members = elements.iter().cloned().collect();
        self.members.insert(key.to_owned(), members);
        self.lists.insert(key.to_owned(), elements);
    }

    /// Whether the effect of a write is there, where one can tell it from others.
    pub(super) fn has(&self, action: &Action) -> bool {
        match action {
            Action::Set { key, value } => self.keys.get(key) == Some(value),
            Action::Push { key, element } => self
                .members
                .get(key)
                .is_some_and(|members| members.contains(element)),
            Action::Incr { .. } | Action::Get { .. } | Action::Echo { .. } => true,
        }
    }

    pub(super) fn counter(&self, key: &str) -> i64 {
        self.counters.get(key).copied().unwrap_or(0)
    }
}

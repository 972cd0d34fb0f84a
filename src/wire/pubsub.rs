//! One connection that is subscribed: commands out, messages and confirmations in.
//!
//! In RESP3 what comes in are pushes, in RESP2 arrays. The two are alike otherwise, and no command whose
//! reply is an array is sent here, so an array is never anything else.

use std::{
    future::{Future, poll_fn},
    mem,
    pin::pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use redis::{Cmd, PushKind, ServerError, Value, cmd};
use tokio::task::unconstrained;

use crate::{
    config::edition::Edition,
    error::failure::Cause,
    wire::{connection::WireConnection, framed::Framed},
};

/// What can be subscribed to.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Subject {
    Channel(Bytes),
    Pattern(Bytes),
}

impl Subject {
    pub(crate) fn name(&self) -> &Bytes {
        match self {
            Self::Channel(name) | Self::Pattern(name) => name,
        }
    }
}

/// What is sent over a subscribed connection. The subjects of one command are all channels, or all
/// patterns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Order {
    Subscribe(Vec<Subject>),
    Unsubscribe(Vec<Subject>),
    Ping,
}

impl Order {
    fn cmd(&self) -> Cmd {
        let (name, subjects) = match self {
            Self::Subscribe(subjects) => match subjects.first() {
                Some(Subject::Pattern(_)) => ("PSUBSCRIBE", subjects),
                _ => ("SUBSCRIBE", subjects),
            },
            Self::Unsubscribe(subjects) => match subjects.first() {
                Some(Subject::Pattern(_)) => ("PUNSUBSCRIBE", subjects),
                _ => ("UNSUBSCRIBE", subjects),
            },
            Self::Ping => return cmd("PING"),
        };
        let mut order = cmd(name);
        for subject in subjects {
            order.arg(&subject.name()[..]);
        }
        order
    }
}

/// What comes in.
#[derive(Debug)]
pub(crate) enum Incoming {
    Message {
        channel: Vec<u8>,
        pattern: Option<Vec<u8>>,
        payload: Vec<u8>,
    },
    Subscribed(Subject),
    Unsubscribed(Subject),
    Pong,
    Refused(ServerError),
    /// A push about something else.
    Other,
}

pub(crate) struct PubSubConnection {
    framed: Framed,
    edition: Edition,
    /// The generation of the credentials that it has signed in with.
    login: u64,
    /// What goes out after that which `framed` is writing.
    out: Vec<u8>,
}

impl PubSubConnection {
    pub(crate) fn new(connection: WireConnection) -> Self {
        let (edition, login) = (connection.edition(), connection.login());
        let (framed, _) = connection.into_framed();
        Self {
            framed,
            edition,
            login,
            out: Vec::new(),
        }
    }

    /// As [`WireConnection::login`].
    pub(crate) fn login(&self) -> u64 {
        self.login
    }

    /// As [`Edition::has_successor`].
    pub(crate) fn has_successor(&self) -> bool {
        self.edition.has_successor()
    }

    /// Puts a command behind those that wait to be written.
    pub(crate) fn send(&mut self, order: &Order) {
        order.cmd().write_packed_command(&mut self.out);
    }

    /// Writes as much as the socket takes. Where the server has closed the connection, reading tells.
    pub(crate) fn write(&mut self, cx: &mut Context<'_>) -> Result<(), Cause> {
        while let Poll::Ready(written) = self.framed.poll_write(cx) {
            written?;
            if self.out.is_empty() {
                break;
            }
            mem::swap(self.framed.begin(), &mut self.out);
        }
        Ok(())
    }

    pub(crate) fn poll_incoming(&mut self, cx: &mut Context<'_>) -> Poll<Result<Incoming, Cause>> {
        self.framed.poll_decode(cx).map(|value| read(value?))
    }

    /// What is here already. The connection is not to be used for anything else after this.
    pub(crate) fn poll_rest(&mut self, cx: &mut Context<'_>) -> Option<Incoming> {
        // Without a share of tokio's budget: nothing is left behind because the task has done much.
        let next = pin!(unconstrained(poll_fn(|cx| self.poll_incoming(cx))));
        match next.poll(cx) {
            Poll::Ready(Ok(incoming)) => Some(incoming),
            _ => None,
        }
    }

    /// Gives back buffers that grew.
    pub(crate) fn trim(&mut self) {
        if self.out.is_empty() && self.framed.is_flushed() {
            self.framed.trim();
            self.out = Vec::new();
        }
    }
}

fn read(value: Value) -> Result<Incoming, Cause> {
    match value {
        Value::ServerError(error) => Ok(Incoming::Refused(error)),
        // So a server answers a PING in RESP3, and in RESP2 while nothing is subscribed to.
        Value::SimpleString(word) if word == "PONG" => Ok(Incoming::Pong),
        Value::Push { kind, data } => match kind {
            PushKind::Message => message(data),
            PushKind::PMessage => pattern_message(data),
            PushKind::Subscribe => confirmation(data, Subject::Channel).map(Incoming::Subscribed),
            PushKind::PSubscribe => confirmation(data, Subject::Pattern).map(Incoming::Subscribed),
            PushKind::Unsubscribe => {
                confirmation(data, Subject::Channel).map(Incoming::Unsubscribed)
            }
            PushKind::PUnsubscribe => {
                confirmation(data, Subject::Pattern).map(Incoming::Unsubscribed)
            }
            _ => Ok(Incoming::Other),
        },
        Value::Array(mut parts) if !parts.is_empty() => {
            let kind = bytes(parts.remove(0))?;
            match &kind[..] {
                b"message" => message(parts),
                b"pmessage" => pattern_message(parts),
                b"subscribe" => confirmation(parts, Subject::Channel).map(Incoming::Subscribed),
                b"psubscribe" => confirmation(parts, Subject::Pattern).map(Incoming::Subscribed),
                b"unsubscribe" => confirmation(parts, Subject::Channel).map(Incoming::Unsubscribed),
                b"punsubscribe" => {
                    confirmation(parts, Subject::Pattern).map(Incoming::Unsubscribed)
                }
                b"pong" => Ok(Incoming::Pong),
                _ => Err(Cause::unasked()),
            }
        }
        _ => Err(Cause::unasked()),
    }
}

fn message(parts: Vec<Value>) -> Result<Incoming, Cause> {
    let [channel, payload] = exactly(parts)?;
    Ok(Incoming::Message {
        channel: bytes(channel)?,
        pattern: None,
        payload: bytes(payload)?,
    })
}

fn pattern_message(parts: Vec<Value>) -> Result<Incoming, Cause> {
    let [pattern, channel, payload] = exactly(parts)?;
    Ok(Incoming::Message {
        channel: bytes(channel)?,
        pattern: Some(bytes(pattern)?),
        payload: bytes(payload)?,
    })
}

/// The last part counts all subscriptions. What is subscribed to is known without it.
fn confirmation(parts: Vec<Value>, subject: fn(Bytes) -> Subject) -> Result<Subject, Cause> {
    let [name, _] = exactly(parts)?;
    Ok(subject(bytes(name)?.into()))
}

fn exactly<const N: usize>(parts: Vec<Value>) -> Result<[Value; N], Cause> {
    parts.try_into().map_err(|_| Cause::unasked())
}

fn bytes(value: Value) -> Result<Vec<u8>, Cause> {
    match value {
        Value::BulkString(bytes) => Ok(bytes),
        Value::SimpleString(text) => Ok(text.into_bytes()),
        // The codec makes this of a simple string.
        Value::Okay => Ok(b"OK".to_vec()),
        Value::VerbatimString { text, .. } => Ok(text.into_bytes()),
        _ => Err(Cause::unasked()),
    }
}

#[cfg(test)]
mod tests;

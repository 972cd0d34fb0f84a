//! The open connections of a subscriber, at most two.

use std::{
    future::poll_fn,
    task::{Context, Poll, Waker},
};

use crate::{
    error::failure::Cause,
    node::Node,
    subscriber::link::LinkId,
    wire::pubsub::{Incoming, Order, PubSubConnection},
};

/// So many are read together, before the task looks at anything else.
const BATCH: usize = 256;
/// And so many bytes of messages: what waits for the reader is bounded in bytes, too.
const BATCH_BYTES: usize = 256 * 1024;

#[derive(Default)]
pub(super) struct Sockets {
    open: Vec<Socket>,
}

struct Socket {
    id: LinkId,
    node: Node,
    connection: PubSubConnection,
}

/// What a connection has brought.
pub(super) type Arrival = (LinkId, Result<Incoming, Cause>);

impl Sockets {
    pub(super) fn open(&mut self, id: LinkId, node: Node, connection: PubSubConnection) {
        self.open.push(Socket {
            id,
            node,
            connection,
        });
    }

    pub(super) fn close(&mut self, id: LinkId) {
        self.open.retain(|socket| socket.id != id);
    }

    pub(super) fn get(&mut self, id: LinkId) -> Option<&mut PubSubConnection> {
        let mut open = self.open.iter_mut();
        open.find(|it| it.id == id).map(|it| &mut it.connection)
    }

    pub(super) fn node(&self, id: LinkId) -> Option<&Node> {
        let mut open = self.open.iter();
        open.find(|it| it.id == id).map(|it| &it.node)
    }

    pub(super) fn send(&mut self, id: LinkId, order: &Order) {
        if let Some(connection) = self.get(id) {
            connection.send(order);
        }
    }

    /// Gives back buffers that grew.
    pub(super) fn trim(&mut self) {
        for socket in &mut self.open {
            socket.connection.trim();
        }
    }

    /// Writes what waits to be written, and waits until something comes. Takes at most `room` from the
    /// connection that serves, and nothing if that is zero.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost: what was taken is returned in the same poll.
    pub(super) async fn next(&mut self, serving: Option<LinkId>, room: usize) -> Vec<Arrival> {
        poll_fn(|cx| {
            let arrivals = self.take(cx, serving, room);
            if arrivals.is_empty() {
                Poll::Pending
            } else {
                Poll::Ready(arrivals)
            }
        })
        .await
    }

    fn take(&mut self, cx: &mut Context<'_>, serving: Option<LinkId>, room: usize) -> Vec<Arrival> {
        let mut arrivals = Vec::new();
        for Socket { id, connection, .. } in &mut self.open {
            if let Err(cause) = connection.write(cx) {
                arrivals.push((*id, Err(cause)));
                continue;
            }
            let most = if Some(*id) == serving { room } else { BATCH };
            let mut bytes = 0;
            for _ in 0..most.min(BATCH) {
                if bytes >= BATCH_BYTES {
                    break;
                }
                let Poll::Ready(arrival) = connection.poll_incoming(cx) else {
                    break;
                };
                let is_over = arrival.is_err();
                if let Ok(Incoming::Message { payload, .. }) = &arrival {
                    bytes += payload.len();
                }
                arrivals.push((*id, arrival));
                if is_over {
                    break;
                }
            }
        }
        arrivals
    }

    /// What this connection has brought already, at most this much. It is to be closed then: nothing wakes
    /// the task for what comes later.
    pub(super) fn rest(&mut self, id: LinkId, most: usize) -> Vec<Incoming> {
        let Some(connection) = self.get(id) else {
            return Vec::new();
        };
        let mut cx = Context::from_waker(Waker::noop());
        std::iter::from_fn(|| connection.poll_rest(&mut cx))
            .take(most)
            .collect()
    }
}

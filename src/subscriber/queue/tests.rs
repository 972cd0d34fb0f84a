use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    task::Wake,
    time::Duration,
};

use super::*;
use crate::subscriber::notice::GapCause;

#[derive(Default)]
struct Woken(AtomicUsize);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Relaxed);
    }
}

impl Woken {
    fn take(&self) -> usize {
        self.0.swap(0, Relaxed)
    }
}

fn node() -> Node {
    Node::new("127.0.0.1", 6379)
}

fn message(bytes: usize) -> Message {
    Message::new(Vec::new(), None, vec![b'x'; bytes], node())
}

fn queue(buffer: usize, buffer_bytes: usize) -> Queue {
    Queue::new(&SubscriberOptions {
        buffer,
        buffer_bytes,
        ..SubscriberOptions::default()
    })
}

fn next(queue: &Queue) -> Poll<Option<Notice>> {
    queue.poll_next(&mut Context::from_waker(Waker::noop()))
}

#[test]
fn notices_come_in_their_order_and_then_the_end() {
    let queue = queue(10, 1000);
    assert!(next(&queue).is_pending());
    queue.message(message(1));
    let gap = Gap {
        from: None,
        to: node(),
        since: Duration::ZERO,
        why: GapCause::Silent,
        refused: Vec::new(),
    };
    queue.gap(gap.clone());
    queue.message(message(2));
    queue.set_node(Some(node()));
    queue.end();
    assert_eq!(next(&queue), Poll::Ready(Some(Notice::Message(message(1)))));
    assert_eq!(next(&queue), Poll::Ready(Some(Notice::Gap(gap))));
    assert_eq!(next(&queue), Poll::Ready(Some(Notice::Message(message(2)))));
    assert_eq!(next(&queue), Poll::Ready(None));
    assert_eq!(next(&queue), Poll::Ready(None));
    assert_eq!(queue.node(), None);
}

#[test]
fn it_is_full_by_count_or_by_bytes() {
    // buffer, bytes, messages of so many bytes, room after each
    let cases: &[(usize, usize, usize, &[usize])] = &[
        (3, 1000, 1, &[2, 1, 0, 0]),
        (0, 1000, 1, &[0, 0]),
        (3, 10, 5, &[2, 0, 0]),
        (3, 10, 100, &[0, 0]),
        (3, 0, 0, &[2, 1, 0]),
        (3, 0, 1, &[0, 0]),
    ];
    for (buffer, most_bytes, bytes, room) in cases {
        let queue = queue(*buffer, *most_bytes);
        for expected in *room {
            queue.message(message(*bytes));
            assert_eq!(queue.room(), *expected, "{buffer} {most_bytes} {bytes}");
        }
    }
}

#[test]
fn the_task_is_woken_once_when_half_of_a_full_queue_is_read() {
    let queue = queue(4, 1000);
    let woken = Arc::new(Woken::default());
    let waker = Waker::from(Arc::clone(&woken));
    let mut cx = Context::from_waker(&waker);
    for _ in 0..4 {
        queue.message(message(1));
    }
    assert!(queue.poll_drained(&mut cx).is_pending());
    assert!(next(&queue).is_ready());
    assert_eq!(woken.take(), 0);
    assert!(next(&queue).is_ready());
    assert_eq!(woken.take(), 1);
    assert!(queue.poll_drained(&mut cx).is_ready());
    assert!(next(&queue).is_ready());
    assert_eq!(woken.take(), 0, "nobody waits any more");
}

#[test]
fn a_reader_is_woken_by_a_notice_and_by_the_end() {
    let woken = Arc::new(Woken::default());
    let waker = Waker::from(Arc::clone(&woken));
    let mut cx = Context::from_waker(&waker);
    let queue = queue(4, 1000);
    assert!(queue.poll_next(&mut cx).is_pending());
    assert!(queue.poll_next(&mut cx).is_pending());
    queue.message(message(1));
    queue.message(message(1));
    assert_eq!(woken.take(), 1);
    assert!(queue.poll_next(&mut cx).is_ready());
    assert!(queue.poll_next(&mut cx).is_ready());
    assert!(queue.poll_next(&mut cx).is_pending());
    queue.end();
    assert_eq!(woken.take(), 1);
}

use super::*;

fn in_line(wait_queue: &WaitQueue) -> (InLine<'_>, bool) {
    match wait_queue.enter() {
        Arrival::InLine(place, dial) => (place, dial),
        other => panic!("the queue is open and empty, not {other:?}"),
    }
}

#[test]
fn who_leaves_the_line_takes_his_ticket_and_leaves_his_dial() {
    let wait_queue = WaitQueue::default();
    let (first, dial) = in_line(&wait_queue);
    assert!(dial);
    let (_second, dial) = in_line(&wait_queue);
    assert!(dial);
    drop(first);
    assert_eq!(wait_queue.state.lock().waiters.len(), 1);
    let (_third, dial) = in_line(&wait_queue);
    assert!(!dial, "two dials are under way for two in line");
    assert!(!wait_queue.lacks_dial());
    assert_eq!(wait_queue.pending(), 2);
}

#[test]
fn a_connection_that_is_being_closed_keeps_its_place_until_it_is() {
    let wait_queue = WaitQueue::default();
    wait_queue.hold();
    let (first, dial) = in_line(&wait_queue);
    assert!(!dial && !wait_queue.lacks_dial(), "it is still open");
    assert!(wait_queue.release(), "now a dial may begin");
    assert_eq!(wait_queue.pending(), 1);
    wait_queue.hold();
    drop(first);
    assert!(!wait_queue.release(), "nobody wants one");
    assert_eq!(wait_queue.pending(), 1);
}

#[test]
fn a_dial_that_fails_is_tried_again_only_while_somebody_waits_for_it() {
    let wait_queue = WaitQueue::default();
    let (first, _) = in_line(&wait_queue);
    let (_second, _) = in_line(&wait_queue);
    assert!(wait_queue.failed(Error::Closed));
    drop(first);
    assert!(!wait_queue.failed(Error::Closed));
    assert!(wait_queue.failed(Error::Closed));
    assert_eq!(wait_queue.pending(), 1);
}

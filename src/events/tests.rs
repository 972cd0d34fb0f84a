use super::*;

fn back(port: u16) -> EventKind {
    EventKind::MasterBack {
        node: Node::new("10.0.0.1", port),
    }
}

/// What is there to be heard now.
fn heard(events: &mut Events) -> Option<Option<Event>> {
    let mut cx = Context::from_waker(std::task::Waker::noop());
    match events.poll(&mut cx) {
        Poll::Ready(event) => Some(event),
        Poll::Pending => None,
    }
}

fn kind(events: &mut Events) -> Option<EventKind> {
    Some(heard(events)??.kind)
}

#[test]
fn each_listener_hears_in_order_what_is_told_after_it_came() {
    let bus = Bus::default();
    bus.tell(1, back(1));
    let mut early = bus.listen();
    bus.tell(2, back(2));
    let mut late = bus.listen();
    bus.tell(3, back(3));
    for (events, expected) in [(&mut early, &[2, 3][..]), (&mut late, &[3])] {
        for port in expected {
            let event = heard(events).flatten().expect("it was told");
            assert_eq!(
                (event.kind, event.topology),
                (back(*port), u64::from(*port))
            );
        }
        assert_eq!(heard(events), None);
    }
}

#[test]
fn a_slow_listener_is_told_how_many_it_missed_and_goes_on() {
    let bus = Bus::default();
    let mut slow = bus.listen();
    let mut quick = bus.listen();
    let all = u16::try_from(ROOM).unwrap() + 3;
    for port in 1..=all {
        bus.tell(u64::from(port), back(port));
        assert_eq!(kind(&mut quick), Some(back(port)));
    }
    assert_eq!(kind(&mut slow), Some(EventKind::Missed { count: 3 }));
    for port in 4..=all {
        assert_eq!(kind(&mut slow), Some(back(port)));
    }
    assert_eq!(heard(&mut slow), None);
}

#[test]
fn after_the_end_the_rest_is_heard_and_then_nothing() {
    let bus = Bus::default();
    let mut events = bus.listen();
    bus.tell(1, back(1));
    bus.close();
    bus.tell(2, back(2));
    bus.close();
    assert_eq!(kind(&mut events), Some(back(1)));
    for events in [&mut events, &mut bus.listen()] {
        assert_eq!(heard(events), Some(None));
        assert_eq!(heard(events), Some(None));
    }
}

#[test]
fn a_listener_wakes_when_something_is_told_and_when_all_ends() {
    let bus = Bus::default();
    let mut events = bus.listen();
    let told = futures(&mut events);
    bus.tell(1, back(1));
    assert!(told.load(std::sync::atomic::Ordering::SeqCst));
    assert_eq!(kind(&mut events), Some(back(1)));
    let ended = futures(&mut events);
    bus.close();
    assert!(ended.load(std::sync::atomic::Ordering::SeqCst));
}

/// Polls with a waker that says when it was woken.
fn futures(events: &mut Events) -> std::sync::Arc<std::sync::atomic::AtomicBool> {
    use std::sync::{Arc, atomic::AtomicBool, atomic::Ordering::SeqCst};

    struct Woken(Arc<AtomicBool>);
    impl std::task::Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.store(true, SeqCst);
        }
    }
    let woken = Arc::new(AtomicBool::new(false));
    let waker = Arc::new(Woken(Arc::clone(&woken))).into();
    assert!(events.poll(&mut Context::from_waker(&waker)).is_pending());
    woken
}

#[cfg(feature = "serde")]
#[test]
fn an_event_is_serialized_with_its_name_and_what_it_tells() {
    let event = Event {
        at: SystemTime::UNIX_EPOCH + Duration::from_millis(1500),
        topology: 7,
        kind: EventKind::FenceLifted {
            held: Duration::from_millis(250),
            outcome: Lifted::NewMaster,
        },
    };
    let json = serde_json::to_value(&event).unwrap();
    let expected = serde_json::json!({
        "at": 1.5, "topology": 7, "event": "fence_lifted", "held": 0.25, "outcome": "new_master",
    });
    assert_eq!(json, expected);
    for kind in [
        back(1),
        EventKind::Missed { count: 1 },
        EventKind::ReplicaExcluded {
            node: Node::new("a", 1),
            why: Excluded::CatchingUp,
        },
        EventKind::Retired {
            pool: PoolName::Read,
            reason: Discard::Credentials,
            count: 2,
        },
    ] {
        let name = kind.as_str();
        assert_eq!(serde_json::to_value(kind).unwrap()["event"], name);
    }
}

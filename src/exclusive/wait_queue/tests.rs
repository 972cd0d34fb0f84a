use super::*;

fn in_line(dock: &Dock) -> (InLine<'_>, bool) {
    match dock.enter() {
        Arrival::InLine(place, dial) => (place, dial),
        other => panic!("the dock is open and empty, not {other:?}"),
    }
}

#[test]
fn who_leaves_the_line_takes_his_ticket_and_leaves_his_dial() {
    let dock = Dock::default();
    let (first, dial) = in_line(&dock);
    assert!(dial);
    let (_second, dial) = in_line(&dock);
    assert!(dial);
    drop(first);
    assert_eq!(dock.state.lock().line.len(), 1);
    let (_third, dial) = in_line(&dock);
    assert!(!dial, "two dials are under way for two in line");
    assert!(!dock.lacks_dial());
    assert_eq!(dock.pending(), 2);
}

#[test]
fn a_connection_that_is_being_closed_keeps_its_place_until_it_is() {
    let dock = Dock::default();
    dock.hold();
    let (first, dial) = in_line(&dock);
    assert!(!dial && !dock.lacks_dial(), "it is still open");
    assert!(dock.release(), "now a dial may begin");
    assert_eq!(dock.pending(), 1);
    dock.hold();
    drop(first);
    assert!(!dock.release(), "nobody wants one");
    assert_eq!(dock.pending(), 1);
}

#[test]
fn a_dial_that_fails_is_tried_again_only_while_somebody_waits_for_it() {
    let dock = Dock::default();
    let (first, _) = in_line(&dock);
    let (_second, _) = in_line(&dock);
    assert!(dock.failed(Error::Closed));
    drop(first);
    assert!(!dock.failed(Error::Closed));
    assert!(dock.failed(Error::Closed));
    assert_eq!(dock.pending(), 1);
}

use super::*;

#[test]
fn a_message_shows_no_payload_and_forges_no_line() {
    let node = Node::new("127.0.0.1", 6379);
    let message = Message::new(b"c\n\xff".to_vec(), None, b"secret".to_vec(), node);
    let shown = format!("{message:?} {:?}", Notice::Message(message.clone()));
    assert!(!shown.contains("secret"), "{shown}");
    assert!(!shown.contains('\n'), "{shown}");
    assert!(shown.contains("6 bytes"), "{shown}");
}

#[test]
fn a_payload_is_read_as_a_value() {
    let message = |payload: &[u8]| {
        let node = Node::new("127.0.0.1", 6379);
        Message::new(b"c".to_vec(), None, payload.to_vec(), node)
    };
    assert_eq!(message(b"42").get::<u32>().unwrap(), 42);
    assert_eq!(message(b"x").get::<String>().unwrap(), "x");
    assert_eq!(message(b"\xff").get::<Vec<u8>>().unwrap(), [0xff]);
    message(b"x").get::<u32>().unwrap_err();
    message(b"\xff").get::<String>().unwrap_err();
}

#[test]
fn a_gap_says_what_happened_in_one_line() {
    let gap = Gap {
        from: None,
        to: Node::new("10.0.0.2", 6379),
        since: Duration::from_millis(1234),
        why: GapCause::ConnectionLost("the server closed the connection".to_owned()),
        refused: vec![Refusal {
            name: b"a\nb".to_vec(),
            is_pattern: false,
            error: "NOPERM".to_owned(),
        }],
    };
    assert_eq!(
        gap.to_string(),
        "messages of the last 1.2s may be missing: the connection was lost: the server closed the \
         connection; they come from 10.0.0.2:6379 now; channel \"a\\\\nb\" is refused there: NOPERM"
    );
}

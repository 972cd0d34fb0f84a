use redis::parse_redis_value;

use super::*;

fn shown(reply: &[u8]) -> String {
    match read(parse_redis_value(reply).unwrap()) {
        Ok(incoming) => format!("{incoming:?}"),
        Err(_) => "unasked".to_owned(),
    }
}

#[test]
fn both_protocols_say_the_same() {
    let kinds: [(&str, &str); 7] = [
        (
            "$7\r\nmessage\r\n$2\r\nc\n\r\n$3\r\n\x00\r\n\r\n",
            r"Message { channel: [99, 10], pattern: None, payload: [0, 13, 10] }",
        ),
        (
            "$8\r\npmessage\r\n$1\r\np\r\n$1\r\nc\r\n$0\r\n\r\n",
            "Message { channel: [99], pattern: Some([112]), payload: [] }",
        ),
        (
            "$9\r\nsubscribe\r\n$0\r\n\r\n:1\r\n",
            r#"Subscribed(Channel(b""))"#,
        ),
        (
            "$10\r\npsubscribe\r\n$2\r\nc*\r\n:1\r\n",
            r#"Subscribed(Pattern(b"c*"))"#,
        ),
        (
            "$11\r\nunsubscribe\r\n$1\r\nc\r\n:0\r\n",
            r#"Unsubscribed(Channel(b"c"))"#,
        ),
        (
            "$12\r\npunsubscribe\r\n$1\r\nc\r\n:0\r\n",
            r#"Unsubscribed(Pattern(b"c"))"#,
        ),
        ("$4\r\npong\r\n$0\r\n\r\n", "Pong"),
    ];
    for (parts, expected) in kinds {
        let count = parts.matches('$').count() + parts.matches(':').count();
        let array = shown(format!("*{count}\r\n{parts}").as_bytes());
        assert_eq!(array, expected);
        if expected != "Pong" {
            let push = shown(format!(">{count}\r\n{parts}").as_bytes());
            assert_eq!(push, expected);
        }
    }
    assert_eq!(shown(b"+PONG\r\n"), "Pong");
}

#[test]
fn what_nobody_asked_for_ends_the_connection_and_other_pushes_do_not() {
    let malformed: [&[u8]; 7] = [
        b"*0\r\n",
        b"*1\r\n$7\r\nmessage\r\n",
        b"*3\r\n$7\r\nmessage\r\n$1\r\nc\r\n*0\r\n",
        b"*3\r\n$5\r\nother\r\n$1\r\nc\r\n:1\r\n",
        b">2\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n",
        b":1\r\n",
        b"$2\r\nOK\r\n",
    ];
    for reply in malformed {
        assert_eq!(shown(reply), "unasked", "{}", reply.escape_ascii());
    }
    assert_eq!(shown(b">2\r\n$10\r\ninvalidate\r\n*0\r\n"), "Other");
    assert!(shown(b"-NOPERM no\r\n").starts_with("Refused"));
}

#[test]
fn an_order_names_its_subjects_byte_for_byte() {
    let packed = |order: Order| {
        let packed = order.cmd().get_packed_command();
        packed.escape_ascii().to_string()
    };
    let odd = Bytes::from_static(b"\r\n \xff");
    assert_eq!(
        packed(Order::Subscribe(vec![
            Subject::Channel(odd.clone()),
            Subject::Channel(Bytes::new())
        ])),
        r"*3\r\n$9\r\nSUBSCRIBE\r\n$4\r\n\r\n \xff\r\n$0\r\n\r\n"
    );
    assert_eq!(
        packed(Order::Unsubscribe(vec![Subject::Pattern(odd)])),
        r"*2\r\n$12\r\nPUNSUBSCRIBE\r\n$4\r\n\r\n \xff\r\n"
    );
    assert_eq!(packed(Order::Ping), r"*1\r\n$4\r\nPING\r\n");
}

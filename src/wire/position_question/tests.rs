use redis::cmd;

use super::*;
use crate::node::Role;

const ONE: &str = "0123456789abcdef0123456789abcdef01234567";
const OTHER: &str = "89abcdef0123456789abcdef0123456701234567";

fn master(timeline: &str, offset: u64) -> String {
    format!(
        "# Replication\r\nrole:master\r\nmaster_replid:{timeline}\r\nmaster_repl_offset:{offset}\r\n"
    )
}

fn at(timeline: &str, offset: u64) -> Answer {
    answer_text(master(timeline, offset).as_bytes())
}

#[test]
fn a_question_is_the_command_of_which_positions_are_read() {
    let mut info = cmd("INFO");
    info.arg("replication");
    assert_eq!(QUESTION, info.get_packed_command());
}

#[test]
fn a_want_says_on_which_sides_to_ask() {
    let sides = |want: Want| (want.ahead(), want.behind(), want.count());
    assert_eq!(sides(Want::NOTHING), (false, false, 0));
    assert_eq!(sides(Want::AHEAD), (true, false, 1));
    assert_eq!(sides(Want::BEHIND), (false, true, 1));
    assert_eq!(sides(Want::BOTH), (true, true, 2));
    assert_eq!(Want::default(), Want::NOTHING);
}

#[test]
fn a_reply_in_either_protocol_is_a_position_and_an_error_says_that_it_was_refused() {
    let text = master(ONE, 7);
    let bulk = Value::BulkString(text.clone().into_bytes());
    let verbatim = Value::VerbatimString {
        format: redis::VerbatimFormat::Text,
        text: text.clone(),
    };
    for answer in [answer(bulk), answer(verbatim), answer_text(text.as_bytes())] {
        let report = answer.as_ref().unwrap();
        assert_eq!((report.role, report.position.offset), (Role::Master, 7));
    }
    let refusal = redis::parse_redis_value(b"-NOPERM no permission\r\n").unwrap();
    let Value::ServerError(error) = refusal.clone() else {
        panic!("it is an error");
    };
    assert_eq!(*answer(refusal), Err(NoAnswer::Refused(error)));
    for odd in [Value::Nil, Value::Int(1), Value::Okay] {
        assert!(matches!(*answer(odd), Err(NoAnswer::NoPosition(_))));
    }
    assert!(matches!(*answer_text(b""), Err(NoAnswer::NoPosition(_))));
}

#[test]
fn of_two_answers_the_one_that_goes_less_far_counts_for_both() {
    let unknown = answer_text(b"");
    for (first, second, expected) in [
        (at(ONE, 5), at(ONE, 6), at(ONE, 5)),
        (at(ONE, 6), at(ONE, 5), at(ONE, 5)),
        (at(ONE, 5), at(ONE, 5), at(ONE, 5)),
        (at(ONE, 5), at(OTHER, 6), Answer::new(Err(NoAnswer::Mixed))),
        (unknown.clone(), at(ONE, 5), unknown.clone()),
        (at(ONE, 5), unknown.clone(), unknown),
    ] {
        assert_eq!(earlier(&first, &second), expected);
    }
}

use std::io;

use super::*;
use crate::{
    error::{Error, failure::Peer},
    node::{Node, Role},
    retry::request::PipelineRequest,
};

fn failed(cause: Cause, fate: Fate) -> RedisError {
    let failure = Failure {
        peer: Peer::Node(Role::Master),
        node: Node::new("127.0.0.1", 6379),
        cause,
        fate,
    };
    failure.into()
}

fn reply(line: &str) -> Value {
    redis::parse_redis_value(format!("{line}\r\n").as_bytes()).unwrap()
}

#[test]
fn what_is_known_of_one_command() {
    let lost = || Err(failed(Cause::Closed, Fate::Unknown));
    let unwritten = || Err(failed(Cause::Closed, Fate::NotExecuted));
    let closed = || Err(RedisError::from(Error::Closed));
    let (get, set) = (cmd("GET"), cmd("SET"));
    let script = cmd("EVAL");
    let wrong = "-WRONGTYPE Operation against a key";
    for (cmd, result, expected) in [
        (&get, Ok(reply("+1")), Effect::Nothing),
        (&get, lost(), Effect::Nothing),
        (&set, Ok(reply("+OK")), Effect::Executed),
        (&set, Ok(reply(wrong)), Effect::Nothing),
        (&set, lost(), Effect::Unknown),
        (&set, unwritten(), Effect::Nothing),
        (&set, closed(), Effect::Nothing),
        (&script, Ok(reply(wrong)), Effect::Executed),
    ] {
        assert_eq!(Effect::of(cmd, &result), expected, "{result:?}");
    }
}

#[test]
fn what_is_known_of_an_atomic_pipeline() {
    let mut writes = pipe();
    writes.atomic().set("a", 1);
    let mut reads = pipe();
    reads.atomic().get("a");
    let mut plain = pipe();
    plain.set("a", 1).set("b", 1);
    let abort = "-EXECABORT Transaction discarded because of previous errors.";
    let readonly = "-READONLY You can't write";
    for (pipeline, lines, expected) in [
        (
            &writes,
            &["+OK", "+QUEUED", "*1\r\n+OK"][..],
            Effect::Executed,
        ),
        (&writes, &["+OK", "+QUEUED", "*-1"], Effect::Nothing),
        (&writes, &["+OK", readonly, abort], Effect::Nothing),
        (&reads, &["+OK", "+QUEUED", "*1\r\n+1"], Effect::Nothing),
        (&plain, &[readonly, readonly], Effect::Nothing),
        (&plain, &["+OK", readonly], Effect::Executed),
    ] {
        let replies = Ok(lines.iter().map(|line| reply(line)).collect());
        assert_eq!(
            Effect::of(PipelineRequest::of(pipeline), &replies),
            expected,
            "{lines:?}"
        );
    }
    let lost = Err(failed(Cause::Closed, Fate::Unknown));
    assert_eq!(
        Effect::of(PipelineRequest::of(&writes), &lost),
        Effect::Unknown
    );
}

#[test]
fn what_may_pass_on_another_connection() {
    let io = Cause::Io("reset".to_owned(), io::ErrorKind::ConnectionReset);
    for (cause, expected) in [
        (Cause::Closed, true),
        (io, true),
        (Cause::Unusable, true),
        (Cause::Superseded(None), true),
        (Cause::Timeout(Duration::ZERO), false),
        (Cause::Fenced(String::new(), Duration::ZERO), false),
        (Cause::RuntimeEnded, false),
        (Cause::Contended(1), false),
    ] {
        let text = cause.to_string();
        let error = failed(cause, Fate::NotExecuted);
        assert_eq!(may_pass(&error), expected, "{text}");
    }
    assert!(!may_pass(&Error::Closed.into()));
}

#[test]
fn pauses_grow_to_a_limit() {
    for (rounds, millis) in [(1, 0), (2, 1), (3, 2), (8, 64), (9, 64), (100, 64)] {
        assert_eq!(
            longest_pause(rounds),
            Duration::from_millis(millis),
            "{rounds}"
        );
    }
}

#[test]
fn a_watch_that_was_lost_has_executed_nothing() {
    let error = not_executed(failed(Cause::Timeout(Duration::ZERO), Fate::Unknown));
    assert_eq!(outcome(&error), Outcome::NotExecuted);
    assert!(error.is_timeout());
}

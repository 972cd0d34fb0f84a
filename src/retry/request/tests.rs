use redis::{cmd, pipe};

use super::*;

fn replies(lines: &[&str]) -> Vec<Value> {
    let parse = |line: &&str| redis::parse_redis_value(format!("{line}\r\n").as_bytes());
    lines.iter().map(|line| parse(line).unwrap()).collect()
}

#[test]
fn only_a_refusal_of_everything_says_that_nothing_was_executed() {
    let mut plain = pipe();
    plain.set("a", 1).set("b", 2);
    let mut atomic = plain.clone();
    atomic.atomic();
    let mut script = pipe();
    script.cmd("EVAL").arg("x").arg(0);
    let readonly = "-READONLY You can't write";
    let loading = "-LOADING Redis is loading";
    let abort = "-EXECABORT Transaction discarded because of previous errors.";
    let late = "-EXECABORT Transaction discarded because of: READONLY You can't write";
    for (pipeline, lines, refused) in [
        (&plain, &[readonly, readonly][..], true),
        (&plain, &[loading, readonly], true),
        (&plain, &["+OK", readonly], false),
        (&plain, &[readonly, "-ERR syntax"], false),
        (&atomic, &["+OK", readonly, readonly, abort], true),
        (&atomic, &["+OK", "+QUEUED", "+QUEUED", late], true),
        (
            &atomic,
            &["+OK", "+QUEUED", "+QUEUED", "-REDIRECT 127.0.0.1:6380"],
            true,
        ),
        (&atomic, &["+OK", readonly, readonly, "*0"], false),
        (&script, &[readonly], false),
    ] {
        let batch = PipelineRequest::of(pipeline);
        assert_eq!(batch.is_refused(&replies(lines)), refused, "{lines:?}");
    }
}

#[test]
fn a_script_may_say_anything_after_doing_anything() {
    let refusal = &replies(&["-READONLY You can't write"])[0];
    assert!((&cmd("SET")).is_refused(refusal));
    assert!(!(&cmd("eval")).is_refused(refusal));
    let abort = &replies(&["-EXECABORT discarded because of: READONLY You can't"])[0];
    assert!(!(&cmd("EXEC")).is_refused(abort));
}

#[test]
fn a_pipeline_reads_if_all_of_it_does() {
    let mut pipeline = pipe();
    pipeline.get("a").get("b");
    assert!(PipelineRequest::of(&pipeline).is_read());
    pipeline.incr("a", 1);
    assert!(!PipelineRequest::of(&pipeline).is_read());
}

#[test]
fn what_reads_and_what_is_about_the_connection_writes_nothing() {
    for line in [
        "SET a 1",
        "EVAL x 0",
        "EXEC",
        "XREADGROUP",
        "PUBLISH a b",
        "FOO",
        "BLPOP a 1",
    ] {
        assert!((&command(line)).may_write(), "{line}");
    }
    for line in [
        "GET a",
        "EVAL_RO x 0",
        "PING",
        "MULTI",
        "discard",
        "WATCH a",
        "UNWATCH",
        "SELECT 1",
        "SUBSCRIBE a",
        "UNSUBSCRIBE",
        "CLIENT REPLY OFF",
        "CLIENT SETNAME a",
        "CLIENT TRACKING ON",
        "HELLO 3",
        "AUTH a",
        "RESET",
        "QUIT",
        "MONITOR",
    ] {
        assert!(!(&command(line)).may_write(), "{line}");
    }
    let mut pipeline = pipe();
    pipeline.get("a").cmd("WATCH").arg("b");
    assert!(!PipelineRequest::of(&pipeline).may_write());
    pipeline.incr("a", 1);
    assert!(PipelineRequest::of(&pipeline).may_write());
}

#[test]
fn a_request_waits_for_its_exec_if_all_of_it_was_queued() {
    let pipeline = pipe();
    let request = PipelineRequest::of(&pipeline);
    assert!(request.is_queued(&replies(&["+QUEUED", "+QUEUED"])));
    assert!(!request.is_queued(&replies(&["+OK", "+QUEUED"])));
    assert!(!request.is_queued(&replies(&["+QUEUED", "-ERR unknown command"])));
    let set = cmd("SET");
    assert!((&set).is_queued(&replies(&["+QUEUED"])[0]));
    assert!(!(&set).is_queued(&replies(&["+OK"])[0]));
    assert!((&cmd("multi")).is_multi() && !(&cmd("EXEC")).is_multi());
}

#[test]
fn a_read_that_depends_on_its_node_goes_nowhere_else() {
    for line in ["GET a", "EVAL_RO x 0", "XREAD STREAMS a 0", "PING"] {
        assert!((&command(line)).is_portable(), "{line}");
    }
    for line in [
        "SCAN 0",
        "HSCAN a 7",
        "EVALSHA_RO x 0",
        "XREAD BLOCK 5 STREAMS a 0",
        "PUBLISH a b",
        "CLIENT KILL ID 5",
        "SUBSCRIBE a",
        "MULTI",
    ] {
        assert!(!(&command(line)).is_portable(), "{line}");
    }
    let mut pipeline = pipe();
    pipeline.get("a").get("b");
    assert!(PipelineRequest::of(&pipeline).is_portable());
    pipeline.cmd("SSCAN").arg("a").arg(0);
    assert!(!PipelineRequest::of(&pipeline).is_portable());
}

fn command(line: &str) -> Cmd {
    let mut words = line.split(' ');
    let mut command = cmd(words.next().unwrap_or_default());
    for word in words {
        command.arg(word);
    }
    command
}

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

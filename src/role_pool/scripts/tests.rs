use redis::cmd;

use super::*;

fn load(text: impl redis::ToRedisArgs) -> Cmd {
    cmd("SCRIPT").arg("LOAD").arg(text).take()
}

fn eval(text: &str) -> Cmd {
    cmd("eval").arg(text).arg(0).take()
}

fn call(text: &str) -> Cmd {
    let digest = redis::Script::new(text).get_hash().to_ascii_uppercase();
    cmd("EVALSHA").arg(digest).arg(0).take()
}

fn knows(scripts: &Scripts, text: &str) -> bool {
    scripts.loading(&[&call(text)]).is_some()
}

fn reply(line: &str) -> Value {
    redis::parse_redis_value(format!("{line}\r\n").as_bytes()).unwrap()
}

const UNKNOWN: &str = "-NOSCRIPT No matching script. Please use EVAL.";

#[test]
fn a_script_is_loaded_ahead_of_its_calls() {
    let scripts = Scripts::default();
    scripts.remember(&load("return 1"));
    scripts.remember(&eval("return 2"));
    scripts.remember(&cmd("GET").arg("return 3").take());
    assert!(!knows(&scripts, "return 3"));
    let (one, two) = (call("return 1"), call("return 2"));
    let get = cmd("GET").arg("k").take();
    let pipeline = scripts.loading(&[&one, &get, &two, &one]).unwrap();
    let names: Vec<_> = pipeline
        .cmd_iter()
        .map(|cmd| arg(cmd, 0).unwrap())
        .collect();
    let expected: [&[u8]; 6] = [
        b"SCRIPT", b"SCRIPT", b"EVALSHA", b"GET", b"EVALSHA", b"EVALSHA",
    ];
    assert_eq!(names, expected);
}

#[test]
fn the_texts_used_last_are_kept_within_the_limits() {
    let scripts = Scripts::default();
    let text = |n: usize| format!("return {n}");
    for n in 0..LOADED.scripts {
        scripts.remember(&load(text(n)));
    }
    scripts.remember(&load(text(0)));
    scripts.remember(&load(text(LOADED.scripts)));
    assert!(knows(&scripts, &text(0)), "it was used again");
    assert!(!knows(&scripts, &text(1)));
    assert!(knows(&scripts, &text(2)));

    for n in 0..10 * EVALUATED.scripts {
        scripts.remember(&eval(&format!("return -{n}")));
    }
    assert!(knows(&scripts, &text(2)), "it was loaded on purpose");
    assert_eq!(scripts.evaluated.lock().scripts.len(), EVALUATED.scripts);

    let big = |n: usize| format!("--{n}{}", "x".repeat(LOADED.bytes / 4));
    for n in 0..8 {
        scripts.remember(&load(big(n)));
    }
    assert!(knows(&scripts, &big(7)) && !knows(&scripts, &big(3)));
    let texts = scripts.loaded.lock();
    let bytes: usize = texts.scripts.iter().map(|script| script.text.len()).sum();
    assert_eq!(texts.bytes, bytes);
    assert!(bytes <= LOADED.bytes);
    drop(texts);

    let huge = "x".repeat(LOADED.bytes + 1);
    scripts.remember(&load(huge.as_str()));
    assert!(!knows(&scripts, &huge) && knows(&scripts, &big(7)));
    scripts.remember(&load(b"\xff"));
    scripts.remember(&cmd("SCRIPT").arg("LOAD").take());
}

#[test]
fn only_the_servers_own_words_say_that_nothing_was_executed() {
    assert!(is_unknown(&reply(UNKNOWN)));
    assert!(is_unknown(&reply("-NOSCRIPT No matching script.")));
    for line in [
        "-NOSCRIPT said the script",
        "-ERR No matching script",
        "+OK",
    ] {
        assert!(!is_unknown(&reply(line)), "{line}");
    }
}

#[test]
fn nothing_is_sent_again_behind_what_was_executed() {
    let cmds: Vec<Cmd> = [
        "EVALSHA x 0",
        "GET k",
        "SET k v",
        "EVALSHA_RO x 0",
        "EVAL x 0",
    ]
    .map(|line| {
        line.split(' ')
            .fold(Cmd::new(), |mut cmd, word| cmd.arg(word).take())
    })
    .into();
    let [sha, get, set, sha_ro, eval] = &cmds[..] else {
        unreachable!();
    };
    for (cmds, replies, from) in [
        (&[sha][..], &[UNKNOWN][..], Some(0)),
        (&[sha], &["+OK"], None),
        (&[set, sha], &["+OK", UNKNOWN], Some(1)),
        (&[sha, sha], &[UNKNOWN, UNKNOWN], Some(0)),
        (&[sha, get], &[UNKNOWN, "$-1"], Some(0)),
        (
            &[get, sha, get, sha_ro],
            &["$-1", UNKNOWN, "$-1", "+OK"],
            Some(1),
        ),
        (&[sha, set], &[UNKNOWN, "+OK"], None),
        (&[sha, sha], &[UNKNOWN, "+OK"], None),
        (&[sha, set, sha], &[UNKNOWN, "+OK", UNKNOWN], None),
        (&[sha, eval], &[UNKNOWN, UNKNOWN], None),
        (&[eval], &[UNKNOWN], None),
    ] {
        let replies: Vec<_> = replies.iter().map(|line| reply(line)).collect();
        assert_eq!(
            first_to_send_again(cmds, &replies),
            from,
            "{cmds:?} {replies:?}"
        );
    }
}

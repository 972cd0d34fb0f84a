use super::*;

pub(crate) fn cmd(line: &str) -> Cmd {
    let mut cmd = Cmd::new();
    for word in line.split_ascii_whitespace() {
        cmd.arg(word);
    }
    cmd
}

fn secs(secs: f64) -> Block {
    Block::For(Duration::from_secs_f64(secs))
}

#[test]
fn names_are_sorted_by_first_letter_and_found_in_any_case() {
    assert!(NAMES.is_sorted_by_key(|(name, _)| name.as_bytes()[0]));
    for &(name, kind) in NAMES {
        let mixed = format!("{}{}", &name[..2].to_ascii_lowercase(), &name[2..]);
        for name in [name, &name.to_ascii_lowercase(), &mixed] {
            assert_eq!(lookup(name.as_bytes()), kind, "{name}");
        }
    }
}

#[test]
fn everything_else_is_plain() {
    for name in [
        "GET",
        "set",
        "MGET",
        "LRANGE",
        "HMGET",
        "HKEYS",
        "SINTER",
        "XADD",
        "FCALL",
        "PING",
        "WATCHX",
        "MULT1",
        "7ATCH",
        "",
        "SUBSCRIBESUBSCRIBE",
        "é",
    ] {
        assert_eq!(lookup(name.as_bytes()), Kind::Plain, "{name}");
    }
    assert_eq!(Kind::of(&Cmd::new()), Kind::Empty);
    assert_eq!(Kind::of(Cmd::new().cursor_arg(7)), Kind::Plain);
}

fn block_time(cmd: &Cmd) -> Block {
    block_of(Kind::of(cmd), cmd)
}

#[test]
fn block_times() {
    for (line, expected) in [
        ("BLPOP k 1.5", secs(1.5)),
        ("blpop a b c 2", secs(2.0)),
        ("BRPOP k 0", Block::Forever),
        ("BRPOP k 0.0", Block::Forever),
        ("BRPOP k -0", Block::Forever),
        ("BLPOP k 0.0001", secs(0.001)),
        ("BRPOPLPUSH a b 3", secs(3.0)),
        ("BLMOVE a b LEFT RIGHT 4", secs(4.0)),
        ("BZPOPMIN z 5", secs(5.0)),
        ("BZPOPMAX z 6", secs(6.0)),
        ("BLMPOP 7 1 k LEFT COUNT 10", secs(7.0)),
        ("BZMPOP 0 2 a b MIN", Block::Forever),
        ("BLPOP k -1", Block::No),
        ("BLPOP k inf", Block::No),
        ("BLPOP k nan", Block::No),
        ("BLPOP k x", Block::No),
        ("BLPOP k 1e17", Block::No),
        ("BLPOP k 1e10", Block::Forever),
        ("BLPOP 5", Block::No),
        ("BLPOP", Block::No),
        ("BLMPOP", Block::No),
        ("XREAD BLOCK 250 STREAMS s $", secs(0.25)),
        ("XREAD COUNT 5 block 0 STREAMS s $", Block::Forever),
        ("XREAD STREAMS BLOCK 10", Block::No),
        ("XREAD BLOCK", Block::No),
        ("XREAD BLOCK -1 STREAMS s 0", Block::No),
        ("XREAD BLOCK 1.5 STREAMS s 0", Block::No),
        ("XREADGROUP GROUP block 10 COUNT 1 STREAMS s >", Block::No),
        (
            "XREADGROUP GROUP g streams NOACK BLOCK 10 STREAMS s >",
            secs(0.01),
        ),
        (
            "XREADGROUP GROUP g c CLAIM 60000 BLOCK 20 STREAMS s >",
            secs(0.02),
        ),
        ("WAIT 1 100", secs(0.1)),
        ("WAIT 1 0", Block::Forever),
        ("WAIT 1", Block::No),
        ("WAIT 1 99999999999999999999", Block::No),
        ("WAIT 1 9223372036854775807", Block::Forever),
        ("WAITAOF 1 0 50", secs(0.05)),
        ("DEBUG SLEEP 0.5", secs(0.5)),
        ("DEBUG SLEEP 0", Block::No),
        ("DEBUG OBJECT 3", Block::No),
        ("CLIENT PAUSE 1000", Block::No),
        ("LPOP k 5", Block::No),
        ("GET k", Block::No),
        ("", Block::No),
    ] {
        assert_eq!(block_time(&cmd(line)), expected, "{line}");
    }
    assert_eq!(block_time(cmd("BLPOP k").arg(b"\xff")), Block::No);
    assert_eq!(block_time(cmd("BLPOP k").cursor_arg(5)), Block::No);
    assert_eq!(block_time(cmd("XREAD BLOCK").cursor_arg(5)), Block::No);
}

#[test]
fn what_a_shared_connection_must_not_carry() {
    for line in [
        "BLPOP k 0",
        "XREAD BLOCK 0 STREAMS s $",
        "WAIT 1 0",
        "WATCH k",
        "MULTI",
        "EXEC",
        "DISCARD",
        "SUBSCRIBE c",
        "PSUBSCRIBE c",
        "SSUBSCRIBE c",
        "UNSUBSCRIBE",
        "MONITOR",
        "SELECT 0",
        "CLIENT REPLY OFF",
        "AUTH x",
        "HELLO 3",
        "RESET",
        "QUIT",
        "CLIENT SETNAME x",
        "CLIENT TRACKING ON",
        "READONLY",
        "PSYNC ? -1",
        "DEBUG SLEEP 1",
        "SCAN 0",
        "SCAN",
        "HSCAN h 0",
        "SSCAN s 7",
        "ZSCAN z 7",
        "CLUSTERSCAN 0",
        "FT.CURSOR READ i 7",
        "ft.cursor DEL i 7",
        "FT.AGGREGATE i * GROUPBY 1 @a withcursor COUNT 5",
        "FT.HYBRID i SEARCH x VSIM @v $q WITHCURSOR",
        "SCRIPT DEBUG YES",
    ] {
        assert_eq!(shareable(&cmd(line)), Shareable::No, "{line}");
    }
    for line in [
        "GET k",
        "EVALSHA x 0",
        "EVALSHA_RO x 0",
        "XREAD STREAMS s 0",
        "BLPOP k x",
        "CLIENT ID",
        "CLIENT LIST",
        "HELLO",
        "SCRIPT EXISTS x",
        "SCRIPT FLUSH",
        "FUNCTION LOAD x",
        "FCALL_RO f 0",
        "FT.AGGREGATE i *",
        "PUBSUB NUMSUB c",
    ] {
        assert_eq!(shareable(&cmd(line)), Shareable::Yes, "{line}");
    }
    for line in ["EVAL x 0", "eval_ro x 0", "SCRIPT LOAD x", "script load x"] {
        assert_eq!(shareable(&cmd(line)), Shareable::YesWithScript, "{line}");
    }
    for line in ["PUBLISH c m", "spublish c m"] {
        assert_eq!(shareable(&cmd(line)), Shareable::Publishes, "{line}");
    }
    for line in [
        "CLIENT KILL ID 7",
        "client unblock 7",
        "CLIENT PAUSE 10 WRITE",
        "CLIENT UNPAUSE",
        "SCRIPT KILL",
        "FUNCTION KILL",
    ] {
        assert_eq!(shareable(&cmd(line)), Shareable::OneNode, "{line}");
    }
    assert_eq!(shareable(&cmd("")), Shareable::Empty);
}

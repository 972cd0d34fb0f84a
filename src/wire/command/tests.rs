use super::*;

pub(crate) fn cmd(line: &str) -> Cmd {
    let mut cmd = Cmd::new();
    for word in line.split_ascii_whitespace() {
        cmd.arg(word);
    }
    cmd
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

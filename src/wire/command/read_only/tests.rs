use super::{super::tests::cmd, *};

#[test]
fn reads_are_told_from_everything_else() {
    for line in [
        "GET k",
        "get k",
        "MGET a b",
        "OBJECT ENCODING k",
        "object freq k",
        "MEMORY USAGE k",
        "XINFO STREAM s",
        "XREAD STREAMS s 0",
        "EVAL_RO x 0",
        "PING",
    ] {
        assert!(is_read(&cmd(line)), "{line}");
    }
    for line in [
        "SET k v",
        "GETEX k PERSIST",
        "GETDEL k",
        "GETSET k v",
        "SORT k",
        "SORT k STORE l",
        "EVAL x 0",
        "EVALSHA x 0",
        "FCALL f 0",
        "XREAD BLOCK 10 STREAMS s $",
        "XREADGROUP GROUP g c STREAMS s >",
        "BLPOP k 1",
        "OBJECT HELP",
        "OBJECT",
        "MEMORY PURGE",
        "SUBSCRIBE c",
        "PUBLISH c m",
        "SELECT 1",
        "WATCH k",
        "MULTI",
        "EXEC",
        "CLIENT ID",
        "CONFIG GET x",
        "JSON.GET k",
        "FT.SEARCH i q",
        "GETX k",
        "",
    ] {
        assert!(!is_read(&cmd(line)), "{line}");
    }
    assert!(!is_read(cmd("").arg(b"\xff")));
}

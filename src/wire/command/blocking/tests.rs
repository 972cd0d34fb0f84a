use super::*;
use crate::wire::command::tests::cmd;

fn secs(secs: f64) -> Block {
    Block::For(Duration::from_secs_f64(secs))
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

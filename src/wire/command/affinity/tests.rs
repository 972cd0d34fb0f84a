use redis::pipe;

use super::{super::tests::cmd, *};

#[test]
fn what_goes_on_from_something_is_tied() {
    for (line, tie) in [
        ("GET k", Tie::None),
        ("SCAN 0", Tie::None),
        ("SCAN 0 MATCH x COUNT 10", Tie::None),
        ("SCAN 17", Tie::Node),
        ("scan 17", Tie::Node),
        ("SCAN", Tie::None),
        ("HSCAN h 0", Tie::None),
        ("HSCAN h 5", Tie::Node),
        ("SSCAN s 5", Tie::Node),
        ("ZSCAN z 5", Tie::Node),
        ("FT.CURSOR READ i 5", Tie::Node),
        ("FT.AGGREGATE i * WITHCURSOR", Tie::None),
        ("CLUSTERSCAN 0", Tie::None),
        ("CLUSTERSCAN 0-x", Tie::Node),
        ("CLIENT UNBLOCK 7", Tie::Node),
        ("CLIENT ID", Tie::None),
        ("WAIT 1 0", Tie::Connection),
        ("WAITAOF 1 0 0", Tie::Connection),
        ("", Tie::None),
    ] {
        assert_eq!(Tie::of(&cmd(line)), tie, "{line}");
    }
    assert_eq!(Tie::of(cmd("SCAN").cursor_arg(0)), Tie::None);
    assert_eq!(Tie::of(cmd("SCAN").cursor_arg(9)), Tie::Node);
    assert_eq!(
        Tie::of(cmd("HSCAN h").cursor_arg(0).arg("COUNT")),
        Tie::None
    );
    assert_eq!(Tie::of(cmd("HSCAN h").cursor_arg(9)), Tie::Node);
}

#[test]
fn a_wait_behind_a_write_of_its_own_pipeline_is_free() {
    let all = |lines: &[&str]| {
        let mut pipeline = pipe();
        for line in lines {
            pipeline.add_command(cmd(line));
        }
        Tie::of_all(&pipeline)
    };
    assert_eq!(all(&["SET k v", "WAIT 1 0"]), Tie::None);
    assert_eq!(all(&["GET k", "WAIT 1 0"]), Tie::Connection);
    assert_eq!(all(&["WAIT 1 0", "SET k v"]), Tie::Connection);
    assert_eq!(all(&["GET k", "SCAN 7"]), Tie::Node);
    assert_eq!(all(&[]), Tie::None);
}

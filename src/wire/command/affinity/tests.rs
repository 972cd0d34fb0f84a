use redis::pipe;

use super::{super::tests::cmd, *};

#[test]
fn what_depends_on_a_node_or_on_a_connection() {
    for (line, affinity) in [
        ("GET k", Affinity::None),
        ("SCAN 0", Affinity::None),
        ("SCAN 0 MATCH x COUNT 10", Affinity::None),
        ("SCAN 17", Affinity::Node),
        ("scan 17", Affinity::Node),
        ("SCAN", Affinity::None),
        ("HSCAN h 0", Affinity::None),
        ("HSCAN h 5", Affinity::Node),
        ("SSCAN s 5", Affinity::Node),
        ("ZSCAN z 5", Affinity::Node),
        ("FT.CURSOR READ i 5", Affinity::Node),
        ("FT.AGGREGATE i * WITHCURSOR", Affinity::None),
        ("CLUSTERSCAN 0", Affinity::None),
        ("CLUSTERSCAN 0-x", Affinity::Node),
        ("CLIENT UNBLOCK 7", Affinity::Node),
        ("CLIENT ID", Affinity::None),
        ("WAIT 1 0", Affinity::Connection),
        ("WAITAOF 1 0 0", Affinity::Connection),
        ("", Affinity::None),
    ] {
        assert_eq!(Affinity::of(&cmd(line)), affinity, "{line}");
    }
    assert_eq!(Affinity::of(cmd("SCAN").cursor_arg(0)), Affinity::None);
    assert_eq!(Affinity::of(cmd("SCAN").cursor_arg(9)), Affinity::Node);
    assert_eq!(
        Affinity::of(cmd("HSCAN h").cursor_arg(0).arg("COUNT")),
        Affinity::None
    );
    assert_eq!(Affinity::of(cmd("HSCAN h").cursor_arg(9)), Affinity::Node);
}

#[test]
fn a_wait_after_a_write_of_its_own_pipeline_depends_on_nothing() {
    let all = |lines: &[&str]| {
        let mut pipeline = pipe();
        for line in lines {
            pipeline.add_command(cmd(line));
        }
        Affinity::of_all(&pipeline)
    };
    assert_eq!(all(&["SET k v", "WAIT 1 0"]), Affinity::None);
    assert_eq!(all(&["GET k", "WAIT 1 0"]), Affinity::Connection);
    assert_eq!(all(&["WAIT 1 0", "SET k v"]), Affinity::Connection);
    assert_eq!(all(&["GET k", "SCAN 7"]), Affinity::Node);
    assert_eq!(all(&[]), Affinity::None);
}

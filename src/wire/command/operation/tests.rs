use redis::{cmd, pipe};

use super::*;

#[test]
fn a_command_is_named_in_upper_case_and_what_is_none_is_not_shown() {
    let long = "X".repeat(33);
    for (sent, shown) in [
        ("get", "GET"),
        ("FT.SEARCH", "FT.SEARCH"),
        ("EVAL_RO", "EVAL_RO"),
        ("user:17", OTHER),
        ("17", OTHER),
        ("", OTHER),
        ("a name", OTHER),
        ("GET\r\n", OTHER),
        ("gét", OTHER),
        (&long, OTHER),
        (&long[1..], &long[1..]),
    ] {
        let operation = Operation::of_command(cmd(sent).arg("key"));
        assert_eq!((&*operation.name, operation.size), (shown, 1), "{sent:?}");
    }
    assert_eq!(Operation::of_command(&Cmd::new()).name, OTHER);
    assert_eq!(Operation::of_command(cmd("\u{0}").arg(b"\xff")).name, OTHER);
}

#[test]
fn a_pipeline_is_named_by_its_commands_only_where_all_are_alike() {
    let named = |pipeline: &Pipeline| {
        let operation = Operation::of_pipeline(pipeline);
        (operation.name.into_owned(), operation.size)
    };
    assert_eq!(named(pipe().get("a").get("b")), ("PIPELINE GET".into(), 2));
    assert_eq!(named(pipe().get("a").set("b", 1)), ("PIPELINE".into(), 2));
    assert_eq!(named(pipe().get("a")), ("PIPELINE GET".into(), 1));
    assert_eq!(named(&pipe()), ("PIPELINE".into(), 0));
    assert_eq!(
        named(pipe().atomic().get("a").get("b")),
        ("MULTI".into(), 2)
    );
    let secret = named(pipe().cmd("my key").cmd("my key"));
    assert_eq!(secret, ("PIPELINE _OTHER".into(), 2));
}

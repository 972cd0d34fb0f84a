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
fn the_script_or_the_function_that_is_called_is_named_and_nothing_else() {
    let digest = "c664a3bf70bd1d45c4284ffebb65a6f2299bfc9f";
    let long = "f".repeat(65);
    for (command, called, shown) in [
        ("EVALSHA", digest, true),
        ("evalsha_ro", digest, true),
        ("EVALSHA", &digest[1..], false),
        ("EVALSHA", "user:session:4711:token:0123456789abcdef", false),
        ("EVAL", digest, false),
        ("FCALL", "My_function2", true),
        ("fcall_ro", "f", true),
        ("FCALL", "user:17", false),
        ("FCALL", "fün", false),
        ("FCALL", "", false),
        ("FCALL", &long, false),
        ("FCALL", &long[1..], true),
        ("GET", "f", false),
    ] {
        let operation = Operation::of_command(cmd(command).arg(called).arg(0));
        let shown = shown.then(|| called.to_owned());
        assert_eq!(operation.procedure, shown, "{command} {called}");
    }
    assert_eq!(Operation::of_command(&cmd("FCALL")).procedure, None);

    let call = |name: &str| cmd("FCALL").arg(name).arg(0).take();
    for (cmds, shown) in [
        (vec![call("f"), call("f")], Some("f")),
        (vec![call("f"), call("g")], None),
        (vec![call("f"), cmd("GET").arg("f").take()], None),
        (vec![], None),
    ] {
        for atomic in [false, true] {
            let mut pipeline = pipe();
            if atomic {
                pipeline.atomic();
            }
            for cmd in &cmds {
                pipeline.add_command(cmd.clone());
            }
            let operation = Operation::of_pipeline(&pipeline);
            assert_eq!(operation.procedure.as_deref(), shown, "{cmds:?}");
        }
    }
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

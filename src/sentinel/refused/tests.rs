use redis::Value;

use super::*;

fn said(line: &str) -> RedisError {
    match redis::parse_redis_value(format!("-{line}\r\n").as_bytes()) {
        Ok(Value::ServerError(error)) => error.into(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn one_command_is_refused_or_all_of_them() {
    for (line, expected) in [
        (
            "NOPERM User app has no permissions to run the 'ping' command",
            true,
        ),
        ("NOPERM No permissions to access a channel", true),
        (
            "ERR unknown command 'PING', with args beginning with: ",
            true,
        ),
        (
            "ERR unknown command `PING`, with args beginning with: ",
            true,
        ),
        ("ERR Unknown sentinel subcommand 'MYID'", true),
        ("ERR unknown subcommand 'MYID'. Try SENTINEL HELP.", true),
        (
            "WRONGPASS invalid username-password pair or user is disabled.",
            false,
        ),
        ("NOAUTH Authentication required.", false),
        ("DENIED Redis is running in protected mode because", false),
        ("ERR max number of clients reached", false),
        ("ERR No such master with that name", false),
        ("LOADING Redis is loading the dataset in memory", false),
    ] {
        assert_eq!(is_about_the_command(&said(line)), expected, "{line}");
    }
}

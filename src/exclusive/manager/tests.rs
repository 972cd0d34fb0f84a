use super::*;

#[test]
fn a_refused_ping_is_an_answer_where_the_server_takes_other_commands() {
    for (line, alive) in [
        ("+PONG", true),
        (
            "-NOPERM User app has no permissions to run the 'ping' command",
            true,
        ),
        (
            "-NOPERM this user has no permissions to run the 'ping' command",
            true,
        ),
        (
            "-ERR unknown command 'PING', with args beginning with: ",
            true,
        ),
        (
            "-ERR unknown command `PING`, with args beginning with: ",
            true,
        ),
        ("-ERR Unknown command", true),
        (
            "-MISCONF Errors writing to the AOF file: No space left on device",
            true,
        ),
        ("-BUSY Redis is busy running a script.", true),
        ("-LOADING Redis is loading the dataset in memory", false),
        ("-MASTERDOWN Link with MASTER is down", false),
        ("-NOAUTH Authentication required.", false),
        ("-ERR upstream failure", false),
        ("-ERR max number of clients reached", false),
        ("+OK", false),
        ("$4\r\nPONG", false),
        ("*0", false),
    ] {
        let reply = redis::parse_redis_value(format!("{line}\r\n").as_bytes()).unwrap();
        assert_eq!(proves_alive(&reply), alive, "{line}");
    }
}

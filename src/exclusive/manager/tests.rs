use std::time::Duration;

use super::*;

const SECOND: Duration = Duration::from_secs(1);

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

#[tokio::test(start_paused = true)]
async fn a_test_is_due_only_after_the_threshold_and_never_without_one() {
    let since = Instant::now();
    let mut limits = PoolLimits {
        test_idle_after: Some(SECOND),
        ..PoolLimits::default()
    };
    assert!(!is_test_due(&limits, since, since));
    assert!(is_test_due(&limits, since, since + SECOND));
    limits.test_idle_after = Some(Duration::ZERO);
    assert!(is_test_due(&limits, since, since));
    limits.test_idle_after = None;
    assert!(!is_test_due(&limits, since, since + 1_000_000 * SECOND));
}

use super::*;
use crate::error::failure::{Cause, Fate, Peer};

fn connect(source: impl Into<RedisError>) -> Error {
    Error::Connect {
        role: Role::Master,
        node: Node::new("10.0.0.1", 6379),
        source: source.into(),
    }
}

fn said(line: &str) -> Error {
    match redis::parse_redis_value(format!("{line}\r\n").as_bytes()) {
        Ok(redis::Value::ServerError(error)) => connect(error),
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_only_a_change_of_the_configuration_can_mend_is_not_transient() {
    for (line, transient) in [
        (
            "-WRONGPASS invalid username-password pair or user is disabled.",
            false,
        ),
        ("-NOAUTH Authentication required.", false),
        (
            "-NOPERM User app has no permissions to run the 'select' command",
            false,
        ),
        ("-DENIED Redis is running in protected mode", false),
        ("-ERR DB index is out of range", false),
        ("-ERR invalid DB index", false),
        ("-ERR SELECT is not allowed in cluster mode", false),
        ("-ERR invalid password", false),
        ("-ERR Client sent AUTH, but no password is set", false),
        (
            "-ERR AUTH <password> called without any password configured for the default user.",
            false,
        ),
        ("-ERR wrong number of arguments for 'auth' command", false),
        ("-ERR unknown command 'SELECT'", false),
        ("-ERR max number of clients reached", true),
        (
            "-ERR max number of clients + cluster connections reached",
            true,
        ),
        ("-LOADING Redis is loading the dataset in memory", true),
        ("-MASTERDOWN Link with MASTER is down", true),
        ("-BUSY Redis is busy running a script.", true),
        ("-ERR upstream failure", true),
        ("-ERR", true),
    ] {
        assert_eq!(said(line).is_transient(), transient, "{line}");
    }
    assert!(connect(io::Error::from(io::ErrorKind::ConnectionRefused)).is_transient());
}

#[test]
fn a_missing_permission_is_named_and_is_no_matter_of_time() {
    let source = said("-NOPERM User app has no permissions to run the 'info' command");
    let Error::Connect { role, node, source } = source else {
        unreachable!("made just now");
    };
    let error = Error::PositionRefused { role, node, source };
    let text = error.to_string();
    assert!(
        text.contains("10.0.0.1:6379") && text.contains("`+info`") && text.contains("User app"),
        "{text}"
    );
    assert!(!error.is_transient() && !error.is_timeout());
    let error = RedisError::from(error);
    assert!(matches!(
        Error::of(&error),
        Some(Error::PositionRefused { .. })
    ));
}

#[test]
fn a_stale_read_ran_out_of_time_and_says_what_each_node_had() {
    let text = "1.8371b4fb1155b71f4a04d3e1bc3e18c4a990aeeb.12.7";
    let reports = [("10.0.0.2:6379".to_owned(), "4210 bytes behind".to_owned())];
    let error = Error::Stale {
        wanted: text.parse().unwrap(),
        waited: Duration::from_secs(3),
        reports: reports.into_iter().collect(),
    };
    assert!(error.is_timeout() && error.is_transient());
    assert_eq!(
        error.to_string(),
        format!(
            "no node had what the read was to see ({text}) within 3s: 10.0.0.2:6379: 4210 bytes behind"
        )
    );
}

#[test]
fn a_connect_error_says_why_in_its_own_text() {
    let refused = said("-WRONGPASS invalid username-password pair").to_string();
    assert!(refused.contains("WRONGPASS"), "{refused}");
    assert!(
        refused.contains("invalid username-password pair"),
        "{refused}"
    );
    let failure = Failure {
        peer: Peer::Node(Role::Master),
        node: Node::new("10.0.0.1", 6379),
        cause: Cause::Closed,
        fate: Fate::Own,
    };
    assert_eq!(
        connect(failure).to_string(),
        "cannot connect to the master at 10.0.0.1:6379: the server closed the connection"
    );
}

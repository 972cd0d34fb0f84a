use std::{io, time::Duration};

use redis::{Cmd, FromRedisValue, Value, aio::ConnectionLike, cmd, parse_redis_value};

use super::*;
use crate::{
    config::Config,
    error::{
        DialState, PoolName, Reports,
        failure::{Cause, Peer},
    },
    node::{Node, Role},
    position::token::Token,
};

use Verdict::{Answered, Hindered, Lost, Refused, Torn};

fn reply(line: &str) -> RedisError {
    let value = parse_redis_value(format!("-{line}\r\n").as_bytes()).unwrap();
    value.extract_error().unwrap_err()
}

fn failure(cause: Cause, fate: Fate) -> RedisError {
    let failure = Failure {
        peer: Peer::Node(Role::Master),
        node: Node::new("127.0.0.1", 6379),
        cause,
        fate,
    };
    failure.into()
}

/// A server that answers with what it is told to.
struct Scripted(Vec<Value>);

impl ConnectionLike for Scripted {
    fn req_packed_command<'a>(&'a mut self, _: &'a Cmd) -> redis::RedisFuture<'a, Value> {
        Box::pin(async { Ok(self.0.remove(0)) })
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        pipeline: &'a redis::Pipeline,
        offset: usize,
        count: usize,
    ) -> redis::RedisFuture<'a, Vec<Value>> {
        let replies = std::mem::take(&mut self.0);
        Box::pin(crate::wire::pipeline::conclude(
            pipeline, replies, offset, count,
        ))
    }

    fn get_db(&self) -> i64 {
        0
    }
}

fn values(lines: &[&str]) -> Vec<Value> {
    let parse = |line: &&str| parse_redis_value(format!("{line}\r\n").as_bytes()).unwrap();
    lines.iter().map(parse).collect()
}

/// What a pipeline of two commands comes to when these are the replies.
async fn pipeline(atomic: bool, replies: &[&str]) -> RedisError {
    let mut pipeline = redis::pipe();
    if atomic {
        pipeline.atomic();
    }
    pipeline
        .cmd("SET")
        .arg("a")
        .arg(1)
        .cmd("SET")
        .arg("b")
        .arg(1);
    let mut server = Scripted(values(replies));
    let result: redis::RedisResult<(String, String)> = pipeline.query_async(&mut server).await;
    result.unwrap_err()
}

#[test]
fn every_error_reply_is_known_for_what_the_server_did_before_it() {
    let table = [
        (
            Hindered,
            "READONLY You can't write against a read only replica.",
        ),
        (
            Hindered,
            "READONLY You can't write against a read only replica. script: 9c, on @user_script:1.",
        ),
        (Hindered, "LOADING Redis is loading the dataset in memory"),
        (
            Hindered,
            "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.",
        ),
        (Hindered, "NOREPLICAS Not enough good replicas to write."),
        (
            Hindered,
            "MISCONF Redis is configured to save RDB snapshots, but it's unable to.",
        ),
        (
            Hindered,
            "OOM command not allowed when used memory > 'maxmemory'.",
        ),
        (Hindered, "BUSY Redis is busy running a script."),
        (Hindered, "CLUSTERDOWN The cluster is down"),
        (
            Hindered,
            "TRYAGAIN Multiple keys request during rehashing of slot",
        ),
        (
            Hindered,
            "UNBLOCKED force unblock from blocking operation, instance state changed",
        ),
        (
            Hindered,
            "EXECABORT Transaction discarded because of: READONLY You can't write",
        ),
        (
            Hindered,
            "EXECABORT Transaction discarded because of: LOADING",
        ),
        (
            Refused,
            "EXECABORT Transaction discarded because of: NOPERM no",
        ),
        (
            Refused,
            "EXECABORT Transaction discarded because of previous errors.",
        ),
        (Refused, "NOAUTH Authentication required."),
        (
            Refused,
            "WRONGPASS invalid username-password pair or user is disabled.",
        ),
        (
            Refused,
            "NOPERM this user has no permissions to run the 'set' command",
        ),
        (Refused, "NOSCRIPT No matching script. Please use EVAL."),
        (Refused, "MOVED 3999 127.0.0.1:6381"),
        (Refused, "ASK 3999 127.0.0.1:6381"),
        (
            Refused,
            "CROSSSLOT Keys in request don't hash to the same slot",
        ),
        (
            Refused,
            "ERR unknown command 'NOSUCH', with args beginning with: 'a' ",
        ),
        (Refused, "ERR unknown subcommand 'NOSUCH'. Try CONFIG HELP."),
        (Refused, "ERR wrong number of arguments for 'set' command"),
        (
            Refused,
            "ERR unknown command `NOSUCH`, with args beginning with: ",
        ),
        (Refused, "ERR Unknown command 'NOSUCH'"),
        (
            Refused,
            "ERR Unknown subcommand or wrong number of arguments for 'NOSUCH'. Try CONFIG HELP.",
        ),
        (
            Refused,
            "ERR unknown subcommand or wrong number of arguments for 'x'",
        ),
        (Refused, "ERR Unknown subcommand 'NOSUCH'"),
        (Refused, "ERR Wrong number of arguments for MSET"),
        (Refused, "ERR Function not found"),
        (Refused, "ERR Protocol error: invalid bulk length"),
        (Refused, "ERR Protocol error: too big mbulk count string"),
        (Refused, "ERR Protocol error: expected '$', got 'x'"),
        (
            Refused,
            "ERR Can't execute 'get': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / \
             RESET are allowed in this context",
        ),
        (
            Refused,
            "ERR only (P)SUBSCRIBE / (P)UNSUBSCRIBE / PING / QUIT allowed in this context",
        ),
        (Refused, "ERR Command not allowed inside a transaction"),
        (
            Refused,
            "ERR Can not execute a script with write flag using *_ro command.",
        ),
        (
            Refused,
            "ERR Can not run script on cluster, 'no-cluster' flag is set.",
        ),
        (
            Refused,
            "ERR DEBUG command not allowed. If the enable-debug-command option is set to",
        ),
        (Refused, "ERR invalid password"),
        (Refused, "DENIED Redis is running in protected mode"),
        (Refused, "NOPROTO unsupported protocol version"),
        (Hindered, "ERR max number of clients reached"),
        (
            Hindered,
            "ERR max number of clients + cluster connections reached",
        ),
        (Hindered, "REDIRECT 127.0.0.1:6380"),
        (
            Hindered,
            "EXECABORT Transaction discarded because of: REDIRECT 127.0.0.1:6380",
        ),
        // Within a script, which may have written before. The second is Valkey 9.
        (
            Answered,
            "ERR wrong number of arguments for 'hset' command script: 9c, on @user_script:1.",
        ),
        (
            Answered,
            "ERR Unknown command called from script script: 9c, on @user_script:1.",
        ),
        (Answered, "ERR Unknown Redis command called from script"),
        (
            Answered,
            "ERR wrong number of arguments for 'hset' command script: f, on @user_function:1.",
        ),
        (
            Answered,
            "ERR Error running script (call to f_9c): @user_script:1: Wrong number of args",
        ),
        (Answered, "ERR value is not an integer or out of range"),
        (
            Answered,
            "ERR Unknown Redis command called from script script: 9c, on @user_script:1.",
        ),
        (
            Answered,
            "ERR Wrong number of args calling Redis command from script script: 9c",
        ),
        (Answered, "ERR syntax error"),
        (
            Answered,
            "WRONGTYPE Operation against a key holding the wrong kind of value",
        ),
        (Answered, "BUSYGROUP Consumer Group name already exists"),
        (Answered, "BUSYKEY Target key name already exists."),
        (Answered, "NOGROUP No such key 'k' or consumer group 'g'"),
        (
            Answered,
            "IOERR error or timeout reading to target instance",
        ),
        (Answered, "MYERROR of a script"),
    ];
    for (verdict, line) in table {
        assert_eq!(Verdict::of(&reply(line)), verdict, "{line}");
    }
}

#[tokio::test]
async fn a_pipeline_was_executed_unless_its_transaction_was_discarded() {
    let table: [(Verdict, bool, &[&str]); 9] = [
        (Answered, false, &["+OK", "-WRONGTYPE no"]),
        // Some of it was executed, for all that the error says.
        (Torn, false, &["+OK", "-READONLY no"]),
        (Answered, false, &["-WRONGTYPE no", "-READONLY no"]),
        (Answered, false, &["+OK", "-EXECABORT of one by hand"]),
        (
            Answered,
            true,
            &["+OK", "+QUEUED", "+QUEUED", "*2\r\n+OK\r\n-WRONGTYPE no"],
        ),
        (
            Hindered,
            true,
            &["+OK", "-READONLY no", "-READONLY no", "-EXECABORT no"],
        ),
        (
            Refused,
            true,
            &[
                "+OK",
                "-ERR unknown command 'a'",
                "-OOM no",
                "-EXECABORT no",
            ],
        ),
        (
            Hindered,
            true,
            &[
                "+OK",
                "+QUEUED",
                "+QUEUED",
                "-EXECABORT Transaction discarded because of: READONLY no",
            ],
        ),
        // Valkey refuses the EXEC itself where the master was demoted since the MULTI.
        (
            Hindered,
            true,
            &["+OK", "+QUEUED", "+QUEUED", "-REDIRECT 127.0.0.1:6380"],
        ),
    ];
    for (verdict, atomic, replies) in table {
        let error = pipeline(atomic, replies).await;
        assert_eq!(Verdict::of(&error), verdict, "{replies:?}: {error}");
    }
}

#[tokio::test]
async fn what_cannot_be_converted_was_executed() {
    let mut server = Scripted(values(&["+OK"]));
    let result: redis::RedisResult<i64> = cmd("SET").query_async(&mut server).await;
    assert_eq!(Verdict::of(&result.unwrap_err()), Answered);
    let error = String::from_redis_value(Value::Nil).unwrap_err();
    assert_eq!(Verdict::of(&error.into()), Answered);
    // A transaction that was undone, by a caller who did not ask for an `Option`.
    let error = pipeline(true, &["+OK", "+QUEUED", "+QUEUED", "*-1"]).await;
    assert_eq!(Verdict::of(&error), Answered);
}

#[test]
fn a_failure_of_the_connection_is_what_its_text_says() {
    let causes = [
        Cause::Timeout(Duration::from_secs(3)),
        Cause::Closed,
        Cause::Io("reset".into(), io::ErrorKind::ConnectionReset),
        Cause::Protocol("too deep".into()),
        Cause::Unusable,
        Cause::Superseded(None),
        Cause::Fenced("+try-failover".into(), Duration::from_secs(10)),
        Cause::Withdrawn,
    ];
    for cause in causes {
        let fates = [
            (Fate::NotExecuted, Hindered, "was not executed"),
            (Fate::Unknown, Lost, "outcome is unknown"),
            (Fate::Own, Hindered, ""),
        ];
        for (fate, verdict, text) in fates {
            let error = failure(cause.clone(), fate);
            assert_eq!(Verdict::of(&error), verdict, "{error}");
            assert!(error.to_string().contains(text), "{error}");
        }
    }
}

fn token() -> Token {
    let text = "1.8371b4fb1155b71f4a04d3e1bc3e18c4a990aeeb.12.7";
    text.parse().unwrap()
}

#[test]
fn a_write_with_too_few_copies_was_executed() {
    let error = Error::TooFewCopies {
        have: 1,
        wanted: 2,
        waited: Duration::from_millis(50),
        reports: Reports::default(),
    };
    assert!(error.to_string().contains("was executed"), "{error}");
    assert_eq!(outcome(&error.into()), Outcome::Executed);
}

#[test]
fn what_never_reached_a_connection_was_not_executed() {
    let reports = Reports::default();
    let master_name = || "mymaster".to_owned();
    let connect = |source| Error::Connect {
        role: Role::Master,
        node: Node::new("127.0.0.1", 6379),
        source,
    };
    let bad = Config::new(Vec::<String>::new(), "m")
        .validate()
        .unwrap_err();
    let table = [
        (Refused, Error::Closed),
        (Refused, Error::Lost { token: token() }),
        (
            Refused,
            Error::PositionRefused {
                role: Role::Replica,
                node: Node::new("127.0.0.1", 6379),
                source: reply("NOPERM User app has no permissions to run the 'info' command"),
            },
        ),
        (
            Hindered,
            Error::Stale {
                wanted: token(),
                waited: Duration::from_secs(3),
                reports: reports.clone(),
            },
        ),
        (Refused, Error::Config(bad)),
        (
            Refused,
            Error::UnknownMaster {
                master_name: master_name(),
                reports: reports.clone(),
            },
        ),
        (
            Refused,
            connect(reply("WRONGPASS invalid username-password pair")),
        ),
        (Refused, connect(reply("NOAUTH Authentication required."))),
        (Refused, connect(reply("ERR DB index is out of range"))),
        (
            Refused,
            connect(reply("DENIED Redis is running in protected mode")),
        ),
        (
            Hindered,
            connect(reply("LOADING Redis is loading the dataset in memory")),
        ),
        (
            Hindered,
            connect(reply("ERR max number of clients reached")),
        ),
        (Hindered, connect(failure(Cause::Closed, Fate::Own))),
        (
            Hindered,
            connect(io::Error::from(io::ErrorKind::ConnectionRefused).into()),
        ),
        (
            Hindered,
            connect((ErrorKind::UnexpectedReturnType, "the handshake failed").into()),
        ),
        (
            Hindered,
            Error::NoSentinel {
                master_name: master_name(),
                refused: false,
                reports: reports.clone(),
            },
        ),
        (
            Hindered,
            Error::NoReplica {
                reports: reports.clone(),
            },
        ),
        (
            Hindered,
            Error::NoMaster {
                master_name: master_name(),
                waited: Duration::ZERO,
                reports,
            },
        ),
        (
            Hindered,
            Error::Exhausted {
                pool: PoolName::Write,
                max_active: 1,
                open: 1,
                in_use: 1,
                dials: DialState::Idle,
            },
        ),
        (
            Hindered,
            Error::WaitTimeout {
                pool: PoolName::Write,
                waited: Duration::ZERO,
                max_active: 1,
                open: 1,
                in_use: 1,
                waiting: 0,
                dials: DialState::Idle,
            },
        ),
    ];
    for (verdict, error) in table {
        let text = error.to_string();
        let error = RedisError::from(error);
        assert_eq!(Verdict::of(&error), verdict, "{text}");
        assert_eq!(outcome(&error), Outcome::NotExecuted, "{text}");
    }
    let table = [
        crate::wire::command::empty(),
        (
            ErrorKind::Client,
            "this command needs a connection of its own",
        )
            .into(),
        (ErrorKind::InvalidClientConfig, "no such certificate").into(),
        (ErrorKind::AuthenticationFailed, "no").into(),
    ];
    for error in table {
        assert_eq!(Verdict::of(&error), Refused, "{error}");
    }
}

#[test]
fn what_is_not_ours_is_unknown() {
    let table = [
        io::Error::from(io::ErrorKind::ConnectionReset).into(),
        io::Error::other("of the caller's own").into(),
        (ErrorKind::Io, "somewhere").into(),
        (ErrorKind::ClusterConnectionNotFound, "nowhere").into(),
    ];
    for error in table {
        assert_eq!(outcome(&error), Outcome::Unknown, "{error}");
    }
}

#[test]
fn the_five_verdicts_are_three_outcomes() {
    let table = [
        ("OOM no", Outcome::NotExecuted),
        ("NOAUTH no", Outcome::NotExecuted),
        ("WRONGTYPE no", Outcome::Executed),
    ];
    for (line, expected) in table {
        assert_eq!(outcome(&reply(line)), expected, "{line}");
    }
}

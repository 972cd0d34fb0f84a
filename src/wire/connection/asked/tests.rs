use redis::{cmd, pipe};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream},
    time::{Duration, Instant},
};

use super::*;
use crate::{
    config::ReplyLimits,
    error::failure::{Failure, Fate, Peer},
    node::{Node, Role},
    wire::{
        position_question::{Answer, NoAnswer},
        stream::Stream,
    },
};

const LIMIT: Duration = Duration::from_secs(4);

fn line(line: &str) -> Cmd {
    let mut words = line.split(' ');
    let mut cmd = cmd(words.next().unwrap());
    words.for_each(|word| {
        cmd.arg(word);
    });
    cmd
}

/// The server's end, which reads what is sent and says what it is told to.
struct Server(DuplexStream);

impl Server {
    /// The names of the commands that were sent by now.
    async fn heard(&mut self) -> String {
        let mut bytes = vec![0; 4096];
        let count = self.0.read(&mut bytes).await.unwrap();
        let text = String::from_utf8(bytes[..count].to_vec()).unwrap();
        let lines: Vec<_> = text.split("\r\n").collect();
        let names = lines.windows(3).filter(|lines| lines[0].starts_with('*'));
        let names: Vec<_> = names.map(|lines| lines[2]).collect();
        names.join(" ")
    }

    async fn say(&mut self, bytes: &str) {
        self.0.write_all(bytes.as_bytes()).await.unwrap();
    }
}

fn pair() -> (WireConnection, Server) {
    let (ours, server) = tokio::io::duplex(4096);
    let wire = WireConnection::new(
        Stream::Memory(Box::new(ours)),
        Node::new("127.0.0.1", 6379),
        Peer::Node(Role::Master),
        0,
        ReplyLimits::default(),
        Some(LIMIT),
    );
    (wire.lend(), Server(server))
}

/// A master's answer.
fn at(offset: u64) -> String {
    let text = format!(
        "role:master\r\nmaster_replid:0123456789abcdef0123456789abcdef01234567\r\n\
         master_repl_offset:{offset}\r\n"
    );
    format!("${}\r\n{text}\r\n", text.len())
}

fn offset(answer: Option<&Answer>) -> Option<u64> {
    let report = answer?.as_ref();
    Some(report.expect("it is a position").position.offset)
}

fn offsets(answers: &Answers) -> (Option<u64>, Option<u64>) {
    (
        offset(answers.ahead.as_ref()),
        offset(answers.behind.as_ref()),
    )
}

/// The session after these commands, each answered as a server does that refuses nothing.
fn after(lines: &[&str]) -> Session {
    let mut session = Session::new(0);
    for text in lines {
        let noted = session.note(&line(text));
        let okay = Value::Okay;
        let reply = if *text == "EXEC" {
            Value::Array(Vec::new())
        } else {
            okay
        };
        if let Expect::Change(change) = noted.expect {
            session.settle(change, &reply);
        }
    }
    session
}

#[test]
fn a_position_is_asked_only_where_it_would_have_one_reply_of_its_own() {
    use Want as W;
    let table: &[(&[&str], &str, Want)] = &[
        (&[], "GET key", W::BOTH),
        (&[], "SET key value", W::BOTH),
        (&[], "UNKNOWN", W::BOTH),
        (&[], "BLPOP key 0", W::BOTH),
        (&[], "EVAL return 0", W::BOTH),
        (&[], "HELLO", W::BOTH),
        (&[], "WATCH key", W::BOTH),
        (&["WATCH key"], "UNWATCH", W::BOTH),
        (&["WATCH key"], "GET key", W::BOTH),
        (&[], "SELECT 1", W::BOTH),
        (&["SELECT 1"], "GET key", W::BOTH),
        // In a transaction it would be queued with the rest.
        (&[], "MULTI", W::AHEAD),
        (&["WATCH key"], "MULTI", W::AHEAD),
        (&["MULTI"], "SET key value", W::NOTHING),
        (&["MULTI"], "MULTI", W::NOTHING),
        (&["MULTI", "SET key value"], "EXEC", W::BEHIND),
        (&["MULTI"], "DISCARD", W::BEHIND),
        (&["MULTI", "EXEC"], "GET key", W::BOTH),
        (&["MULTI", "DISCARD"], "GET key", W::BOTH),
        (&[], "EXEC", W::BOTH),
        // Other things come than replies, or more than one.
        (&[], "SUBSCRIBE channel", W::NOTHING),
        (&[], "UNSUBSCRIBE channel", W::NOTHING),
        (&["UNSUBSCRIBE channel"], "GET key", W::BOTH),
        (&[], "MONITOR", W::NOTHING),
        (&[], "PSYNC ? -1", W::NOTHING),
        // There would be no reply.
        (&[], "CLIENT REPLY OFF", W::NOTHING),
        (&[], "CLIENT REPLY SKIP", W::NOTHING),
        (&[], "CLIENT REPLY ON", W::NOTHING),
        (&["CLIENT REPLY OFF"], "SET key value", W::NOTHING),
        (&["CLIENT REPLY OFF"], "CLIENT REPLY ON", W::NOTHING),
        (&["CLIENT REPLY OFF", "CLIENT REPLY ON"], "GET key", W::BOTH),
        (&["CLIENT REPLY SKIP"], "SET key value", W::NOTHING),
        (&["CLIENT REPLY SKIP", "SET key value"], "GET key", W::BOTH),
        // The connection itself changes.
        (&[], "HELLO 3", W::NOTHING),
        (&[], "RESET", W::NOTHING),
        (&[], "AUTH user password", W::NOTHING),
        (&["AUTH user password"], "GET key", W::BOTH),
        (&[], "QUIT", W::NOTHING),
        (&[], "SHUTDOWN NOSAVE", W::NOTHING),
        (&[], "REPLICAOF NO ONE", W::NOTHING),
        (&[], "CLIENT SETNAME me", W::NOTHING),
        (&[], "DEBUG SLEEP 0", W::NOTHING),
        // These are about the next command.
        (&[], "ASKING", W::NOTHING),
        (&[], "CLIENT CACHING YES", W::NOTHING),
        (
            &["CLIENT TRACKING ON OPTIN", "CLIENT CACHING YES"],
            "GET key",
            W::NOTHING,
        ),
    ];
    for (lines, text, expected) in table {
        let (session, cmd) = (after(lines), line(text));
        for want in [Want::NOTHING, Want::AHEAD, Want::BEHIND, Want::BOTH] {
            let expected = want.narrowed(expected.ahead(), expected.behind());
            assert_eq!(
                allowed(want, session, &cmd),
                expected,
                "{text} after {lines:?}"
            );
        }
    }
    let mut silent = line("SET key value");
    silent.set_no_response(true);
    assert_eq!(allowed(Want::BOTH, after(&[]), &silent), Want::NOTHING);
    assert_eq!(allowed(Want::BOTH, after(&[]), &Cmd::new()), Want::NOTHING);
}

#[test]
fn around_a_pipeline_it_counts_what_the_connection_is_left_in() {
    let table: &[(&[&str], &[&str], Want)] = &[
        (&[], &["GET key", "SET key value"], Want::BOTH),
        (&[], &["SET key value", "MULTI"], Want::AHEAD),
        (
            &["MULTI"],
            &["SET key value", "EXEC", "GET key"],
            Want::BEHIND,
        ),
        (&["MULTI"], &["SET key value"], Want::NOTHING),
        (&[], &["MULTI", "SET key value", "EXEC"], Want::BOTH),
        (&[], &["GET key", "CLIENT CACHING YES"], Want::AHEAD),
        (&["CLIENT REPLY OFF"], &["GET key"], Want::NOTHING),
        (&[], &["GET key", "MONITOR"], Want::NOTHING),
        (&[], &[], Want::NOTHING),
    ];
    for (lines, texts, expected) in table {
        let mut pipeline = pipe();
        for text in *texts {
            pipeline.add_command(line(text));
        }
        let allowed = allowed_around(Want::BOTH, after(lines), &pipeline);
        assert_eq!(allowed, *expected, "{texts:?} after {lines:?}");
    }
    let mut atomic = pipe();
    atomic.atomic().add_command(line("SET key value"));
    assert_eq!(allowed_around(Want::BOTH, after(&[]), &atomic), Want::BOTH);
}

#[tokio::test(start_paused = true)]
async fn a_command_has_the_positions_that_were_asked_around_it() {
    let set = line("SET key value");
    for (want, names, expected) in [
        (Want::NOTHING, "SET", (None, None)),
        (Want::AHEAD, "INFO SET", (Some(4), None)),
        (Want::BEHIND, "SET INFO", (None, Some(7))),
        (Want::BOTH, "INFO SET INFO", (Some(4), Some(7))),
    ] {
        let (mut wire, mut server) = pair();
        let serve = async {
            assert_eq!(server.heard().await, names, "in one write");
            if want.ahead() {
                server.say(&at(4)).await;
            }
            server.say("+OK\r\n").await;
            if want.behind() {
                server.say(&at(7)).await;
            }
        };
        let (placed, ()) = tokio::join!(wire.command_placed(&set, want), serve);
        let Placed { reply, answers } = placed.unwrap();
        assert_eq!((reply, offsets(&answers)), (Value::Okay, expected));
        assert_eq!(wire.dirt(), None);
    }
}

#[tokio::test(start_paused = true)]
async fn a_pipeline_has_the_positions_around_all_of_it_and_none_within() {
    for is_atomic in [false, true] {
        let mut pipeline = pipe();
        pipeline.add_command(line("SET key value"));
        pipeline.add_command(line("GET key"));
        let (mut names, mut replies) = ("INFO SET GET INFO", "+OK\r\n$1\r\nx\r\n");
        if is_atomic {
            pipeline.atomic();
            names = "INFO MULTI SET GET EXEC INFO";
            replies = "+OK\r\n+QUEUED\r\n+QUEUED\r\n*2\r\n+OK\r\n$1\r\nx\r\n";
        }
        let (mut wire, mut server) = pair();
        let serve = async {
            assert_eq!(server.heard().await, names);
            server.say(&(at(4) + replies + &at(7))).await;
        };
        let (placed, ()) = tokio::join!(wire.pipeline_placed(&pipeline, Want::BOTH), serve);
        let Placed { reply, answers } = placed.unwrap();
        assert_eq!(reply.len(), pipeline::replies(&pipeline));
        assert_eq!(offsets(&answers), (Some(4), Some(7)));
        assert_eq!(wire.dirt(), None, "the end of a transaction was seen");
    }
}

#[tokio::test(start_paused = true)]
async fn the_transaction_of_a_caller_is_asked_around_and_its_connection_clean_again() {
    let (mut wire, mut server) = pair();
    for (text, names, replies, expected) in [
        ("MULTI", "INFO MULTI", at(3) + "+OK\r\n", (Some(3), None)),
        ("SET key value", "SET", "+QUEUED\r\n".into(), (None, None)),
        (
            "EXEC",
            "EXEC INFO",
            "*1\r\n+OK\r\n".to_owned() + &at(9),
            (None, Some(9)),
        ),
    ] {
        let cmd = line(text);
        let serve = async {
            assert_eq!(server.heard().await, names);
            server.say(&replies).await;
        };
        let (placed, ()) = tokio::join!(wire.command_placed(&cmd, Want::BOTH), serve);
        assert_eq!(offsets(&placed.unwrap().answers), expected, "{text}");
    }
    assert_eq!(wire.dirt(), None);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_may_not_be_asked_answers_the_command_all_the_same() {
    let (mut wire, mut server) = pair();
    let get = line("GET key");
    let serve = async {
        server.heard().await;
        server.say("-NOPERM no\r\n$1\r\nx\r\n-NOPERM no\r\n").await;
    };
    let (placed, ()) = tokio::join!(wire.command_placed(&get, Want::BOTH), serve);
    let Placed { reply, answers } = placed.unwrap();
    assert_eq!(reply, Value::BulkString(b"x".to_vec()));
    for answer in [answers.ahead, answers.behind] {
        assert!(matches!(&*answer.unwrap(), Err(NoAnswer::Refused(_))));
    }
    assert_eq!(wire.dirt(), None);
}

#[tokio::test(start_paused = true)]
async fn a_reply_is_not_lost_with_the_position_behind_it() {
    let set = line("SET key value");
    let mut pipeline = pipe();
    pipeline.add_command(set.clone());
    pipeline.add_command(set.clone());
    for is_closed in [true, false] {
        let began = Instant::now();
        let (mut wire, mut server) = pair();
        let serve = async {
            server.heard().await;
            server.say(&(at(4) + "+OK\r\n$999\r\nrole")).await;
            (!is_closed).then_some(server)
        };
        let (placed, server) = tokio::join!(wire.command_placed(&set, Want::BOTH), serve);
        let Placed { reply, answers } = placed.unwrap();
        assert_eq!((reply, offsets(&answers)), (Value::Okay, (Some(4), None)));
        assert!(!wire.is_open());
        assert_eq!(began.elapsed() >= LIMIT, server.is_some());

        let (mut wire, mut server) = pair();
        let serve = async {
            server.heard().await;
            server.say("+OK\r\n+OK\r\n").await;
            (!is_closed).then_some(server)
        };
        let (placed, _server) = tokio::join!(wire.pipeline_placed(&pipeline, Want::BEHIND), serve);
        let Placed { reply, answers } = placed.unwrap();
        assert_eq!(reply, [Value::Okay, Value::Okay]);
        assert_eq!(offsets(&answers), (None, None));
        assert!(!wire.is_open());
    }
}

#[tokio::test(start_paused = true)]
async fn a_command_without_a_reply_is_unknown_whatever_was_said_of_the_position() {
    let set = line("SET key value");
    let mut pipeline = pipe();
    pipeline.add_command(set.clone());
    pipeline.add_command(set.clone());
    for in_pipeline in [false, true] {
        let (mut wire, mut server) = pair();
        let serve = async {
            server.heard().await;
            server.say(&at(4)).await;
            if in_pipeline {
                server.say("+OK\r\n").await;
            }
            drop(server);
        };
        let call = async {
            if in_pipeline {
                wire.pipeline_placed(&pipeline, Want::BOTH).await.map(drop)
            } else {
                wire.command_placed(&set, Want::BOTH).await.map(drop)
            }
        };
        let (ended, ()) = tokio::join!(call, serve);
        let error = ended.expect_err("it has no reply");
        assert_eq!(Failure::of(&error).unwrap().fate, Fate::Unknown);
        assert!(!wire.is_open());
    }
}

#[tokio::test(start_paused = true)]
async fn what_follows_a_protocol_error_in_a_pipeline_has_no_position_behind_it() {
    let mut pipeline = pipe();
    for _ in 0..3 {
        pipeline.add_command(line("SET key value"));
    }
    let (mut wire, mut server) = pair();
    let serve = async {
        server.heard().await;
        let error = "-ERR Protocol error: invalid bulk length\r\n";
        server.say(&(at(4) + "+OK\r\n" + error)).await;
        drop(server);
    };
    let (placed, ()) = tokio::join!(wire.pipeline_placed(&pipeline, Want::BOTH), serve);
    let Placed { reply, answers } = placed.unwrap();
    assert!(matches!(
        &reply[..],
        [Value::Okay, Value::ServerError(_), Value::ServerError(_)]
    ));
    assert_eq!(offsets(&answers), (Some(4), None));
    assert!(!wire.is_open());
}

#[tokio::test(start_paused = true)]
async fn nothing_is_asked_while_replies_to_earlier_commands_are_owed() {
    let (mut wire, mut server) = pair();
    let mut silent = line("SET key value");
    silent.set_no_response(true);
    wire.command(&silent).await.unwrap();
    assert_eq!(server.heard().await, "SET");
    let get = line("GET key");
    let serve = async {
        assert_eq!(server.heard().await, "GET");
        server.say("+OK\r\n$1\r\nx\r\n").await;
    };
    let (placed, ()) = tokio::join!(wire.command_placed(&get, Want::AHEAD), serve);
    assert_eq!(
        placed.unwrap(),
        Placed::nowhere(Value::BulkString(b"x".to_vec()))
    );
}

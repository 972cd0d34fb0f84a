use proptest::prelude::*;

use super::{super::command::tests::cmd, *};

/// The order in which [`Session::first_dirt`] looks.
const DIRT: [Dirt; 9] = [
    Dirt::Transaction,
    Dirt::ReplyMode,
    Dirt::Replication,
    Dirt::Identity,
    Dirt::Database,
    Dirt::Watch,
    Dirt::Tracking,
    Dirt::Mode,
    Dirt::Closing,
];

impl Session {
    fn first_dirt(&self) -> Option<Dirt> {
        let bits = self.dirt();
        DIRT.into_iter().find(|dirt| bits & dirt.bit() != 0)
    }
}

fn error(line: &str) -> Value {
    redis::parse_redis_value(format!("-{line}\r\n").as_bytes()).unwrap()
}

fn queued() -> Value {
    Value::SimpleString("QUEUED".into())
}

/// Runs commands one at a time, each as the server would answer it when nothing is refused.
fn after(lines: &[&str]) -> Session {
    let mut session = Session::new(0);
    for line in lines {
        run(&mut session, line);
    }
    session
}

fn run(session: &mut Session, line: &str) -> Expect {
    let mut copy = *session;
    let expect = copy.note(&cmd(line)).expect;
    if expect == Expect::Uncountable {
        return expect;
    }
    *session = copy;
    if let Expect::Change(change) = expect {
        let reply = match line {
            "EXEC" => Value::Array(vec![]),
            "MULTI" | "DISCARD" => Value::Okay,
            _ if session.queuing => queued(),
            _ => Value::Okay,
        };
        session.settle(change, &reply);
    }
    expect
}

#[test]
fn every_way_to_leave_a_connection_dirty() {
    for (lines, dirt) in [
        (&["MULTI"][..], Dirt::Transaction),
        (&["multi", "SET k 1"], Dirt::Transaction),
        (&["MULTI", "MULTI"], Dirt::Transaction),
        (&["MULTI", "WATCH k"], Dirt::Transaction),
        (&["MULTI", "EXEC", "MULTI"], Dirt::Transaction),
        (&["WATCH k"], Dirt::Watch),
        (&["WATCH k", "UNWATCH", "watch k"], Dirt::Watch),
        (&["MULTI", "DISCARD", "WATCH k"], Dirt::Watch),
        (&["SELECT 3"], Dirt::Database),
        (&["SELECT x"], Dirt::Database),
        (&["SELECT"], Dirt::Database),
        (&["SELECT -1"], Dirt::Database),
        (&["SELECT 0", "select 1"], Dirt::Database),
        (&["MULTI", "SELECT 1", "EXEC"], Dirt::Database),
        (&["MULTI", "SELECT 0", "EXEC"], Dirt::Database),
        (&["CLIENT REPLY OFF"], Dirt::ReplyMode),
        (&["client reply skip", "GET k"], Dirt::ReplyMode),
        (&["CLIENT REPLY OFF", "CLIENT REPLY ON"], Dirt::ReplyMode),
        (&["AUTH secret"], Dirt::Identity),
        (&["HELLO 3"], Dirt::Identity),
        (&["RESET"], Dirt::Identity),
        (&["CLIENT SETNAME me"], Dirt::Identity),
        (&["CLIENT TRACKING ON"], Dirt::Tracking),
        (
            &["CLIENT TRACKING ON BCAST", "CLIENT TRACKING OFF"],
            Dirt::Tracking,
        ),
        (&["CLIENT CACHING YES"], Dirt::Tracking),
        (&["READONLY"], Dirt::Mode),
        (&["READWRITE"], Dirt::Mode),
        (&["ASKING"], Dirt::Mode),
        (&["CLIENT NO-EVICT ON"], Dirt::Mode),
        (&["CLIENT no-touch on"], Dirt::Mode),
        (&["CLIENT SOMETHING-NEW"], Dirt::Mode),
        (&["SCRIPT DEBUG YES"], Dirt::Mode),
        (&["DEBUG SLEEP 0"], Dirt::Mode),
        (&["REPLCONF ACK 1"], Dirt::Replication),
        (&["REPLICAOF NO ONE"], Dirt::Replication),
        (&["SLAVEOF NO ONE"], Dirt::Replication),
        (&["FAILOVER"], Dirt::Replication),
        (&["QUIT"], Dirt::Closing),
        (&["SHUTDOWN NOSAVE"], Dirt::Closing),
    ] {
        assert_eq!(after(lines).first_dirt(), Some(dirt), "{lines:?}");
    }
    let mut session = Session::new(0);
    session.note(cmd("SELECT").cursor_arg(0));
    assert_eq!(session.first_dirt(), Some(Dirt::Database));
}

#[test]
fn every_way_to_come_back_clean() {
    for lines in [
        &[][..],
        &["MULTI", "SET k 1", "EXEC"],
        &["multi", "set k 1", "discard"],
        &["WATCH k", "MULTI", "EXEC"],
        &["WATCH k", "MULTI", "DISCARD"],
        &["WATCH k", "GET k", "UNWATCH"],
        &["MULTI", "MULTI", "WATCH k", "EXEC"],
        &["SELECT 3", "SELECT 0"],
        &["SELECT x", "SELECT 0"],
        &["SELECT 0"],
        &["MULTI", "SELECT 1", "EXEC", "SELECT 0"],
        &["UNWATCH"],
        // Refused before they are sent.
        &["MONITOR", "SYNC", "PSYNC ? -1"],
        &["SUBSCRIBE c", "psubscribe c*", "SSUBSCRIBE c"],
        &["MULTI", "SUBSCRIBE c", "CLIENT REPLY OFF", "RESET", "EXEC"],
        &["UNSUBSCRIBE", "PUNSUBSCRIBE x", "SUNSUBSCRIBE"],
        &[
            "HELLO",
            "CLIENT ID",
            "CLIENT GETNAME",
            "CLIENT LIST",
            "CLIENT KILL ID 7",
        ],
        &[
            "CLIENT SETINFO LIB-NAME x",
            "CLIENT INFO",
            "CLIENT PAUSE 1",
            "CLIENT",
        ],
        &[
            "CLIENT TRACKING OFF",
            "CLIENT NO-EVICT OFF",
            "CLIENT REPLY ON",
        ],
        &["CLIENT REPLY FOO", "CLIENT REPLY", "CLIENT REPLY OFF now"],
        &[
            "EVAL x 0",
            "EVALSHA x 0",
            "FCALL f 0",
            "SCRIPT LOAD x",
            "FUNCTION LIST",
        ],
        &[
            "BLPOP k 0",
            "XREAD BLOCK 0 STREAMS s $",
            "WAIT 1 0",
            "PUBLISH c x",
            "",
        ],
    ] {
        assert_eq!(after(lines).first_dirt(), None, "{lines:?}");
    }
}

#[test]
fn only_the_reply_proves_that_a_connection_is_clean() {
    for (lines, reply, dirt) in [
        (&["MULTI", "EXEC"][..], Value::Nil, None),
        (
            &["MULTI", "EXEC"],
            error("EXECABORT Transaction discarded"),
            None,
        ),
        (
            &["WATCH k", "EXEC"],
            error("ERR EXEC without MULTI"),
            Some(Dirt::Watch),
        ),
        (
            &["MULTI", "EXEC"],
            error("NOPERM no"),
            Some(Dirt::Transaction),
        ),
        (&["MULTI", "EXEC"], Value::Okay, Some(Dirt::Transaction)),
        (&["MULTI", "EXEC"], queued(), Some(Dirt::Transaction)),
        (
            &["MULTI", "DISCARD"],
            error("NOPERM no"),
            Some(Dirt::Transaction),
        ),
        (
            &["WATCH k", "DISCARD"],
            error("ERR DISCARD without MULTI"),
            Some(Dirt::Watch),
        ),
        (
            &["WATCH k", "UNWATCH"],
            error("NOPERM no"),
            Some(Dirt::Watch),
        ),
        (
            &["MULTI", "WATCH k", "UNWATCH"],
            queued(),
            Some(Dirt::Transaction),
        ),
        (
            &["SELECT 1", "SELECT 0"],
            error("BUSY script"),
            Some(Dirt::Database),
        ),
        (&["SELECT 1", "SELECT 0"], queued(), Some(Dirt::Database)),
        (
            &["SELECT 1"],
            error("ERR DB index is out of range"),
            Some(Dirt::Database),
        ),
    ] {
        let mut session = Session::new(0);
        let mut last = None;
        for line in lines {
            last = Some(session.note(&cmd(line)).expect);
        }
        assert!(session.first_dirt().is_some(), "{lines:?} before the reply");
        let Some(Expect::Change(change)) = last else {
            panic!("{lines:?} expected {last:?}");
        };
        session.settle(change, &reply);
        assert_eq!(session.first_dirt(), dirt, "{lines:?} {reply:?}");
    }
}

#[test]
fn a_late_reply_does_not_undo_what_a_later_command_began() {
    let mut session = Session::new(2);
    let Expect::Change(begun) = session.note_multi() else {
        panic!("MULTI may be refused");
    };
    let Expect::Change(first) = session.note_exec() else {
        panic!("EXEC needs its reply");
    };
    session.note_multi();
    session.settle(begun, &error("NOPERM no"));
    assert!(session.queuing);
    session.settle(first, &Value::Array(vec![]));
    assert_eq!(session.first_dirt(), Some(Dirt::Transaction));
    let Expect::Change(second) = session.note_exec() else {
        panic!("EXEC needs its reply");
    };
    session.settle(second, &Value::Array(vec![]));
    assert_eq!(session.first_dirt(), None);

    session.note(&cmd("SELECT 1"));
    let Expect::Change(second) = session.note(&cmd("SELECT 2")).expect else {
        panic!("SELECT needs its reply");
    };
    session.note(&cmd("SELECT 3"));
    session.settle(second, &Value::Okay);
    assert_eq!(session.first_dirt(), Some(Dirt::Database));
}

#[test]
fn what_must_be_read() {
    use Expect::{Confirmations, None, One, Uncountable};
    for (lines, expected) in [
        (&["GET k", "BLPOP k 1", "AUTH x"][..], &[One, One, One][..]),
        (&["", "GET k"], &[None, One]),
        (
            &["SUBSCRIBE", "SUBSCRIBE a b c", "PSUBSCRIBE a", "GET k"],
            &[Uncountable, Uncountable, Uncountable, One],
        ),
        (
            &[
                "UNSUBSCRIBE",
                "UNSUBSCRIBE a b",
                "PUNSUBSCRIBE",
                "SUNSUBSCRIBE x",
            ],
            &[
                Confirmations(1),
                Confirmations(2),
                Confirmations(1),
                Confirmations(1),
            ],
        ),
        (&["CLIENT REPLY SKIP", "GET k", "GET k"], &[None, None, One]),
        (
            &["CLIENT REPLY SKIP", "CLIENT REPLY SKIP", "GET k", "GET k"],
            &[None, None, None, One],
        ),
        (&["CLIENT REPLY SKIP", "", "GET k"], &[None, None, One]),
        (
            &["CLIENT REPLY SKIP", "CLIENT REPLY ON", "GET k"],
            &[None, One, One],
        ),
        (
            &[
                "CLIENT REPLY OFF",
                "GET k",
                "CLIENT REPLY SKIP",
                "EXEC",
                "CLIENT REPLY ON",
                "GET k",
            ],
            &[None, None, None, None, One, One],
        ),
        // What is refused is as if it had not been.
        (
            &["CLIENT REPLY OFF", "SUBSCRIBE c", "GET k"],
            &[None, Uncountable, None],
        ),
        (
            &["CLIENT REPLY SKIP", "RESET", "GET k", "GET k"],
            &[None, Uncountable, None, One],
        ),
        (&["CLIENT REPLY OFF", "HELLO 2"], &[None, Uncountable]),
        (&["CLIENT REPLY FOO", "GET k"], &[One, One]),
        (
            &["MULTI", "SUBSCRIBE a b", "GET k"],
            &[MULTI, Uncountable, One],
        ),
        (&["MULTI", "UNSUBSCRIBE"], &[MULTI, Uncountable]),
        (&["MULTI", "CLIENT REPLY OFF"], &[MULTI, Uncountable]),
        (
            &["MULTI", "CLIENT REPLY ON", "GET k"],
            &[MULTI, Uncountable, One],
        ),
        (&["MULTI", "RESET"], &[MULTI, Uncountable]),
        (&["MULTI", "HELLO 2"], &[MULTI, Uncountable]),
        (&["MONITOR", "GET k"], &[Uncountable, One]),
        (&["SYNC"], &[Uncountable]),
        (&["PSYNC ? -1"], &[Uncountable]),
    ] {
        let mut session = Session::new(0);
        let mut read = |line: &&str| run(&mut session, line);
        let read: Vec<_> = lines.iter().map(&mut read).collect();
        assert_eq!(read, expected, "{lines:?}");
    }
}

const MULTI: Expect = Expect::Change(Change {
    what: Changed::Begun { queuing: false },
    at: 1,
});

#[test]
fn what_the_server_refuses_changes_nothing_of_what_follows() {
    let mut session = Session::new(0);
    let mut refuse = |line: &str| match session.note(&cmd(line)).expect {
        Expect::Change(change) => session.settle(change, &error("NOPERM no")),
        expect => panic!("{line} expects {expect:?}"),
    };
    refuse("MULTI");
    assert_eq!(session.note(&cmd("BLPOP k 0")).block, Block::Forever);
    run(&mut session, "MULTI");
    let mut refuse = |line: &str| match session.note(&cmd(line)).expect {
        Expect::Change(change) => session.settle(change, &error("NOPERM no")),
        expect => panic!("{line} expects {expect:?}"),
    };
    refuse("MULTI");
    refuse("DISCARD");
    assert_eq!(session.note(&cmd("BLPOP k 0")).block, Block::No);
}

#[test]
fn nothing_blocks_inside_a_transaction() {
    let mut session = Session::new(0);
    assert_eq!(session.note(&cmd("BLPOP k 0")).block, Block::Forever);
    session.note(&cmd("MULTI"));
    assert_eq!(session.note(&cmd("BLPOP k 0")).block, Block::No);
    session.note(&cmd("EXEC"));
    assert_eq!(session.note(&cmd("BLPOP k 0")).block, Block::Forever);
}

/// A server's view of one connection, down to the reply; `denied` stands for an ACL or a busy
/// script.
#[derive(Default)]
struct Server {
    multi: Option<Vec<i64>>,
    aborted: bool,
    watching: bool,
    db: i64,
}

#[derive(Debug, Clone, Copy)]
enum Op {
    Multi,
    Exec,
    Discard,
    Watch,
    Unwatch,
    Select(i64),
    Get,
}

impl Op {
    fn line(self) -> String {
        match self {
            Self::Select(db) => format!("SELECT {db}"),
            Self::Get => "GET k".into(),
            Self::Watch => "WATCH k".into(),
            other => format!("{other:?}").to_ascii_uppercase(),
        }
    }
}

impl Server {
    fn end(&mut self) -> Vec<i64> {
        self.aborted = false;
        self.watching = false;
        self.multi.take().unwrap_or_default()
    }

    fn run(&mut self, op: Op, denied: bool) -> Value {
        match op {
            Op::Exec if self.multi.is_some() && (denied || self.aborted) => {
                self.end();
                error("EXECABORT Transaction discarded")
            }
            _ if denied => {
                self.aborted |= self.multi.is_some();
                error("NOPERM no")
            }
            Op::Multi | Op::Watch if self.multi.is_some() => error("ERR not inside MULTI"),
            Op::Multi => {
                self.multi = Some(vec![]);
                Value::Okay
            }
            Op::Exec | Op::Discard if self.multi.is_none() => error("ERR without MULTI"),
            Op::Exec => {
                if let Some(&db) = self.end().last() {
                    self.db = db;
                }
                Value::Array(vec![])
            }
            Op::Discard => {
                self.end();
                Value::Okay
            }
            Op::Select(db) if self.multi.is_some() => {
                self.multi.get_or_insert_default().push(db);
                queued()
            }
            _ if self.multi.is_some() => queued(),
            Op::Watch => {
                self.watching = true;
                Value::Okay
            }
            Op::Unwatch => {
                self.watching = false;
                Value::Okay
            }
            Op::Select(db) => {
                self.db = db;
                Value::Okay
            }
            Op::Get => Value::Nil,
        }
    }

    fn clean(&self) -> bool {
        self.multi.is_none() && !self.watching && self.db == 0
    }
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        Just(Op::Multi),
        Just(Op::Exec),
        Just(Op::Discard),
        Just(Op::Watch),
        Just(Op::Unwatch),
        (0..3_i64).prop_map(Op::Select),
        Just(Op::Get),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn what_counts_as_clean_is_clean_on_the_server(
        steps in prop::collection::vec((op(), prop::bool::weighted(0.2), any::<bool>()), 0..24),
    ) {
        let (mut session, mut server) = (Session::new(0), Server::default());
        let mut unread = Vec::new();
        for (op, denied, read) in steps {
            let expect = session.note(&cmd(&op.line())).expect;
            unread.push((expect, server.run(op, denied)));
            // A pipeline's replies are read in order, some time after later commands were
            // noted.
            if read {
                for (expect, reply) in unread.drain(..) {
                    if let Expect::Change(change) = expect {
                        session.settle(change, &reply);
                    }
                }
            }
            if session.first_dirt().is_none() {
                prop_assert!(server.clean());
            }
        }
    }

    #[test]
    fn what_is_clean_on_a_willing_server_counts_as_clean(steps in prop::collection::vec(op(), 0..24)) {
        let (mut session, mut server) = (Session::new(0), Server::default());
        let mut doubted = false;
        for op in steps {
            // A SELECT in MULTI makes the connection dirty even if it selects the initial database.
            doubted |= matches!(op, Op::Select(_)) && server.multi.is_some();
            let expect = session.note(&cmd(&op.line())).expect;
            let reply = server.run(op, false);
            if let Expect::Change(change) = expect {
                session.settle(change, &reply);
            }
            if !doubted {
                prop_assert_eq!(session.first_dirt().is_none(), server.clean());
            }
        }
    }
}

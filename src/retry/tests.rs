use redis::{Value, cmd};

use super::*;
use crate::{
    error::{code, reply_class::ReplyClass},
    node::Role,
};

use NextStep::{Return, TakeAnother, WaitForNode};

const FRESH: Spent = Spent {
    losses: 0,
    is_over: false,
};

fn parsed(line: &str) -> Value {
    redis::parse_redis_value(format!("-{line}\r\n").as_bytes()).unwrap()
}

/// What follows when a `SET` was answered so.
fn after(line: &str, role: Role, is_retired: impl FnOnce(ReplyClass) -> bool) -> NextStep {
    let (set, reply) = (cmd("SET"), parsed(line));
    let facts = Facts {
        is_read: false,
        is_bound: false,
        is_retired: is_retired(ReplyClass::of(&reply)),
    };
    next_step(AttemptEnd::answered(&set, &reply, role), facts, FRESH)
}

/// Each code of a server, and what it leads to on an exclusive connection and on a shared one.
#[test]
fn what_every_code_leads_to() {
    let settled = [Return; 6];
    let read_only = [
        TakeAnother,
        TakeAnother,
        Return,
        Return,
        TakeAnother,
        Return,
    ];
    // Where another node serves, an exclusive connection goes there. A shared connection stays: the
    // handle waits, and takes an open connection to another node at once.
    let not_serving = [
        WaitForNode,
        TakeAnother,
        WaitForNode,
        TakeAnother,
        WaitForNode,
        WaitForNode,
    ];
    let rows = [
        ("READONLY", read_only),
        ("REDIRECT", read_only),
        ("LOADING", not_serving),
        ("MASTERDOWN", not_serving),
        ("NOREPLICAS", settled),
        ("UNBLOCKED", settled),
        ("MISCONF", settled),
        ("OOM", settled),
        ("BUSY", settled),
        ("CLUSTERDOWN", settled),
        ("TRYAGAIN", settled),
        ("NOAUTH", settled),
        ("WRONGPASS", settled),
        ("DENIED", settled),
        ("NOPERM", settled),
        ("NOPROTO", settled),
        ("NOSCRIPT", settled),
        ("MOVED", settled),
        ("ASK", settled),
        ("CROSSSLOT", settled),
        ("ERR unknown command", settled),
        ("ERR max number of clients reached", settled),
        ("WRONGTYPE", settled),
        ("MYERROR", settled),
        // Of an EXEC that was sent by hand: its transaction is gone, whatever the reason.
        ("EXECABORT because of: READONLY no", settled),
    ];
    for (line, steps) in rows {
        let exclusive = |role, has_alternative| {
            let is_retired = |class: ReplyClass| class.retires_exclusive(role, || has_alternative);
            after(line, role, is_retired)
        };
        let shared = |role| after(line, role, |class| class.retires(role));
        let got = [
            exclusive(Role::Master, false),
            exclusive(Role::Master, true),
            exclusive(Role::Replica, false),
            exclusive(Role::Replica, true),
            shared(Role::Master),
            shared(Role::Replica),
        ];
        assert_eq!(got, steps, "{line}");
    }
    for code in code::all() {
        assert!(rows.iter().any(|(line, _)| *line == code), "{code}");
    }
}

#[test]
fn what_follows_an_attempt() {
    use AttemptEnd::{Lost, NotWritten, Refused, Settled};
    let write = Facts {
        is_read: false,
        is_bound: false,
        is_retired: false,
    };
    let read = Facts {
        is_read: true,
        ..write
    };
    let bound = Facts {
        is_bound: true,
        ..read
    };
    let retired = Facts {
        is_retired: true,
        ..write
    };
    let late = Spent {
        is_over: true,
        ..FRESH
    };
    let lost = |losses| Spent { losses, ..FRESH };
    for (attempt, facts, spent, step) in [
        (Settled, read, FRESH, Return),
        (Settled, retired, FRESH, Return),
        (NotWritten, write, FRESH, TakeAnother),
        (NotWritten, bound, FRESH, Return),
        (NotWritten, write, late, Return),
        (Refused, write, FRESH, WaitForNode),
        (Refused, retired, FRESH, TakeAnother),
        (Refused, bound, FRESH, Return),
        (Refused, write, late, Return),
        (Lost, write, lost(1), Return),
        (Lost, read, lost(1), TakeAnother),
        (Lost, bound, lost(1), Return),
        (Lost, read, late, Return),
        (Lost, read, lost(MOST_LOSSES), TakeAnother),
        (Lost, read, lost(MOST_LOSSES + 1), Return),
    ] {
        let got = next_step(attempt, facts, spent);
        assert_eq!(got, step, "{attempt:?} {facts:?} {spent:?}");
    }
}

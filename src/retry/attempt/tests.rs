use std::{io, time::Duration};

use super::*;
use crate::retry::{Facts, NextStep, Spent, next_step};

fn allows_another(attempt: AttemptEnd, is_read: bool) -> bool {
    let facts = Facts {
        is_read,
        is_bound: false,
        is_retired: false,
    };
    let spent = Spent {
        losses: 0,
        is_over: false,
    };
    next_step(attempt, facts, spent) != NextStep::Return
}

#[test]
fn what_may_be_tried_again() {
    let io = || Cause::Io("reset".to_owned(), io::ErrorKind::ConnectionReset);
    let protocol = || Cause::Protocol("garbage".to_owned());
    let late = || Cause::Timeout(Duration::ZERO);
    let fenced = || Cause::Fenced(String::new(), Duration::ZERO);
    for (cause, fate, write, read) in [
        (Cause::Unusable, Fate::NotExecuted, true, true),
        (Cause::Closed, Fate::NotExecuted, true, true),
        (io(), Fate::NotExecuted, true, true),
        (protocol(), Fate::NotExecuted, true, true),
        (Cause::Closed, Fate::Unknown, false, true),
        (io(), Fate::Unknown, false, true),
        (Cause::Withdrawn, Fate::Unknown, false, true),
        (protocol(), Fate::Unknown, false, false),
        (late(), Fate::Unknown, false, false),
        (late(), Fate::NotExecuted, false, false),
        (Cause::RuntimeEnded, Fate::NotExecuted, true, true),
        (Cause::RuntimeEnded, Fate::Unknown, false, false),
        (fenced(), Fate::NotExecuted, false, false),
        (Cause::Superseded(None), Fate::NotExecuted, false, false),
    ] {
        let attempt = AttemptEnd::failed(&cause, fate);
        assert_eq!(allows_another(attempt, false), write, "{cause} {fate:?}");
        assert_eq!(allows_another(attempt, true), read, "{cause} {fate:?}");
    }
    assert!(allows_another(AttemptEnd::Refused, false));
    assert!(!allows_another(AttemptEnd::Settled, true));
}

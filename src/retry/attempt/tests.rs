use std::io;

use super::*;

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
        assert_eq!(attempt.allows_another(|| false), write, "{cause} {fate:?}");
        assert_eq!(attempt.allows_another(|| true), read, "{cause} {fate:?}");
    }
    assert!(AttemptEnd::Refused.allows_another(|| false));
    assert!(!AttemptEnd::Settled.allows_another(|| true));
}

#[test]
fn pauses_grow_to_a_limit() {
    let mut backoff = Backoff::after(AttemptEnd::Lost);
    assert_eq!(backoff.next(true), Duration::ZERO);
    assert!(backoff.next(true) >= FIRST_PAUSE / 2);
    let mut backoff = Backoff::after(AttemptEnd::Refused);
    assert_eq!(backoff.next(false), Duration::ZERO);
    assert!(backoff.next(false) >= FIRST_PAUSE / 2, "back and forth");
    for _ in 0..20 {
        assert!(backoff.next(true) <= LONGEST_PAUSE);
    }
    assert!(backoff.next(true) >= LONGEST_PAUSE / 2);
}

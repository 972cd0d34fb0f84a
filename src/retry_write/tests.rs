use std::io;

use super::*;

#[test]
fn what_may_pass_is_tried_again_after_ever_longer_pauses() {
    let policy = Retry::default();
    let ms = Duration::from_millis;
    let table = [
        (1, Verdict::Hindered, Some(ms(10))),
        (1, Verdict::Lost, Some(ms(10))),
        (1, Verdict::Torn, Some(ms(10))),
        (2, Verdict::Hindered, Some(ms(20))),
        (3, Verdict::Lost, Some(ms(40))),
        (6, Verdict::Lost, Some(ms(320))),
        (7, Verdict::Lost, Some(ms(500))),
        (32, Verdict::Hindered, Some(ms(500))),
        (33, Verdict::Hindered, Some(ms(500))),
        (u32::MAX, Verdict::Hindered, Some(ms(500))),
        (1, Verdict::Refused, None),
        (1, Verdict::Answered, None),
        (9, Verdict::Answered, None),
    ];
    for (failures, verdict, expected) in table {
        let got = again(&policy, failures, verdict);
        assert_eq!(got, expected, "{failures} {verdict:?}");
    }
}

#[test]
fn an_attempt_that_may_have_been_executed_is_not_hidden_by_one_that_was_not() {
    let unknown = || RedisError::from(io::Error::other("unknown"));
    let closed = || RedisError::from(Error::Closed);
    let no_sentinel = || (redis::ErrorKind::Client, "refused").into();
    let answered = || (redis::ErrorKind::Parse, "answered").into();
    let table: [(Option<RedisError>, RedisError, RedisError); 7] = [
        (None, closed(), closed()),
        (None, unknown(), unknown()),
        (Some(no_sentinel()), closed(), closed()),
        (Some(closed()), unknown(), unknown()),
        (Some(unknown()), closed(), unknown()),
        (Some(unknown()), answered(), answered()),
        (Some(answered()), closed(), answered()),
    ];
    for (earlier, last, expected) in table {
        let case = format!("{earlier:?}, {last:?}");
        let got = overall(earlier.map(Failed::of), Failed::of(last)).error;
        assert_eq!(got.to_string(), expected.to_string(), "{case}");
    }
}

#[test]
fn an_error_of_the_callers_own_replaces_any_earlier_one() {
    let unknown = RedisError::from(io::Error::other("unknown"));
    let earlier = Failed::<Box<dyn std::error::Error>>::of(unknown.into());
    let last = Failed::of("no such user".into());
    assert_eq!(
        overall(Some(earlier), last).error.to_string(),
        "no such user"
    );
}

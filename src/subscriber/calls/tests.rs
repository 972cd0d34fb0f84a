use std::time::Duration;

use super::*;

fn channel(name: &str) -> Subject {
    Subject::Channel(name.to_owned().into())
}

fn ids(over: &[(CallId, Call)]) -> Vec<u64> {
    over.iter().map(|(id, _)| id.0).collect()
}

#[test]
fn a_call_is_over_when_all_of_its_subjects_are_or_one_fails() {
    let mut calls = Calls::default();
    let now = Instant::now();
    let until = now + Duration::from_secs(1);
    let call = || Call::subscribe(now, until, Vec::new());
    calls.add(CallId(1), call(), ["x", "y"].map(channel));
    calls.add(CallId(2), call(), ["y"].map(channel));
    calls.add(CallId(3), call(), ["y", "z"].map(channel));
    assert_eq!(ids(&calls.settle(&channel("x"), None)), [0; 0]);
    assert_eq!(ids(&calls.settle(&channel("y"), None)), [1, 2]);
    assert_eq!(calls.awaited(), [channel("z")]);
    calls.add(CallId(4), call(), ["v", "w"].map(channel));
    let error = crate::subscriber::course::noperm();
    assert_eq!(ids(&calls.settle(&channel("v"), Some(&error))), [4]);
    assert_eq!(calls.awaited(), [channel("z")]);
}

#[test]
fn calls_end_in_their_time() {
    let mut calls = Calls::default();
    let now = Instant::now();
    let second = Duration::from_secs(1);
    assert_eq!(calls.due_at(), None);
    calls.add(
        CallId(1),
        Call::subscribe(now, now + second, Vec::new()),
        [channel("x")],
    );
    calls.add(
        CallId(2),
        Call::unsubscribe(now, now + 2 * second),
        [channel("x")],
    );
    assert_eq!(calls.due_at(), Some(now + second));
    assert_eq!(ids(&calls.expire(now)), [0; 0]);
    assert_eq!(ids(&calls.expire(now + second)), [1]);
    assert_eq!(ids(&calls.give_up()), [0; 0], "it subscribes to nothing");
    assert_eq!(ids(&calls.expire(now + 2 * second)), [2]);
    assert_eq!(calls.awaited(), []);
}

use super::*;

#[test]
fn a_node_that_keeps_closing_is_asked_ever_later_and_one_that_did_not_at_once() {
    let millis = Duration::from_millis;
    let seconds = Duration::from_secs;
    for (backoff, held, longest, expected) in [
        (millis(0), seconds(60), seconds(5), millis(0)),
        (millis(0), millis(1), seconds(5), millis(50)),
        (millis(50), millis(1), seconds(5), millis(100)),
        (seconds(4), millis(1), seconds(5), seconds(5)),
        (seconds(5), seconds(1), seconds(5), millis(0)),
        // Where the Sentinels are asked more often than that.
        (millis(0), millis(1), millis(10), millis(10)),
    ] {
        let next = next_backoff(backoff, held, longest);
        assert_eq!(next, expected, "{backoff:?} {held:?} {longest:?}");
    }
}

use super::*;

#[test]
fn pauses_grow_to_a_limit() {
    let mut backoff = Backoff::after(AttemptEnd::Lost);
    assert_eq!(backoff.next(true), Duration::ZERO);
    assert!(backoff.next(true) >= RESEND.first / 2);
    let mut backoff = Backoff::after(AttemptEnd::Refused);
    assert_eq!(backoff.next(false), Duration::ZERO);
    assert!(backoff.next(false) >= RESEND.first / 2, "back and forth");
    for _ in 0..20 {
        assert!(backoff.next(true) <= RESEND.longest);
    }
    assert!(backoff.next(true) >= RESEND.longest / 2);
}

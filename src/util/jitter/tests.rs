use super::*;

#[test]
fn draws_stay_in_range_and_differ() {
    let base = Duration::from_secs(100);
    let drawn: Vec<_> = (0..200).map(|_| around(base, 10)).collect();
    assert!(drawn.iter().all(|d| (90..=110).contains(&d.as_secs())));
    assert!(drawn.iter().any(|d| *d < base) && drawn.iter().any(|d| *d > base));
    let low = Duration::from_millis(5);
    assert!((0..200).all(|_| between(low, base) >= low && between(low, base) <= base));
}

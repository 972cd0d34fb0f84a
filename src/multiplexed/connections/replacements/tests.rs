use super::*;

fn error() -> Error {
    Error::Closed
}

#[tokio::test(start_paused = true)]
async fn a_node_is_tried_after_ever_longer_pauses_and_at_once_with_newer_certificates() {
    let mut replacements = Replacements::default();
    let [a, b] = ["a", "b"].map(|host| Node::new(host, 6379));
    assert!(replacements.is_due(&a, Instant::now()));
    let mut longest = Duration::ZERO;
    for _ in 0..12 {
        let began = Instant::now();
        replacements.failed(&a, &error());
        assert!(!replacements.is_due(&a, Instant::now()));
        assert!(replacements.is_due(&b, Instant::now()), "only that node");
        replacements.due().await;
        assert!(replacements.is_due(&a, Instant::now()));
        let waited = began.elapsed();
        assert!(waited > longest / 2, "{waited:?} after {longest:?}");
        longest = longest.max(waited);
    }
    assert!(longest > REPLACEMENT.longest / 2 && longest <= REPLACEMENT.longest * 2);

    replacements.failed(&a, &error());
    assert!(!replacements.is_due(&a, Instant::now()));
    replacements.begin_anew();
    assert!(replacements.is_due(&a, Instant::now()));
    let began = Instant::now();
    replacements.failed(&a, &error());
    replacements.due().await;
    assert!(
        began.elapsed() <= REPLACEMENT.first,
        "it is the first again"
    );
}

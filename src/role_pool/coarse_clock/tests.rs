use super::*;

#[tokio::test(start_paused = true)]
async fn time_stands_still_between_ticks() {
    let clock = CoarseClock::new();
    let before = clock.now();
    tokio::time::advance(Duration::from_secs(3)).await;
    assert_eq!(clock.now(), before);
    assert_eq!(clock.tick(), before + Duration::from_secs(3));
    assert_eq!(clock.now(), before + Duration::from_secs(3));
}

use std::sync::Arc;

use tokio::task::JoinSet;

use super::*;

const LONG: Duration = Duration::from_secs(20);

fn node() -> Node {
    Node::new("10.0.0.1", 6379)
}

#[tokio::test(start_paused = true)]
async fn a_pause_ends_once_and_the_next_is_longer_up_to_a_limit() {
    let mut now = Instant::now();
    let mut pace = Pace::new(RESEND, now);
    let mut steps = 0;
    while pace.pause < RESEND.longest {
        assert!(!pace.step(now), "it has just begun");
        assert!((now + pace.pause / 2..=now + pace.pause).contains(&pace.until));
        now = pace.until;
        assert!(pace.step(now));
        steps += 1;
    }
    assert_eq!(steps, 6);
    assert!(!pace.is_past(pace.until));
    assert!(pace.is_past(pace.until + RESEND.longest));
}

#[tokio::test(start_paused = true)]
async fn those_who_were_refused_try_one_at_a_time() {
    let refusals = Arc::new(Refusals::default());
    refusals.refused(&node());
    let began = Instant::now();
    let mut callers = JoinSet::new();
    for _ in 0..100 {
        let refusals = Arc::clone(&refusals);
        callers.spawn(async move {
            let mut tries = 0;
            while began.elapsed() < LONG {
                refusals.turn(&node()).await;
                refusals.refused(&node());
                tries += 1;
            }
            tries
        });
    }
    // Each of them was on its way to the last one when the time was over.
    let tries: usize = callers.join_all().await.into_iter().sum::<usize>() - 100;
    let fewest = LONG.as_millis() / RESEND.longest.as_millis();
    assert!(tries as u128 >= fewest, "{tries}");
    assert!(tries as u128 <= 2 * fewest + 6, "{tries}");
}

#[tokio::test(start_paused = true)]
async fn when_the_node_has_served_one_all_go_on() {
    let refusals = Arc::new(Refusals::default());
    refusals.refused(&node());
    refusals.turn(&node()).await;
    let mut callers = JoinSet::new();
    for _ in 0..10 {
        let refusals = Arc::clone(&refusals);
        callers.spawn(async move { refusals.turn(&node()).await });
    }
    tokio::task::yield_now().await;
    assert!(refusals.contains(&node()));
    let began = Instant::now();
    refusals.served(&node());
    callers.join_all().await;
    assert_eq!(began.elapsed(), Duration::ZERO);
    assert!(!refusals.contains(&node()));
}

#[tokio::test(start_paused = true)]
async fn what_was_long_ago_is_forgotten() {
    let refusals = Refusals::default();
    refusals.refused(&node());
    for _ in 0..10 {
        refusals.turn(&node()).await;
    }
    tokio::time::sleep(3 * RESEND.longest).await;
    assert!(!refusals.contains(&node()));
    refusals.refused(&node());
    let began = Instant::now();
    refusals.turn(&node()).await;
    assert!(began.elapsed() <= RESEND.first + Duration::from_millis(1));
}

#[tokio::test(start_paused = true)]
async fn a_node_that_keeps_refusing_starts_a_refresh_ever_less_often() {
    let refusals = Refusals::default();
    let mut refreshes = 0;
    for _ in 0..20_000 {
        refreshes += u32::from(refusals.is_refresh_due(&node()));
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert!((8..=16).contains(&refreshes), "{refreshes}");
    assert!(
        refusals.is_refresh_due(&Node::new("10.0.0.2", 6379)),
        "of another"
    );
    tokio::time::sleep(3 * REFRESH_FOR_REFUSAL.longest).await;
    assert!(refusals.is_refresh_due(&node()), "another story");
}

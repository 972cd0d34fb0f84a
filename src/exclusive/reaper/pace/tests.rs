use super::*;

#[tokio::test(start_paused = true)]
async fn a_few_go_first_and_the_others_one_by_one() {
    let mut pace = Pace::default();
    let mut missing = 32;
    let began = Instant::now();
    let mut steps = Vec::new();
    while missing > 0 {
        let step = pace.step(missing, Instant::now());
        assert_eq!(pace.step(missing - step, Instant::now()), 0, "not yet");
        steps.push(step);
        missing -= step;
        pace.next().await;
    }
    assert_eq!(steps[0], FIRST);
    assert!(steps[1..].iter().all(|step| *step == 1));
    let rest = u32::try_from(steps.len() - 1).unwrap();
    let took = began.elapsed();
    assert!(
        took >= PAUSE / 2 * rest && took <= PAUSE * 3 / 2 * (rest + 1),
        "{took:?}"
    );

    assert_eq!(pace.step(0, Instant::now()), 0);
    assert_eq!(
        pace.step(2, Instant::now()),
        2,
        "the next burst is a new one"
    );
}

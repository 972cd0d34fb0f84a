use std::{
    sync::atomic::{AtomicU64, Ordering::SeqCst},
    time::Duration,
};

use tokio::sync::Semaphore;

use super::*;

/// A node that answers with the number of the question when it is let.
#[derive(Clone)]
struct Slow {
    asked: Arc<AtomicU64>,
    answers: Arc<Semaphore>,
}

impl Slow {
    fn new() -> Self {
        Self {
            asked: Arc::default(),
            answers: Arc::new(Semaphore::new(0)),
        }
    }

    async fn answer(self) -> RedisResult<u64> {
        let number = self.asked.fetch_add(1, SeqCst) + 1;
        let permit = self.answers.acquire().await;
        permit.expect("it is never closed").forget();
        Ok(number)
    }
}

async fn ask(asker: Arc<Asker<u64>>, runtime: Arc<Runtime>, node: Slow) -> Option<u64> {
    let until = Instant::now() + Duration::from_secs(1);
    let question = move || node.clone().answer();
    let answer = asker.ask(&runtime, until, question).await?;
    Some(answer.unwrap())
}

#[tokio::test(start_paused = true)]
async fn callers_who_come_together_share_a_question_that_is_sent_after_they_came() {
    let (asker, runtime, node) = (Asker::new(), Runtime::current(), Slow::new());
    let caller = || tokio::spawn(ask(asker.clone(), runtime.clone(), node.clone()));
    let first = [caller(), caller(), caller()];
    while node.asked.load(SeqCst) == 0 {
        tokio::task::yield_now().await;
    }
    let late = [caller(), caller()];
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert_eq!(node.asked.load(SeqCst), 1);
    node.answers.add_permits(2);
    for caller in first {
        // Who looks late may see a later answer, which serves as well.
        assert!(matches!(caller.await.unwrap(), Some(1 | 2)));
    }
    for caller in late {
        assert_eq!(caller.await.unwrap(), Some(2));
    }
    assert_eq!(node.asked.load(SeqCst), 2);
}

#[tokio::test(start_paused = true)]
async fn who_waits_in_vain_is_told_so_and_the_question_goes_on() {
    let (asker, runtime, node) = (Asker::new(), Runtime::current(), Slow::new());
    assert_eq!(
        ask(asker.clone(), runtime.clone(), node.clone()).await,
        None
    );
    let late = tokio::spawn(ask(asker.clone(), runtime.clone(), node.clone()));
    tokio::task::yield_now().await;
    node.answers.add_permits(2);
    assert_eq!(late.await.unwrap(), Some(2));
}

#[tokio::test]
async fn a_question_that_panics_leaves_nobody_waiting() {
    let (asker, runtime) = (Asker::<u64>::new(), Runtime::current());
    let until = Instant::now() + Duration::from_secs(60);
    let panics = || async { panic!("as a test") };
    let answer = tokio::time::timeout(Duration::from_secs(20), asker.ask(&runtime, until, panics));
    assert!(answer.await.unwrap().is_none());
    let again = ask(asker, runtime, {
        let node = Slow::new();
        node.answers.add_permits(1);
        node
    });
    assert_eq!(again.await, Some(1));
}

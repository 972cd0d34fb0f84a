//! The master is replaced while somebody publishes numbers.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::Duration,
};

use redis_rw_pool::{Adopt, Gap, Notice, Pool, Subscriber, redis::AsyncCommands};
use testkit::Deployment;
use tokio::{
    task::{JoinHandle, block_in_place},
    time::Instant,
};

use super::next;
use crate::support::{self, FAILOVER_LIMIT, LONG, SECOND, eventually};

const CHANNEL: &str = "numbers";

/// Publishes a number every five milliseconds.
struct Publisher {
    stop: Arc<AtomicBool>,
    task: JoinHandle<Published>,
}

struct Published {
    /// Each number that was acknowledged, when it was sent, and when the reply was here.
    acknowledged: BTreeMap<u64, (Instant, Instant)>,
    /// The longest time without one.
    stall: Duration,
}

impl Publisher {
    fn start(pool: &Pool) -> Self {
        let (pool, stop) = (pool.clone(), Arc::new(AtomicBool::new(false)));
        let stopped = Arc::clone(&stop);
        let task = tokio::spawn(async move {
            let mut published = Published {
                acknowledged: BTreeMap::new(),
                stall: Duration::ZERO,
            };
            let mut last = Instant::now();
            for number in 0_u64.. {
                if stopped.load(SeqCst) {
                    break;
                }
                let begun = Instant::now();
                let sent: Result<i64, _> = pool.writer().publish(CHANNEL, number).await;
                if sent.is_ok() {
                    let now = Instant::now();
                    published.stall = published.stall.max(now - last);
                    last = now;
                    published.acknowledged.insert(number, (begun, now));
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            let sent: Result<i64, _> = pool.writer().publish(CHANNEL, "end").await;
            sent.expect("the deployment is healthy again");
            published
        });
        Self { stop, task }
    }

    async fn finish(self) -> Published {
        self.stop.store(true, SeqCst);
        self.task.await.expect("it does not panic")
    }
}

struct Received {
    /// Each number, and when it came.
    numbers: BTreeMap<u64, Instant>,
    gaps: Vec<(Gap, Instant)>,
    /// The longest time without a number.
    silence: Duration,
}

/// Takes everything up to the end.
fn receive(mut updates: Subscriber) -> JoinHandle<Received> {
    tokio::spawn(async move {
        let mut received = Received {
            numbers: BTreeMap::new(),
            gaps: Vec::new(),
            silence: Duration::ZERO,
        };
        let mut last = None;
        loop {
            match tokio::time::timeout(FAILOVER_LIMIT, next(&mut updates))
                .await
                .unwrap()
            {
                Notice::Message(message) if message.payload() == b"end" => return received,
                Notice::Message(message) => {
                    let (number, now) = (message.get().unwrap(), Instant::now());
                    let before = received.numbers.last_key_value().map(|(number, _)| *number);
                    assert!(before < Some(number), "{number} after {before:?}");
                    received.numbers.insert(number, now);
                    let silence = last.map_or(Duration::ZERO, |last| now - last);
                    received.silence = received.silence.max(silence);
                    last = Some(now);
                }
                Notice::Gap(gap) => received.gaps.push((gap, Instant::now())),
                other => panic!("{other:?}"),
            }
        }
    })
}

/// `replace` ends the master's reign. Returns what was published and what was received.
async fn followed(adopt: Adopt, replace: impl FnOnce(&Deployment)) -> (Published, Received) {
    let deployment = block_in_place(Deployment::start);
    let pool = support::pool(&deployment, |config| {
        config.failover_timeout = FAILOVER_LIMIT;
        config.adopt = adopt;
    })
    .await;
    let sentinels = deployment.sentinels().len();
    eventually("all Sentinels are heard", LONG, || async {
        pool.status().sentinel.listening == sentinels
    })
    .await;
    let updates = pool.subscriber();
    updates.subscribe([CHANNEL]).await.unwrap();
    let old = pool.topology().master.clone();
    let received = receive(updates);
    let publisher = Publisher::start(&pool);
    tokio::time::sleep(Duration::from_millis(300)).await;
    block_in_place(|| replace(&deployment));
    eventually("the pool follows", FAILOVER_LIMIT, || async {
        let topology = pool.topology();
        topology.master != old && topology.fence.is_none()
    })
    .await;
    tokio::time::sleep(SECOND).await;
    let published = publisher.finish().await;
    let received = received.await.unwrap();
    let (gap, _) = received.gaps.last().expect("a gap is told");
    assert_eq!(
        (&gap.from, &Some(gap.to.clone())),
        (&old, &pool.topology().master)
    );
    (published, received)
}

/// No message is missing but in the gaps.
fn assert_told(published: &Published, received: &Received) {
    // It was published at some time between the two.
    let in_gap = |(sent, acknowledged): &(Instant, Instant)| {
        let mut gaps = received.gaps.iter();
        gaps.any(|(gap, told)| *told - gap.since <= *acknowledged && sent <= told)
    };
    let missing = |number: &u64| !received.numbers.contains_key(number);
    let lost = published
        .acknowledged
        .iter()
        .filter(|(number, _)| missing(number));
    let lost: Vec<_> = lost.collect();
    let untold = lost.iter().filter(|(_, at)| !in_gap(at)).count();
    let gaps: Vec<String> = received
        .gaps
        .iter()
        .map(|(gap, _)| gap.to_string())
        .collect();
    let (stall, silence) = (published.stall, received.silence);
    eprintln!(
        "{} published, {} lost, {untold} of them untold; publisher stalled {stall:.1?}, subscriber silent \
         {silence:.1?}; {gaps:#?}",
        published.acknowledged.len(),
        lost.len(),
    );
    assert_eq!(untold, 0, "{gaps:?}");
    // It is there about as soon as the publisher is.
    assert!(silence < stall + SECOND, "{stall:?} {silence:?}");
}

async fn planned(adopt: Adopt) {
    let (published, received) = followed(adopt, |deployment| {
        deployment.failover();
    })
    .await;
    assert_told(&published, &received);
    let [(gap, _)] = &received.gaps[..] else {
        panic!("{:?}", received.gaps);
    };
    assert_eq!(gap.why.as_str(), "master_changed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_planned_failover_is_one_gap_and_nothing_is_missing_outside_of_it() {
    planned(Adopt::Announced).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_planned_failover_is_followed_at_the_promotion() {
    planned(Adopt::Promoted).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_master_that_dies_is_followed_by_the_next_and_the_gap_is_told() {
    let (published, received) = followed(Adopt::Announced, |it| it.master().kill()).await;
    assert_told(&published, &received);
    let causes: Vec<_> = received
        .gaps
        .iter()
        .map(|(gap, _)| gap.why.as_str())
        .collect();
    assert_eq!(causes, ["connection_lost"]);
}

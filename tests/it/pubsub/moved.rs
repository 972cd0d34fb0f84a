//! A connection is left while it works: newer credentials, a replica that falls out of step, a pause.

use std::time::Duration;

use redis_rw_pool::{
    Credentials, CredentialsSource, GapCause, Protocol, Source, Subscriber, SubscriberOptions,
};
use testkit::{Deployment, Server};
use tokio::{
    sync::watch,
    task::{JoinHandle, block_in_place, spawn_blocking},
    time::Instant,
};

use super::{gap, next, nothing, pair, pool_on, publish, server, text};
use crate::support::{self, LONG, eventually, patient, readable_are};

/// Numbers from another client, as fast as the server takes them, until the other end says so.
fn numbers(server: &Server) -> (watch::Sender<bool>, JoinHandle<u64>) {
    let (stop, stopped) = watch::channel(false);
    let mut client = block_in_place(|| server.connect()).unwrap();
    let task = spawn_blocking(move || {
        let mut number = 0_u64;
        while !*stopped.borrow() {
            number += 1;
            let message = ["PUBLISH", "numbers", &number.to_string()];
            assert!(!client.call(&message).unwrap().is_error());
            std::thread::sleep(Duration::from_micros(200));
        }
        number
    });
    (stop, task)
}

/// Takes numbers up to this one. Returns the places at which gaps were told, and what did not come.
async fn take(updates: &mut Subscriber, last: u64) -> (Vec<(u64, GapCause)>, Vec<u64>) {
    let (mut gaps, mut missing) = (Vec::new(), Vec::new());
    let mut before = 0;
    while before < last {
        match next(updates).await {
            redis_rw_pool::Notice::Message(message) => {
                let number = message.get().unwrap();
                assert!(number > before, "{number} after {before}");
                missing.extend(before + 1..number);
                before = number;
            }
            redis_rw_pool::Notice::Gap(gap) => gaps.push((before, gap.why)),
            other => panic!("{other:?}"),
        }
    }
    (gaps, missing)
}

#[tokio::test(flavor = "multi_thread")]
async fn newer_credentials_take_the_place_of_older_ones_at_one_gap_and_nothing_comes_twice() {
    for protocol in [Protocol::Resp2, Protocol::Resp3] {
        let server = server(&["user app on >old ~* &* +@all"]);
        let (sender, received) = watch::channel(Credentials::new("app", "old"));
        let pool = pool_on(&server, |config| {
            config.protocol = protocol;
            config.credentials = Some(CredentialsSource::watch(received));
        })
        .await;
        let mut updates = pool.subscriber();
        updates.subscribe(["numbers"]).await.unwrap();
        let (stop, published) = numbers(&server);
        tokio::time::sleep(Duration::from_millis(50)).await;
        block_in_place(|| server.cmd(&["ACL", "SETUSER", "app", ">new"]));
        sender.send_replace(Credentials::new("app", "new"));
        // A dial proves that the server takes them.
        drop(pool.write().await.unwrap());
        eventually("the gap is told", LONG, || async {
            pool.status().subscriber.gaps == 1
        })
        .await;
        tokio::time::sleep(Duration::from_millis(50)).await;
        stop.send_replace(true);
        let (gaps, missing) = take(&mut updates, published.await.unwrap()).await;
        let [(place, GapCause::Retired)] = &gaps[..] else {
            panic!("{gaps:?}");
        };
        assert!(missing.iter().all(|number| number > place), "{missing:?}");
        // Those that both connections had are dropped as one piece, where the gap is.
        let piece = place + 1..=place + missing.len() as u64;
        assert_eq!(missing, piece.collect::<Vec<_>>());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_follows_somebody_else_is_left_for_another() {
    let builder = Deployment::builder().replicas(2).sentinels(1);
    let builder = builder.down_after(Duration::from_secs(60));
    let deployment = spawn_blocking(move || builder.start()).await.unwrap();
    let pool = support::pool(&deployment, |config| {
        patient(config);
        config.refresh_interval = Duration::from_millis(200);
    })
    .await;
    readable_are(&pool, 2, LONG).await;
    let mut options = SubscriberOptions::default();
    options.source = Source::Reads;
    let mut updates = pool.subscriber_with(options);
    updates.subscribe(["x"]).await.unwrap();
    let first = updates.node().unwrap();
    // Nobody is there, so its link is down.
    let replica = deployment.node(first.port());
    block_in_place(|| replica.cmd(&["REPLICAOF", "127.0.0.1", "1"]));
    let gap = gap(&mut updates).await;
    assert_eq!(gap.why, GapCause::NodeLeft, "{gap}");
    assert_eq!(gap.from.as_ref(), Some(&first));
    assert_ne!(gap.to, first);
    assert_ne!(Some(&gap.to), pool.topology().master.as_ref());
    publish(&pool, b"x", "y").await;
    assert_eq!(text(&mut updates).await, pair("x", "y"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_pauses_is_left_only_when_it_pauses_for_too_long() {
    let server = server(&[]);
    let pool = pool_on(&server, |config| {
        config.command_timeout = Some(Duration::from_millis(800));
        config.connect_timeout = Duration::from_millis(800);
    })
    .await;
    let mut options = SubscriberOptions::default();
    options.ping_interval = Some(Duration::from_millis(50));
    let mut updates = pool.subscriber_with(options);
    updates.subscribe(["x"]).await.unwrap();
    for what in ["WRITE", "ALL"] {
        block_in_place(|| server.cmd(&["CLIENT", "PAUSE", "300", what]));
        let began = Instant::now();
        publish(&pool, b"x", what).await;
        assert_eq!(text(&mut updates).await, pair("x", what));
        assert!(began.elapsed() > Duration::from_millis(200), "{what}");
    }
    nothing(&mut updates).await;
    block_in_place(|| server.cmd(&["CLIENT", "PAUSE", "2000", "ALL"]));
    let gap = gap(&mut updates).await;
    assert_eq!(gap.why, GapCause::Silent, "{gap}");
    publish(&pool, b"x", "y").await;
    assert_eq!(text(&mut updates).await, pair("x", "y"));
}

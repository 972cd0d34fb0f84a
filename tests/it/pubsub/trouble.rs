//! Servers that freeze, go away or lose patience.

use std::time::Duration;

use redis_rw_pool::{
    Config, Error, GapCause, Notice, Pool, Protocol, SubscriberOptions, redis::AsyncCommands,
};
use testkit::Server;
use tokio::{task::block_in_place, time::Instant};

use super::{gap, message, next, nothing, pair, pool_on, publish, server, text};
use crate::support::{LONG, SECOND, eventually};

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_node_is_left_and_the_gap_says_so() {
    let server = server(&[]);
    let pool = pool_on(&server, |config| {
        config.command_timeout = Some(Duration::from_millis(300));
        config.connect_timeout = Duration::from_millis(300);
    })
    .await;
    let mut options = SubscriberOptions::default();
    options.ping_interval = Some(Duration::from_millis(200));
    let mut updates = pool.subscriber_with(options);
    updates.subscribe(["x"]).await.unwrap();
    // A quiet channel is no silent node.
    tokio::time::sleep(SECOND).await;
    nothing(&mut updates).await;
    assert_eq!(pool.status().subscriber.gaps, 0);
    server.pause();
    eventually("it is left", LONG, || async { updates.node().is_none() }).await;
    server.resume();
    let gap = gap(&mut updates).await;
    assert_eq!(gap.why, GapCause::Silent, "{gap}");
    assert!(gap.since >= Duration::from_millis(300), "{gap}");
    publish(&pool, b"x", "y").await;
    assert_eq!(text(&mut updates).await, pair("x", "y"));
}

/// The server keeps 256 KB for a subscriber.
const IMPATIENT: &str = "client-output-buffer-limit pubsub 256kb 0 0";

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_reader_loses_nothing_until_the_server_loses_patience_and_then_is_told() {
    let server = server(&[IMPATIENT]);
    for protocol in [Protocol::Resp2, Protocol::Resp3] {
        let pool = pool_on(&server, |config| config.protocol = protocol).await;
        let mut options = SubscriberOptions::default();
        options.buffer = 10;
        let mut updates = pool.subscriber_with(options);
        updates.subscribe(["x"]).await.unwrap();
        // What fits into the sockets waits there.
        for number in 0..100 {
            publish(&pool, b"x", number).await;
        }
        for number in 0..100 {
            assert_eq!(text(&mut updates).await, pair("x", &number.to_string()));
        }
        // Nobody reads, and more comes than anybody keeps.
        let payload = "x".repeat(64 * 1024);
        let mut client = block_in_place(|| server.connect()).unwrap();
        let deadline = Instant::now() + LONG;
        let mut published = 0_u32;
        loop {
            let number = format!("{published}:{payload}");
            let reply = block_in_place(|| client.call(&["PUBLISH", "x", &number])).unwrap();
            if reply.as_int() == 0 {
                break;
            }
            published += 1;
            assert!(Instant::now() < deadline, "{published}");
        }
        // What the server had sent is all there, in its order, and then the gap.
        let mut received = 0;
        let gap = loop {
            match next(&mut updates).await {
                Notice::Message(message) => {
                    let head = format!("{received}:");
                    assert!(message.payload().starts_with(head.as_bytes()), "{head}");
                    received += 1;
                }
                Notice::Gap(gap) => break gap,
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(gap.why, GapCause::Overrun, "{gap}");
        assert!(received > 10 && received <= published, "{received}");
        publish(&pool, b"x", "end").await;
        assert_eq!(text(&mut updates).await, pair("x", "end"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_buffer_does_not_keep_from_subscribing() {
    let server = server(&[]);
    let pool = pool_on(&server, |_| {}).await;
    let mut options = SubscriberOptions::default();
    options.buffer = 3;
    // Longer than a stopped reader has been silent.
    options.ping_interval = Some(Duration::from_millis(50));
    let mut updates = pool.subscriber_with(options);
    updates.subscribe(["x"]).await.unwrap();
    for number in 0..200 {
        publish(&pool, b"x", number).await;
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    updates.subscribe(["y"]).await.unwrap();
    publish(&pool, b"y", "z").await;
    for number in 0..200 {
        assert_eq!(text(&mut updates).await, pair("x", &number.to_string()));
    }
    assert_eq!(text(&mut updates).await, pair("y", "z"));
    nothing(&mut updates).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_over_the_limit_of_replies_is_told_as_a_gap() {
    let server = server(&[]);
    let pool = pool_on(&server, |config| {
        config.reply_limits.max_reply_bytes = 10_000;
    })
    .await;
    let mut updates = pool.subscriber();
    updates.subscribe(["x"]).await.unwrap();
    publish(&pool, b"x", "y".repeat(20_000)).await;
    let gap = gap(&mut updates).await;
    assert_eq!(gap.why.as_str(), "connection_lost");
    assert!(gap.to_string().contains("10000"), "{gap}");
    publish(&pool, b"x", "y").await;
    assert_eq!(text(&mut updates).await, pair("x", "y"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_subscribed_to_in_an_outage_is_subscribed_to_after_it() {
    let server = server(&[]);
    let address = server.addr();
    block_in_place(|| server.kill());
    let mut config = Config::standalone(&address);
    config.failover_timeout = Duration::from_millis(500);
    config.connect_timeout = Duration::from_millis(500);
    config.refresh_interval = Duration::from_millis(200);
    let pool = Pool::connect_lazy(config).unwrap();
    let mut updates = pool.subscriber();
    let began = Instant::now();
    let error = updates.subscribe(["x"]).await.unwrap_err();
    assert!(began.elapsed() >= Duration::from_millis(500));
    let Some(error @ Error::NotSubscribed { .. }) = Error::of(&error) else {
        panic!("{error}");
    };
    assert!(error.is_timeout() && error.is_transient());
    assert!(error.to_string().contains("as soon as one does"), "{error}");
    // Given up by its caller, and wanted all the same.
    let waits = updates.subscribe(["y"]);
    assert!(
        tokio::time::timeout(Duration::from_millis(20), waits)
            .await
            .is_err()
    );
    // What is not wanted any more is not.
    updates.unsubscribe(["never"]).await.unwrap();
    assert_eq!(pool.status().subscriber.channels, 2);
    block_in_place(|| server.restart());
    eventually("it is subscribed", LONG, || async {
        let numbers = block_in_place(|| server.try_cmd(&["PUBSUB", "NUMSUB", "x", "y"]));
        numbers.is_ok_and(|it| [1, 3].iter().all(|place| it.array()[*place].as_int() == 1))
    })
    .await;
    publish(&pool, b"x", "1").await;
    publish(&pool, b"y", "2").await;
    // The first connection has no gap.
    assert_eq!(text(&mut updates).await, pair("x", "1"));
    assert_eq!(text(&mut updates).await, pair("y", "2"));

    // An outage of a connection that served.
    block_in_place(|| server.kill());
    eventually("it is noticed", LONG, || async { updates.node().is_none() }).await;
    let handle = updates.handle();
    let waits = tokio::spawn(async move { handle.subscribe(["z"]).await });
    tokio::time::sleep(Duration::from_millis(20)).await;
    block_in_place(|| server.restart());
    let lost = gap(&mut updates).await;
    assert!(matches!(lost.why, GapCause::ConnectionLost(_)), "{lost}");
    waits.await.unwrap().unwrap();
    publish(&pool, b"z", "3").await;
    assert_eq!(text(&mut updates).await, pair("z", "3"));
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_credentials_end_a_call_at_once() {
    let server = server(&["requirepass right"]);
    let mut config = Config::standalone(server.addr());
    config.password = Some("wrong".into());
    config.failover_timeout = LONG;
    let pool = Pool::connect_lazy(config).unwrap();
    let updates = pool.subscriber();
    let began = Instant::now();
    let error = updates.subscribe(["x"]).await.unwrap_err();
    assert!(began.elapsed() < LONG / 2, "{error}");
    assert_eq!(pool.status().subscriber.channels, 0, "nothing of it stays");
}

/// Counts the messages per second that one subscriber takes, for the notes.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "a measurement"]
async fn messages_per_second() {
    let server: Server = server(&[]);
    let pool = pool_on(&server, |_| {}).await;
    let mut updates = pool.subscriber();
    updates.subscribe(["x"]).await.unwrap();
    let publisher = pool.clone();
    let count = 300_000;
    tokio::spawn(async move {
        for _ in 0..count / 1000 {
            let mut pipeline = redis::pipe();
            for _ in 0..1000 {
                pipeline.publish("x", "0123456789").ignore();
            }
            let () = pipeline.query_async(&mut publisher.writer()).await.unwrap();
        }
        let _: i64 = publisher.writer().publish("x", "end").await.unwrap();
    });
    let began = Instant::now();
    let mut received = 0;
    while message(&mut updates).await.payload() != b"end" {
        received += 1;
    }
    let rate = f64::from(received) / began.elapsed().as_secs_f64();
    eprintln!("{received} messages, {rate:.0} a second");
    assert_eq!(received, count);
}

//! Nothing goes wrong.

use std::time::Duration;

use redis_rw_pool::{Error, Notice, Protocol, Source, redis::AsyncCommands};
use tokio::task::block_in_place;

use super::{message, next, nothing, pair, pool_on, publish, server, text};
use crate::support::{self, LONG, deployment, eventually, patient, unique_name};

#[tokio::test(flavor = "multi_thread")]
async fn messages_come_for_channels_and_patterns_whatever_their_names() {
    for protocol in [Protocol::Resp2, Protocol::Resp3] {
        let pool = support::pool(deployment(), |config| {
            config.protocol = protocol;
            patient(config);
        })
        .await;
        let mut updates = pool.subscriber();
        assert_eq!(updates.node(), None);
        let name = unique_name();
        let odd = [name.as_bytes(), b"\r\n \0\xff*"].concat();
        updates.subscribe([&odd[..], b""]).await.unwrap();
        updates.psubscribe([format!("{name}:[ab]*")]).await.unwrap();
        assert_eq!(updates.node(), pool.topology().master);
        publish(&pool, &odd, "1").await;
        let first = message(&mut updates).await;
        assert_eq!((first.channel(), first.payload()), (&odd[..], &b"1"[..]));
        assert_eq!(first.pattern(), None);
        assert_eq!(first.get::<u32>().unwrap(), 1);
        assert_eq!(Some(first.node().clone()), pool.topology().master);
        publish(&pool, format!("{name}:c").as_bytes(), "not this").await;
        publish(&pool, format!("{name}:a").as_bytes(), "2").await;
        let second = message(&mut updates).await;
        let pattern = format!("{name}:[ab]*");
        assert_eq!(second.pattern(), Some(pattern.as_bytes()));
        assert_eq!(second.channel(), format!("{name}:a").as_bytes());
        publish(&pool, b"", "3").await;
        assert_eq!(text(&mut updates).await, pair("", "3"));

        // The same again changes nothing, and so does what was never subscribed to.
        updates.subscribe([&odd]).await.unwrap();
        updates.unsubscribe(["never", "ever"]).await.unwrap();
        updates.punsubscribe(["never"]).await.unwrap();
        updates.subscribe([""; 0]).await.unwrap();
        updates.unsubscribe([""; 0]).await.unwrap();
        publish(&pool, &odd, "4").await;
        assert_eq!(message(&mut updates).await.payload(), b"4");
        let status = pool.status().subscriber;
        assert_eq!((status.channels, status.patterns), (2, 1));
        updates.unsubscribe([&odd]).await.unwrap();
        updates.punsubscribe([pattern]).await.unwrap();
        publish(&pool, &odd, "not this").await;
        publish(&pool, format!("{name}:a").as_bytes(), "not this").await;
        publish(&pool, b"", "5").await;
        assert_eq!(text(&mut updates).await, pair("", "5"));
        updates.unsubscribe([""]).await.unwrap();
        // Without a subscription the connection is there, and may be used again.
        updates.subscribe([""]).await.unwrap();
        publish(&pool, b"", "6").await;
        assert_eq!(text(&mut updates).await, pair("", "6"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn subscribers_do_not_disturb_each_other_and_a_dropped_one_closes_its_connection() {
    let name = unique_name();
    let server = server(&[]);
    let pool = pool_on(&server, |config| config.client_name = Some(name.clone())).await;
    let subscribed = || {
        let clients = block_in_place(|| server.client_list());
        let subscribed = clients.iter().filter(|client| client["sub"] != "0");
        subscribed.count()
    };
    let mut first = pool.subscriber();
    let mut second = pool.subscriber();
    assert_eq!(pool.status().subscriber.subscribers, 2);
    first.subscribe(["both", "first"]).await.unwrap();
    second.subscribe(["both", "second"]).await.unwrap();
    assert_eq!(subscribed(), 2);
    for channel in ["both", "first", "second"] {
        publish(&pool, channel.as_bytes(), "x").await;
    }
    assert_eq!(text(&mut first).await, pair("both", "x"));
    assert_eq!(text(&mut first).await, pair("first", "x"));
    assert_eq!(text(&mut second).await, pair("both", "x"));
    assert_eq!(text(&mut second).await, pair("second", "x"));
    // They have connections of their own, beside those of the pool.
    assert_eq!(pool.status().write.active, 0);

    let handle = first.handle();
    drop(first);
    eventually("its connection is closed", LONG, || async {
        subscribed() == 1
    })
    .await;
    eventually("it is uncounted", LONG, || async {
        let status = pool.status().subscriber;
        (status.subscribers, status.channels) == (1, 2)
    })
    .await;
    let error = handle.subscribe(["both"]).await.unwrap_err();
    assert!(error.to_string().contains("was dropped"), "{error}");
    publish(&pool, b"second", "y").await;
    assert_eq!(text(&mut second).await, pair("second", "y"));
}

#[tokio::test(flavor = "multi_thread")]
async fn handles_subscribe_while_the_subscriber_waits() {
    let pool = support::pool(deployment(), patient).await;
    let mut updates = pool.subscriber();
    let handle = updates.handle();
    let name = unique_name();
    let waits = tokio::spawn(async move {
        let first = text(&mut updates).await;
        (first, updates)
    });
    let tasks = (0..20).map(|n| {
        let (handle, name) = (handle.clone(), name.clone());
        tokio::spawn(async move { handle.subscribe([format!("{name}:{n}"), name]).await })
    });
    for task in tasks.collect::<Vec<_>>() {
        task.await.unwrap().unwrap();
    }
    publish(&pool, format!("{name}:7").as_bytes(), "x").await;
    let (first, mut updates) = waits.await.unwrap();
    assert_eq!(first, pair(&format!("{name}:7"), "x"));
    assert_eq!(pool.status().subscriber.channels, 21);
    handle.unsubscribe([format!("{name}:7")]).await.unwrap();
    publish(&pool, format!("{name}:7").as_bytes(), "not this").await;
    publish(&pool, name.as_bytes(), "y").await;
    assert_eq!(text(&mut updates).await, pair(&name, "y"));
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_channels_are_subscribed_to_at_once_and_again() {
    let server = server(&[]);
    for protocol in [Protocol::Resp2, Protocol::Resp3] {
        let pool = pool_on(&server, |config| config.protocol = protocol).await;
        let mut updates = pool.subscriber();
        let names: Vec<String> = (0..10_000).map(|n| format!("channel:{n}")).collect();
        updates.subscribe(&names).await.unwrap();
        publish(&pool, b"channel:0", "x").await;
        publish(&pool, b"channel:9999", "x").await;
        assert_eq!(text(&mut updates).await, pair("channel:0", "x"));
        assert_eq!(text(&mut updates).await, pair("channel:9999", "x"));
        block_in_place(|| server.cmd(&["CLIENT", "KILL", "TYPE", "pubsub"]));
        let gap = super::gap(&mut updates).await;
        assert_eq!(gap.why.as_str(), "connection_lost");
        assert_eq!(gap.from.as_ref(), Some(&gap.to));
        assert_eq!(gap.refused, []);
        for name in &names[..100] {
            publish(&pool, name.as_bytes(), name).await;
        }
        for name in &names[..100] {
            assert_eq!(text(&mut updates).await, pair(name, name));
        }
        updates.unsubscribe(&names[1..]).await.unwrap();
        publish(&pool, b"channel:9999", "not this").await;
        publish(&pool, b"channel:0", "y").await;
        assert_eq!(text(&mut updates).await, pair("channel:0", "y"));
        let status = pool.status().subscriber;
        assert_eq!(
            (status.channels, status.gaps, status.resubscribes),
            (1, 1, 1)
        );
        assert_eq!(status.messages, 103);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_reach_a_subscriber_on_a_replica() {
    let pool = support::pool(deployment(), patient).await;
    support::readable_are(&pool, 1, LONG).await;
    let mut options = redis_rw_pool::SubscriberOptions::default();
    options.source = Source::Reads;
    let mut updates = pool.subscriber_with(options);
    let name = unique_name();
    updates.subscribe([&name]).await.unwrap();
    assert_eq!(updates.node().as_ref(), pool.topology().readable().next());
    publish(&pool, name.as_bytes(), "x").await;
    assert_eq!(text(&mut updates).await, pair(&name, "x"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_closed_pool_gives_what_is_here_and_then_the_end() {
    let pool = support::pool(deployment(), patient).await;
    let mut updates = pool.subscriber();
    let mut idle = pool.subscriber();
    let name = unique_name();
    updates.subscribe([&name]).await.unwrap();
    let received = pool.status().subscriber.messages;
    publish(&pool, name.as_bytes(), "x").await;
    eventually("it is here", LONG, || async {
        pool.status().subscriber.messages > received
    })
    .await;
    pool.close();
    assert_eq!(text(&mut updates).await, pair(&name, "x"));
    assert_eq!(updates.next().await, None);
    assert_eq!(idle.next().await, None);
    let error = updates.subscribe(["x"]).await.unwrap_err();
    assert!(matches!(Error::of(&error), Some(Error::Closed)), "{error}");
    // Its task and its socket are part of the pool.
    tokio::time::timeout(LONG, pool.closed()).await.unwrap();
    assert_eq!(pool.status().subscriber.subscribers, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subscriber_keeps_its_pool_alive() {
    let server = server(&[]);
    let pool = pool_on(&server, |_| {}).await;
    let mut updates = pool.subscriber();
    updates.subscribe(["x"]).await.unwrap();
    drop(pool);
    block_in_place(|| server.cmd(&["PUBLISH", "x", "y"]));
    assert_eq!(text(&mut updates).await, pair("x", "y"));
    block_in_place(|| server.cmd(&["CLIENT", "KILL", "TYPE", "pubsub"]));
    super::gap(&mut updates).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn next_loses_nothing_when_it_is_dropped() {
    let pool = support::pool(deployment(), patient).await;
    let mut updates = pool.subscriber();
    let name = unique_name();
    updates.subscribe([&name]).await.unwrap();
    let publisher = {
        let (pool, name) = (pool.clone(), name.clone());
        tokio::spawn(async move {
            for number in 0..500 {
                let () = pool.writer().publish(&name, number).await.unwrap();
            }
        })
    };
    let mut expected = 0;
    while expected < 500 {
        let dropped = tokio::time::timeout(Duration::from_micros(50), next(&mut updates)).await;
        let polled = support::poll_then_drop(updates.next(), 1).await.flatten();
        for notice in dropped.into_iter().chain(polled) {
            let Notice::Message(message) = notice else {
                panic!("{notice:?}");
            };
            assert_eq!(message.get::<u32>().unwrap(), expected);
            expected += 1;
        }
    }
    publisher.await.unwrap();
    nothing(&mut updates).await;
}

/// A web server may have a runtime for every worker.
#[test]
fn a_subscriber_is_used_from_another_runtime_and_ends_with_that_of_its_pool() {
    let runtime = || tokio::runtime::Runtime::new().unwrap();
    let (own, other) = (runtime(), runtime());
    let pool = own.block_on(support::pool(deployment(), patient));
    let name = unique_name();
    let mut updates = pool.subscriber();
    other.block_on(async {
        updates.subscribe([&name]).await.unwrap();
        publish(&pool, name.as_bytes(), "x").await;
        assert_eq!(text(&mut updates).await, pair(&name, "x"));
    });
    drop(own);
    other.block_on(async {
        assert_eq!(updates.next().await, None);
        let error = updates.subscribe(["x"]).await.unwrap_err();
        assert!(
            matches!(Error::of(&error), Some(Error::RuntimeEnded)),
            "{error}"
        );
    });
    drop(pool.subscriber());
}

#[cfg(feature = "stream")]
#[tokio::test(flavor = "multi_thread")]
async fn a_subscriber_is_a_stream() {
    use std::{future::poll_fn, pin::Pin};

    use futures_core::Stream;

    let pool = support::pool(deployment(), patient).await;
    let mut updates = pool.subscriber();
    let name = unique_name();
    updates.subscribe([&name]).await.unwrap();
    publish(&pool, name.as_bytes(), "x").await;
    let notice = poll_fn(|cx| Pin::new(&mut updates).poll_next(cx)).await;
    assert!(matches!(notice, Some(Notice::Message(_))), "{notice:?}");
    pool.close();
    let end = poll_fn(|cx| Pin::new(&mut updates).poll_next(cx)).await;
    assert_eq!(end, None);
}

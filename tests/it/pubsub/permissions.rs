//! Users that may not subscribe to everything.

use std::time::Duration;

use redis_rw_pool::{Error, Outcome, Protocol, SubscriberOptions, outcome};
use tokio::task::block_in_place;

use super::{gap, pair, pool_on, publish, server, text};

/// From Redis 7 on a user may subscribe to nothing unless it says so.
const LIMITED: &str = "user limited on >pw ~* +@all resetchannels &open &open:* &either";

#[tokio::test(flavor = "multi_thread")]
async fn a_channel_without_permission_is_an_error_that_names_it_and_disturbs_nothing() {
    let server = server(&[LIMITED]);
    for protocol in [Protocol::Resp2, Protocol::Resp3] {
        let pool = pool_on(&server, |config| {
            config.username = Some("limited".to_owned());
            config.password = Some("pw".into());
            config.protocol = protocol;
        })
        .await;
        let mut updates = pool.subscriber();
        // Also as the first of all.
        let error = updates.subscribe(["secret\n"]).await.unwrap_err();
        assert_eq!(error.code(), Some("NOPERM"), "{error}");
        assert!(error.to_string().contains(r"secret\\n"), "{error}");
        assert_eq!(outcome(&error), Outcome::NotExecuted);
        assert!(Error::of(&error).is_none(), "the reply stands for itself");
        updates.subscribe(["open"]).await.unwrap();
        let error = updates
            .subscribe(["open:1", "secret", "open:2"])
            .await
            .unwrap_err();
        assert!(error.to_string().contains("\"secret\""), "{error}");
        updates.psubscribe(["o*"]).await.unwrap_err();
        updates.psubscribe(["open:*"]).await.unwrap();
        let status = pool.status().subscriber;
        assert_eq!((status.channels, status.patterns), (1, 1));
        publish(&pool, b"open", "x").await;
        assert_eq!(text(&mut updates).await, pair("open", "x"));
        // Not by its own name: that call has failed as a whole.
        publish(&pool, b"open:1", "y").await;
        assert_eq!(text(&mut updates).await, pair("open:1", "y"));
        publish(&pool, b"open", "z").await;
        assert_eq!(text(&mut updates).await, pair("open", "z"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_permission_that_is_taken_away_is_told_and_so_is_its_return() {
    let server = server(&[LIMITED]);
    let pool = pool_on(&server, |config| {
        config.username = Some("limited".to_owned());
        config.password = Some("pw".into());
    })
    .await;
    let mut options = SubscriberOptions::default();
    options.ping_interval = Some(Duration::from_millis(100));
    let mut updates = pool.subscriber_with(options);
    updates.subscribe(["open", "either"]).await.unwrap();
    let rule = |rule: &str| {
        block_in_place(|| {
            server.cmd(&["ACL", "SETUSER", "limited", "resetchannels", "&open", rule])
        });
    };
    // The server closes the connection of such a user.
    rule("&open:*");
    let first = gap(&mut updates).await;
    assert_eq!(first.why.as_str(), "connection_lost", "{first}");
    let [refusal] = &first.refused[..] else {
        panic!("{first}");
    };
    assert_eq!(
        (&refusal.name[..], refusal.is_pattern),
        (&b"either"[..], false)
    );
    assert!(refusal.error.contains("NOPERM"), "{refusal}");
    block_in_place(|| server.cmd(&["PUBLISH", "open", "x"]));
    assert_eq!(text(&mut updates).await, pair("open", "x"));
    rule("&either");
    let second = gap(&mut updates).await;
    assert_eq!(second.why.as_str(), "refused", "{second}");
    assert!(second.since > Duration::from_millis(50), "{second}");
    block_in_place(|| server.cmd(&["PUBLISH", "either", "y"]));
    assert_eq!(text(&mut updates).await, pair("either", "y"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_without_the_commands_is_told_so() {
    let server = server(&[
        "user mute on >pw ~* &* +@all -subscribe -psubscribe",
        "user bound on >pw ~* &* +@all -unsubscribe -ping",
    ]);
    let pool = async |user: &str| {
        pool_on(&server, |config| {
            config.username = Some(user.to_owned());
            config.password = Some("pw".into());
        })
        .await
    };
    let updates = pool("mute").await;
    let updates = updates.subscriber();
    let error = updates.subscribe(["x", "y"]).await.unwrap_err();
    assert_eq!(error.code(), Some("NOPERM"), "{error}");
    updates.psubscribe(["x"]).await.unwrap_err();

    let pool = pool("bound").await;
    let mut options = SubscriberOptions::default();
    options.ping_interval = Some(Duration::from_millis(20));
    let mut updates = pool.subscriber_with(options);
    updates.subscribe(["x"]).await.unwrap();
    let error = updates.unsubscribe(["x"]).await.unwrap_err();
    assert_eq!(error.code(), Some("NOPERM"), "{error}");
    // Several refused pings later it is still subscribed.
    tokio::time::sleep(Duration::from_millis(100)).await;
    publish(&pool, b"x", "y").await;
    assert_eq!(text(&mut updates).await, pair("x", "y"));
}

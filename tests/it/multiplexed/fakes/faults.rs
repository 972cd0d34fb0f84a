//! The tests of `multiplexed::faults` that need no redis-server.

use redis::{RedisResult, pipe};
use testkit::fake::Action;

use crate::support::{SOON, SilentMaster, ask, bulk, chain, eventually, failure};

/// What a node sends that is no reply.
const GARBAGE: &[&str] = &[
    "\x00\x01garbage\r\n",
    "HTTP/1.1 400 Bad Request\r\n\r\n",
    ":1x\r\n",
    "$-2\r\n",
    "$3\r\nabcdef\r\n",
    "*99999999999999999999\r\n",
];

#[tokio::test]
async fn garbage_fails_all_that_is_in_flight_as_unknown_and_costs_the_connection() {
    for garbage in GARBAGE {
        let silent = SilentMaster::start(|_| {}).await;
        let keys = ["a", "b", "c", "d"];
        let mut callers = Vec::new();
        for (n, key) in keys.iter().enumerate() {
            callers.push(silent.get(key));
            silent.arrived_are(&keys[..=n]).await;
        }
        silent.answer("a");
        silent.push(garbage.as_bytes());
        let mut callers = callers.into_iter();
        assert_eq!(callers.next().unwrap().await.unwrap().unwrap(), "a");
        for caller in callers {
            let (_, text) = failure(caller.await.unwrap());
            assert!(text.contains("outcome is unknown"), "{garbage:?}: {text}");
        }
        let lines = silent.lines();
        eventually("it is closed", SOON, || async { !lines[0].is_open() }).await;
        let echo: String = ask(&mut silent.writer.clone(), "ECHO after").await;
        assert_eq!(echo, "after");
        assert_eq!(silent.status().created, 2, "{garbage:?}");
    }
}

#[tokio::test]
async fn a_reply_that_nobody_asked_for_costs_the_connection() {
    let silent = SilentMaster::start(|_| {}).await;
    let get = silent.get("a");
    silent.arrived_are(&["a"]).await;
    silent.answer("a");
    assert_eq!(get.await.unwrap().unwrap(), "a");
    silent.answer("not yours");
    let lines = silent.lines();
    eventually("it is closed", SOON, || async { !lines[0].is_open() }).await;
    eventually("it is known to be closed", SOON, || async {
        silent.status().connections == 0 || silent.status().created == 2
    })
    .await;
    let next = silent.get("b");
    silent.arrived_are(&["a", "b"]).await;
    silent.lines()[1].push(&bulk("b")).unwrap();
    assert_eq!(next.await.unwrap().unwrap(), "b");
    assert_eq!(silent.status().created, 2);
}

#[tokio::test]
async fn two_replies_to_one_command_cost_the_connection() {
    let silent = SilentMaster::with(
        |_| {},
        |_, words| match words[0].as_str() {
            "GETDEL" => Some(Action::reply("$1\r\na\r\n$5\r\nextra\r\n")),
            _ => None,
        },
    )
    .await;
    // Whether the second one comes to light before or after the first is handed out.
    let (first, second) = (
        silent.get("a").await.unwrap(),
        silent.get("a").await.unwrap(),
    );
    for result in [first, second] {
        match result {
            Ok(value) => assert_eq!(value, "a"),
            Err(error) => assert!(chain(&error).contains("outcome is unknown")),
        }
    }
    eventually("both are closed", SOON, || async {
        silent.lines().iter().all(|line| !line.is_open())
    })
    .await;
}

#[tokio::test]
async fn a_connection_that_ends_fails_what_was_written_as_unknown() {
    for (bytes, reset) in [
        ("", false),
        ("", true),
        ("$10\r\nhalf", false),
        ("*2\r\n:1\r\n", true),
    ] {
        let silent = SilentMaster::start(|config| config.multiplexed.max_in_flight = 2).await;
        let first = silent.get("a");
        silent.arrived_are(&["a"]).await;
        let second = silent.get("b");
        silent.arrived_are(&["a", "b"]).await;
        let in_line = silent.get_in_line("c").await;
        let line = &silent.lines()[0];
        line.push(bytes.as_bytes()).unwrap();
        match reset {
            true => line.reset(),
            false => line.close(),
        }
        for written in [first, second] {
            let (_, text) = failure(written.await.unwrap());
            assert!(text.contains("outcome is unknown"), "{text}");
        }
        silent.arrived_are(&["a", "b", "c"]).await;
        silent.lines()[1].push(&bulk("c")).unwrap();
        assert_eq!(in_line.await.unwrap().unwrap(), "c");
        silent.at_rest().await;
    }
}

#[tokio::test]
async fn pushes_between_replies_are_passed_over() {
    const PUSH: &str = ">2\r\n$10\r\ninvalidate\r\n*1\r\n$1\r\nx\r\n";
    let silent = SilentMaster::with(
        |_| {},
        |conn, words| {
            (words[0] == "GETDEL").then(|| {
                assert_eq!(conn.protocol(), 3);
                let reply = bulk(&words[1]);
                let push = PUSH.as_bytes();
                Action::Reply([push, push, &reply, push].concat())
            })
        },
    )
    .await;
    for round in 0..20 {
        let keys: Vec<_> = (0..10).map(|n| format!("{round}:{n}")).collect();
        let callers: Vec<_> = keys.iter().map(|key| silent.get(key)).collect();
        for (caller, key) in callers.into_iter().zip(&keys) {
            assert_eq!(caller.await.unwrap().as_ref(), Ok(key));
        }
        // Also while nothing is under way.
        silent.push(PUSH.as_bytes());
    }
    let mut transaction = pipe();
    transaction.cmd("GETDEL").arg("p").cmd("GETDEL").arg("q");
    let both: RedisResult<(String, String)> =
        transaction.query_async(&mut silent.writer.clone()).await;
    assert_eq!(both, Ok(("p".to_owned(), "q".to_owned())));
    assert_eq!(silent.status().created, 1);
}

#[tokio::test]
async fn a_server_that_reads_no_further_until_its_reply_is_taken_does_not_deadlock() {
    let silent = SilentMaster::with(|_| {}, |_, _| None).await;
    let mut pipeline = pipe();
    for n in 0..32_u8 {
        pipeline.cmd("ECHO").arg(&[b'0' + n % 10; 1 << 20][..]);
    }
    let (mut one, mut other) = (silent.writer.clone(), silent.writer.clone());
    let (replies, echo): (Vec<Vec<u8>>, String) = tokio::join!(
        async { pipeline.query_async(&mut one).await.unwrap() },
        ask(&mut other, "ECHO other")
    );
    assert!((0..32_u8).all(|n| replies[usize::from(n)] == vec![b'0' + n % 10; 1 << 20]));
    assert_eq!(echo, "other");
}

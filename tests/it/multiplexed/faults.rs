//! Shared connections to nodes that misbehave, and what is large.

use std::{
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    time::Duration,
};

use redis::{AsyncCommands, RedisResult, Value, cmd, pipe};
use redis_rw_pool::Multiplexed;
use testkit::fake::Action;

use crate::support::{
    Random, Relay, SOON, Side, SilentMaster, Stage, ask, bulk, chain, eventually, failure, master,
    poll_then_drop, run, side_by_side, single, value_of,
};

/// Echoes until told to stop, each of them right; how many there were.
async fn lone_caller(mut handle: Multiplexed, stop: &AtomicBool) -> usize {
    let mut count = 0;
    while !stop.load(Relaxed) {
        let echo: String = ask(&mut handle, &format!("ECHO lone:{count}")).await;
        assert_eq!(echo, format!("lone:{count}"));
        count += 1;
    }
    count
}

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
async fn replies_that_come_in_pieces_reach_their_commands() {
    let relay = Relay::to(master().port()).await;
    let pool = single("multiplexed-pieces", |config| {
        config.address_map = Some(relay.map());
    })
    .await;
    let mut writer = pool.writer();
    for n in 0..10 {
        let key = format!("pieces:{n}");
        let () = writer.set(&key, value_of(&key, n * n * 30)).await.unwrap();
    }
    for piece in [1, 3, 50] {
        relay.set(piece, Duration::ZERO);
        let mut random = Random::new(piece as u64);
        let all = (0..40).map(|caller| {
            let (mut writer, n) = (writer.clone(), random.below(10));
            async move {
                let key = format!("pieces:{n}");
                let value = value_of(&key, usize::try_from(n * n * 30).unwrap());
                let mut pipeline = pipe();
                if caller % 3 == 0 {
                    pipeline.atomic();
                }
                pipeline
                    .get(&key)
                    .cmd("ECHO")
                    .arg(caller)
                    .cmd("HGETALL")
                    .arg("none");
                let replies: (String, u64, Vec<String>) =
                    pipeline.query_async(&mut writer).await.unwrap();
                assert_eq!(replies, (value, caller, Vec::new()), "in pieces of {piece}");
                let echo: String = ask(&mut writer, &format!("ECHO {caller}")).await;
                assert_eq!(echo, caller.to_string());
            }
        });
        side_by_side(all).await;
    }
    assert_eq!(pool.status().writer.created, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pipeline_larger_than_every_buffer_neither_deadlocks_nor_starves_a_lone_caller() {
    const COMMANDS: usize = 100_000;
    let stage = Stage::own(Side::Write, |config| config.command_timeout = Some(SOON)).await;
    let mut writer = stage.pool.writer();
    let big = value_of("big", 100_000);
    let () = writer.set("big", &big).await.unwrap();
    let mut pipeline = pipe();
    for n in 0..COMMANDS {
        match n % 200 {
            199 => pipeline.get("big"),
            _ => pipeline
                .cmd("SET")
                .arg(format!("large:{}", n % 1000))
                .arg(value_of("large", 1024)),
        };
    }
    let stop = AtomicBool::new(false);
    let (lone, replies) = tokio::join!(lone_caller(writer.clone(), &stop), async {
        let mut writer = writer.clone();
        let replies: Vec<Value> = pipeline.query_async(&mut writer).await.unwrap();
        stop.store(true, Relaxed);
        replies
    });
    assert_eq!(replies.len(), COMMANDS);
    for (n, reply) in replies.iter().enumerate() {
        match (n % 200, reply) {
            (199, Value::BulkString(bytes)) => assert!(*bytes == big.as_bytes(), "{n}"),
            (_, reply) => assert_eq!(*reply, Value::Okay, "{n}"),
        }
    }
    assert!(lone > 20, "only {lone} while the pipeline ran");
    let status = stage.pool.status().writer;
    assert_eq!((status.created, status.in_flight), (1, 0), "{status:?}");
}

#[tokio::test]
async fn nor_with_a_server_that_reads_no_further_until_its_reply_is_taken() {
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

/// The first portion of such a pipeline shows how large its commands are, a later one may be cut
/// short for it.
#[tokio::test]
async fn portions_of_large_and_small_commands_take_their_own_replies_and_no_others() {
    let stage = Stage::own(Side::Write, |_| {}).await;
    let writer = stage.pool.writer();
    for large in [500, 5_000, 20_000] {
        let text = |n: usize| match n / 70 % 2 {
            0 => format!("{n}"),
            _ => value_of(&n.to_string(), large),
        };
        let mut pipeline = pipe();
        for n in 0..300 {
            pipeline.cmd("ECHO").arg(text(n));
        }
        let (mut one, mut other) = (writer.clone(), writer.clone());
        let (echoes, ()): (Vec<String>, ()) = tokio::join!(
            async { pipeline.query_async(&mut one).await.unwrap() },
            async {
                for n in 0..20 {
                    let echo: String = ask(&mut other, &format!("ECHO other:{n}")).await;
                    assert_eq!(echo, format!("other:{n}"));
                }
            }
        );
        assert!(echoes.into_iter().eq((0..300).map(text)), "{large}");
    }
    let status = stage.pool.status().writer;
    assert_eq!((status.created, status.in_flight), (1, 0), "{status:?}");
}

#[tokio::test]
async fn values_of_64_mib_pass_both_ways_beside_small_ones() {
    let stage = Stage::own(Side::Write, |config| config.command_timeout = Some(SOON)).await;
    let writer = stage.pool.writer();
    let value: Vec<u8> = (0..64 << 20).map(|n: u32| n.to_le_bytes()[1]).collect();
    let stop = AtomicBool::new(false);
    let (_, back) = tokio::join!(lone_caller(writer.clone(), &stop), async {
        let mut writer = writer.clone();
        let () = writer.set("value", &value).await.unwrap();
        let back: Vec<u8> = writer.get("value").await.unwrap();
        stop.store(true, Relaxed);
        back
    });
    assert!(back == value, "64 MiB came back changed");
    assert_eq!(stage.pool.status().writer.created, 1);
}

#[tokio::test]
async fn a_caller_who_leaves_in_the_middle_of_a_large_pipeline_disturbs_nobody() {
    let stage = Stage::own(Side::Write, |config| config.multiplexed.max_in_flight = 100).await;
    let mut writer = stage.pool.writer();
    let mut pipeline = pipe();
    for n in 0..5_000 {
        pipeline.cmd("ECHO").arg(n);
    }
    for polls in 1..12 {
        let mut leaves = writer.clone();
        let left = poll_then_drop(
            async { pipeline.query_async::<Vec<usize>>(&mut leaves).await },
            polls,
        );
        assert!(left.await.is_none_or(|replies| replies.is_ok()));
        let numbers: Vec<usize> = pipeline.query_async(&mut writer).await.unwrap();
        assert!(numbers.into_iter().eq(0..5_000));
        let echo: String = run(&mut writer, "ECHO after").await.unwrap();
        assert_eq!(echo, "after");
    }
    let _: String = cmd("PING").query_async(&mut writer).await.unwrap();
    let status = stage.pool.status().writer;
    assert_eq!(
        (status.created, status.in_flight, status.waiting),
        (1, 0, 0)
    );
}

//! Shared connections to nodes that misbehave, and what is large.

use std::{
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    time::Duration,
};

use redis::{AsyncCommands, Value, cmd, pipe};
use redis_rw_pool::Multiplexed;

use crate::support::{
    Random, Relay, SOON, Side, Stage, ask, master, poll_then_drop, run, side_by_side, single,
    value_of,
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

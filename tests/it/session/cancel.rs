//! Futures dropped half way: no reply reaches the wrong caller, and nothing is lost in the pool.

use std::{panic::AssertUnwindSafe, sync::Arc, time::Duration};

use redis::{AsyncCommands, RedisResult, Value, pipe};
use redis_rw_pool::{Connection, Discard, Pool};

use crate::support::{
    self, Random, Relay, SOON, ask, chain, deployment, discarded, eventually, id, master, patient,
    poll_then_drop, run, single, value_of,
};

const BIG: usize = 200_000;
/// So that even a command nobody waits for takes more than one write.
const TOO_BIG_FOR_A_SOCKET: usize = 16 << 20;

/// The kinds of command that are cancelled; each checks its own reply.
#[derive(Debug, Clone, Copy)]
enum Job {
    Get,
    Big,
    Send,
    Pipeline,
    Atomic,
    Block,
    Unsubscribe,
    Unanswered,
}

/// The first seven are quick enough for the storm.
const JOBS: [Job; 8] = [
    Job::Get,
    Job::Big,
    Job::Send,
    Job::Pipeline,
    Job::Atomic,
    Job::Block,
    Job::Unsubscribe,
    Job::Unanswered,
];

async fn perform(job: Job, conn: &mut Connection, key: &str) -> RedisResult<()> {
    match job {
        Job::Get => check(&conn.get::<_, String>(key).await?, key),
        Job::Big => check(&conn.get::<_, String>(format!("{key}:big")).await?, key),
        Job::Send => {
            let () = conn.set(format!("{key}:big"), value_of(key, BIG)).await?;
        }
        Job::Pipeline | Job::Atomic => {
            let mut pipeline = pipe();
            if matches!(job, Job::Atomic) {
                pipeline.atomic();
            }
            for n in 0..20 {
                pipeline.cmd("ECHO").arg(format!("{key}-{n}"));
            }
            let echoes: Vec<String> = pipeline.query_async(conn).await?;
            assert_eq!(echoes.len(), 20);
            assert!((0..20).all(|n| echoes[n] == format!("{key}-{n}")), "{key}");
        }
        Job::Block => {
            let none: Option<(String, String)> = conn.blpop(format!("{key}:none"), 0.005).await?;
            assert_eq!(none, None);
        }
        Job::Unsubscribe => {
            let () = run(conn, &format!("UNSUBSCRIBE {key}:a {key}:b {key}:c")).await?;
        }
        Job::Unanswered => {
            let mut set = redis::cmd("SET");
            set.arg(format!("{key}:unanswered"));
            set.arg(value_of(key, TOO_BIG_FOR_A_SOCKET));
            let () = set.set_no_response(true).query_async(conn).await?;
        }
    }
    Ok(())
}

fn check(value: &str, key: &str) {
    let prefix = format!("value of {key}:");
    assert!(value.starts_with(&prefix), "{key} got {:.40}", value);
}

async fn prepare(keys: impl Iterator<Item = String>) {
    let mut client = master().connect().unwrap();
    for key in keys {
        for (name, length) in [(key.clone(), 40), (format!("{key}:big"), BIG)] {
            let value = value_of(&key, length);
            client
                .call(&["SET", name.as_str(), value.as_str()])
                .unwrap();
        }
    }
    // WAIT is about the writes of its own connection.
    let waiting = |client: &mut testkit::Client| client.call(&["WAIT", "1", "1000"]).unwrap();
    assert!((0..20).any(|_| waiting(&mut client).as_int() == 1));
}

/// Drops one job after each number of polls that it can take, until it is done before.
async fn at_every_await_point(pool: &Pool, relay: &Relay, job: Job) {
    let key = format!("cancel:{job:?}");
    prepare([key.clone()].into_iter()).await;
    let piece = match job {
        Job::Big | Job::Unanswered | Job::Send => 8 * 1024,
        Job::Pipeline | Job::Atomic => 24,
        _ => 3,
    };
    for polls in 0.. {
        assert!(polls < 1_000, "{job:?} never ends");
        relay.set(0, Duration::ZERO);
        let mut conn = pool.write().await.unwrap();
        let before = id(&mut conn).await;
        let cancelled = discarded(pool, Discard::Cancelled);
        relay.set(piece, Duration::from_micros(200));
        let outcome = poll_then_drop(perform(job, &mut conn, &key), polls).await;
        relay.set(0, Duration::ZERO);
        let unfinished = outcome.is_none();
        if let Some(result) = outcome {
            result.unwrap_or_else(|error| panic!("{job:?}: {error}"));
        } else if polls > 0 {
            // What went out asked for nothing that a fresh connection would lack, or it did.
            let next = run::<String>(&mut conn, &format!("ECHO after-{polls}")).await;
            assert_eq!(next, Ok(format!("after-{polls}")), "{job:?}");
        }
        drop(conn);

        let count = u64::from(unfinished && polls > 0);
        assert_eq!(
            discarded(pool, Discard::Cancelled) - cancelled,
            count,
            "{job:?} after {polls} polls"
        );
        let mut conn = pool.write().await.unwrap();
        let echo: String = ask(&mut conn, &format!("ECHO {polls}")).await;
        assert_eq!(echo, polls.to_string(), "{job:?} after {polls} polls");
        if unfinished && polls == 0 {
            assert_eq!(id(&mut conn).await, before, "nothing had been sent");
        }
        if !unfinished {
            assert!(polls > 1, "{job:?} was never cancelled");
            return;
        }
    }
}

#[tokio::test]
async fn a_command_dropped_at_any_await_point_closes_its_connection() {
    let relay = Relay::to(master().port()).await;
    let pool = single("cancel-points", |config| {
        config.address_map = Some(relay.map());
    })
    .await;
    for job in JOBS {
        at_every_await_point(&pool, &relay, job).await;
    }
    eventually("the cancelled connections to be closed", SOON, || async {
        master().client_count_named("cancel-points") == 1
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thousands_of_commands_cut_off_at_random_moments_never_mix_up_replies() {
    const TASKS: u64 = 8;
    const ROUNDS: u64 = 400;
    let relay = Relay::to(master().port()).await;
    let pool = single("cancel-storm", |config| {
        config.address_map = Some(relay.map());
        config.write.max_active = 4;
    })
    .await;
    prepare((0..TASKS).map(|task| format!("storm:{task}"))).await;
    relay.set(2_000, Duration::from_micros(100));
    let tasks = (0..TASKS).map(|task| {
        let pool = pool.clone();
        tokio::spawn(async move {
            let mut random = Random::new(task + 1);
            let (mut done, mut cut) = (0, 0);
            for _ in 0..ROUNDS {
                let mut conn = pool.write().await.expect("the master is healthy");
                let key = format!("storm:{task}");
                let job = JOBS[usize::try_from(random.below(7)).unwrap()];
                let limit = Duration::from_micros(random.below(4_000));
                match tokio::time::timeout(limit, perform(job, &mut conn, &key)).await {
                    Ok(result) => {
                        result.unwrap_or_else(|error| panic!("{job:?}: {}", chain(&error)));
                        done += 1;
                    }
                    Err(_) => cut += 1,
                }
            }
            (done, cut)
        })
    });
    let (mut done, mut cut) = (0, 0);
    for task in tasks.collect::<Vec<_>>() {
        let (d, c) = task.await.expect("every reply reached its caller");
        done += d;
        cut += c;
    }
    assert!(done > 0 && cut > 0, "{done} done, {cut} cut off");
    let status = pool.status().write;
    assert!(status.active <= 4, "{status:?}");
    let open = u64::try_from(status.active).unwrap();
    assert_eq!(status.created, open + status.discards.total(), "{status:?}");
    relay.set(0, Duration::ZERO);
    for round in 0..20 {
        let mut conn = pool.write().await.unwrap();
        let echo: String = ask(&mut conn, &format!("ECHO {round}")).await;
        assert_eq!(echo, round.to_string());
    }
    eventually("the cancelled connections to be closed", SOON, || async {
        master().client_count_named("cancel-storm") <= 4
    })
    .await;
}

#[tokio::test]
async fn a_cancelled_blpop_does_not_swallow_an_element() {
    let pool = single("cancel-blpop", |_| {}).await;
    for round in 0..20 {
        let mut conn = pool.write().await.unwrap();
        let own = id(&mut conn).await.to_string();
        let pop = conn.blpop::<_, Option<(String, i64)>>("cancel:list", 0.0);
        let pop = tokio::time::timeout(Duration::from_millis(5), pop).await;
        assert!(pop.is_err(), "nothing was pushed yet");
        drop(conn);
        eventually("the blocked connection to end", SOON, || async {
            let clients = master().client_list();
            clients.iter().all(|client| client["id"] != own)
        })
        .await;
        master().cmd(&["RPUSH", "cancel:list", &round.to_string()]);
        let mut conn = pool.write().await.unwrap();
        let popped: Option<(String, i64)> = conn.blpop("cancel:list", 1.0).await.unwrap();
        assert_eq!(popped, Some(("cancel:list".to_owned(), round)));
    }
    assert_eq!(discarded(&pool, Discard::Cancelled), 20);
}

#[tokio::test]
async fn a_panic_gives_the_connection_back_and_keeps_it_only_if_it_is_clean() {
    async fn panics(pool: &Pool, lines: &'static [&'static str], cancel: bool) {
        let pool = pool.clone();
        let task = tokio::spawn(async move {
            let mut conn = pool.write().await.unwrap();
            for line in lines {
                let () = ask(&mut conn, line).await;
            }
            if cancel {
                let blocked =
                    poll_then_drop(run::<Value>(&mut conn, "BLPOP cancel:panic 0"), 1).await;
                assert!(blocked.is_none());
            }
            std::panic::resume_unwind(Box::new("a panic that prints nothing"));
        });
        assert!(task.await.unwrap_err().is_panic());
    }
    let pool = single("cancel-panic", |_| {}).await;
    let mut last = id(&mut pool.write().await.unwrap()).await;
    for (lines, cancel, keeps) in [
        (&["SET cancel:k 1"][..], false, true),
        (&["MULTI", "SET cancel:k 2"], false, false),
        (&["SET cancel:k 3"], true, false),
        (&["WATCH cancel:k"], false, false),
    ] {
        panics(&pool, lines, cancel).await;
        let mut conn = pool.write().await.unwrap();
        let now = id(&mut conn).await;
        assert_eq!(now == last, keeps, "{lines:?}");
        last = now;
    }
    assert_eq!(master().cmd(&["GET", "cancel:k"]).as_str(), "3");
    assert_eq!(discarded(&pool, Discard::Cancelled), 1);
    assert_eq!(discarded(&pool, Discard::Dirty), 2);
}

#[tokio::test]
async fn a_panic_inside_the_callers_own_poll_leaves_the_pool_whole() {
    let pool = single("cancel-unwind", |_| {}).await;
    for round in 0..10 {
        let pool = pool.clone();
        let outcome = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            std::panic::catch_unwind(AssertUnwindSafe(|| {
                runtime.block_on(async {
                    let mut conn = pool.write().await.unwrap();
                    let _ = poll_then_drop(conn.get::<_, Option<i64>>("cancel:k"), 1).await;
                    std::panic::resume_unwind(Box::new(round));
                })
            }))
            .is_err()
        });
        let outcome = tokio::task::spawn_blocking(move || outcome.join().unwrap());
        assert!(outcome.await.unwrap());
    }
    let mut conn = pool.write().await.unwrap();
    let echo: String = ask(&mut conn, "ECHO mine").await;
    assert_eq!(echo, "mine");
    assert_eq!(pool.status().write.active, 1);
}

#[tokio::test]
async fn a_command_that_was_never_polled_changes_nothing() {
    let pool = single("cancel-unpolled", |_| {}).await;
    let mut conn = pool.write().await.unwrap();
    let first = id(&mut conn).await;
    for line in [
        "MULTI",
        "WATCH k",
        "SELECT 3",
        "SUBSCRIBE c",
        "SET cancel:unpolled 1",
    ] {
        drop(run::<Value>(&mut conn, line));
    }
    assert_eq!(id(&mut conn).await, first);
    drop(conn);
    assert_eq!(id(&mut pool.write().await.unwrap()).await, first);
    assert_eq!(master().cmd(&["EXISTS", "cancel:unpolled"]).as_int(), 0);
}

#[tokio::test]
async fn reads_cut_off_on_a_replica_do_not_mix_up_replies_either() {
    let replica = &deployment().nodes()[1];
    prepare((0..4).map(|task| format!("reads:{task}"))).await;
    let relay = Relay::to(replica.port()).await;
    let pool = support::pool(deployment(), |config| {
        patient(config);
        config.address_map = Some(relay.map());
        config.read.max_active = 2;
    })
    .await;
    relay.set(30, Duration::from_micros(100));
    let pool = Arc::new(pool);
    let tasks = (0..4_u64).map(|task| {
        let pool = Arc::clone(&pool);
        tokio::spawn(async move {
            let mut random = Random::new(100 + task);
            for _ in 0..100 {
                let mut conn = pool.read().await.expect("the replica is healthy");
                let key = format!("reads:{task}");
                let limit = Duration::from_micros(random.below(3_000));
                let get = tokio::time::timeout(limit, conn.get::<_, String>(&key)).await;
                if let Ok(value) = get {
                    check(&value.unwrap(), &key);
                }
            }
        })
    });
    for task in tasks.collect::<Vec<_>>() {
        task.await.unwrap();
    }
    let status = pool.status().read;
    assert!(status.active <= 2, "{status:?}");
}

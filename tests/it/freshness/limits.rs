//! What becomes of a read for which nobody can prove it.

use std::time::Duration;

use redis::{AsyncCommands, RedisResult};
use redis_rw_pool::{
    Config, Error, Freshness, Multiplexed, Otherwise, Outcome, Pool, ReadFrom, SignKind, outcome,
};
use testkit::{Client, Deployment, Server};

use super::{
    APP, asked, freshness, get, hold, in_step, only_replicas, pool_on, promote, put, release, trio,
    watch,
};
use crate::support::{LONG, SOON, chain, eventually, patient};

const SHORT: Duration = Duration::from_millis(300);

async fn error_of(mut reader: Multiplexed) -> (redis::RedisError, String) {
    let read: RedisResult<Option<i64>> = reader.get("k").await;
    let error = read.expect_err("this cannot be proven");
    let text = chain(&error);
    (error, text)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn otherwise_says_what_becomes_of_a_read_that_no_replica_can_serve() {
    let servers = trio();
    let [master, replicas @ ..] = servers.nodes() else {
        unreachable!()
    };
    let fails = pool_on(servers.nodes(), |config| {
        config.freshness.otherwise = Otherwise::Fail;
        // Both replicas are asked in it.
        config.freshness.patience = Duration::from_millis(300);
    })
    .await;
    let stale = pool_on(servers.nodes(), |config| {
        config.freshness.otherwise = Otherwise::Stale;
    })
    .await;
    let from_master = pool_on(servers.nodes(), |_| ()).await;
    let only = pool_on(servers.nodes(), |config| {
        config.read_from = ReadFrom::Replica;
        config.command_timeout = Some(SHORT);
    })
    .await;
    put(master, "k", 1);
    in_step(master, 2);
    replicas.iter().for_each(hold);
    put(master, "k", 2);

    let token = fails.token().await.unwrap();
    let (error, text) = error_of(fails.reader().after(&token)).await;
    let Some(Error::Stale {
        wanted, reports, ..
    }) = Error::of(&error)
    else {
        panic!("{error}");
    };
    assert_eq!(wanted, &token);
    for replica in replicas {
        let addr = replica.addr();
        let mut reports = reports.iter();
        let report = reports.find(|(node, _)| **node == *addr);
        assert!(
            report.is_some_and(|(_, what)| what.contains("bytes behind")),
            "{text}"
        );
    }
    assert_eq!(outcome(&error), Outcome::NotExecuted);
    assert!(freshness(&fails).failed > 0);

    let mut reader = stale.reader().after(&token);
    let seen: Option<i64> = reader.get("k").await.unwrap();
    assert_eq!((seen, reader.last_read_was_stale()), (Some(1), true));
    assert!(freshness(&stale).stale > 0);

    assert_eq!(get(from_master.reader().after(&token), "k").await, Some(2));
    let asks_master = from_master.reader().with(Freshness::Master);
    assert_eq!(get(asks_master, "k").await, Some(2));

    let (error, text) = error_of(only.reader().after(&token)).await;
    assert!(
        matches!(Error::of(&error), Some(Error::Stale { .. })),
        "{text}"
    );
    assert_eq!(freshness(&only).from_master, 0);

    for read_from in [ReadFrom::Master, ReadFrom::Any] {
        let mut config = Config::nodes(servers.nodes().iter().map(Server::addr));
        patient(&mut config);
        config.read_from = read_from;
        let other = Pool::connect(config).await.unwrap();
        for _ in 0..20 {
            assert_eq!(get(other.reader().after(&token), "k").await, Some(2));
        }
    }

    // With time they have it, and everybody is served as the rest.
    replicas.iter().for_each(release);
    in_step(master, 2);
    assert_eq!(get(fails.reader().after(&token), "k").await, Some(2));
    assert_eq!(get(only.reader().after(&token), "k").await, Some(2));
    let seen: Option<i64> = reader.get("k").await.unwrap();
    assert_eq!((seen, reader.last_read_was_stale()), (Some(2), false));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replicas_that_have_it_serve_on_while_the_master_is_replaced_or_gone() {
    let servers = trio();
    let [master, split, _] = servers.nodes() else {
        unreachable!()
    };
    let pool = pool_on(servers.nodes(), |config| {
        config.failover_timeout = LONG;
        config.command_timeout = Some(Duration::from_secs(2));
    })
    .await;
    let session = pool.session();
    let () = session.writer().set("k", 1).await.unwrap();
    in_step(master, 2);
    assert_eq!(get(session.reader(), "k").await, Some(1));
    // A replica that says that it is a master raises the fence for some seconds.
    promote(split);
    let is_up =
        || pool.status().fence.kind == Some(SignKind::Promotion) && pool.topology().fence.is_some();
    let mut served = 0;
    let fenced = || async { is_up() };
    eventually("the fence is up", SOON, fenced).await;
    while is_up() {
        assert_eq!(get(session.reader(), "k").await, Some(1));
        served += usize::from(is_up());
    }
    assert!(served > 0, "nobody was served while the fence was up");

    tokio::task::block_in_place(|| master.kill());
    let lost = || async { pool.topology().master_error.is_some() };
    eventually("the loss is noticed", SOON, lost).await;
    for _ in 0..50 {
        assert_eq!(get(session.reader(), "k").await, Some(1));
    }
    // What nobody has that can be asked.
    let text = session.token().unwrap().to_string();
    let parts: Vec<&str> = text.split('.').collect();
    let later: redis_rw_pool::Token = format!("1.{}.{}.0", parts[1], 1_u64 << 40).parse().unwrap();
    let (error, text) = error_of(pool.reader().after(&later)).await;
    assert!(
        matches!(Error::of(&error), Some(Error::Stale { .. })),
        "{text}"
    );
}

/// Every way to ask for freshness is refused, and nothing else.
async fn is_refused(pool: &Pool) {
    let session = pool.session();
    let () = session
        .writer()
        .set("k", 1)
        .await
        .expect("a write is a write");
    let refusals = [
        error_of(session.reader()).await,
        error_of(pool.reader().within(Duration::from_secs(1))).await,
    ];
    for (error, text) in refusals {
        let refused = matches!(Error::of(&error), Some(Error::PositionRefused { .. }));
        assert!(refused && text.contains("+info"), "{text}");
        assert_eq!(outcome(&error), Outcome::NotExecuted, "{text}");
    }
    let error = pool.token().await.expect_err("it may not be asked");
    assert!(chain(&error).contains("+info"), "{}", chain(&error));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_permission_for_info_the_error_says_so() {
    let servers = Deployment::builder()
        .sentinels(0)
        .replicas(1)
        .username_acl("app", "pw", "~* &* +@all -info")
        .start();
    let [master, replica] = servers.nodes() else {
        unreachable!()
    };
    in_step(master, 1);
    let may = pool_on(servers.nodes(), |_| ()).await;
    let token = may.token().await.unwrap();
    for otherwise in [Otherwise::Master, Otherwise::Fail, Otherwise::Stale] {
        let pool = pool_on(servers.nodes(), |config| {
            config.username = Some("app".to_owned());
            config.password = Some("pw".into());
            config.freshness.otherwise = otherwise;
        })
        .await;
        is_refused(&pool).await;
        let (error, text) = error_of(pool.reader().after(&token)).await;
        let refused = matches!(Error::of(&error), Some(Error::PositionRefused { .. }));
        assert!(refused && text.contains("+info"), "{text}");
        let error = pool
            .confirm(&token, 1, SOON)
            .await
            .expect_err("it may not be asked");
        assert!(matches!(error, Error::PositionRefused { .. }), "{error}");
        // Who asks for nothing notices nothing.
        let () = pool.writer().set("k", 2).await.unwrap();
        let _ = get(pool.reader(), "k").await;
        let asks_master = pool.reader().with(Freshness::Master);
        assert_eq!(get(asks_master, "k").await, Some(2));
        assert!(freshness(&pool).refused > 0);
    }
    // And it is asked again as soon as it may be.
    let pool = pool_on(servers.nodes(), |config| {
        config.username = Some("app".to_owned());
        config.password = Some("pw".into());
    })
    .await;
    let session = pool.session();
    let () = session.writer().set("k", 3).await.unwrap();
    for server in [master, replica] {
        server.cmd(&["ACL", "SETUSER", "app", "+info"]);
    }
    assert_eq!(get(session.reader(), "k").await, Some(3));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_asked_where_nobody_wants_to_know() {
    let servers = trio();
    let nodes = servers.nodes();
    let never = Duration::from_secs(3600);
    let pool = pool_on(nodes, |config| {
        only_replicas(config);
        config.refresh_interval = never;
        config.client_name = Some(APP.to_owned());
    })
    .await;
    let () = pool.writer().set("k", 1).await.unwrap();
    in_step(&nodes[0], 2);
    let mut watched: Vec<Client> = nodes.iter().map(watch).collect();
    let session = pool.session();
    for _ in 0..300 {
        let () = pool.writer().set("k", 1).await.unwrap();
        assert_eq!(get(pool.reader(), "k").await, Some(1));
        assert_eq!(get(pool.reader().with(Freshness::Any), "k").await, Some(1));
        assert_eq!(
            get(pool.reader().with(Freshness::Master), "k").await,
            Some(1)
        );
        // There is nothing yet that it must have seen.
        assert_eq!(get(session.reader(), "k").await, Some(1));
        assert_eq!(get(session.writer(), "k").await, Some(1));
    }
    for (node, watched) in nodes.iter().zip(&mut watched) {
        assert_eq!(asked(node, watched), 0, "{}", node.name());
    }
    let status = freshness(&pool);
    assert_eq!((status.proven, status.questions), (0, 0), "{status:?}");

    // One for each write, and one for each read.
    let mut watched = watch(&nodes[0]);
    for value in 0..20 {
        let () = session.writer().set("k", value).await.unwrap();
    }
    assert_eq!(asked(&nodes[0], &mut watched), 20);
    in_step(&nodes[0], 2);
    let mut watched: Vec<Client> = nodes.iter().map(watch).collect();
    for _ in 0..20 {
        assert_eq!(get(session.reader(), "k").await, Some(19));
    }
    let mut both = nodes.iter().zip(&mut watched);
    let sum: usize = both
        .by_ref()
        .map(|(node, watched)| asked(node, watched))
        .sum();
    assert_eq!(sum, 20);
}

//! The master's position, and which replicas have a write.

use std::time::Duration;

use redis::AsyncCommands;
use redis_rw_pool::{Error, Freshness, Outcome, outcome};

use super::{get, hold, in_step, only_replicas, pool_on, put, release, trio};
use crate::support::{LONG, local};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn confirm_names_the_replicas_that_have_a_write() {
    let servers = trio();
    let [master, slow, quick] = servers.nodes() else {
        unreachable!()
    };
    let pool = pool_on(servers.nodes(), |_| ()).await;
    // Without a reader there are no connections to replicas yet.
    let session = pool.session();
    let () = session.writer().set("k", 1).await.unwrap();
    let token = session.token().unwrap();
    let copies = pool.confirm(&token, 2, LONG).await.unwrap();
    let mut nodes = copies.nodes;
    nodes.sort();
    let mut both = vec![local(slow.port()), local(quick.port())];
    both.sort();
    assert_eq!(nodes, both);
    assert!(
        pool.confirm(&token, 0, LONG)
            .await
            .unwrap()
            .nodes
            .is_empty()
    );

    hold(slow);
    let () = session.writer().set("k", 2).await.unwrap();
    let token = session.token().unwrap();
    let copies = pool.confirm(&token, 1, LONG).await.unwrap();
    assert_eq!(copies.nodes, [local(quick.port())]);
    let short = Duration::from_millis(200);
    let error = pool
        .confirm(&token, 2, short)
        .await
        .expect_err("one is held");
    let Error::TooFewCopies {
        have: 1, wanted: 2, ..
    } = &error
    else {
        panic!("{error}");
    };
    let text = error.to_string();
    assert!(text.contains("the write was executed"), "{text}");
    assert!(
        text.contains(&slow.addr()) && !text.contains(&quick.addr()),
        "{text}"
    );
    assert_eq!(outcome(&error.into()), Outcome::Executed);
    let error = pool
        .confirm(&token, 3, short)
        .await
        .expect_err("there are two");
    assert!(
        matches!(error, Error::TooFewCopies { wanted: 3, .. }),
        "{error}"
    );

    release(slow);
    let copies = pool.confirm(&token, 2, LONG).await.unwrap();
    assert_eq!(copies.nodes.len(), 2);
    in_step(master, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_token_of_a_pool_covers_the_writes_of_others() {
    let servers = trio();
    let [master, slow, _] = servers.nodes() else {
        unreachable!()
    };
    let pool = pool_on(servers.nodes(), only_replicas).await;
    hold(slow);
    for value in 0..30 {
        put(master, "k", value);
        let token = pool.token().await.unwrap();
        assert_eq!(get(pool.reader().after(&token), "k").await, Some(value));
        let fresh = Freshness::After(token);
        assert_eq!(get(pool.reader().with(fresh), "k").await, Some(value));
    }
    // Callers who come together share a question.
    let before = super::freshness(&pool).questions;
    let asked: Vec<_> = (0..200).map(|_| pool.token()).collect();
    let tokens = crate::support::side_by_side(asked).await;
    assert!(tokens.iter().all(Result::is_ok));
    let questions = super::freshness(&pool).questions - before;
    assert!((1..20).contains(&questions), "{questions}");
}

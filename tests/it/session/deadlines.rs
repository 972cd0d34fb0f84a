//! No call outlasts its deadline, and no deadline cuts off what may take longer.

use std::time::Duration;

use redis::{AsyncCommands, Value, pipe};
use tokio::time::Instant;

use crate::support::{ask, master, single};

#[tokio::test]
async fn the_time_that_a_command_blocks_on_purpose_comes_on_top() {
    // Half a second longer than the timeout; the timeout is long enough for a busy machine.
    let pool = single("deadlines-blocking", |config| {
        config.command_timeout = Some(Duration::from_secs(1));
        config.write.max_active = 16;
    })
    .await;
    master().cmd(&["DEL", "deadlines:pushed"]);
    let nil = [
        "BLPOP deadlines:none 1.5",
        "BRPOP deadlines:none deadlines:nothing 1.5",
        "BLMOVE deadlines:none deadlines:other LEFT RIGHT 1.5",
        "BRPOPLPUSH deadlines:none deadlines:other 2",
        "BLMPOP 1.5 1 deadlines:none LEFT",
        "BZPOPMIN deadlines:none 1.5",
        "BZMPOP 1.5 1 deadlines:none MIN",
        "XREAD COUNT 1 BLOCK 1500 STREAMS deadlines:none $",
    ];
    let mut tasks = tokio::task::JoinSet::new();
    let several = testkit::provides("BLMPOP and BZMPOP", (7, 0));
    for line in nil
        .into_iter()
        .filter(|line| several || !line.contains("MPOP"))
    {
        let pool = pool.clone();
        tasks.spawn(async move {
            let mut conn = pool.write().await.unwrap();
            let started = Instant::now();
            let reply: Value = ask(&mut conn, line).await;
            assert_eq!(reply, Value::Nil, "{line}");
            assert!(started.elapsed() > Duration::from_millis(1_400), "{line}");
        });
    }
    let spare = pool.clone();
    tasks.spawn(async move {
        let mut conn = spare.write().await.unwrap();
        let () = conn.set("deadlines:k", 1).await.unwrap();
        // There are fewer than five replicas, so it takes all its time.
        let replicas: i64 = ask(&mut conn, "WAIT 5 1500").await;
        assert_eq!(replicas, 1);
    });
    let spare = pool.clone();
    tasks.spawn(async move {
        let mut conn = spare.write().await.unwrap();
        let reply: (Value, Value) = pipe()
            .blpop("deadlines:none", 0.9)
            .blpop("deadlines:none", 0.9)
            .query_async(&mut conn)
            .await
            .unwrap();
        assert_eq!(reply, (Value::Nil, Value::Nil));
        let reply: (Value,) = pipe()
            .atomic()
            .blpop("deadlines:none", 0.0)
            .query_async(&mut conn)
            .await
            .unwrap();
        assert_eq!(reply.0, Value::Nil);
    });
    let spare = pool.clone();
    tasks.spawn(async move {
        let mut conn = spare.write().await.unwrap();
        let popped: (String, i64) = conn.blpop("deadlines:pushed", 0.0).await.unwrap();
        assert_eq!(popped, ("deadlines:pushed".to_owned(), 7));
    });
    tokio::time::sleep(Duration::from_millis(1_600)).await;
    master().cmd(&["RPUSH", "deadlines:pushed", "7"]);
    while let Some(result) = tasks.join_next().await {
        result.unwrap();
    }
    assert_eq!(pool.status().write.discards.total(), 0);
}

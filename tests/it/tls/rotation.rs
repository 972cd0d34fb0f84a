//! New certificates for servers and clients that run.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
    },
    time::Duration,
};

use redis_rw_pool::{
    Config, Discard, GapCause, Notice, Outcome, Pool, ReadFrom, Tls, outcome,
    redis::{AsyncCommands, RedisError},
};
use testkit::{Authority, Deployment, Folder, Server};
use tokio::{
    task::{JoinSet, block_in_place},
    time::Instant,
};

use super::{deployment, nodes_only, show};
use crate::support::{SOON, config, eventually, readable_are};

#[tokio::test(flavor = "multi_thread")]
async fn a_new_ca_for_servers_and_client_costs_no_command() {
    let (old, new) = (Authority::new("old"), Authority::new("new"));
    let deployment = deployment(&old, old.issue(&["127.0.0.1"]), 0, 1);
    let (folder, client) = (Folder::create(), old.issue(&["app"]));
    let ca_file = folder.write("ca.crt", old.pem());
    let (cert, key) = client.write(folder.path());
    let tls = Tls::builder().ca_file(&ca_file).client_files(cert, key);
    let mut config = nodes_only(&deployment, tls.reload_every(Duration::from_millis(100)));
    config.write.max_active = 2;
    let tls = config.tls.clone().unwrap();
    let pool = Pool::connect(config).await.unwrap();

    let (stop, done) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicU64::new(0)),
    );
    let load = {
        let (pool, stop, done) = (pool.clone(), Arc::clone(&stop), Arc::clone(&done));
        tokio::spawn(async move {
            while !stop.load(SeqCst) {
                let () = pool.writer().incr("shared", 1).await.unwrap();
                done.fetch_add(1, SeqCst);
            }
        })
    };
    let mut lent = pool.write().await.unwrap();
    let () = lent.set("k", "v").await.unwrap();
    drop(pool.write().await.unwrap());

    let both = format!("{}{}", old.pem(), new.pem());
    show(&deployment.nodes()[0], &new.issue(&["127.0.0.1"]), &both);
    folder.write("ca.crt", "-----BEGIN CERTIFICATE-----\nbroken");
    eventually("a broken file is told", SOON, || async {
        let status = pool.status().tls.expect("there is TLS");
        status
            .error
            .is_some_and(|error| error.contains("`ca_file`"))
            && status.reloads == 0
    })
    .await;
    let v: String = lent.get("k").await.unwrap();
    assert_eq!(v, "v", "what lives goes on");

    let _ = new.issue(&["app"]).write(folder.path());
    folder.write("ca.crt", new.pem());
    eventually("the new files are in use", SOON, || async {
        // Both are written one after the other, so a reload may see only the first.
        let status = pool.status().tls.expect("there is TLS");
        let shared = pool.status().writer;
        status.error.is_none() && shared.created >= 2 && shared.connections == 1
    })
    .await;
    assert_eq!(tls.reload(), Ok(false));
    eventually("an idle one is closed", SOON, || async {
        pool.status().write.discards.get(Discard::Certificates) == 1
    })
    .await;
    let v: String = lent.get("k").await.unwrap();
    assert_eq!(v, "v", "a lent one is used until it comes back");
    drop(lent);
    eventually("it goes when its turn has come", SOON, || async {
        pool.status().write.discards.get(Discard::Certificates) == 2
    })
    .await;
    let v: String = pool.write().await.unwrap().get("k").await.unwrap();
    assert_eq!(v, "v");

    let before = done.load(SeqCst);
    eventually("the load goes on", SOON, || async {
        done.load(SeqCst) > before + 10
    })
    .await;
    stop.store(true, SeqCst);
    load.await.expect("no command failed");
    let counted: u64 = pool.writer().get("shared").await.unwrap();
    assert_eq!(counted, done.load(SeqCst));
}

#[tokio::test(flavor = "multi_thread")]
async fn sentinels_are_asked_and_heard_over_new_certificates_without_a_gap() {
    let ca = Authority::new("ours");
    let deployment = deployment(&ca, ca.issue(&["127.0.0.1"]), 1, 1);
    let folder = Folder::create();
    let (cert, key) = ca.issue(&["app"]).write(folder.path());
    let builder = Tls::builder().ca_pem(ca.pem()).client_files(cert, key);
    let tls = builder.build().unwrap();
    let mut config = config(&deployment);
    config.tls = Some(tls.clone());
    config.refresh_interval = Duration::from_millis(300);
    let pool = Pool::connect(config).await.unwrap();
    let listening = || pool.status().sentinel.listening;
    eventually("it is heard", SOON, || async { listening() == 1 }).await;
    let sentinel = &deployment.sentinels()[0];
    let ids = || -> BTreeSet<String> {
        let clients = sentinel.client_list().into_iter();
        clients.map(|client| client["id"].clone()).collect()
    };
    let before = ids();
    let _ = ca.issue(&["app"]).write(folder.path());
    assert_eq!(tls.reload(), Ok(true));
    eventually("all of its connections are new", SOON, || async {
        assert_eq!(listening(), 1);
        ids().is_disjoint(&before)
    })
    .await;
    let events = pool.status().sentinel.events;
    block_in_place(|| deployment.failover());
    eventually("its events arrive", SOON, || async {
        pool.status().sentinel.events > events
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subscriber_moves_to_new_certificates_at_a_gap() {
    let ca = Authority::new("ours");
    let deployment = deployment(&ca, ca.issue(&["127.0.0.1"]), 0, 1);
    let folder = Folder::create();
    let (cert, key) = ca.issue(&["app"]).write(folder.path());
    let tls = Tls::builder().ca_pem(ca.pem()).client_files(cert, key);
    let config = nodes_only(&deployment, tls);
    let tls = config.tls.clone().unwrap();
    let pool = Pool::connect(config).await.unwrap();
    let mut updates = pool.subscriber();
    updates.subscribe(["x"]).await.unwrap();
    let () = pool.writer().publish("x", "old").await.unwrap();
    let Some(Notice::Message(message)) = updates.next().await else {
        panic!("no message");
    };
    assert_eq!(message.payload(), b"old");
    let _ = ca.issue(&["app"]).write(folder.path());
    assert_eq!(tls.reload(), Ok(true));
    let Some(Notice::Gap(gap)) = updates.next().await else {
        panic!("no gap");
    };
    assert_eq!(gap.why, GapCause::Retired, "{gap}");
    assert_eq!(gap.from.as_ref(), Some(&gap.to));
    let () = pool.writer().publish("x", "new").await.unwrap();
    let Some(Notice::Message(message)) = updates.next().await else {
        panic!("no message");
    };
    assert_eq!(message.payload(), b"new");
}

/// Its CA file can be replaced, and its client certificate is that of `old`.
fn reloadable(deployment: &Deployment, folder: &Folder, old: &Authority) -> (Config, Tls) {
    let client = old.issue(&["app"]);
    let ca_file = folder.write("ca.crt", old.pem());
    let tls = Tls::builder().ca_file(ca_file);
    let mut config = nodes_only(deployment, tls.client_pem(client.cert, client.key));
    config.client_name = Some("app".to_owned());
    let tls = config.tls.clone().unwrap();
    (config, tls)
}

#[tokio::test(flavor = "multi_thread")]
async fn certificates_that_no_server_takes_yet_cost_nothing_and_later_connections_go_one_by_one() {
    let (old, new) = (Authority::new("old"), Authority::new("new"));
    let deployment = deployment(&old, old.issue(&["127.0.0.1"]), 1, 1);
    let folder = Folder::create();
    let (mut config, tls) = reloadable(&deployment, &folder, &old);
    config.refresh_interval = Duration::from_millis(200);
    let pool = Pool::connect(config).await.unwrap();
    readable_are(&pool, 1, SOON).await;
    drop(lend(&pool, 4).await);
    let replaced = || pool.status().write.discards.get(Discard::Certificates);

    let stop = Arc::new(AtomicBool::new(false));
    let mut loads = JoinSet::new();
    for load in 0..4 {
        let (pool, stop) = (pool.clone(), Arc::clone(&stop));
        loads.spawn(async move {
            while !stop.load(SeqCst) {
                let key = format!("load-{load}");
                let done: Result<u64, RedisError> = match load {
                    0 => pool.writer().incr(&key, 1).await,
                    1 => pool.write().await.unwrap().incr(&key, 1).await,
                    2 => pool.reader().exists(&key).await,
                    _ => pool.read().await.unwrap().exists(&key).await,
                };
                done.unwrap_or_else(|error| panic!("{key}: {error}"));
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        });
    }
    tokio::time::sleep(Duration::from_millis(100)).await;
    folder.write("ca.crt", new.pem());
    assert_eq!(tls.reload(), Ok(true));
    let until = Instant::now() + Duration::from_millis(1500);
    while Instant::now() < until {
        pool.refresh().await.expect("the Sentinel answers");
        let topology = pool.topology();
        assert_eq!(topology.readable().count(), 1, "{topology:?}");
        assert!(topology.fence.is_none(), "{topology:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!((replaced(), pool.status().write.active), (0, 4));
    assert!(pool.status().writer.dial_failures > 0, "it was tried");

    let both = format!("{}{}", old.pem(), new.pem());
    for server in deployment.nodes() {
        show(server, &new.issue(&["127.0.0.1"]), &both);
    }
    eventually("the first is replaced", SOON, || async { replaced() > 0 }).await;
    assert!(replaced() <= 2, "all at once");
    eventually("all are replaced", SOON, || async {
        replaced() == 4 && pool.status().writer.created == 2
    })
    .await;
    stop.store(true, SeqCst);
    while let Some(ended) = loads.join_next().await {
        ended.expect("no command failed");
    }
}

/// So many at once.
async fn lend(pool: &Pool, count: usize) -> Vec<redis_rw_pool::Connection> {
    let mut lent = Vec::new();
    for _ in 0..count {
        lent.push(pool.write().await.unwrap());
    }
    lent
}

/// Closes the pool's connections, and not those of the Sentinels.
fn disconnect(server: &Server) {
    for client in server.client_list() {
        if client["name"] == "app" {
            server.cmd(&["CLIENT", "KILL", "ID", &client["id"]]);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn where_the_servers_come_first_callers_wait_for_the_reload_as_in_an_outage() {
    let (old, new) = (Authority::new("old"), Authority::new("new"));
    let deployment = deployment(&old, old.issue(&["127.0.0.1"]), 0, 1);
    let folder = Folder::create();
    let (mut config, tls) = reloadable(&deployment, &folder, &old);
    let patience = Duration::from_secs(1);
    (config.failover_timeout, config.connect_timeout) = (patience, patience);
    config.read_from = ReadFrom::ReplicaPreferred;
    let pool = Pool::connect(config).await.unwrap();
    let () = pool.writer().set("k", "v").await.unwrap();
    let _: String = pool.reader().get("k").await.unwrap();

    let both = format!("{}{}", old.pem(), new.pem());
    let master = &deployment.nodes()[0];
    show(master, &new.issue(&["127.0.0.1"]), &both);
    disconnect(master);
    let began = Instant::now();
    let (write, read, shared): (_, _, Result<(), _>) =
        tokio::join!(pool.write(), pool.read(), async {
            pool.writer().set("k", "w").await
        },);
    assert!(began.elapsed() >= patience, "{:?}", began.elapsed());
    for error in [write.map(drop), read.map(drop)].map(Result::unwrap_err) {
        assert!(error.is_transient(), "{error:?}");
        let text = error.to_string();
        assert!(
            text.contains("was not issued by a CA of `tls.ca_file`"),
            "{text}"
        );
    }
    let error = shared.unwrap_err();
    assert_eq!(outcome(&error), Outcome::NotExecuted, "{error}");
    assert!(error.to_string().contains("was not issued by"), "{error}");

    let reload = async {
        tokio::time::sleep(patience / 4).await;
        folder.write("ca.crt", &both);
        assert_eq!(tls.reload(), Ok(true));
    };
    let (write, read, shared, ()): (_, _, Result<(), _>, _) = tokio::join!(
        pool.write(),
        pool.read(),
        async { pool.writer().set("k", "x").await },
        reload,
    );
    shared.expect("it waited");
    let _: String = write.expect("it waited").get("k").await.unwrap();
    let _: String = read.expect("it waited").get("k").await.unwrap();
}

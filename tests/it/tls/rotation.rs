//! New certificates for servers and clients that run.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
    },
    time::Duration,
};

use redis_rw_pool::{Discard, Pool, Tls, redis::AsyncCommands};
use testkit::Authority;
use tokio::task::block_in_place;

use super::{Folder, deployment, nodes_only, show};
use crate::support::{SOON, config, eventually};

#[tokio::test(flavor = "multi_thread")]
async fn a_new_ca_for_servers_and_client_costs_no_command() {
    let (old, new) = (Authority::new("old"), Authority::new("new"));
    let deployment = deployment(&old, old.issue(&["127.0.0.1"]), 0, 1);
    let (folder, client) = (Folder::new(), old.issue(&["app"]));
    let ca_file = folder.write("ca.crt", old.pem());
    let (cert, key) = client.write(&folder.0);
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

    let _ = new.issue(&["app"]).write(&folder.0);
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
    let folder = Folder::new();
    let (cert, key) = ca.issue(&["app"]).write(&folder.0);
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
    let _ = ca.issue(&["app"]).write(&folder.0);
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

//! Managed services: a name that leads to the primary, and one that leads to all replicas. An address map
//! stands for the DNS, since it is asked for every connection as well.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use parking_lot::Mutex;
use redis::AsyncCommands;
use redis_rw_pool::{AddressMap, Config, Node, Pool};
use tokio::task::block_in_place;

use super::{deployment, follow, promote};
use crate::support::{LONG, SOON, ask, eventually, local, readable_are};

/// Where the two names lead.
struct Dns {
    primary: u16,
    replicas: Vec<u16>,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_primary_and_a_reader_endpoint_are_followed_to_other_servers() {
    let servers = deployment(2);
    let [old, new, other] = servers.nodes() else {
        unreachable!()
    };
    let dns = Arc::new(Mutex::new(Dns {
        primary: old.port(),
        replicas: vec![new.port(), other.port()],
    }));
    let primary = Node::new("primary.invalid", 6379);
    let mut config = Config::nodes(["reader.invalid", "primary.invalid"]);
    config.refresh_interval = Duration::from_secs(1);
    config.write.max_active = 2;
    config.address_map = Some(AddressMap::new({
        let (dns, primary) = (Arc::clone(&dns), primary.clone());
        let turn = AtomicUsize::new(0);
        move |node| {
            let dns = dns.lock();
            if *node == primary {
                return local(dns.primary);
            }
            local(dns.replicas[turn.fetch_add(1, SeqCst) % dns.replicas.len()])
        }
    }));
    let pool = Pool::connect(config).await.unwrap();
    readable_are(&pool, 1, SOON).await;
    assert_eq!(pool.topology().master, Some(primary.clone()));
    let () = pool.writer().set("k", 1).await.unwrap();
    let mut lent = pool.write().await.unwrap();
    let () = lent.set("k", 1).await.unwrap();

    // One name, and connections to every replica behind it.
    let mut seen = BTreeSet::new();
    let mut lent_for_reads = Vec::new();
    for _ in 0..6 {
        lent_for_reads.push(pool.read().await.unwrap());
    }
    for conn in &mut lent_for_reads {
        let info: String = ask(conn, "INFO server").await;
        let port = info.lines().find_map(|line| line.strip_prefix("tcp_port:"));
        seen.insert(port.unwrap().parse::<u16>().unwrap());
    }
    assert_eq!(seen, BTreeSet::from([new.port(), other.port()]));
    drop(lent_for_reads);

    // The service promotes a replica, and then changes its DNS. The old primary lives on.
    block_in_place(|| {
        promote(new);
        follow(old, new);
        follow(other, new);
    });
    let writes = tokio::spawn({
        let pool = pool.clone();
        async move {
            let () = pool.writer().set("k", 2).await?;
            let () = pool.write().await.unwrap().set("k", 3).await?;
            redis::RedisResult::Ok(())
        }
    });
    tokio::time::sleep(Duration::from_millis(700)).await;
    *dns.lock() = Dns {
        primary: new.port(),
        replicas: vec![old.port(), other.port()],
    };
    writes.await.unwrap().expect("they waited for the name");
    let () = lent.set("k", 4).await.expect("so does a guard");
    assert_eq!(new.cmd(&["GET", "k"]).as_str(), "4");
    let settled = || async {
        let topology = pool.topology();
        topology.fence.is_none() && topology.readable().count() == 1
    };
    eventually("replicas are readable again", LONG, settled).await;
    assert!(pool.topology().master.is_some());
}

//! The tests of `topology::adopt` that need no redis-server.

use std::time::Duration;

use redis_rw_pool::{Adopt, Config, Node, Pool, redis::RedisResult};
use testkit::fake::{self, FakeNode, FakeSentinel, NodeRole, SentinelView};
use tokio::{task::JoinHandle, time::Instant};

use crate::support::{FAILOVER_LIMIT, eventually, local, sentinel_with_id, write};

const EPOCH: u64 = 5;

/// A master, two replicas and three Sentinels, all fake, and a pool on them.
struct Scene {
    master: FakeNode,
    replicas: [FakeNode; 2],
    sentinels: [FakeSentinel; 3],
    pool: Pool,
}

impl Scene {
    async fn new(adopt: Adopt) -> Self {
        let master = fake::node(NodeRole::Master);
        let replicas = [(); 2].map(|()| fake::node(NodeRole::replica_of(master.port())));
        let sentinels = [(); 3].map(|()| {
            let mut view = SentinelView::of_master(master.port());
            for replica in &replicas {
                view = view.with_replica(replica.port());
            }
            view.epoch = EPOCH;
            sentinel_with_id(view)
        });
        let addresses = sentinels.iter().map(|sentinel| sentinel.addr());
        let mut config = Config::new(addresses, "mymaster");
        config.refresh_interval = Duration::from_millis(500);
        config.failover_timeout = FAILOVER_LIMIT;
        config.adopt = adopt;
        let pool = Pool::connect(config).await.expect("all is well");
        let scene = Self {
            master,
            replicas,
            sentinels,
            pool,
        };
        eventually("all is known and heard", FAILOVER_LIMIT, || async {
            let heard = scene.sentinels.iter().all(|one| one.subscribers() == 1);
            heard && scene.pool.topology().readable().count() == 2
        })
        .await;
        scene
    }

    fn chosen(&self) -> &FakeNode {
        &self.replicas[0]
    }

    /// The first Sentinel says that it is about to promote the first replica.
    fn select(&self) {
        let (old, new) = (self.master.port(), self.chosen().port());
        self.sentinels[0].update(|view| {
            view.flags = "master,failover_in_progress".to_owned();
            view.replicas[0].flags = "slave,promoted".to_owned();
        });
        let payload = format!("slave 127.0.0.1:{new} 127.0.0.1 {new} @ mymaster 127.0.0.1 {old}");
        self.sentinels[0].publish("+selected-slave", &payload);
    }

    async fn fenced(&self) {
        eventually("the fence is up", FAILOVER_LIMIT, || async {
            self.pool.topology().fence.is_some()
        })
        .await;
    }

    fn promote(&self) {
        self.chosen().set_role(NodeRole::Master);
    }

    fn announce(&self, sentinel: &FakeSentinel) {
        let (old, new) = (self.master.port(), self.chosen().port());
        sentinel.update(|view| {
            let third = view.replicas[1].port;
            *view = SentinelView {
                id: view.id.clone(),
                epoch: EPOCH + 1,
                ..SentinelView::of_master(new)
                    .with_replica(old)
                    .with_replica(third)
            };
        });
        let payload = format!("mymaster 127.0.0.1 {old} 127.0.0.1 {new}");
        sentinel.publish("+switch-master", &payload);
    }

    /// The failover came to nothing; the promoted node has yet to hear of it.
    fn abort(&self) {
        self.sentinels[0].update(|view| {
            view.flags = "master".to_owned();
            view.replicas[0].flags = "slave".to_owned();
        });
        let payload = format!("master mymaster 127.0.0.1 {}", self.master.port());
        self.sentinels[0].publish("-failover-abort-slave-timeout", &payload);
    }

    fn start_write(&self) -> JoinHandle<RedisResult<Node>> {
        let pool = self.pool.clone();
        tokio::spawn(async move { write(&pool, "k").await })
    }

    async fn leads(&self, node: &FakeNode) {
        let node = local(node.port());
        eventually(&format!("{node} is the master"), FAILOVER_LIMIT, || async {
            let topology = self.pool.topology();
            topology.master.as_ref() == Some(&node) && topology.fence.is_none()
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_promoted_replica_is_adopted_before_any_sentinel_announces_it() {
    let scene = Scene::new(Adopt::Promoted).await;
    let (old, new) = (local(scene.master.port()), local(scene.chosen().port()));
    scene.select();
    scene.fenced().await;
    let waiting = scene.start_write();
    scene.promote();
    assert_eq!(waiting.await.unwrap(), Ok(new.clone()));
    assert_eq!(scene.master.count("SET"), 0);

    let topology = scene.pool.topology();
    assert_eq!(topology.master, Some(new.clone()));
    assert_eq!(topology.previous_master, Some(old.clone()));
    assert_eq!(topology.epoch, EPOCH);
    // The Sentinels go on naming the old one, which says that it is a master.
    for i in 0..5 {
        scene.pool.refresh().await.expect("they answer");
        assert_eq!(write(&scene.pool, &format!("{i}")).await, Ok(new.clone()));
        let third = local(scene.replicas[1].port());
        let topology = scene.pool.topology();
        let readable: Vec<_> = topology.readable().collect();
        assert_eq!(readable, [&third], "it still follows the old one");
    }
    assert_eq!(scene.master.count("SET"), 0);

    let created = scene.pool.status().write.created;
    for sentinel in &scene.sentinels {
        scene.announce(sentinel);
    }
    scene.master.set_role(NodeRole::replica_of(new.port()));
    scene.replicas[1].set_role(NodeRole::replica_of(new.port()));
    eventually("the announcement is known", FAILOVER_LIMIT, || async {
        let topology = scene.pool.topology();
        let confirmed = topology.epoch == EPOCH + 1 && topology.previous_master.is_none();
        confirmed && topology.readable().count() == 2
    })
    .await;
    assert_eq!(write(&scene.pool, "after").await, Ok(new));
    assert_eq!(scene.pool.status().write.created, created);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_promotion_that_comes_to_nothing_is_undone_when_the_nodes_say_so() {
    let scene = Scene::new(Adopt::Promoted).await;
    let (old, new) = (local(scene.master.port()), local(scene.chosen().port()));
    scene.select();
    scene.fenced().await;
    scene.promote();
    scene.leads(scene.chosen()).await;
    scene.abort();
    for _ in 0..5 {
        scene.pool.refresh().await.expect("they answer");
        assert_eq!(write(&scene.pool, "k").await, Ok(new.clone()));
    }
    scene.chosen().set_role(NodeRole::replica_of(old.port()));
    scene.leads(&scene.master).await;
    assert_eq!(write(&scene.pool, "k").await, Ok(old));
    assert_eq!(scene.pool.topology().previous_master, None);
    assert_eq!(scene.pool.topology().epoch, EPOCH);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn by_default_a_promoted_replica_waits_for_its_announcement() {
    let scene = Scene::new(Adopt::default()).await;
    scene.select();
    scene.fenced().await;
    let waiting = scene.start_write();
    scene.promote();
    let asked = scene.chosen().count("ROLE");
    for _ in 0..5 {
        scene.pool.refresh().await.expect("they answer");
    }
    eventually("it was asked", FAILOVER_LIMIT, || async {
        scene.chosen().count("ROLE") > asked
    })
    .await;
    let topology = scene.pool.topology();
    assert_eq!(topology.master, Some(local(scene.master.port())));
    assert!(topology.fence.is_some());
    scene.announce(&scene.sentinels[0]);
    let new = local(scene.chosen().port());
    assert_eq!(waiting.await.unwrap(), Ok(new));
    assert_eq!(scene.master.count("SET"), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_that_no_answer_confirms_promotes_nobody() {
    let scene = Scene::new(Adopt::Promoted).await;
    let old = local(scene.master.port());
    scene.select();
    scene.abort();
    eventually(
        "the sign proved false, or was taken back",
        FAILOVER_LIMIT,
        || async {
            let status = scene.pool.status().fence;
            status.raised > 0 && status.sign.is_none()
        },
    )
    .await;
    scene.promote();
    for _ in 0..5 {
        scene.pool.refresh().await.expect("they answer");
        assert_eq!(write(&scene.pool, "k").await, Ok(old.clone()));
    }
    assert_eq!(scene.chosen().count("SET"), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_forged_signs_holds_writes_for_a_few_answers_only() {
    let scene = Scene::new(Adopt::default()).await;
    let began = Instant::now();
    let payload = format!("master mymaster 127.0.0.1 {}", scene.master.port());
    let old = local(scene.master.port());
    let flood = async {
        let mut ticks = tokio::time::interval(Duration::from_millis(5));
        for channel in ["+try-failover", "+odown"].into_iter().cycle().take(400) {
            ticks.tick().await;
            scene.sentinels[0].publish(channel, &payload);
        }
    };
    let writes = async {
        for i in 0..500 {
            assert_eq!(write(&scene.pool, &format!("{i}")).await, Ok(old.clone()));
        }
    };
    tokio::join!(flood, writes);
    eventually("all events have arrived", FAILOVER_LIMIT, || async {
        scene.pool.status().sentinel.events == 400
    })
    .await;
    let status = scene.pool.status().fence;
    // Three at once, and one for every twenty seconds.
    let most = 3 + began.elapsed().as_secs() / 20 + 1;
    assert!((3..=most).contains(&status.false_signs), "{status:?}");
    assert_eq!(status.raised, status.false_signs, "{status:?}");
    assert_eq!(status.sign, None);
    assert!(status.held > Duration::ZERO);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failover_whose_sentinels_all_die_is_over_when_the_nodes_say_so() {
    let scene = Scene::new(Adopt::default()).await;
    let old = local(scene.master.port());
    scene.select();
    scene.fenced().await;
    let waiting = scene.start_write();
    let Scene {
        sentinels, pool, ..
    } = &scene;
    // The one that leads goes last: those left behind would say that all is well.
    for sentinel in sentinels.iter().rev() {
        sentinel.update(|view| {
            let silence = fake::Action::Close;
            *view = view.clone().with_override("SENTINEL", silence);
        });
        sentinel.close_connections();
        let name = local(sentinel.port()).to_string();
        eventually("it does not answer any more", FAILOVER_LIMIT, || async {
            let said = pool.status().sentinel.reports;
            let answers = |(who, what): (&str, &str)| who == name && what.starts_with("master is");
            !said.iter().any(answers)
        })
        .await;
    }
    eventually("no Sentinel answers", FAILOVER_LIMIT, || async {
        pool.status().sentinel.reachable == 0
    })
    .await;
    let sign = pool.status().fence.sign.expect("the fence is up");
    assert!(sign.contains("+selected-slave"), "{sign}");
    assert_eq!(waiting.await.unwrap(), Ok(old));
    assert_eq!(pool.status().fence.sign, None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sentinel_that_names_the_master_of_somebody_else_leads_nowhere() {
    let scene = Scene::new(Adopt::Promoted).await;
    let stranger = fake::node(NodeRole::Master);
    let old = local(scene.master.port());
    let lie = |sentinel: &FakeSentinel| {
        sentinel.update(|view| {
            view.master.1 = stranger.port();
            view.epoch = 999;
        });
        let (from, to) = (scene.master.port(), stranger.port());
        let payload = format!("mymaster 127.0.0.1 {from} 127.0.0.1 {to}");
        sentinel.publish("+switch-master", &payload);
    };
    lie(&scene.sentinels[0]);
    for _ in 0..5 {
        scene.pool.refresh().await.expect("they answer");
        assert_eq!(write(&scene.pool, "k").await, Ok(old.clone()));
    }
    assert_eq!(scene.pool.topology().epoch, EPOCH);
    assert_eq!(stranger.connections().len(), 0);
    // Most of them do not err all at once: the deployment was restored elsewhere.
    lie(&scene.sentinels[1]);
    scene.leads(&stranger).await;
    assert_eq!(write(&scene.pool, "k").await, Ok(local(stranger.port())));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sentinels_that_missed_a_failover_are_outvoted() {
    let scene = Scene::new(Adopt::default()).await;
    scene.promote();
    scene.announce(&scene.sentinels[0]);
    scene.leads(scene.chosen()).await;
    // The others are in TILT, or cut off with the old master, which still says that it is one.
    let payload = format!(
        "mymaster 127.0.0.1 {} 127.0.0.1 {}",
        scene.chosen().port(),
        scene.master.port()
    );
    let new = local(scene.chosen().port());
    for stale in &scene.sentinels[1..] {
        stale.publish("+tilt", "#tilt mode entered");
        stale.publish("+switch-master", &payload);
        scene.pool.refresh().await.expect("they answer");
        assert_eq!(write(&scene.pool, "k").await, Ok(new.clone()));
    }
    assert_eq!(scene.master.count("SET"), 0);
    assert_eq!(scene.pool.topology().epoch, EPOCH + 1);
}

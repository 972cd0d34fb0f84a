//! Credentials that change while the pool is at work.

use std::{
    collections::BTreeSet,
    fs,
    os::unix::fs::symlink,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use parking_lot::Mutex;
use redis::AsyncCommands;
use redis_rw_pool::{Config, Credentials, CredentialsSource, Discard, Error, Pool};
use testkit::{Deployment, Folder, Server};
use tokio::{
    sync::watch,
    task::{JoinHandle, block_in_place, spawn_blocking},
    time::Instant,
};

use crate::support::{
    self, SOON, assert_hidden, chain, discarded, eventually, id, patient, readable_are, run,
    sentinel_of, unique_name, watched_by,
};

/// A source that answers what was set last.
#[derive(Debug, Clone)]
struct Shared(Arc<Mutex<String>>);

impl Shared {
    fn new(password: &str) -> Self {
        Self(Arc::new(Mutex::new(password.to_owned())))
    }

    fn set(&self, password: &str) {
        password.clone_into(&mut self.0.lock());
    }

    fn source(&self) -> CredentialsSource {
        let password = Arc::clone(&self.0);
        CredentialsSource::new(move |_| {
            let password = password.lock().clone();
            async move { Ok(Credentials::password_only(password)) }
        })
    }
}

async fn with_user(password: &'static str) -> Deployment {
    let builder = Deployment::builder().replicas(1).sentinels(1);
    let builder = builder.down_after(Duration::from_secs(60));
    let builder = builder.username_acl("app", password, "~* &* +@all");
    spawn_blocking(move || builder.start()).await.unwrap()
}

fn config(deployment: &Deployment, name: &str, source: CredentialsSource) -> Config {
    support::config(deployment).with(|c| {
        patient(c);
        c.client_name = Some(name.to_owned());
        c.refresh_interval = Duration::from_millis(300);
        c.username = Some("app".to_owned());
        c.credentials = Some(source);
    })
}

fn set_user(servers: &[Server], rule: &str) {
    for server in servers {
        block_in_place(|| server.cmd(&["ACL", "SETUSER", "app", rule]));
    }
}

/// The connections that callers' commands may go over.
fn ids(servers: &[Server], name: &str) -> BTreeSet<(u16, String)> {
    let named = |server: &Server| {
        let clients = block_in_place(|| server.client_list());
        let named = clients.into_iter().filter(|client| client["name"] == name);
        let port = server.port();
        named
            .map(|client| (port, client["id"].clone()))
            .collect::<Vec<_>>()
    };
    servers.iter().flat_map(named).collect()
}

/// Callers of all kinds, none of whose commands may fail.
struct Load {
    stop: Arc<AtomicBool>,
    done: Arc<AtomicUsize>,
    callers: Vec<JoinHandle<()>>,
}

impl Load {
    fn start(pool: &Pool) -> Self {
        let (stop, done) = <(Arc<AtomicBool>, Arc<AtomicUsize>)>::default();
        let callers = (0..9).map(|caller| {
            let (pool, stop, done) = (pool.clone(), Arc::clone(&stop), Arc::clone(&done));
            tokio::spawn(async move {
                while !stop.load(Relaxed) {
                    let key = format!("credentials:{caller}");
                    let result: Result<i64, _> = match caller % 3 {
                        0 => pool.writer().incr(&key, 1).await,
                        1 => pool.reader().exists(&key).await,
                        _ => match pool.write().await {
                            Ok(mut conn) => conn.incr(&key, 1).await,
                            Err(error) => Err(error.into()),
                        },
                    };
                    result.unwrap_or_else(|error| panic!("{}", chain(&error)));
                    done.fetch_add(1, Relaxed);
                }
            })
        });
        let callers = callers.collect();
        Self {
            stop,
            done,
            callers,
        }
    }

    async fn goes_on(&self) {
        let before = self.done.load(Relaxed);
        eventually("commands are done", SOON, || async {
            self.done.load(Relaxed) > before + 50
                || self.callers.iter().any(JoinHandle::is_finished)
        })
        .await;
    }

    async fn end(self) {
        self.stop.store(true, Relaxed);
        for caller in self.callers {
            caller.await.expect("no command has failed");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rotated_password_fails_no_command_and_every_connection_is_made_anew() {
    let deployment = with_user("old-canary").await;
    let (nodes, name) = (deployment.nodes(), unique_name());
    let shared = Shared::new("old-canary");
    let pool = Pool::connect(config(&deployment, &name, shared.source()))
        .await
        .unwrap();
    readable_are(&pool, 1, SOON).await;
    let load = Load::start(&pool);
    load.goes_on().await;
    let mut held = pool.write().await.unwrap();
    let held_id = id(&mut held).await.to_string();
    let before = ids(nodes, &name);

    // Nobody has to know of the new password before the old one is taken away.
    set_user(nodes, ">new-canary");
    shared.set("new-canary");
    load.goes_on().await;
    set_user(nodes, "<old-canary");
    eventually("the old connections are gone", SOON, || async {
        let left: Vec<_> = ids(nodes, &name).intersection(&before).cloned().collect();
        left.iter().all(|(_, id)| *id == held_id)
    })
    .await;
    load.goes_on().await;

    // A lent connection stays with its caller.
    assert_eq!(id(&mut held).await.to_string(), held_id);
    let counted = discarded(&pool, Discard::Credentials);
    drop(held);
    assert_eq!(discarded(&pool, Discard::Credentials), counted + 1);
    eventually("it is gone as well", SOON, || async {
        ids(nodes, &name).is_disjoint(&before)
    })
    .await;
    load.end().await;
    let text = format!("{:?} {:?}", pool.status(), pool.topology());
    assert_hidden(&text, "canary");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_secret_file_is_swapped_as_kubernetes_does_and_a_wrong_one_does_no_harm() {
    let deployment = with_user("first").await;
    let (nodes, name) = (deployment.nodes(), unique_name());
    let mount = Mount::new();
    mount.swap("1", "first\n");
    let source = CredentialsSource::file(mount.0.path().join("password"));
    let pool = Pool::connect(config(&deployment, &name, source))
        .await
        .unwrap();
    readable_are(&pool, 1, SOON).await;
    let load = Load::start(&pool);
    load.goes_on().await;

    // The file is ahead of the servers.
    mount.swap("2", "second");
    tokio::time::sleep(Duration::from_millis(900)).await;
    load.goes_on().await;
    assert_eq!(discarded(&pool, Discard::Credentials), 0);

    let before = ids(nodes, &name);
    set_user(nodes, ">second");
    eventually("the old connections are gone", SOON, || async {
        ids(nodes, &name).is_disjoint(&before)
    })
    .await;
    set_user(nodes, "<first");
    load.goes_on().await;
    assert!(discarded(&pool, Discard::Credentials) > 0);

    // What managed services do when a token expires.
    for node in nodes {
        block_in_place(|| node.cmd(&["CLIENT", "KILL", "USER", "nobody"]));
    }
    load.end().await;
    assert_eq!(pool.topology().master_error, None);
}

/// A mounted secret: `password` leads through `..data` to the folder of a version.
struct Mount(Folder);

impl Mount {
    fn new() -> Self {
        let folder = Folder::create();
        symlink("..data/password", folder.path().join("password")).unwrap();
        Self(folder)
    }

    fn swap(&self, version: &str, content: &str) {
        let folder = self.0.path();
        fs::create_dir(folder.join(version)).unwrap();
        fs::write(folder.join(version).join("password"), content).unwrap();
        symlink(version, folder.join("..data_tmp")).unwrap();
        fs::rename(folder.join("..data_tmp"), folder.join("..data")).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_connections_to_sentinels_are_made_anew_and_their_events_heard_throughout() {
    let deployment = spawn_blocking(|| {
        let builder = Deployment::builder().replicas(1).sentinels(1);
        let builder = builder.down_after(Duration::from_secs(60));
        builder
            .sentinel_config("user app on >old ~* &* +@all")
            .start()
    });
    let deployment = deployment.await.unwrap();
    let sentinels = deployment.sentinels();
    let (sent, received) = watch::channel(Credentials::new("app", "old"));
    let config = support::config(&deployment).with(|c| {
        patient(c);
        c.refresh_interval = Duration::from_millis(200);
        c.sentinel_credentials = Some(CredentialsSource::watch(received));
    });
    let pool = Pool::connect(config).await.unwrap();
    let listening = || async { pool.status().sentinel.listening == 1 };
    eventually("it is listened to", SOON, listening).await;
    let ours = || {
        let clients = block_in_place(|| sentinels[0].client_list());
        let ours = clients.into_iter().filter(|client| client["user"] == "app");
        ours.map(|client| client["id"].clone())
            .collect::<BTreeSet<_>>()
    };
    let before = ours();
    assert_eq!(before.len(), 2, "one asks and one listens");
    set_user(sentinels, ">new");
    sent.send_replace(Credentials::new("app", "new"));
    eventually("both were made anew", SOON, || async {
        assert!(listening().await);
        let now = ours();
        now.len() == 2 && now.is_disjoint(&before)
    })
    .await;
    set_user(sentinels, "<old");
    pool.refresh().await.unwrap();
    assert_eq!(pool.status().sentinel.reachable, 1);
}

#[tokio::test]
async fn a_source_that_fails_at_first_and_a_token_that_is_refused_once_delay_the_start() {
    let server = Server::standalone(&["requirepass good"]);
    let sentinel = sentinel_of(server.port());
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let mut config = watched_by(&sentinel);
    config.credentials = Some(CredentialsSource::new(move |ask| {
        let n = count.fetch_add(1, Relaxed);
        async move {
            match n {
                0 => Err("the service is down".into()),
                1 => Err("the service is still down".into()),
                _ if ask.refused => Ok(Credentials::password_only("good")),
                _ => Ok(Credentials::password_only("canary")),
            }
        }
    }));
    let pool = Pool::connect(config).await.unwrap();
    let mut conn = pool.write().await.unwrap();
    let () = conn.set("k", 1).await.unwrap();
    assert!(asked.load(Relaxed) >= 4);
}

#[tokio::test]
async fn wrong_credentials_fail_after_a_second_question_and_a_source_that_hangs_within_its_time() {
    let server = Server::standalone(&["requirepass good"]);
    let sentinel = sentinel_of(server.port());
    let mut config = watched_by(&sentinel);
    config.connect_timeout = Duration::from_secs(2);
    config.credentials = Some(Shared::new("canary").source());
    let error = Pool::connect(config.clone()).await.unwrap_err();
    let text = chain(&error);
    assert!(
        matches!(error, Error::Connect { .. }) && !error.is_transient(),
        "{text}"
    );
    assert!(text.contains("WRONGPASS"), "{text}");
    assert_hidden(&format!("{text} {error:?}"), "canary");

    let hangs = Arc::new(AtomicBool::new(true));
    let source = |hangs: &Arc<AtomicBool>| {
        let hangs = Arc::clone(hangs);
        CredentialsSource::new(move |_| {
            let hangs = Arc::clone(&hangs);
            async move {
                if hangs.load(Relaxed) {
                    std::future::pending::<()>().await;
                }
                Ok(Credentials::password_only("good"))
            }
        })
    };
    config.credentials = Some(source(&hangs));
    config.connect_timeout = Duration::from_millis(500);
    config.failover_timeout = Duration::from_secs(1);
    let began = Instant::now();
    let error = Pool::connect(config.clone()).await.unwrap_err();
    assert!(
        began.elapsed() < Duration::from_secs(5),
        "{:?}",
        began.elapsed()
    );
    let text = chain(&error);
    assert!(
        // On a busy machine a second question may come when the first has had its whole time.
        ["37", "500ms"].iter().any(|within| text.contains(&format!(
            "the credentials source did not answer within {within}"
        ))),
        "{text}"
    );
    assert!(error.is_transient(), "{text}");

    // A pool that has had an answer goes on with it.
    hangs.store(false, Relaxed);
    let pool = Pool::connect(config).await.unwrap();
    hangs.store(true, Relaxed);
    let before = id(&mut pool.write().await.unwrap()).await;
    server.cmd(&["CLIENT", "KILL", "TYPE", "normal"]);
    eventually("a fresh connection", SOON, || async {
        let mut conn = pool.write().await.unwrap();
        let now: Result<i64, _> = run(&mut conn, "CLIENT ID").await;
        now.is_ok_and(|now| now != before)
    })
    .await;
}

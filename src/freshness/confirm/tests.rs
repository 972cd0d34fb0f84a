use std::collections::HashMap;

use parking_lot::Mutex;

use super::*;
use crate::{
    config::Config,
    freshness::line::Asking,
    position::{
        report::Report,
        testing::{heir, master, replica, token},
    },
    topology::{Handle, Target},
    util::runtime::Runtime,
    wire::position_question::Answer,
};

const MS: Duration = Duration::from_millis(1);

/// Replicas, and what each of them has. One without a report does not answer.
struct Replicas(Mutex<HashMap<Node, Option<Report>>>);

impl Replicas {
    fn new(replicas: &[(&str, Option<Report>)]) -> Arc<Self> {
        let replicas = replicas
            .iter()
            .map(|(name, report)| (Node::new(name, 1), *report));
        Arc::new(Self(Mutex::new(replicas.collect())))
    }

    fn gets_to(&self, name: &str, report: Report) {
        self.0.lock().insert(Node::new(name, 1), Some(report));
    }
}

fn target(node: Node) -> Target {
    Target {
        node,
        role: Role::Replica,
        since: 1,
    }
}

impl Line for Replicas {
    fn ask(self: Arc<Self>, node: Option<Node>, until: Instant) -> Asking {
        Box::pin(async move {
            let node = node.expect("the master is not asked");
            let report = self.0.lock()[&node];
            match report {
                Some(report) => Ok((Answer::new(Ok(report)), target(node))),
                None => {
                    sleep_until(until).await;
                    Err(Error::Closed.into())
                }
            }
        })
    }

    fn nodes(&self) -> Vec<Target> {
        self.0.lock().keys().cloned().map(target).collect()
    }
}

async fn confirm(replicas: &Arc<Replicas>, copies: usize) -> Result<Copies, Error> {
    let config = Arc::new(Config::new(["s"], "mymaster"));
    let shared = Shared::new(config, Arc::new(Handle::new()), Runtime::current());
    shared.learn(&master('a', 90), Some(1));
    shared.learn(&heir('b', 120, 'a', 100), Some(2));
    let line: Arc<dyn Line> = replicas.clone();
    let shared = Arc::new(shared);
    shared
        .confirm(&line, &token('b', 110), copies, 100 * MS)
        .await
}

#[tokio::test(start_paused = true)]
async fn who_has_it_is_named_and_a_silent_one_is_not_waited_for() {
    let replicas = Replicas::new(&[
        ("has it", Some(replica('b', 110))),
        ("is behind", Some(replica('b', 109))),
        ("is silent", None),
        ("has more", Some(replica('b', 150))),
    ]);
    let began = Instant::now();
    let copies = confirm(&replicas, 2).await.unwrap();
    let mut nodes: Vec<_> = copies.nodes.iter().map(Node::host).collect();
    nodes.sort_unstable();
    assert_eq!(nodes, ["has it", "has more"]);
    assert!(began.elapsed() <= 10 * MS, "{:?}", began.elapsed());
    assert_eq!(confirm(&replicas, 0).await.unwrap().nodes, []);
}

#[tokio::test(start_paused = true)]
async fn replicas_get_time_to_catch_up() {
    let replicas = Replicas::new(&[
        ("first", Some(replica('b', 110))),
        ("second", Some(replica('b', 109))),
    ]);
    let confirmed = {
        let replicas = Arc::clone(&replicas);
        tokio::spawn(async move { confirm(&replicas, 2).await })
    };
    tokio::time::sleep(50 * MS).await;
    replicas.gets_to("second", replica('b', 110));
    let copies = confirmed.await.unwrap().unwrap();
    let nodes: Vec<_> = copies.nodes.iter().map(Node::host).collect();
    assert_eq!(nodes, ["first", "second"]);
}

#[tokio::test(start_paused = true)]
async fn too_few_in_time_are_an_error_that_counts_them() {
    let replicas = Replicas::new(&[
        ("has it", Some(replica('b', 110))),
        ("is behind", Some(replica('b', 109))),
    ]);
    let began = Instant::now();
    match confirm(&replicas, 2).await {
        Err(Error::TooFewCopies { have, wanted, .. }) => assert_eq!((have, wanted), (1, 2)),
        other => panic!("{other:?}"),
    }
    assert_eq!(began.elapsed(), 100 * MS);
}

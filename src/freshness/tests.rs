use std::sync::atomic::AtomicUsize;

use redis::Value;

use super::*;
use crate::{
    freshness::line::Asking,
    position::testing::{heir, master, position, replica, token},
    topology::Replica,
    wire::position_question,
};

const MS: Duration = Duration::from_millis(1);

fn node(name: &str) -> Node {
    Node::new(name, 6379)
}

fn answered(report: Report) -> Answer {
    Answer::new(Ok(report))
}

fn refusal(line: &str) -> Answer {
    let reply = redis::parse_redis_value(format!("-{line}\r\n").as_bytes());
    let reply: Value = reply.unwrap();
    position_question::answer(reply)
}

/// A master that answers with this, or not at all.
struct Fake {
    answer: Mutex<Option<(Answer, Target)>>,
    asked: AtomicUsize,
}

impl Fake {
    fn new(answer: Answer, since: u64) -> Arc<Self> {
        Arc::new(Self {
            answer: Mutex::new(Some((answer, as_master(since)))),
            asked: AtomicUsize::new(0),
        })
    }

    fn asked(&self) -> usize {
        self.asked.load(Relaxed)
    }

    fn line(self: &Arc<Self>) -> Arc<dyn Line> {
        Arc::clone(self) as Arc<dyn Line>
    }
}

impl Line for Fake {
    fn ask(self: Arc<Self>, _node: Option<Node>, until: Instant) -> Asking {
        Box::pin(async move {
            self.asked.fetch_add(1, Relaxed);
            let answer = self.answer.lock().clone();
            match answer {
                Some(answer) => Ok(answer),
                None => {
                    tokio::time::sleep_until(until).await;
                    Err(Error::Closed.into())
                }
            }
        })
    }

    fn nodes(&self) -> Vec<Target> {
        Vec::new()
    }
}

fn as_master(since: u64) -> Target {
    Target {
        node: node("m"),
        role: Role::Master,
        since,
    }
}

fn as_replica(name: &str) -> Target {
    Target {
        node: node(name),
        role: Role::Replica,
        since: 1,
    }
}

fn shared() -> Arc<Shared> {
    let topology = Handle::new();
    topology.publish(Topology {
        epoch: 7,
        master: Some(node("m")),
        replicas: vec![Replica {
            node: node("r"),
            excluded: None,
            since: 1,
            synced: true,
            orphaned: false,
            unlisted: None,
        }],
        ..Topology::default()
    });
    let config = Config::new(["s"], "mymaster");
    Arc::new(Shared::new(
        Arc::new(config),
        Arc::new(topology),
        Runtime::current(),
    ))
}

fn soon() -> Instant {
    Instant::now() + 100 * MS
}

#[tokio::test(start_paused = true)]
async fn the_masters_position_is_a_token_under_the_epoch_of_now() {
    let shared = shared();
    let fake = Fake::new(answered(master('a', 90)), 1);
    let token = shared.ask_master(&fake.line(), soon()).await;
    let token = token.unwrap().unwrap();
    assert_eq!(token, Token::new(position('a', 90), 7));
    assert_eq!(
        shared.timelines().current(),
        Some(position('a', 0).timeline)
    );
    assert_eq!(shared.status().questions, 1);
    let error = {
        *fake.answer.lock() = Some((answered(replica('a', 90)), as_master(1)));
        shared.ask_master(&fake.line(), soon()).await
    };
    let error = error.unwrap().unwrap_err();
    assert!(error.to_string().contains("it is a replica"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn without_permission_the_error_names_it() {
    let shared = shared();
    let no_perm = "NOPERM User app has no permissions to run the 'info' command";
    let fake = Fake::new(refusal(no_perm), 1);
    let error = shared.ask_master(&fake.line(), soon()).await;
    let error = error.unwrap().unwrap_err();
    assert!(
        matches!(Error::of(&error), Some(Error::PositionRefused { .. })),
        "{error}"
    );
    assert!(error.to_string().contains("+info"), "{error}");
    assert_eq!(shared.status().refused, 1);
}

#[tokio::test(start_paused = true)]
async fn a_master_that_does_not_answer_costs_no_more_than_was_allowed() {
    let shared = shared();
    let fake = Fake::new(answered(master('a', 90)), 1);
    *fake.answer.lock() = None;
    let began = Instant::now();
    assert!(shared.ask_master(&fake.line(), soon()).await.is_none());
    assert_eq!(began.elapsed(), 100 * MS);
}

#[tokio::test(start_paused = true)]
async fn an_unknown_timeline_costs_one_question() {
    let shared = shared();
    let fake = Fake::new(answered(master('b', 90)), 1);
    for offset in [5, 6] {
        let unknown = token('x', offset);
        let instead = shared.replace_unknown(&unknown, &fake.line(), soon()).await;
        assert_eq!(instead.unwrap().unwrap().position(), position('b', 90));
    }
    assert_eq!(fake.asked(), 1);
    // A timeline that the answer makes known is not kept.
    *fake.answer.lock() = Some((answered(heir('c', 120, 'b', 100)), as_master(2)));
    let learned = token('c', 110);
    let _asked = shared.replace_unknown(&learned, &fake.line(), soon()).await;
    let kept = shared
        .replaced
        .lock()
        .get(position('c', 0).timeline, &shared.timelines());
    assert_eq!(kept, None);
}

#[tokio::test(start_paused = true)]
async fn a_token_of_a_later_epoch_makes_the_pool_look_at_the_sentinels_first() {
    let shared = shared();
    let fake = Fake::new(answered(master('a', 90)), 1);
    let later = Token::new(position('x', 5), 8);
    let topology = Arc::clone(&shared.topology);
    let sentinels = tokio::spawn(async move {
        topology.refresh_requested().await;
        tokio::time::sleep(20 * MS).await;
        let mut next = Topology::clone(&topology.snapshot());
        next.epoch = 8;
        topology.publish(next);
    });
    let began = Instant::now();
    let asked = shared.replace_unknown(&later, &fake.line(), soon()).await;
    assert_eq!(asked.unwrap().unwrap().epoch(), 8);
    assert_eq!(began.elapsed(), 20 * MS);
    sentinels.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn forged_epochs_hold_up_reads_only_once_in_a_while() {
    let shared = shared();
    let fake = Fake::new(answered(master('a', 90)), 1);
    let began = Instant::now();
    for name in ['x', 'y', 'z'] {
        let forged = Token::new(position(name, 5), u64::MAX);
        let until = Instant::now() + 1000 * MS;
        let asked = shared.replace_unknown(&forged, &fake.line(), until).await;
        assert!(asked.unwrap().is_ok());
    }
    assert_eq!(began.elapsed(), 500 * MS, "one `sentinel_timeout`");
}

#[tokio::test(start_paused = true)]
async fn the_master_is_asked_while_somebody_reads_with_an_age_and_no_longer() {
    let shared = shared();
    let fake = Fake::new(answered(master('a', 90)), 1);
    let line = fake.line();
    let age = 100 * MS;
    let required = shared.required_within(age, &line, soon()).await;
    assert_eq!(required.unwrap().unwrap().position(), position('a', 90));
    tokio::time::sleep(1000 * MS).await;
    // Every 25 ms, and by the first read itself.
    let asked = fake.asked();
    assert!((38..=43).contains(&asked), "{asked}");
    let required = shared.required_within(age, &line, soon()).await;
    assert!(required.unwrap().is_ok());
    tokio::time::sleep(20_000 * MS).await;
    let asked = fake.asked();
    assert!(asked <= 450, "{asked}: ten seconds more");
    tokio::time::sleep(20_000 * MS).await;
    assert_eq!(fake.asked(), asked);
    // And again.
    let required = shared.required_within(age, &line, soon()).await;
    assert!(required.unwrap().is_ok());
    tokio::time::sleep(1000 * MS).await;
    assert!(fake.asked() > asked + 30);
}

#[tokio::test(start_paused = true)]
async fn with_a_silent_master_nothing_can_be_required() {
    let shared = shared();
    let fake = Fake::new(answered(master('a', 90)), 1);
    let line = fake.line();
    let required = shared.required_within(100 * MS, &line, soon()).await;
    assert!(required.is_some());
    tokio::time::sleep(50 * MS).await;
    *fake.answer.lock() = None;
    // The last answer is young enough for a while.
    let required = shared.required_within(100 * MS, &line, soon()).await;
    assert!(required.is_some());
    tokio::time::sleep(200 * MS).await;
    let required = shared.required_within(100 * MS, &line, soon()).await;
    assert!(required.is_none());
    assert!(shared.last_heard().is_some());
}

#[tokio::test(start_paused = true)]
async fn the_status_shows_how_far_each_node_is_behind() {
    let shared = shared();
    let note = |target: &Target, report| {
        let hint = shared.node(&target.node);
        shared.note(&hint, &answered(report), target);
    };
    note(&as_master(1), master('a', 90));
    note(&as_replica("r"), replica('a', 80));
    note(&as_replica("gone"), replica('a', 70));
    let status = shared.status();
    let nodes: Vec<_> = status
        .nodes
        .iter()
        .map(|lag| (&lag.node, lag.bytes))
        .collect();
    assert_eq!(nodes, [(&node("m"), Some(0)), (&node("r"), Some(10))]);
}

#[tokio::test]
async fn a_node_has_one_hint_until_it_leaves() {
    let shared = shared();
    let hint = shared.node(&node("gone"));
    assert!(Arc::ptr_eq(&hint, &shared.node(&node("gone"))));
    drop(shared.node(&node("r")));
    drop(shared.node(&node("other")));
    assert_eq!(shared.nodes.lock().len(), 3);
    drop(hint);
    drop(shared.node(&node("new")));
    let nodes = shared.nodes.lock();
    let mut nodes: Vec<_> = nodes.keys().collect();
    nodes.sort();
    assert_eq!(nodes, [&node("new"), &node("r")]);
}

#[tokio::test]
async fn a_write_on_a_node_that_was_demoted_has_no_token() {
    let shared = shared();
    assert!(shared.token_of(&answered(master('a', 5))).is_some());
    assert!(shared.token_of(&answered(replica('a', 5))).is_none());
    assert!(
        shared
            .token_of(&Answer::new(Err(NoAnswer::Mixed)))
            .is_none()
    );
}

#[tokio::test]
async fn what_a_node_lacks_is_described() {
    let shared = shared();
    let hint = shared.node(&node("r"));
    let describe = || shared.describe(&token('a', 100), &hint);
    assert_eq!(describe(), "it has not said where it is");
    hint.seen(replica('a', 90), Instant::now());
    assert_eq!(describe(), "10 bytes behind");
    hint.seen(replica('x', 90), Instant::now());
    assert_eq!(describe(), "its data is of another history");
    hint.seen(replica('a', 100), Instant::now());
    assert_eq!(describe(), "it had it when it was last asked");
}

#[tokio::test]
async fn each_lost_write_is_counted() {
    let shared = shared();
    for name in ['a', 'a', 'b'] {
        shared.tell_lost(&token(name, 5));
    }
    assert_eq!(shared.status().lost, 3);
    assert_eq!(shared.told.lock().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn of_an_own_write_and_what_is_recent_a_read_must_see_the_further_one() {
    let shared = shared();
    let fake = Fake::new(answered(master('a', 50)), 1);
    let asked = shared.ask_master(&fake.line(), soon()).await;
    assert!(matches!(asked, Some(Ok(_))), "{asked:?}");
    for (own, recent, expected) in [
        (token('a', 40), token('a', 50), token('a', 50)),
        (token('a', 50), token('a', 40), token('a', 50)),
        (token('a', 50), token('a', 50), token('a', 50)),
        // Nobody knows what it is beside the other: the write of a lost history, perhaps.
        (token('b', 10), token('a', 50), token('b', 10)),
    ] {
        assert_eq!(
            shared.both(own.clone(), recent.clone()),
            expected,
            "{own} {recent}"
        );
    }
}

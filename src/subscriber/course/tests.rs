mod model;

use bytes::Bytes;

use super::*;
use crate::{node::Role, subscriber::link::Reply};

pub(super) const WAIT: Duration = Duration::from_secs(5);
const PING: Duration = Duration::from_secs(10);
pub(super) const REPLY: Duration = Duration::from_secs(2);

pub(super) fn rules(source: Source) -> Rules {
    Rules {
        source,
        patience: Patience {
            ping: Some(PING),
            reply: REPLY,
        },
        wait: WAIT,
        early: 2,
    }
}

/// `c` is a channel, `c*` a pattern.
pub(super) fn subject(name: &str) -> Subject {
    let bytes = Bytes::copy_from_slice(name.as_bytes());
    if name.ends_with('*') {
        Subject::Pattern(bytes)
    } else {
        Subject::Channel(bytes)
    }
}

fn subjects(names: &str) -> Vec<Subject> {
    names.split_whitespace().map(subject).collect()
}

fn names(subjects: &[Subject]) -> String {
    let names = subjects
        .iter()
        .map(|it| it.name().escape_ascii().to_string());
    names.collect::<Vec<_>>().join(" ")
}

pub(super) fn target(host: &str, since: u64) -> Target {
    Target {
        node: Node::new(host, 1),
        role: Role::Master,
        since,
    }
}

pub(in crate::subscriber) fn noperm() -> RedisError {
    match redis::parse_redis_value(b"-NOPERM no\r\n") {
        Ok(redis::Value::ServerError(error)) => error.into(),
        other => panic!("{other:?}"),
    }
}

fn shown(effect: Effect<u32>) -> String {
    match effect {
        Effect::Dial {
            among, replaces, ..
        } => {
            let among: Vec<&str> = among.iter().map(|it| it.node.host()).collect();
            let replaces = if replaces { " beside" } else { "" };
            format!("dial {}{replaces}", among.join(" "))
        }
        Effect::Send(LinkId(id), Order::Subscribe(subjects)) => {
            format!("{id}: subscribe {}", names(&subjects))
        }
        Effect::Send(LinkId(id), Order::Unsubscribe(subjects)) => {
            format!("{id}: unsubscribe {}", names(&subjects))
        }
        Effect::Send(LinkId(id), Order::Ping) => format!("{id}: ping"),
        Effect::Drain(LinkId(id)) => format!("drain {id}"),
        Effect::Close(LinkId(id)) => format!("close {id}"),
        Effect::Message(message) => format!("message {message}"),
        Effect::Gap(gap) => {
            let from = gap.from.as_ref().map_or("nowhere", |node| node.host());
            let refused = gap
                .refused
                .iter()
                .map(|it| it.name.escape_ascii().to_string());
            let refused: Vec<_> = refused.map(|name| format!(" without {name}")).collect();
            let (to, why, since) = (gap.to.host(), gap.why.as_str(), gap.since.as_millis());
            format!("gap {from}>{to} {why} {since}{}", refused.concat())
        }
        Effect::Answer(CallId(id), answer) => {
            let answer = match answer {
                Answer::Done => "done".to_owned(),
                Answer::Refused(subject, _) => format!("refused {}", names(&[subject])),
                Answer::Late(waited) => format!("late {}", waited.as_millis()),
                Answer::Hopeless => "hopeless".to_owned(),
            };
            format!("call {id} {answer}")
        }
        Effect::Serves { node, again } => {
            let node = node.as_ref().map_or("nobody", |node| node.host());
            let again = if again && node != "nobody" {
                " again"
            } else {
                ""
            };
            format!("serves {node}{again}")
        }
        Effect::Report(node, Lost::Silent(_)) => format!("report {} silent", node.host()),
        Effect::Report(node, Lost::Closed(_)) => format!("report {} closed", node.host()),
        Effect::Shun(node) => format!("shun {}", node.host()),
    }
}

struct Stage {
    course: Course<u32>,
    now: Instant,
    master_since: u64,
}

impl Stage {
    fn new(source: Source) -> Self {
        Self {
            course: Course::new(rules(source)),
            now: Instant::now(),
            master_since: 1,
        }
    }

    /// On master `a`, subscribed to these over connection 1.
    fn serving(source: Source, wanted: &str) -> Self {
        let mut stage = Self::new(source);
        stage.view("a", false);
        stage.subscribe(1, wanted);
        stage.dialled(1, "a");
        for name in wanted.split_whitespace() {
            stage.confirmed(1, name);
        }
        assert!(stage.did().contains(&"call 1 done".to_owned()));
        // Old enough not to be shunned when it is lost.
        stage.passes(5000);
        stage
    }

    fn passes(&mut self, millis: u64) {
        self.now += Duration::from_millis(millis);
    }

    fn ticks(&mut self, millis: u64) {
        self.passes(millis);
        self.course.tick(self.now);
    }

    /// The nodes that messages may come from.
    fn view(&mut self, nodes: &str, fenced: bool) {
        let view = View {
            targets: nodes.split_whitespace().map(|it| target(it, 1)).collect(),
            master_since: self.master_since,
            fenced,
        };
        self.course.topology(view, self.now);
    }

    fn subscribe(&mut self, id: u64, names: &str) {
        self.course.subscribe(CallId(id), subjects(names), self.now);
    }

    fn unsubscribe(&mut self, id: u64, names: &str) {
        self.course
            .unsubscribe(CallId(id), subjects(names), self.now);
    }

    fn dialled(&mut self, number: u64, node: &str) -> bool {
        let target = target(node, 1);
        self.course.dialled(number, target, self.now).is_some()
    }

    fn confirmed(&mut self, id: u64, name: &str) {
        self.reply(id, Reply::Subscribed(subject(name)));
    }

    fn refused(&mut self, id: u64) {
        let (error, denied) = (noperm(), true);
        self.reply(id, Reply::Error { error, denied });
    }

    fn reply(&mut self, id: u64, reply: Reply) {
        self.course.reply(LinkId(id), reply, self.now);
    }

    fn message(&mut self, id: u64, message: u32) -> bool {
        let given = self.course.message(LinkId(id), message, self.now);
        given.is_some()
    }

    fn closed(&mut self, id: u64) {
        let how = Lost::Closed("closed".to_owned());
        self.course.lost(LinkId(id), how, self.now);
    }

    fn did(&mut self) -> Vec<String> {
        self.course.effects().into_iter().map(shown).collect()
    }

    #[track_caller]
    fn did_only(&mut self, expected: &[&str]) {
        assert_eq!(self.did(), expected);
    }
}

#[test]
fn the_first_subscription_dials_and_has_no_gap() {
    let mut stage = Stage::new(Source::Master);
    stage.view("a", false);
    stage.did_only(&[]);
    stage.subscribe(1, "x y* z");
    stage.did_only(&["dial a"]);
    assert!(stage.dialled(1, "a"));
    stage.did_only(&["1: subscribe x z", "1: subscribe y*"]);
    stage.confirmed(1, "x");
    assert!(!stage.message(1, 1), "not before all is confirmed");
    stage.confirmed(1, "z");
    stage.did_only(&[]);
    stage.confirmed(1, "y*");
    stage.did_only(&["serves a", "message 1", "call 1 done"]);
    assert!(stage.message(1, 2));
}

#[test]
fn without_a_node_to_go_to_nothing_is_dialled_until_there_is_one() {
    let mut stage = Stage::new(Source::Master);
    stage.subscribe(1, "x");
    stage.did_only(&[]);
    assert!(stage.course.is_nowhere());
    stage.view("a", false);
    stage.did_only(&["dial a"]);
}

#[test]
fn a_new_master_is_subscribed_to_before_the_old_one_is_left() {
    let mut stage = Stage::serving(Source::Master, "x y");
    stage.view("a", true);
    stage.did_only(&[]);
    stage.passes(100);
    stage.master_since = 2;
    stage.view("b", false);
    stage.did_only(&["1: ping", "dial b"]);
    assert!(stage.message(1, 1), "the old one still serves");
    stage.reply(1, Reply::Pong);
    assert!(stage.dialled(2, "b"));
    stage.did_only(&["2: subscribe x y"]);
    stage.passes(50);
    stage.confirmed(2, "x");
    stage.did_only(&[]);
    assert!(stage.message(1, 2));
    assert!(!stage.message(2, 3));
    stage.confirmed(2, "y");
    stage.did_only(&[
        "drain 1",
        "close 1",
        "gap a>b master_changed 150",
        "serves b again",
        "message 3",
    ]);
    assert!(!stage.message(1, 4), "it is closed");
    assert!(stage.message(2, 5));
}

#[test]
fn a_fence_that_comes_down_on_the_same_master_is_no_gap() {
    let mut stage = Stage::serving(Source::Master, "x");
    stage.view("a", true);
    stage.passes(1000);
    stage.view("a", false);
    stage.did_only(&[]);
    stage.passes(1000);
    stage.view("b", false);
    stage.reply(1, Reply::Pong);
    stage.dialled(2, "b");
    stage.confirmed(2, "x");
    let did = stage.did();
    assert!(
        did.contains(&"gap a>b master_changed 0".to_owned()),
        "{did:?}"
    );
}

#[test]
fn a_connection_that_may_have_been_dead_for_a_while_has_a_longer_gap() {
    let mut stage = Stage::serving(Source::Master, "x");
    assert!(stage.message(1, 1));
    stage.passes(3000);
    stage.view("b", false);
    stage.dialled(2, "b");
    stage.confirmed(2, "x");
    let did = stage.did();
    assert!(
        did.contains(&"gap a>b master_changed 4000".to_owned()),
        "{did:?}"
    );
}

#[test]
fn a_lost_connection_is_made_again_and_the_gap_reaches_back_to_what_was_heard_last() {
    let mut stage = Stage::serving(Source::Master, "x");
    assert!(stage.message(1, 1));
    stage.passes(3000);
    stage.closed(1);
    stage.did_only(&["close 1", "report a closed", "serves nobody", "dial a"]);
    stage.course.dial_failed(2, false, stage.now);
    stage.did_only(&["dial a"]);
    stage.passes(500);
    assert!(stage.dialled(3, "a"));
    stage.confirmed(3, "x");
    // One more second, for what was on its way.
    stage.did_only(&[
        "3: subscribe x",
        "gap a>a connection_lost 4500",
        "serves a again",
    ]);
}

#[test]
fn a_connection_that_is_lost_at_once_counts_as_a_failed_dial() {
    let mut stage = Stage::new(Source::Master);
    stage.view("a", false);
    stage.subscribe(1, "x");
    stage.dialled(1, "a");
    stage.did();
    stage.passes(10);
    stage.closed(1);
    stage.did_only(&["close 1", "shun a", "report a closed", "dial a"]);
}

#[test]
fn the_first_cause_is_told_but_a_failover_explains_what_it_did() {
    // Was the fence up when the connection was lost, where does the next one lead, what is told?
    let cases = [
        (false, "b", "connection_lost"),
        (true, "b", "master_changed"),
        (true, "a", "connection_lost"),
    ];
    for (fenced, node, why) in cases {
        let mut stage = Stage::serving(Source::Master, "x");
        stage.view("a", fenced);
        stage.closed(1);
        stage.view("a", true);
        stage.master_since += u64::from(node == "b");
        stage.view(node, false);
        let number = stage.course.dials;
        if node == "b" {
            // The dial to the old one ends by itself.
            stage.course.dial_failed(number, false, stage.now);
        }
        let number = stage.course.dials;
        assert!(stage.dialled(number, node), "{fenced} {node}");
        stage.confirmed(number, "x");
        let did = stage.did().join("; ");
        assert!(
            did.contains(&format!("gap a>{node} {why}")),
            "{fenced} {did}"
        );
    }
}

#[test]
fn a_dial_to_a_node_that_is_not_wanted_any_more_is_not_used() {
    let mut stage = Stage::new(Source::Master);
    stage.view("a", false);
    stage.subscribe(1, "x");
    stage.view("b", false);
    stage.did();
    assert!(!stage.dialled(1, "a"));
    stage.did_only(&["dial b"]);
    assert!(!stage.dialled(1, "a"), "it is over");
}

#[test]
fn nothing_comes_twice_from_a_node_whose_connection_is_replaced() {
    let mut stage = Stage::serving(Source::Master, "x");
    stage.course.outdated(true, stage.now);
    stage.did_only(&["1: ping", "dial a beside"]);
    stage.reply(1, Reply::Pong);
    stage.passes(70);
    stage.dialled(2, "a");
    stage.did_only(&["2: subscribe x"]);
    assert!(!stage.message(2, 1));
    stage.confirmed(2, "x");
    stage.did_only(&["drain 1", "close 1", "2: ping"]);
    assert!(
        !stage.message(2, 2),
        "the old one had it too, or it falls into the gap"
    );
    stage.reply(2, Reply::Pong);
    stage.did_only(&["gap a>a retired 70", "serves a again"]);
    assert!(stage.message(2, 3));
}

#[test]
fn nothing_comes_twice_where_the_old_connection_is_lost_meanwhile() {
    let mut stage = Stage::serving(Source::Master, "x");
    stage.course.outdated(true, stage.now);
    stage.dialled(2, "a");
    assert!(!stage.message(2, 1));
    stage.closed(1);
    stage.did();
    stage.confirmed(2, "x");
    stage.did_only(&["2: ping"]);
    stage.reply(2, Reply::Pong);
    stage.did_only(&["gap a>a connection_lost 5000", "serves a again"]);
}

#[test]
fn what_is_subscribed_to_while_a_connection_is_sealed_is_waited_for() {
    let mut stage = Stage::serving(Source::Master, "x");
    stage.course.outdated(true, stage.now);
    stage.reply(1, Reply::Pong);
    stage.dialled(2, "a");
    stage.confirmed(2, "x");
    stage.did();
    stage.subscribe(2, "y");
    stage.did_only(&["2: subscribe y"]);
    stage.reply(2, Reply::Pong);
    stage.did_only(&[]);
    stage.confirmed(2, "y");
    stage.did_only(&["gap a>a retired 0", "serves a again", "call 2 done"]);
}

#[test]
fn a_replacement_that_fails_is_tried_again_later_and_the_old_connection_serves_on() {
    let mut stage = Stage::serving(Source::Master, "x");
    stage.course.outdated(true, stage.now);
    stage.did_only(&["1: ping", "dial a beside"]);
    stage.reply(1, Reply::Pong);
    stage.course.dial_failed(2, true, stage.now);
    stage.did_only(&[]);
    assert!(stage.message(1, 1));
    let at = stage.course.due_at().unwrap();
    assert!(at > stage.now && at <= stage.now + REPLY);
    stage.now = at;
    stage.course.tick(at);
    stage.did_only(&["1: ping", "dial a beside"]);
    stage.course.dial_failed(3, false, stage.now);
    stage.course.replace_at_once();
    stage.course.outdated(true, stage.now);
    stage.did_only(&["1: ping", "dial a beside"]);
}

#[test]
fn a_silent_node_is_asked_and_then_left() {
    let mut stage = Stage::serving(Source::Master, "x");
    assert!(stage.message(1, 1));
    let due = stage.course.due_at().unwrap();
    assert_eq!(due, stage.now + PING);
    stage.ticks(9999);
    stage.did_only(&[]);
    stage.ticks(1);
    stage.did_only(&["1: ping"]);
    assert_eq!(stage.course.due_at().unwrap(), stage.now + REPLY);
    // Anything that it sends is a sign of life.
    stage.passes(1999);
    assert!(stage.message(1, 2));
    stage.ticks(1999);
    stage.did_only(&[]);
    stage.reply(1, Reply::Pong);
    stage.ticks(10_000);
    stage.did_only(&["1: ping"]);
    stage.ticks(2000);
    stage.did_only(&["close 1", "report a silent", "serves nobody", "dial a"]);
    stage.dialled(2, "a");
    stage.confirmed(2, "x");
    let did = stage.did();
    assert!(did.contains(&"gap a>a silent 13000".to_owned()), "{did:?}");
}

#[test]
fn a_server_that_does_not_confirm_is_left() {
    let mut stage = Stage::new(Source::Master);
    stage.view("a", false);
    stage.subscribe(1, "x");
    stage.dialled(1, "a");
    stage.did();
    stage.ticks(2000);
    stage.did_only(&["close 1", "report a silent", "dial a"]);
}

#[test]
fn while_it_is_not_read_silence_proves_nothing() {
    let mut stage = Stage::serving(Source::Master, "x");
    stage.course.stopped(true, stage.now);
    stage.ticks(3_600_000);
    stage.did_only(&[]);
    assert_eq!(stage.course.due_at(), None);
    stage.course.stopped(false, stage.now);
    stage.did_only(&["1: ping"]);
    stage.ticks(1999);
    stage.did_only(&[]);
    stage.reply(1, Reply::Pong);
    stage.ticks(9999);
    stage.did_only(&[]);
}

#[test]
fn a_connection_that_ends_before_it_has_caught_up_was_overrun() {
    // Is it stopped, does the PONG come that stands behind what the server has kept, what is told?
    let cases = [
        (false, false, "connection_lost"),
        (true, false, "overrun"),
        (true, true, "connection_lost"),
    ];
    for (stopped, caught_up, why) in cases {
        let mut stage = Stage::serving(Source::Master, "x");
        if stopped {
            stage.course.stopped(true, stage.now);
            stage.passes(60_000);
            stage.course.stopped(false, stage.now);
        }
        assert!(stage.message(1, 1));
        if caught_up {
            stage.reply(1, Reply::Pong);
            stage.passes(2000);
        }
        stage.closed(1);
        stage.dialled(2, "a");
        stage.confirmed(2, "x");
        let did = stage.did().join("; ");
        let since = match (why, caught_up) {
            ("overrun", _) => 61_000,
            (_, true) => 2000,
            _ => 1000,
        };
        assert!(did.contains(&format!("gap a>a {why} {since}")), "{did}");
    }
}

#[test]
fn a_channel_without_permission_fails_its_call_alone() {
    let mut stage = Stage::serving(Source::Master, "x");
    stage.subscribe(2, "secret");
    stage.did_only(&["1: subscribe secret"]);
    stage.refused(1);
    stage.did_only(&["call 2 refused secret"]);
    assert_eq!(stage.course.counts(), (1, 0));
    stage.view("b", false);
    stage.dialled(2, "b");
    stage.did_only(&["1: ping", "dial b", "2: subscribe x"]);
}

#[test]
fn of_a_call_with_one_forbidden_channel_nothing_stays() {
    let mut stage = Stage::serving(Source::Master, "x");
    stage.subscribe(2, "x y secret z*");
    stage.did_only(&["1: subscribe y secret", "1: subscribe z*"]);
    stage.refused(1);
    // One of them may be what is refused.
    stage.did_only(&["1: subscribe y", "1: subscribe secret"]);
    stage.confirmed(1, "z*");
    stage.confirmed(1, "y");
    stage.did_only(&[]);
    stage.refused(1);
    stage.did_only(&[
        "call 2 refused secret",
        "1: unsubscribe y",
        "1: unsubscribe z*",
    ]);
    assert_eq!(stage.course.counts(), (1, 0));
    assert!(stage.message(1, 1));
}

#[test]
fn what_another_call_wants_too_stays_when_one_is_refused() {
    let mut stage = Stage::serving(Source::Master, "x");
    stage.subscribe(2, "y secret");
    stage.subscribe(3, "y");
    stage.refused(1);
    stage.did_only(&[
        "1: subscribe y secret",
        "1: subscribe y",
        "1: subscribe secret",
    ]);
    stage.confirmed(1, "y");
    stage.did_only(&["call 3 done"]);
    stage.refused(1);
    stage.did_only(&["call 2 refused secret"]);
    assert_eq!(stage.course.counts(), (2, 0));
}

#[test]
fn another_refusal_ends_the_connection() {
    let mut stage = Stage::serving(Source::Master, "x");
    let error = noperm();
    stage.reply(
        1,
        Reply::Error {
            error,
            denied: false,
        },
    );
    let did = stage.did();
    assert!(did.contains(&"close 1".to_owned()), "{did:?}");
    assert!(did.contains(&"dial a".to_owned()), "{did:?}");
    // And so does a reply that is not the next one.
    for reply in [
        Reply::Pong,
        Reply::Subscribed(subject("y")),
        Reply::Unsubscribed(subject("x")),
    ] {
        let mut stage = Stage::serving(Source::Master, "x");
        stage.reply(1, reply);
        assert!(stage.did().contains(&"close 1".to_owned()));
    }
}

#[test]
fn what_the_new_node_refuses_is_in_the_gap_and_asked_for_again() {
    let mut stage = Stage::serving(Source::Master, "x");
    stage.view("b", false);
    stage.reply(1, Reply::Pong);
    stage.dialled(2, "b");
    stage.passes(10);
    stage.refused(2);
    stage.did_only(&[
        "1: ping",
        "dial b",
        "2: subscribe x",
        "drain 1",
        "close 1",
        "gap a>b master_changed 10 without x",
        "serves b again",
    ]);
    stage.ticks(10_000);
    stage.did_only(&["2: ping", "2: subscribe x"]);
    stage.reply(2, Reply::Pong);
    stage.refused(2);
    stage.did_only(&[]);
    stage.ticks(10_000);
    stage.did_only(&["2: ping", "2: subscribe x"]);
    stage.reply(2, Reply::Pong);
    stage.confirmed(2, "x");
    stage.did_only(&["gap b>b refused 20010"]);
    stage.ticks(10_000);
    stage.did_only(&["2: ping"]);
}

#[test]
fn the_gap_after_a_refusal_reaches_back_to_where_it_began() {
    let mut stage = Stage::serving(Source::Master, "x y");
    stage.view("b", false);
    stage.reply(1, Reply::Pong);
    stage.dialled(2, "b");
    // Two at once, then one by one.
    stage.refused(2);
    stage.refused(2);
    stage.confirmed(2, "y");
    let did = stage.did().join("; ");
    assert!(did.contains("gap a>b master_changed 0 without x"), "{did}");
    stage.passes(7000);
    stage.view("c", false);
    stage.reply(2, Reply::Pong);
    stage.dialled(3, "c");
    stage.confirmed(3, "x");
    stage.confirmed(3, "y");
    let did = stage.did().join("; ");
    assert!(did.contains("gap b>c master_changed 7000"), "{did}");
}

#[test]
fn unsubscribing_takes_a_confirmation_where_there_is_something_to_end() {
    let mut stage = Stage::serving(Source::Master, "x y*");
    stage.unsubscribe(2, "never x*");
    stage.did_only(&["call 2 done"]);
    stage.unsubscribe(3, "x never y*");
    stage.did_only(&["1: unsubscribe x", "1: unsubscribe y*"]);
    stage.reply(1, Reply::Unsubscribed(subject("x")));
    stage.did_only(&[]);
    stage.reply(1, Reply::Unsubscribed(subject("y*")));
    stage.did_only(&["call 3 done"]);
    assert_eq!(stage.course.counts(), (0, 0));
    // The connection stays: somebody may subscribe again.
    stage.subscribe(4, "x");
    stage.did_only(&["1: subscribe x"]);
    stage.confirmed(1, "x");
    stage.did_only(&["call 4 done"]);
}

#[test]
fn with_nothing_to_subscribe_to_nothing_is_followed_and_no_gap_is_told() {
    let mut stage = Stage::serving(Source::Master, "x");
    stage.closed(1);
    stage.did();
    stage.unsubscribe(2, "x");
    stage.did_only(&["call 2 done"]);
    assert!(!stage.dialled(2, "a"));
    stage.did_only(&[]);
    stage.subscribe(3, "y");
    stage.did_only(&["dial a"]);
    stage.dialled(3, "a");
    stage.confirmed(3, "y");
    stage.did_only(&["3: subscribe y", "serves a again", "call 3 done"]);
    stage.unsubscribe(4, "y");
    stage.reply(3, Reply::Unsubscribed(subject("y")));
    stage.did();
    stage.view("b", false);
    stage.did_only(&["close 3", "serves nobody"]);
}

#[test]
fn a_call_that_ends_the_last_subscription_ends_with_a_connection_that_is_left() {
    let mut stage = Stage::serving(Source::Master, "x");
    stage.view("b", false);
    stage.did();
    stage.unsubscribe(2, "x");
    stage.did_only(&[
        "1: unsubscribe x",
        "close 1",
        "serves nobody",
        "call 2 done",
    ]);
}

#[test]
fn a_subscription_that_is_ended_and_made_at_once_is_confirmed_by_its_own_confirmation() {
    let mut stage = Stage::serving(Source::Master, "x");
    stage.unsubscribe(2, "x");
    stage.subscribe(3, "x");
    stage.did_only(&["1: unsubscribe x", "1: subscribe x"]);
    stage.reply(1, Reply::Unsubscribed(subject("x")));
    stage.did_only(&[]);
    stage.confirmed(1, "x");
    let mut did = stage.did();
    did.sort();
    assert_eq!(did, ["call 2 done", "call 3 done"]);
    assert_eq!(stage.course.counts(), (1, 0));
}

#[test]
fn a_server_that_refuses_to_unsubscribe_leaves_all_as_it_was() {
    let mut stage = Stage::serving(Source::Master, "x");
    stage.unsubscribe(2, "x");
    stage.did();
    stage.refused(1);
    stage.did_only(&["call 2 refused x"]);
    assert_eq!(stage.course.counts(), (1, 0));
    stage.view("b", false);
    stage.reply(1, Reply::Pong);
    stage.dialled(2, "b");
    stage.confirmed(2, "x");
    let did = stage.did();
    assert!(
        did.contains(&"gap a>b master_changed 0".to_owned()),
        "{did:?}"
    );
}

#[test]
fn a_call_ends_in_time_and_what_it_asked_for_stays_wanted() {
    let mut stage = Stage::new(Source::Master);
    stage.subscribe(1, "x");
    assert_eq!(stage.course.due_at(), Some(stage.now + WAIT));
    stage.ticks(4999);
    stage.did_only(&[]);
    stage.ticks(1);
    stage.did_only(&["call 1 late 5000"]);
    stage.passes(60_000);
    stage.view("a", false);
    stage.dialled(1, "a");
    stage.did_only(&["dial a", "1: subscribe x"]);
    stage.confirmed(1, "x");
    stage.did_only(&["serves a"]);
    // The second time it is there already.
    stage.subscribe(2, "x");
    stage.did_only(&["call 2 done"]);
}

#[test]
fn calls_end_when_waiting_is_useless() {
    let mut stage = Stage::new(Source::Master);
    stage.view("a", false);
    stage.subscribe(1, "x");
    stage.did();
    stage.course.dial_failed(1, false, stage.now);
    stage.did_only(&["dial a"]);
    stage.course.dial_failed(2, true, stage.now);
    stage.did_only(&["call 1 hopeless"]);
    assert_eq!(stage.course.counts(), (0, 0));
    // What was confirmed once is wanted all the same.
    let mut stage = Stage::serving(Source::Master, "x");
    stage.closed(1);
    stage.subscribe(2, "y");
    stage.did();
    stage.course.dial_failed(2, true, stage.now);
    stage.did_only(&["call 2 hopeless", "dial a"]);
    assert_eq!(stage.course.counts(), (1, 0));
}

#[test]
fn a_call_during_an_outage_is_done_when_the_next_connection_has_confirmed_all() {
    let mut stage = Stage::serving(Source::Master, "x");
    stage.closed(1);
    stage.subscribe(2, "y");
    stage.subscribe(3, "x");
    stage.did();
    stage.dialled(2, "a");
    stage.did_only(&["2: subscribe x y"]);
    stage.confirmed(2, "x");
    stage.did_only(&[]);
    stage.confirmed(2, "y");
    let mut did = stage.did();
    did.sort();
    assert_eq!(
        did,
        [
            "call 2 done",
            "call 3 done",
            "gap a>a connection_lost 5000",
            "serves a again"
        ]
    );
}

#[test]
fn reads_leave_a_node_that_may_not_be_read_from_any_more() {
    let mut stage = Stage::serving(Source::Reads, "x");
    stage.view("a b", false);
    stage.did_only(&[]);
    stage.view("b", false);
    stage.did_only(&["1: ping", "dial b"]);
    assert!(stage.message(1, 1));
    stage.reply(1, Reply::Pong);
    stage.passes(30);
    // It is back, but may have missed something.
    stage.view("a b", false);
    stage.did_only(&[]);
    stage.dialled(2, "b");
    stage.confirmed(2, "x");
    stage.did_only(&[
        "2: subscribe x",
        "drain 1",
        "close 1",
        "gap a>b node_left 30",
        "serves b again",
    ]);
}

#[test]
fn reads_keep_their_last_node_while_there_is_no_other_and_tell_the_gap_later() {
    let mut stage = Stage::serving(Source::Reads, "x");
    stage.view("", false);
    stage.did_only(&["1: ping"]);
    stage.reply(1, Reply::Pong);
    assert!(stage.message(1, 1));
    stage.passes(100);
    stage.view("a", false);
    stage.did_only(&["dial a"]);
    stage.dialled(2, "a");
    stage.confirmed(2, "x");
    stage.did_only(&["2: subscribe x", "drain 1", "close 1", "2: ping"]);
    stage.reply(2, Reply::Pong);
    let did = stage.did();
    assert!(did[0].starts_with("gap a>a node_left"), "{did:?}");
}

#[test]
fn a_replica_that_follows_another_master_now_may_have_missed_something() {
    let mut stage = Stage::serving(Source::Reads, "x");
    stage.master_since = 2;
    stage.view("a", false);
    stage.did_only(&["1: ping", "dial a"]);
    stage.dialled(2, "a");
    stage.confirmed(2, "x");
    stage.reply(2, Reply::Pong);
    let did = stage.did().join("; ");
    assert!(did.contains("gap a>a master_changed"), "{did}");
    // Of the master alone it is known by its own version.
    let mut stage = Stage::serving(Source::Master, "x");
    stage.master_since = 2;
    stage.view("a", false);
    stage.did_only(&[]);
}

#[test]
fn of_what_comes_early_the_newest_is_kept() {
    let mut stage = Stage::serving(Source::Master, "x");
    stage.view("b", false);
    stage.dialled(2, "b");
    for message in 1..=5 {
        assert!(!stage.message(2, message));
    }
    stage.did();
    stage.confirmed(2, "x");
    let did = stage.did();
    assert_eq!(did[did.len() - 2..], ["message 4", "message 5"]);
}

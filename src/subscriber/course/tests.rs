mod calls;
mod model;
mod reads;
mod refusals;
mod serving;
mod silence;

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
        early: Most {
            messages: 2,
            bytes: 100,
        },
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
        let given = self.course.message(LinkId(id), message, 1, self.now);
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

//! Random walks: servers that take subscriptions and lose connections, a publisher, and a subscriber that
//! must have each message, or be told of the gap in which it was lost.

use std::collections::{BTreeMap, BTreeSet, HashSet, VecDeque};

use super::*;
use crate::{subscriber::link::Reply, util::jitter};

/// Longer than this nothing is on its way; the course counts on a second.
const LATENCY: Duration = Duration::from_millis(700);
const CHANNELS: [&str; 3] = ["x", "y", "z"];
const NODES: [&str; 3] = ["a", "b", "c"];

#[derive(Debug)]
enum Out {
    Reply(Reply),
    Message(usize),
}

#[derive(Debug)]
struct Connection {
    node: &'static str,
    subscribed: BTreeSet<Subject>,
    /// What the server has sent, with its time.
    out: VecDeque<(Instant, Out)>,
}

#[derive(Debug, Clone, Copy)]
struct Published {
    channel: usize,
    at: Instant,
}

/// From when on, and until when, a caller counts on a channel.
#[derive(Debug, Clone, Copy)]
struct Promise {
    channel: usize,
    from: Instant,
    until: Option<Instant>,
}

#[derive(Debug)]
struct Asked {
    subscribes: bool,
    channels: Vec<usize>,
}

struct Model {
    rng: u64,
    course: Course<usize>,
    now: Instant,
    /// The master, and the version in which it became that.
    master: (&'static str, u64),
    fenced: bool,
    /// What each node refuses.
    denied: BTreeSet<(&'static str, usize)>,
    connections: BTreeMap<LinkId, Connection>,
    dialling: Option<(u64, Target)>,
    published: Vec<Published>,
    got: HashSet<usize>,
    promises: Vec<Promise>,
    asked: BTreeMap<CallId, Asked>,
    calls: u64,
    /// When each gap was told, how far it reaches back, what it says is refused.
    gaps: Vec<(Instant, Instant, Vec<usize>)>,
    began: Instant,
    /// What happened, for whoever looks into a failure.
    log: Vec<String>,
}

impl Model {
    fn new(seed: u64) -> Self {
        let mut model = Self {
            rng: seed,
            course: Course::new(rules(Source::Master)),
            now: Instant::now(),
            master: ("a", 1),
            fenced: false,
            denied: BTreeSet::new(),
            connections: BTreeMap::new(),
            dialling: None,
            published: Vec::new(),
            got: HashSet::new(),
            promises: Vec::new(),
            asked: BTreeMap::new(),
            calls: 0,
            gaps: Vec::new(),
            began: Instant::now(),
            log: Vec::new(),
        };
        model.view();
        model
    }

    fn roll(&mut self, sides: usize) -> usize {
        usize::try_from(jitter::roll(&mut self.rng) % sides as u64).unwrap()
    }

    fn pick<T: Copy>(&mut self, of: &[T]) -> Option<T> {
        (!of.is_empty()).then(|| of[self.roll(of.len())])
    }

    fn note(&mut self, what: &str) {
        let at = self.now.duration_since(self.began).as_millis();
        self.log.push(format!("{at}: {what}"));
    }

    fn view(&mut self) {
        self.note(&format!("view {:?} {}", self.master, self.fenced));
        let (node, since) = self.master;
        let view = View {
            targets: vec![target(node, since)],
            master_since: since,
            fenced: self.fenced,
        };
        self.course.topology(view, self.now);
    }

    fn step(&mut self) {
        let quick = self.roll(20) > 0;
        self.now += Duration::from_millis(if quick { 1 } else { 150 });
        self.deliver_what_is_late();
        match self.roll(48) {
            0..=11 => self.publish(),
            12..=25 => self.deliver_any(),
            26 | 27 => self.ask(),
            28..=37 => self.dial_ends(),
            38 => self.kill(),
            39 => self.change_master(),
            40 | 41 => {
                self.fenced = !self.fenced;
                self.view();
            }
            42 => {
                let outdated = self.roll(2) == 0;
                self.course.outdated(outdated, self.now);
            }
            43 if self.roll(4) == 0 => self.change_permissions(),
            44 => {
                let stopped = self.roll(2) == 0;
                self.course.stopped(stopped, self.now);
            }
            _ => self.course.tick(self.now),
        }
        self.carry_out();
    }

    /// As through `writer()`: at the master that the pool knows, and not while the fence is up.
    fn publish(&mut self) {
        if self.fenced {
            return;
        }
        let channel = self.roll(CHANNELS.len());
        let message = self.published.len();
        let at = self.now;
        self.note(&format!("publish {message} {}", CHANNELS[channel]));
        self.published.push(Published { channel, at });
        let subject = subject(CHANNELS[channel]);
        for connection in self.connections.values_mut() {
            let heard =
                connection.node == self.master.0 && connection.subscribed.contains(&subject);
            if heard {
                connection.out.push_back((at, Out::Message(message)));
            }
        }
    }

    fn deliver(&mut self, id: LinkId) {
        let connection = self.connections.get_mut(&id);
        let Some((_, out)) = connection.and_then(|it| it.out.pop_front()) else {
            return;
        };
        match out {
            Out::Reply(reply) => self.course.reply(id, reply, self.now),
            Out::Message(message) => {
                if let Some(message) = self.course.message(id, message, 1, self.now) {
                    self.hand_out(message);
                }
            }
        }
        self.carry_out();
    }

    fn deliver_any(&mut self) {
        let ids: Vec<LinkId> = self.connections.keys().copied().collect();
        if let Some(id) = self.pick(&ids) {
            self.deliver(id);
        }
    }

    fn deliver_what_is_late(&mut self) {
        let late = self.now - LATENCY;
        loop {
            let mut connections = self.connections.iter();
            let next = connections.find(|(_, it)| it.out.front().is_some_and(|(at, _)| *at < late));
            let Some((id, _)) = next else { return };
            let id = *id;
            self.deliver(id);
        }
    }

    fn ask(&mut self) {
        let subscribes = self.roll(3) > 0;
        let mut channels: Vec<usize> = (0..CHANNELS.len()).collect();
        channels.retain(|_| self.roll(2) == 0);
        self.calls += 1;
        let id = CallId(self.calls);
        self.note(&format!("{id:?} {subscribes} {channels:?}"));
        let subjects = channels.iter().map(|it| subject(CHANNELS[*it])).collect();
        if subscribes {
            self.course.subscribe(id, subjects, self.now);
        } else {
            for promise in &mut self.promises {
                if channels.contains(&promise.channel) {
                    promise.until.get_or_insert(self.now);
                }
            }
            // Whoever subscribes at the same time was overtaken.
            for asked in self.asked.values_mut() {
                asked.channels.retain(|it| !channels.contains(it));
            }
            self.course.unsubscribe(id, subjects, self.now);
        }
        let asked = Asked {
            subscribes,
            channels,
        };
        self.asked.insert(id, asked);
    }

    fn dial_ends(&mut self) {
        let Some((number, target)) = self.dialling.take() else {
            return;
        };
        if self.roll(4) == 0 {
            let is_final = self.roll(10) == 0;
            self.course.dial_failed(number, is_final, self.now);
            return;
        }
        let mut nodes = NODES.into_iter();
        let node = nodes.find(|it| *it == target.node.host()).unwrap();
        if let Some(id) = self.course.dialled(number, target, self.now) {
            let connection = Connection {
                node,
                subscribed: BTreeSet::new(),
                out: VecDeque::new(),
            };
            self.connections.insert(id, connection);
        }
    }

    fn kill(&mut self) {
        let ids: Vec<LinkId> = self.connections.keys().copied().collect();
        if let Some(id) = self.pick(&ids) {
            self.connections.remove(&id);
            self.note(&format!("kill {id:?}"));
            let how = match self.roll(2) {
                0 => Lost::Closed(String::new()),
                _ => Lost::Silent(REPLY),
            };
            self.course.lost(id, how, self.now);
        }
    }

    fn change_master(&mut self) {
        let node = self.pick(&NODES).unwrap();
        self.master = (node, self.master.1 + 1);
        self.fenced = false;
        self.view();
    }

    fn change_permissions(&mut self) {
        let rule = (self.pick(&NODES).unwrap(), self.roll(CHANNELS.len()));
        if !self.denied.remove(&rule) {
            self.denied.insert(rule);
        }
    }

    fn carry_out(&mut self) {
        loop {
            let effects = self.course.effects();
            if effects.is_empty() {
                return;
            }
            for effect in effects {
                self.note(&format!("{effect:?}"));
                self.carry_out_one(effect);
            }
        }
    }

    fn carry_out_one(&mut self, effect: Effect<usize>) {
        match effect {
            Effect::Dial {
                number, mut among, ..
            } => self.dialling = Some((number, among.remove(0))),
            Effect::Send(id, order) => self.serve(id, order),
            Effect::Drain(id) => {
                let out = self
                    .connections
                    .get_mut(&id)
                    .map(|it| std::mem::take(&mut it.out));
                for (_, out) in out.into_iter().flatten() {
                    if let Out::Message(message) = out {
                        self.hand_out(message);
                    }
                }
            }
            Effect::Close(id) => {
                self.connections.remove(&id);
            }
            Effect::Message(message) => self.hand_out(message),
            Effect::Gap(gap) => {
                let number = |name: &[u8]| {
                    let mut channels = CHANNELS.iter();
                    channels.position(|it| it.as_bytes() == name).unwrap()
                };
                let refused = gap.refused.iter().map(|it| number(&it.name)).collect();
                self.gaps.push((self.now, self.now - gap.since, refused));
            }
            Effect::Answer(id, answer) => {
                let asked = self.asked.remove(&id).expect("answered once");
                if asked.subscribes && matches!(answer, Answer::Done) {
                    let (from, until) = (self.now, None);
                    let promises = asked.channels.into_iter();
                    self.promises.extend(promises.map(|channel| Promise {
                        channel,
                        from,
                        until,
                    }));
                }
            }
            Effect::Serves { .. } | Effect::Report(..) | Effect::Shun(_) => {}
        }
    }

    /// As a server does it.
    fn serve(&mut self, id: LinkId, order: Order) {
        let Some(connection) = self.connections.get_mut(&id) else {
            return;
        };
        let mut say = |reply| connection.out.push_back((self.now, Out::Reply(reply)));
        match order {
            Order::Ping => say(Reply::Pong),
            Order::Subscribe(subjects) => {
                let is_denied = |it: &Subject| {
                    let mut denied = self.denied.iter();
                    let node = connection.node;
                    denied.any(|(at, channel)| *at == node && subject(CHANNELS[*channel]) == *it)
                };
                if subjects.iter().any(is_denied) {
                    let (error, denied) = (noperm(), true);
                    say(Reply::Error { error, denied });
                } else {
                    for subject in subjects {
                        say(Reply::Subscribed(subject.clone()));
                        connection.subscribed.insert(subject);
                    }
                }
            }
            Order::Unsubscribe(subjects) => {
                for subject in subjects {
                    connection.subscribed.remove(&subject);
                    say(Reply::Unsubscribed(subject));
                }
            }
        }
    }

    fn hand_out(&mut self, message: usize) {
        if !self.got.insert(message) {
            panic!("{message} came twice\n{}", self.log.join("\n"));
        }
    }

    /// Until nothing more happens by itself.
    fn settle(&mut self) {
        self.fenced = false;
        self.course.stopped(false, self.now);
        self.course.outdated(false, self.now);
        self.view();
        self.carry_out();
        for _ in 0..200 {
            self.now += Duration::from_millis(1);
            let ids: Vec<LinkId> = self.connections.keys().copied().collect();
            for id in ids {
                self.deliver(id);
            }
            if self.dialling.is_some() {
                while self.dialling.is_some() {
                    self.dial_ends();
                    self.carry_out();
                }
            }
        }
        let quiet = self.connections.values().all(|it| it.out.is_empty());
        let log = self.log.join("\n");
        let asked = &self.asked;
        assert!(
            quiet && asked.is_empty(),
            "no rest: {quiet} {asked:?}\n{log}"
        );
    }

    /// Every message that somebody counted on was given, or falls into a gap.
    fn check(&self) {
        let is_told = |message: &Published| {
            let in_gap = self
                .gaps
                .iter()
                .any(|(told, since, _)| *since <= message.at && message.at <= *told);
            let refused = self
                .gaps
                .last()
                .is_some_and(|(_, _, it)| it.contains(&message.channel));
            in_gap || refused
        };
        for (number, message) in self.published.iter().enumerate() {
            // Whoever unsubscribes while there is no connection is told no gap.
            let is_promised = self.promises.iter().any(|it| {
                it.until.is_none() && it.channel == message.channel && it.from < message.at
            });
            if is_promised && !self.got.contains(&number) && !is_told(message) {
                let log = self.log.join("\n");
                panic!("message {number} is missing without a gap\n{log}");
            }
        }
    }
}

#[test]
fn whatever_happens_no_message_is_missing_without_a_gap_and_none_comes_twice() {
    let (mut gaps, mut got, mut published) = (0, 0, 0);
    for seed in 0..1000 {
        let walk = std::panic::catch_unwind(|| {
            let mut model = Model::new(seed);
            for _ in 0..250 {
                model.step();
            }
            model.settle();
            model.check();
            (model.gaps.len(), model.got.len(), model.published.len())
        });
        let Ok(walk) = walk else {
            panic!("seed {seed}");
        };
        gaps += walk.0;
        got += walk.1;
        published += walk.2;
    }
    // The walks go where something happens.
    eprintln!("{got} of {published} messages, {gaps} gaps");
    assert!(gaps > 1000, "{gaps}");
    assert!(got * 5 > published, "{got} of {published}");
}

//! The verdict beside a model of replication that knows what every node really has.
//!
//! Four servers live through random histories: writes, failovers, partial and full resyncs, resyncs from an
//! older snapshot, resyncs that fail, chained replicas, restarts, masters that were deposed and keep
//! their last writes, and operators who point replicas at anything. What the servers say goes through
//! the real parser, and replies may arrive late and in another order.

use std::collections::HashMap;

use proptest::{prelude::*, strategy::ValueTree, test_runner::TestRunner};

use crate::{
    node::Role,
    position::{
        Position,
        report::{self, NoPosition, Report},
        testing::numbered,
        timelines::Timelines,
        token::Token,
        verdict::{Standing, Verdict},
    },
};

const SERVERS: usize = 4;

/// One command of a replication stream.
#[derive(Debug, Clone, Copy)]
struct Executed {
    id: u32,
    /// The offset behind it; 0 if it was executed before a restart that lost count.
    end: u64,
}

/// What a server has executed, in this order: that is its data.
type Log = Vec<Executed>;

fn has_all(log: &[Executed], wanted: &[Executed]) -> bool {
    log.len() >= wanted.len()
        && log
            .iter()
            .zip(wanted)
            .all(|(one, other)| one.id == other.id)
}

fn has(log: &[Executed], id: u32) -> bool {
    log.iter().any(|executed| executed.id == id)
}

/// A server's data and how far it goes.
#[derive(Debug, Clone)]
struct State {
    timeline: u64,
    offset: u64,
    log: Log,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Link {
    Up,
    /// It is where it was when the link was lost.
    Down,
    /// Its data is gone.
    Empty,
}

#[derive(Debug, Clone)]
struct Server {
    role: Role,
    state: State,
    /// The former timeline, and the first offset that is not common with it.
    second: Option<(u64, u64)>,
    upstream: usize,
    link: Link,
    /// The first offset that it can still send.
    backlog_from: u64,
    snapshot: Option<State>,
}

fn is_replica(server: &Server) -> bool {
    server.role == Role::Replica
}

fn is_linked(server: &Server) -> bool {
    is_replica(server) && server.link == Link::Up
}

fn is_alone(server: &Server) -> bool {
    is_replica(server) && server.link != Link::Up
}

/// How a timeline really began.
#[derive(Debug)]
struct Birth {
    parent: Option<u64>,
    log: Log,
}

#[derive(Debug)]
struct Issued {
    token: Token,
    /// Everything that its master had executed.
    log: Log,
    /// The write that it was taken for.
    write: u32,
    /// Whether nothing was executed between the write and the token.
    is_exact: bool,
}

#[derive(Debug, Clone, Copy)]
enum Step {
    Write { to: usize, noise: bool },
    Ping(usize),
    Pull { replica: usize, most: usize },
    Cut(usize),
    Resync(usize),
    ResyncFromSnapshot(usize),
    FailResync(usize),
    Follow(usize, usize),
    Promote { replica: usize, official: bool },
    Demote(usize),
    TrimBacklog(usize),
    Save(usize),
    RestartFromSnapshot(usize),
    RestartWithoutPast(usize),
    Rename(usize),
    Adopt,
    Ask(usize),
    Hear(usize),
}

fn step() -> impl Strategy<Value = Step> {
    let server = || 0..SERVERS;
    prop_oneof![
        8 => (server(), any::<bool>()).prop_map(|(to, noise)| Step::Write { to, noise }),
        1 => server().prop_map(Step::Ping),
        6 => (server(), 1_usize..6).prop_map(|(replica, most)| Step::Pull { replica, most }),
        1 => server().prop_map(Step::Cut),
        6 => server().prop_map(Step::Resync),
        1 => server().prop_map(Step::ResyncFromSnapshot),
        1 => server().prop_map(Step::FailResync),
        2 => (server(), server()).prop_map(|(replica, upstream)| Step::Follow(replica, upstream)),
        2 => (server(), prop::bool::weighted(0.8))
            .prop_map(|(replica, official)| Step::Promote { replica, official }),
        3 => server().prop_map(Step::Demote),
        1 => server().prop_map(Step::TrimBacklog),
        2 => server().prop_map(Step::Save),
        1 => server().prop_map(Step::RestartFromSnapshot),
        1 => server().prop_map(Step::RestartWithoutPast),
        1 => server().prop_map(Step::Rename),
        3 => Just(Step::Adopt),
        6 => server().prop_map(Step::Ask),
        6 => any::<usize>().prop_map(Step::Hear),
    ]
}

/// A report on its way to the client, with what the server had when it was made.
struct Reply {
    report: Report,
    named: Option<u64>,
    log: Log,
}

/// How often each case was met.
#[derive(Debug, Default)]
struct Tally {
    fresh: usize,
    fresh_across_timelines: usize,
    behind: usize,
    strayed: usize,
    lost: usize,
    unknown: usize,
    without_data: usize,
}

struct World {
    servers: Vec<Server>,
    /// The one that the Sentinels name.
    master: usize,
    births: HashMap<u64, Birth>,
    commands: u32,
    issued: Vec<Issued>,
    timelines: Timelines,
    /// The master that the client's topology names, and the version of that topology.
    believed: usize,
    version: u64,
    replies: Vec<Reply>,
    /// Whether the client learns of every change at once. Then the verdict must not only be safe but
    /// exact.
    is_attentive: bool,
    tally: Tally,
}

impl World {
    /// One master and its replicas, of which none has its data yet.
    fn new(is_attentive: bool) -> Self {
        let servers = (0..SERVERS).map(|place| Server {
            role: if place == 0 {
                Role::Master
            } else {
                Role::Replica
            },
            state: State {
                timeline: place as u64,
                offset: 0,
                log: Log::new(),
            },
            second: None,
            upstream: 0,
            link: Link::Empty,
            backlog_from: 1,
            snapshot: None,
        });
        let births = (0..SERVERS as u64).map(|timeline| {
            let birth = Birth {
                parent: None,
                log: Log::new(),
            };
            (timeline, birth)
        });
        let mut world = Self {
            servers: servers.collect(),
            master: 0,
            births: births.collect(),
            commands: 0,
            issued: Vec::new(),
            timelines: Timelines::default(),
            believed: 0,
            version: 1,
            replies: Vec::new(),
            is_attentive,
            tally: Tally::default(),
        };
        world.notice(0);
        world
    }

    /// The step's server is one of those that can take it, so that hardly any step is in vain.
    fn take(&mut self, step: Step) {
        match step {
            Step::Write { to, noise } => {
                let to = self.one_of(to, |server| server.role == Role::Master);
                self.write(to, noise);
            }
            Step::Ping(server) => {
                self.execute(server);
            }
            Step::Pull { replica, most } => {
                let replica = self.one_of(replica, is_linked);
                self.pull(replica, most);
            }
            Step::Cut(replica) => self.cut(self.one_of(replica, is_linked)),
            Step::Resync(replica) => self.resync(self.one_of(replica, is_alone), false),
            Step::ResyncFromSnapshot(replica) => {
                self.resync(self.one_of(replica, is_alone), true);
            }
            Step::FailResync(replica) => self.fail_resync(self.one_of(replica, is_alone)),
            Step::Follow(replica, upstream) => self.follow(replica, upstream),
            Step::Promote { replica, official } => {
                let has_data = |server: &Server| is_replica(server) && server.link != Link::Empty;
                self.promote(self.one_of(replica, has_data), official);
            }
            Step::Demote(server) => self.demote(server),
            Step::TrimBacklog(server) => {
                let server = &mut self.servers[server];
                server.backlog_from = server.state.offset + 1;
            }
            Step::Save(server) => {
                let server = &mut self.servers[server];
                if server.role == Role::Master || server.link != Link::Empty {
                    server.snapshot = Some(server.state.clone());
                }
            }
            Step::RestartFromSnapshot(server) => self.restart_from_snapshot(server),
            Step::RestartWithoutPast(server) => self.restart_without_past(server),
            Step::Rename(server) => self.rename(server),
            Step::Adopt => self.adopt(),
            Step::Ask(server) => self.ask(server),
            Step::Hear(which) => self.hear(which),
        }
    }

    /// The server at this place, counted among those that fit. Any if none does.
    fn one_of(&self, place: usize, fits: impl Fn(&Server) -> bool) -> usize {
        let all = (0..SERVERS).filter(|server| fits(&self.servers[*server]));
        let fit: Vec<_> = all.collect();
        let chosen = fit.get(place % fit.len().max(1));
        chosen.copied().unwrap_or(place)
    }

    fn is_master(&self, server: usize) -> bool {
        self.servers[server].role == Role::Master
    }

    /// One command in the stream of a master.
    fn execute(&mut self, server: usize) -> Option<u32> {
        if !self.is_master(server) {
            return None;
        }
        self.commands += 1;
        let id = self.commands;
        let state = &mut self.servers[server].state;
        // As short as none really is: every byte at a cut counts.
        state.offset += 1 + u64::from(id % 4);
        state.log.push(Executed {
            id,
            end: state.offset,
        });
        Some(id)
    }

    /// Some client writes to a master, whether or not it is still the right one, and gets a token.
    fn write(&mut self, to: usize, noise: bool) {
        let Some(write) = self.execute(to) else {
            return;
        };
        if noise {
            self.execute(to);
        }
        let state = &self.servers[to].state;
        let position = Position {
            timeline: numbered(state.timeline),
            offset: state.offset,
        };
        self.issued.push(Issued {
            token: Token::new(position, self.version),
            log: state.log.clone(),
            write,
            is_exact: !noise,
        });
    }

    fn pull(&mut self, replica: usize, most: usize) {
        let server = &self.servers[replica];
        if self.is_master(replica) || server.link != Link::Up {
            return;
        }
        let upstream = &self.servers[server.upstream].state;
        assert_eq!(upstream.timeline, server.state.timeline);
        assert!(has_all(&upstream.log, &server.state.log));
        let new = upstream.log.iter().skip(server.state.log.len()).take(most);
        let new: Vec<_> = new.copied().collect();
        let state = &mut self.servers[replica].state;
        for executed in new {
            state.offset = executed.end;
            state.log.push(executed);
        }
    }

    fn cut(&mut self, replica: usize) {
        let server = &mut self.servers[replica];
        if server.link == Link::Up {
            server.link = Link::Down;
        }
    }

    fn cut_all_behind(&mut self, upstream: usize) {
        for replica in 0..SERVERS {
            if self.servers[replica].upstream == upstream {
                self.cut(replica);
            }
        }
    }

    /// A replica connects to its upstream: `PSYNC`, with what follows from the answer.
    fn resync(&mut self, replica: usize, from_snapshot: bool) {
        let server = &self.servers[replica];
        let upstream = &self.servers[server.upstream];
        let serves = upstream.role == Role::Master || upstream.link == Link::Up;
        if self.is_master(replica) || server.link == Link::Up || !serves {
            return;
        }
        let next = server.state.offset + 1;
        let same = server.state.timeline == upstream.state.timeline;
        let former = upstream.second;
        let is_former =
            former.is_some_and(|(timeline, cut)| timeline == server.state.timeline && next <= cut);
        let in_backlog = (upstream.backlog_from..=upstream.state.offset + 1).contains(&next);
        let goes_on = server.link == Link::Down && (same || is_former) && in_backlog;
        // A full resync may join one that is under way, with a snapshot of before.
        let snapshot = upstream
            .snapshot
            .as_ref()
            .filter(|snapshot| from_snapshot && snapshot.timeline == upstream.state.timeline);
        let loaded = snapshot.unwrap_or(&upstream.state).clone();
        let timeline = upstream.state.timeline;
        if !goes_on || !same {
            self.cut_all_behind(replica);
        }
        let server = &mut self.servers[replica];
        server.link = Link::Up;
        if !goes_on {
            server.backlog_from = loaded.offset + 1;
            server.second = None;
            server.state = loaded;
        } else if !same {
            server.second = Some((server.state.timeline, next));
            server.state.timeline = timeline;
        }
    }

    /// The old data is thrown away, and the new does not arrive.
    fn fail_resync(&mut self, replica: usize) {
        if self.is_master(replica) || self.servers[replica].link == Link::Up {
            return;
        }
        self.cut_all_behind(replica);
        let server = &mut self.servers[replica];
        server.link = Link::Empty;
        server.state.log.clear();
    }

    fn follow(&mut self, replica: usize, upstream: usize) {
        if !self.is_master(replica) && upstream != replica {
            self.cut(replica);
            self.servers[replica].upstream = upstream;
        }
    }

    /// A failover, or an operator who makes a master by hand. One without data claims a history that it
    /// does not have, and no client can see that; so that is not done here.
    fn promote(&mut self, replica: usize, official: bool) {
        let server = &self.servers[replica];
        if self.is_master(replica) || server.link == Link::Empty {
            return;
        }
        let (former, cut) = (server.state.timeline, server.state.offset + 1);
        self.cut_all_behind(replica);
        self.servers[replica].role = Role::Master;
        self.servers[replica].link = Link::Down;
        if official {
            self.master = replica;
            self.redirect_all();
        }
        self.begin_timeline(replica, Some((former, cut)));
    }

    /// The replicas are told to follow the new master, as Sentinel does.
    fn redirect_all(&mut self) {
        for other in 0..SERVERS {
            self.follow(other, self.master);
        }
    }

    /// Makes a master that is not the right one follow the right one. It keeps its data until the resync.
    fn demote(&mut self, server: usize) {
        if server == self.master || !self.is_master(server) {
            return;
        }
        let master = self.master;
        let server = &mut self.servers[server];
        server.role = Role::Replica;
        server.upstream = master;
        server.link = Link::Down;
    }

    fn restart_from_snapshot(&mut self, place: usize) {
        let Some(snapshot) = self.servers[place].snapshot.clone() else {
            return;
        };
        self.cut_all_behind(place);
        let server = &mut self.servers[place];
        server.backlog_from = snapshot.offset + 1;
        server.second = None;
        server.state = snapshot;
        server.link = Link::Down;
        if server.role == Role::Master {
            let origin = (server.state.timeline, server.state.offset + 1);
            self.begin_timeline(place, Some(origin));
        }
    }

    /// From an append-only file, or with an old server: all data is there, and nothing tells where it
    /// came from.
    fn restart_without_past(&mut self, server: usize) {
        if !self.is_master(server) {
            return;
        }
        self.cut_all_behind(server);
        let state = &mut self.servers[server].state;
        state.offset = 0;
        state.log.iter_mut().for_each(|executed| executed.end = 0);
        self.begin_timeline(server, None);
    }

    /// Without replicas a master gives up its backlog, and takes another name. It counts on.
    fn rename(&mut self, server: usize) {
        let mut others = self.servers.iter();
        let has_replica = others.any(|other| other.upstream == server && other.link == Link::Up);
        if self.is_master(server) && !has_replica {
            self.begin_timeline(server, None);
        }
    }

    fn begin_timeline(&mut self, server: usize, origin: Option<(u64, u64)>) {
        let timeline = self.births.len() as u64;
        let state = &mut self.servers[server].state;
        state.timeline = timeline;
        let birth = Birth {
            parent: origin.map(|(parent, _)| parent),
            log: state.log.clone(),
        };
        self.births.insert(timeline, birth);
        let server_ = &mut self.servers[server];
        server_.second = origin;
        if origin.is_none() {
            server_.backlog_from = server_.state.offset + 1;
        }
        self.notice(server);
    }

    /// A client that is attentive learns of everything at once.
    fn notice(&mut self, server: usize) {
        if self.is_attentive {
            self.adopt();
            self.ask(server);
            self.hear(self.replies.len() - 1);
            self.ask(self.master);
            self.hear(self.replies.len() - 1);
        }
    }

    /// The client's topology names the right master.
    fn adopt(&mut self) {
        self.believed = self.master;
        self.version += 1;
    }

    /// As the server writes it, read by the client's parser.
    fn info(&self, place: usize) -> Result<Report, NoPosition> {
        let server = &self.servers[place];
        let is_master = server.role == Role::Master;
        let (parent, cut) = match server.second {
            Some((parent, cut)) => (numbered(parent).to_string(), cut.to_string()),
            None => ("0".repeat(40), "-1".to_owned()),
        };
        // What it received is more than what it executed.
        let (link, applied, received) = match server.link {
            Link::Up => ("up", server.state.offset, server.state.offset + 500),
            Link::Down => ("down", server.state.offset, server.state.offset),
            Link::Empty => ("down", 1, 1),
        };
        let of_replica = format!(
            "master_link_status:{link}\r\nslave_read_repl_offset:{received}\r\nslave_repl_offset:{applied}\r\n"
        );
        let text = format!(
            "# Replication\r\nrole:{}\r\n{}master_replid:{}\r\nmaster_replid2:{parent}\r\n\
             master_repl_offset:{}\r\nsecond_repl_offset:{cut}\r\n",
            if is_master { "master" } else { "slave" },
            if is_master { "" } else { &of_replica },
            numbered(server.state.timeline),
            server.state.offset,
        );
        report::parse_text(text.as_bytes())
    }

    /// A node answers. The reply may arrive much later.
    fn ask(&mut self, server: usize) {
        match self.info(server) {
            Ok(report) => {
                let reply = Reply {
                    report,
                    named: (self.believed == server).then_some(self.version),
                    log: self.servers[server].state.log.clone(),
                };
                self.replies.push(reply);
            }
            Err(NoPosition::NoData) => self.tally.without_data += 1,
            Err(NoPosition::Malformed(error)) => panic!("{error}"),
        }
    }

    fn hear(&mut self, which: usize) {
        if self.replies.is_empty() {
            return;
        }
        let reply = self.replies.remove(which % self.replies.len());
        self.timelines.learn(&reply.report, reply.named);
        let issued = std::mem::take(&mut self.issued);
        for issued in &issued {
            self.check(&reply, issued);
        }
        self.issued = issued;
    }

    fn check(&mut self, reply: &Reply, issued: &Issued) {
        let token = &issued.token;
        let verdict = self.timelines.verdict(&reply.report, token);
        let told = (verdict, &reply.report, token);
        let is_elsewhere = reply.report.position.timeline != token.position().timeline;
        match verdict {
            Verdict::Fresh => {
                assert!(has_all(&reply.log, &issued.log), "{told:?}");
                self.tally.fresh += 1;
                self.tally.fresh_across_timelines += usize::from(is_elsewhere);
            }
            Verdict::Behind => {
                self.tally.behind += 1;
                self.tally.strayed += usize::from(has_all(&reply.log, &issued.log));
            }
            Verdict::Lost => {
                self.tally.lost += 1;
                let current = self.number_of_current();
                let kept = &self.births[&current].log;
                assert!(!has_all(kept, &issued.log), "{told:?}");
                assert!(!issued.is_exact || !has(kept, issued.write), "{told:?}");
                let left = self.timelines.left_of(token).expect("something is left");
                assert_eq!(self.timelines.standing(&left), Standing::Kept, "{told:?}");
            }
            Verdict::Unknown => self.tally.unknown += 1,
        }
        if self.is_attentive {
            assert_eq!(
                verdict == Verdict::Fresh,
                self.is_fresh(reply, issued),
                "{told:?}"
            );
            assert_eq!(verdict == Verdict::Lost, self.is_lost(issued), "{told:?}");
        }
    }

    fn number_of_current(&self) -> u64 {
        let current = self.timelines.current().expect("a master was heard");
        let found = self
            .births
            .keys()
            .find(|number| numbered(**number) == current);
        *found.expect("it was born")
    }

    fn number(&self, position: Position) -> u64 {
        let numbers = 0..self.births.len() as u64;
        let mut found = numbers.filter(|number| numbered(*number) == position.timeline);
        found.next().expect("it was born")
    }

    /// The timeline, and those that it came from.
    fn line(&self, timeline: u64) -> Vec<u64> {
        let parent = |timeline: &u64| self.births[timeline].parent;
        std::iter::successors(Some(timeline), parent).collect()
    }

    /// Whether the current master's history is known to have left out what the token stands for.
    fn is_lost(&self, issued: &Issued) -> bool {
        let current = self.number_of_current();
        let wanted = self.number(issued.token.position());
        wanted != current
            && self.line(current).contains(&wanted)
            && !has_all(&self.births[&current].log, &issued.log)
    }

    /// Whether a read is fresh, by what the node has and not by offsets.
    fn is_fresh(&self, reply: &Reply, issued: &Issued) -> bool {
        let current = self.number_of_current();
        let (node, wanted) = (
            self.number(reply.report.position),
            self.number(issued.token.position()),
        );
        let (to_node, to_current) = (self.line(node), self.line(current));
        let has_strayed = if to_node.contains(&current) {
            false
        } else if to_current.contains(&node) {
            !has_all(&self.births[&current].log, &reply.log)
        } else {
            to_node.iter().any(|timeline| to_current.contains(timeline))
        };
        to_node.contains(&wanted)
            && has_all(&reply.log, &issued.log)
            && !has_strayed
            && !self.is_lost(issued)
    }
}

fn live_through(steps: &[Step], is_attentive: bool) -> Tally {
    let mut world = World::new(is_attentive);
    for step in steps {
        world.take(*step);
    }
    // What was asked is heard in the end.
    while !world.replies.is_empty() {
        world.hear(0);
    }
    world.tally
}

fn history() -> impl Strategy<Value = Vec<Step>> {
    prop::collection::vec(step(), 1..150)
}

proptest! {
    #[test]
    fn no_read_is_called_fresh_that_misses_something_and_nothing_lost_that_is_there(
        steps in history(),
    ) {
        live_through(&steps, false);
    }

    #[test]
    fn who_learns_of_every_change_is_told_exactly(steps in history()) {
        live_through(&steps, true);
    }
}

#[test]
fn the_histories_meet_every_case() {
    let mut runner = TestRunner::deterministic();
    for is_attentive in [false, true] {
        let mut sum = [0; 7];
        for _ in 0..200 {
            let steps = history().new_tree(&mut runner).unwrap().current();
            let tally = live_through(&steps, is_attentive);
            let counts = [
                tally.fresh,
                tally.fresh_across_timelines,
                tally.behind,
                tally.strayed,
                tally.lost,
                tally.unknown,
                tally.without_data,
            ];
            for (sum, count) in sum.iter_mut().zip(counts) {
                *sum += count;
            }
        }
        assert!(sum.iter().all(|count| *count > 100), "{sum:?}");
    }
}

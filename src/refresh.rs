//! Keeps the topology up to date. Events, the poll interval and suspicions start a *refresh*: all
//! Sentinels are asked. Their answers and the nodes' own reports lead to a new snapshot.
//!
//! One task owns everything here. Sentinels and nodes are asked by tasks of their own, which send
//! messages to it. After every message it decides anew from everything that it knows. So the first
//! good answer counts at once, and a slow one when it arrives.

mod aliases;
mod changes;
mod decide;
mod node_list;
mod outlook;
mod preference;
mod probe;
mod probe_cache;
mod progress;
mod promotion_watch;
mod resolver;
mod round_trips;
mod sentinels;
mod vitals;

use std::{future::Future, iter, pin::pin, sync::Arc, time::Duration};

use tokio::{sync::mpsc, time::Instant};

pub(crate) use crate::refresh::progress::Progress;
use crate::{
    config::{Config, News, Prefer},
    events::EventKind,
    node::Node,
    refresh::{
        aliases::{Aliases, Clues},
        changes::FenceTale,
        decide::{
            Decider, Decision, Evidence, Listed,
            fence::{Tally, claim::claim},
            sentinel_report::{SentinelReport, views},
        },
        node_list::NodeList,
        probe::{Probed, Reason},
        probe_cache::ProbeCache,
        resolver::{Resolved, Resolver},
        sentinels::SentinelSet,
    },
    sentinel::{answer::View, event::Event, id::SentinelId, message::Message},
    topology::{Handle, Topology},
    util::{
        abort_on_drop::AbortOnDrop,
        backoff::{self, FIRST_REFRESH},
        jitter,
        runtime::Runtime,
    },
};

/// Suspicions that come sooner than this after a refresh share the next one. Under load every
/// command may raise one, and as many refreshes would be a storm of their own.
const REST: Duration = Duration::from_millis(25);

/// How often a refresh begins at least while it is in doubt who is master, and nobody would announce a
/// master.
const HURRY: Duration = Duration::from_millis(500);

/// How many messages of a kind may wait for the task.
const INBOX: usize = 64;

#[derive(Debug)]
pub(crate) struct Refresh {
    config: Arc<Config>,
    handle: Arc<Handle>,
    progress: Arc<Progress>,
    /// What was told last of the topology.
    told: Topology,
    /// The preferred nodes that were logged last.
    told_preferred: Option<Vec<Node>>,
    /// What the fence had done when it was raised last.
    fence_before: Tally,
    /// Whether Sentinels answered when that was told last; none before any has.
    heard: Option<bool>,
    round: u64,
    refresh_began: Option<Instant>,
    next_refresh: Instant,
    /// It was asked for, and is not just a poll.
    is_requested: bool,
    quick: Duration,
    /// There is a master, and nothing was in doubt when it was decided last.
    settled: bool,
    /// Nothing has been decided since this refresh began: nobody has said anything new.
    quiet: bool,
    sentinels: SentinelSet,
    /// Instead of Sentinels.
    nodes: NodeList,
    probe_cache: ProbeCache,
    resolver: Resolver,
    aliases: Aliases,
    decider: Decider,
}

impl Refresh {
    /// Starts the task. It ends after `closing`, once all tasks that it started have ended, or when
    /// the returned guard is dropped.
    pub(crate) fn spawn(
        runtime: &Runtime,
        config: Arc<Config>,
        handle: Arc<Handle>,
        progress: Arc<Progress>,
        closing: impl Future<Output = ()> + Send + 'static,
    ) -> AbortOnDrop {
        let (messages, inbox) = mpsc::channel(INBOX);
        let (probed, probes) = mpsc::channel(INBOX);
        let (resolved, lookups) = mpsc::channel(INBOX);
        let refresh = Self {
            sentinels: SentinelSet::new(Arc::clone(&config), messages),
            nodes: NodeList::new(&config),
            probe_cache: ProbeCache::new(Arc::clone(&config), probed),
            resolver: Resolver::new(config.refresh_interval, config.sentinel_timeout, resolved),
            aliases: Aliases::default(),
            decider: Decider::new(config.adopt),
            config,
            handle,
            progress,
            told: Topology::default(),
            told_preferred: None,
            fence_before: Tally::default(),
            heard: None,
            round: 0,
            refresh_began: None,
            next_refresh: Instant::now(),
            is_requested: false,
            quick: FIRST_REFRESH,
            settled: false,
            quiet: false,
        };
        AbortOnDrop::spawn_on(runtime, refresh.run(inbox, probes, lookups, closing))
    }

    async fn run(
        mut self,
        mut inbox: mpsc::Receiver<Message>,
        mut probes: mpsc::Receiver<Probed>,
        mut lookups: mpsc::Receiver<Resolved>,
        closing: impl Future<Output = ()>,
    ) {
        let mut closing = pin!(closing);
        loop {
            let handle = Arc::clone(&self.handle);
            let config = Arc::clone(&self.config);
            let mut is_news = true;
            tokio::select! {
                Some(message) = inbox.recv() => is_news = self.on_message(message),
                Some(probed) = probes.recv() => is_news = self.on_probed(probed),
                Some(resolved) = lookups.recv() => is_news = self.resolver.note(resolved),
                () = handle.refresh_requested() => self.refresh_soon(),
                news = config.node_logins().news() => self.on_credentials(news),
                () = tokio::time::sleep_until(self.next_refresh) => is_news = self.poll(),
                () = &mut closing => break,
            }
            // While all is well most of what comes has been said before, and needs no decision.
            if is_news || !self.settled {
                self.decide();
            } else if self.is_round_over() {
                self.conclude();
            }
        }
        drop(self);
        // Each task that talks to a Sentinel or a node, or looks up a name, holds a sender until it
        // ends.
        while inbox.recv().await.is_some() {}
        while probes.recv().await.is_some() {}
        while lookups.recv().await.is_some() {}
    }

    /// Whether enough Sentinels have answered, and every node that was asked.
    fn is_round_over(&self) -> bool {
        self.sentinels.turnout(self.round).is_enough() && !self.probe_cache.is_asking()
    }

    fn refresh_soon(&mut self) {
        let now = Instant::now();
        match self.refresh_began.map(|began| began + REST) {
            Some(rested) if rested > now => {
                self.next_refresh = self.next_refresh.min(rested);
                self.is_requested = true;
            }
            _ => self.begin_refresh(),
        }
    }

    /// As [`refresh`](Self::refresh), because something happened or may have happened.
    fn begin_refresh(&mut self) {
        self.refresh(false);
    }

    /// As [`refresh`](Self::refresh), because it is time to. Says whether a decision is to follow.
    fn poll(&mut self) -> bool {
        let calm = self.settled && !self.is_requested;
        self.refresh(calm);
        // Round trips are no news, and decide who is nearest.
        let nearest = matches!(self.config.prefer, Prefer::Nearest { .. });
        self.quiet = calm && !nearest;
        if self.quiet {
            self.ask_again();
        }
        !self.quiet
    }

    /// Asks the nodes whose report is missing while all is well, as a decision would.
    fn ask_again(&mut self) {
        let current = self.handle.snapshot();
        let replicas = current.replicas.iter();
        let replicas = replicas.filter(|replica| !replica.is_given_up());
        let replicas = replicas.map(|replica| &replica.node);
        let nodes = current.master.iter().chain(replicas);
        for node in nodes.chain(self.nodes.all()) {
            if !self.probe_cache.has_heard(iter::once(node)) {
                self.probe_cache.ask(node.clone());
            }
        }
        self.look_up(&current, Instant::now());
    }

    /// Enough have answered, and have said nothing new. When the Sentinels have answered everything it is
    /// decided all the same, so that nothing rests on an old decision for long.
    fn conclude(&mut self) {
        let complete = self.sentinels.turnout(self.round).is_complete();
        if !self.quiet || complete && self.sentinels.were_asked_everything() {
            self.decide();
        } else {
            self.progress.confirm(self.round);
        }
    }

    /// Asks every known Sentinel. Forgets node reports that are too old, and those of suspected
    /// nodes. `calm`: as for [`SentinelSet::ask`].
    fn refresh(&mut self, calm: bool) {
        let now = Instant::now();
        let suspects = self.handle.take_suspects();
        for suspect in &suspects {
            self.probe_cache.doubt(suspect);
        }
        let current = self.handle.snapshot();
        let redial = self.nodes.to_redial(&current, &suspects, &self.aliases);
        self.probe_cache.redial(redial);
        self.probe_cache.forget_old(now);
        self.round += 1;
        self.is_requested = false;
        self.refresh_began = Some(now);
        self.try_credentials();
        self.sentinels.ask(self.round, calm);
        self.progress.refresh_began(self.round);
        self.next_refresh = now + jitter::around(self.config.refresh_interval, 20);
    }

    /// Says whether there is anything new in it.
    fn on_message(&mut self, message: Message) -> bool {
        match message {
            Message::Answer {
                name,
                round,
                answer,
            } => {
                let epoch = self.handle.snapshot().epoch;
                if let Ok(answer) = &answer
                    && answer.view.as_ref().is_some_and(|view| view.epoch < epoch)
                {
                    self.progress.stale_answer();
                }
                return self.sentinels.note_answer(&name, round, answer);
            }
            Message::Event { name, id, event } => {
                let sentinel = self.sentinels.identify(&name, id);
                self.on_event(&sentinel, &event);
            }
            // Events that were published before the subscription are lost, so ask.
            Message::Subscribed { name, id, refused } => {
                self.sentinels.note_subscribed(&name, id, refused);
                self.begin_refresh();
            }
            Message::Unsubscribed { name, why } => self.sentinels.note_unsubscribed(&name, why),
        }
        true
    }

    /// A node that closes the connection over which it is asked was restarted, is gone or was
    /// promoted. Then the Sentinels have news too. Says whether there is anything new in what it said.
    fn on_probed(&mut self, probed: Probed) -> bool {
        let closed = probed.reason == Reason::Closed;
        let is_news = self.probe_cache.note(probed);
        if closed {
            self.quick = FIRST_REFRESH;
            self.refresh_soon();
        }
        closed || is_news
    }

    /// New credentials are tried at all nodes. When a node has accepted them, the connections that were
    /// made with older ones retire.
    fn on_credentials(&mut self, news: News) {
        if news.changed {
            tracing::info!("there are new credentials");
            self.try_credentials();
        }
        if news.accepted {
            self.handle.republish();
        }
    }

    /// Asks each node over the pool's own connection that has yet to accept the newest credentials.
    fn try_credentials(&mut self) {
        let logins = self.config.node_logins();
        let Some(newest) = logins.newest() else {
            return;
        };
        let snapshot = self.handle.snapshot();
        let replicas = snapshot.replicas.iter();
        let replicas = replicas.filter(|replica| !replica.is_given_up());
        let known = replicas
            .map(|replica| &replica.node)
            .chain(&snapshot.master);
        for node in known.filter(|node| !logins.has_accepted(node, &newest)) {
            self.probe_cache.ask(node.clone());
        }
    }

    /// An event starts a refresh, and puts in doubt what the node in it said.
    fn on_event(&mut self, sentinel: &SentinelId, event: &Event) {
        tracing::debug!(%sentinel, ?event, "a Sentinel published an event");
        self.progress.event();
        let current = self.aliases.topology(&self.handle.snapshot());
        let event = &self.aliases.event(event, current.master.as_ref());
        let round = self.round + 1;
        let fence = &mut self.decider.fence;
        fence.note(sentinel, event, &current, round, Instant::now());
        match &event.node {
            Some(node) if event.kind.names_next_master() => self.probe_cache.doubt_denial(node),
            Some(node) => self.probe_cache.doubt(node),
            None => {}
        }
        self.quick = FIRST_REFRESH;
        self.begin_refresh();
    }

    /// Decides from all that is known, publishes what changed and asks for what is missing.
    fn decide(&mut self) {
        self.quiet = false;
        // Taken before the snapshot, which has them excluded already.
        for silent in self.handle.take_silent() {
            self.probe_cache.doubt(&silent);
        }
        let now = Instant::now();
        let current = self.handle.snapshot();
        self.learn_aliases(&current, now);
        let reports = self.sentinels.reports();
        let renamed = self.aliases.answers(&reports);
        let reports = reports
            .iter()
            .zip(&renamed)
            .map(|(report, answer)| SentinelReport {
                answer: answer.as_ref(),
                ..*report
            });
        let reports: Vec<_> = reports.collect();
        let views: Vec<View> = views(&reports).cloned().collect();
        self.probe_cache.forget_denials(&views, now);
        let node_reports = self.probe_cache.node_reports();
        let mut besides = self.aliases.alternatives(&node_reports);
        besides.extend(self.nodes.unheard(&node_reports));
        let servers = self.nodes.servers(&self.aliases);
        let node_reports = self.aliases.node_reports(&node_reports);
        let decision = self.decider.decide(
            &self.aliases.topology(&current),
            &Evidence {
                round: self.round,
                reports: &reports,
                node_reports: &node_reports,
                offsets: self.probe_cache.offsets(),
                restarted: self.probe_cache.restarted(),
                followed: self.probe_cache.followed(),
                listed: (!servers.is_empty()).then(|| Listed {
                    nodes: &servers,
                    unresolved: self.resolver.is_waiting(),
                    patience: self.config.sentinel_timeout,
                }),
            },
            now,
        );
        if let Some(claim) = claim(&decision.next, &reports, &node_reports) {
            self.progress.claim(claim);
        }
        self.carry_out(&current, decision, besides, &views);
    }

    /// Asks for what is missing, publishes what changed and sets the time of the next refresh.
    fn carry_out(
        &mut self,
        current: &Topology,
        decision: Decision,
        besides: Vec<Node>,
        views: &[View],
    ) {
        let Decision {
            mut next,
            ask,
            awaited,
            unsettled,
        } = decision;
        next.preferred = self.preferred(&next, &current.preferred);
        if next.master != current.master {
            self.quick = FIRST_REFRESH;
        }
        let raised = current.fence.is_none() && next.fence.is_some();
        let waiting = !ask.is_empty() || self.resolver.is_waiting();
        let hurry = self.is_hurried(&next);
        let is_settled = next.master.is_some() && !unsettled;
        self.keep_to_known(&next, views);
        for node in ask.into_iter().chain(besides) {
            self.probe_cache.ask(node);
        }
        self.probe_cache.wait_for(awaited);
        // Before the snapshot: a caller that the fence held back finds it down in the status too.
        self.progress.fence(&self.decider.fence);
        self.progress.topology(&next, self.config.read_from);
        if !waiting {
            self.tell_preferred(&next);
        }
        let news = self.news(&next);
        if next != *current {
            self.handle.publish(next);
        }
        // After the snapshot: a listener finds in it what it is told.
        self.tell(news);
        self.settled = is_settled;
        self.schedule(unsettled || hurry, hurry);
        if raised {
            // The sign may have come from a node alone, and must be followed up at the Sentinels at
            // once.
            self.refresh_soon();
        }
        self.report_progress(views, waiting);
    }

    fn preferred(&self, next: &Topology, before: &[Node]) -> Vec<Node> {
        let facts = preference::Facts {
            config: &self.config,
            aliases: &self.aliases,
            addresses: self.resolver.addresses(),
            identities: self.probe_cache.identities(),
            round_trips: self.probe_cache.round_trips(),
        };
        facts.preferred(next, before)
    }

    /// Logs which nodes are preferred where that is news. A pattern that fits no node would otherwise be
    /// noticed by nobody.
    fn tell_preferred(&mut self, next: &Topology) {
        let is_news = self.told_preferred.as_ref() != Some(&next.preferred);
        if self.config.prefer == Prefer::Nobody || next.master.is_none() || !is_news {
            return;
        }
        let prefer = &self.config.prefer;
        if next.preferred.is_empty() {
            let why = prefer.why_none();
            tracing::warn!(%prefer, "no node is preferred, so reads go to all that read_from admits: {why}");
        } else {
            let nodes: Vec<String> = next.preferred.iter().map(Node::to_string).collect();
            tracing::info!(%prefer, nodes = nodes.join(", "), "reads prefer these nodes");
        }
        self.told_preferred = Some(next.preferred.clone());
    }

    /// Logs what is different since it logged last, and returns it. That includes what callers have reported
    /// meanwhile.
    fn news(&mut self, next: &Topology) -> Vec<EventKind> {
        // It is raised by publishing, and says nothing here.
        self.told.version = next.version;
        if self.told == *next {
            return Vec::new();
        }
        tracing::debug!(topology = ?next, "the topology changed");
        let fence = &self.decider.fence;
        let tale = FenceTale {
            raised: fence.raised(),
            before: self.fence_before,
            now: fence.tally(),
        };
        let news = changes::between(&self.told, next, tale);
        if news
            .iter()
            .any(|news| matches!(news, EventKind::FenceRaised { .. }))
        {
            self.fence_before = fence.tally();
        }
        self.told = next.clone();
        for change in &news {
            changes::log(change);
        }
        news
    }

    fn tell(&self, news: Vec<EventKind>) {
        for kind in news {
            self.progress.events.tell(self.handle.version(), kind);
        }
    }

    /// Forgets nodes that are gone, and keeps a connection to those that are there.
    fn keep_to_known(&mut self, next: &Topology, views: &[View]) {
        let replicas = next.replicas.iter().map(|replica| &replica.node);
        let known = replicas.chain(&next.master).chain(&next.previous_master);
        // Before there is a master, keep what listed replicas reported: they may answer before the
        // master does.
        let listed = views.iter().flat_map(|view| &view.replicas);
        let listed = listed.filter(|_| next.master.is_none());
        let known = known.chain(listed.map(|replica| &replica.node));
        let known = known.chain(views.iter().map(|view| &view.master));
        let known = known.chain(self.nodes.all().iter());
        self.probe_cache.retain(&known.collect());
        let replicas = next.replicas.iter();
        let there = replicas.filter(|replica| !replica.is_given_up());
        let there = there.map(|replica| &replica.node);
        self.probe_cache.watch(there.chain(&next.master));
    }

    fn learn_aliases(&mut self, current: &Topology, now: Instant) {
        let reports = self.sentinels.reports();
        let answers: Vec<_> = reports.iter().filter_map(|report| report.answer).collect();
        self.aliases = Aliases::learn(&Clues {
            current,
            listed: self.nodes.all(),
            answers: &answers,
            node_reports: &self.probe_cache.node_reports(),
            identities: self.probe_cache.identities(),
            addresses: self.resolver.addresses(),
        });
        self.look_up(current, now);
    }

    /// Has the names of all known nodes resolved.
    fn look_up(&mut self, current: &Topology, now: Instant) {
        // What is dialled counts only where hosts are preferred.
        let dialled: Vec<Node> = match &self.config.prefer {
            Prefer::Hosts(_) if self.config.address_map.is_some() => {
                let known = current.replicas.iter().map(|replica| &replica.node);
                let known = known.chain(&current.master);
                known
                    .filter_map(|node| self.config.address_of(node))
                    .collect()
            }
            _ => Vec::new(),
        };
        self.resolver
            .keep(self.aliases.addresses().chain(&dialled), now);
    }

    /// Whether a master may be there at any moment, and nobody would announce it.
    fn is_hurried(&self, next: &Topology) -> bool {
        if self.nodes.is_empty() {
            // Sentinels that are just being started.
            let unheard = |report: &SentinelReport<'_>| report.answer.is_none();
            next.master.is_none()
                && self.sentinels.reports().iter().all(unheard)
                && !self.sentinels.refuse_us()
        } else {
            let in_doubt =
                next.master.is_none() || next.fence.is_some() || next.master_error.is_some();
            // One that refuses us goes on to.
            in_doubt && self.probe_cache.refusal(self.nodes.all().iter()).is_none()
        }
    }

    fn schedule(&mut self, unsettled: bool, hurry: bool) {
        let longest = if hurry {
            HURRY.min(self.config.refresh_interval)
        } else {
            self.config.refresh_interval
        };
        if !unsettled {
            self.quick = FIRST_REFRESH;
        } else if self.next_refresh > Instant::now() + self.quick {
            let policy = backoff::refresh(longest);
            self.next_refresh = Instant::now() + policy.draw(self.quick);
            self.quick = policy.grow(self.quick);
        }
    }
}

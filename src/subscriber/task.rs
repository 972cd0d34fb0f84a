//! The task of a subscriber: carries out what its [`Course`] says.

use std::{
    collections::HashMap,
    future::poll_fn,
    pin::Pin,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use redis::{RedisError, RedisResult};
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinError,
    time::{Instant, Sleep, sleep_until},
};

use crate::{
    error::{Error, code},
    node::Node,
    role_pool::RolePool,
    subscriber::{
        calls::CallId,
        course::{Answer, Course, Effect, Lost, Rules, View},
        dials::{Dialled, Dials},
        early::Most,
        errors,
        link::{LinkId, Patience, Reply},
        notice::Message,
        options::SubscriberOptions,
        presence::Presence,
        queue::Queue,
        sockets::{Arrival, Sockets},
    },
    util::far,
    wire::{
        handshake,
        pubsub::{Incoming, PubSubConnection, Subject},
    },
};

const SHORTEST_PING: Duration = Duration::from_millis(1);

/// What a caller asks for.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) verb: Verb,
    /// Each of them once.
    pub(super) subjects: Vec<Subject>,
    pub(super) answer: oneshot::Sender<RedisResult<()>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verb {
    Subscribe,
    Unsubscribe,
}

pub(super) struct Task {
    role_pool: Arc<RolePool>,
    queue: EndsWithTask,
    presence: Presence,
    requests: mpsc::UnboundedReceiver<Request>,
    answers: HashMap<CallId, oneshot::Sender<RedisResult<()>>>,
    calls: u64,
    course: Course<Message>,
    sockets: Sockets,
    dials: Dials,
    /// Why the last dial failed, while nothing serves.
    trouble: Option<Error>,
    /// The queue was full, and is not yet drained.
    full: bool,
}

/// Tells the reader when the task ends, in whatever way.
struct EndsWithTask(Arc<Queue>);

impl Drop for EndsWithTask {
    fn drop(&mut self) {
        self.0.end();
    }
}

/// What the task woke up for.
enum Woken {
    Closing,
    Request(Request),
    Topology,
    Refreshed,
    NewCertificates,
    Dialled(Box<Result<Dialled, JoinError>>),
    Time,
    Drained,
    Arrived(Vec<Arrival>),
}

impl Task {
    pub(super) fn new(
        role_pool: Arc<RolePool>,
        queue: Arc<Queue>,
        presence: Presence,
        requests: mpsc::UnboundedReceiver<Request>,
        options: &SubscriberOptions,
    ) -> Self {
        let config = &role_pool.config;
        let rules = Rules {
            source: options.source,
            patience: Patience {
                // With none at all it would ask again as soon as it is answered.
                ping: options.ping_interval.map(|it| it.max(SHORTEST_PING)),
                reply: config.command_timeout.unwrap_or(config.connect_timeout),
            },
            wait: role_pool.acquire_timeout(),
            early: Most {
                messages: options.buffer,
                bytes: options.buffer_bytes,
            },
        };
        Self {
            role_pool,
            queue: EndsWithTask(queue),
            presence,
            requests,
            answers: HashMap::new(),
            calls: 0,
            course: Course::new(rules),
            sockets: Sockets::default(),
            dials: Dials::new(),
            trouble: None,
            full: false,
        }
    }

    pub(super) async fn run(mut self) {
        let role_pool = Arc::clone(&self.role_pool);
        let mut topology = role_pool.topology.subscribe();
        let mut refreshes = role_pool.refreshes();
        let mut new_editions = role_pool.config.new_editions();
        let mut timer = Box::pin(sleep_until(Instant::now() + far::FAR));
        topology.mark_changed();
        loop {
            let woken = {
                let (serving, room) = self.to_read();
                set_timer(&mut timer, self.course.due_at());
                tokio::select! {
                    biased;
                    () = role_pool.closing() => Woken::Closing,
                    Some(request) = self.requests.recv() => Woken::Request(request),
                    Ok(()) = topology.changed() => Woken::Topology,
                    // There may be nothing new, but another reason for it.
                    Ok(()) = refreshes.changed(), if self.course.is_nowhere() => Woken::Refreshed,
                    () = new_editions.next() => Woken::NewCertificates,
                    Some(dialled) = self.dials.next() => Woken::Dialled(Box::new(dialled)),
                    () = &mut timer => Woken::Time,
                    () = drained(&self.queue.0), if self.full => Woken::Drained,
                    arrived = self.sockets.next(serving, room) => Woken::Arrived(arrived),
                }
            };
            let now = Instant::now();
            match woken {
                Woken::Closing => return,
                Woken::Request(request) => self.asked(request, now),
                Woken::Topology => self.topology(now),
                Woken::Refreshed => self.look_for_hope(now),
                Woken::NewCertificates => {
                    self.course.replace_at_once();
                    self.look_at_age(now);
                }
                Woken::Dialled(dialled) => self.dialled(*dialled, now),
                Woken::Time => {
                    self.sockets.trim();
                    self.course.tick(now);
                }
                Woken::Drained => self.full = false,
                Woken::Arrived(arrivals) => self.arrived(arrivals, now),
            }
            self.carry_out(now);
        }
    }
}

impl Task {
    fn asked(&mut self, request: Request, now: Instant) {
        let Request {
            verb,
            subjects,
            answer,
        } = request;
        self.calls += 1;
        let id = CallId(self.calls);
        self.answers.insert(id, answer);
        match verb {
            Verb::Subscribe => self.course.subscribe(id, subjects, now),
            Verb::Unsubscribe => self.course.unsubscribe(id, subjects, now),
        }
        self.look_for_hope(now);
    }

    fn topology(&mut self, now: Instant) {
        let snapshot = self.role_pool.topology.snapshot();
        let view = View {
            targets: snapshot.targets(self.role_pool.policy()),
            master_since: snapshot.master_since,
            fenced: snapshot.fence.is_some(),
        };
        self.course.topology(view, now);
        self.look_at_age(now);
        self.look_for_hope(now);
    }

    /// Where there is no node to go to, and waiting for one is useless, callers do not wait.
    fn look_for_hope(&mut self, now: Instant) {
        if !self.course.is_nowhere() {
            return;
        }
        let trouble = self.role_pool.nowhere_to_go();
        let is_final = self.role_pool.is_final(&trouble);
        self.trouble = Some(trouble);
        if is_final {
            self.course.give_up(now);
        }
    }

    fn look_at_age(&mut self, now: Instant) {
        let Some(link) = self.course.serving() else {
            return;
        };
        let (id, node) = (link.id, link.target.node.clone());
        let is_outdated = self.sockets.get(id).is_some_and(|connection| {
            connection.has_successor() || self.role_pool.is_outdated(&node, connection.login())
        });
        self.course.outdated(is_outdated, now);
    }

    fn dialled(&mut self, dialled: Result<Dialled, JoinError>, now: Instant) {
        // Where the dial panicked, the runtime has printed it.
        let Ok(dialled) = dialled else {
            self.course.dial_failed(self.dials.number(), false, now);
            return;
        };
        match dialled.result {
            Ok(connection) => {
                let node = dialled.target.node.clone();
                if let Some(id) = self.course.dialled(dialled.number, dialled.target, now) {
                    let connection = PubSubConnection::new(connection);
                    self.sockets.open(id, node, connection);
                }
            }
            Err(error) => {
                let is_final = !dialled.has_detour && self.role_pool.is_final(&error);
                self.trouble = Some(error);
                self.course.dial_failed(dialled.number, is_final, now);
            }
        }
    }

    fn arrived(&mut self, arrivals: Vec<Arrival>, now: Instant) {
        for (id, arrival) in arrivals {
            let reply = match arrival {
                Ok(incoming) => match self.sorted(id, incoming) {
                    Sorted::Message(message) => {
                        let bytes = message.len();
                        if let Some(message) = self.course.message(id, message, bytes, now) {
                            self.hand_out(message);
                        }
                        continue;
                    }
                    Sorted::Reply(reply) => reply,
                    Sorted::Neither => continue,
                },
                Err(cause) => {
                    self.course.lost(id, Lost::Closed(cause.to_string()), now);
                    self.carry_out_effects(now);
                    continue;
                }
            };
            self.course.reply(id, reply, now);
            // What the next arrival does comes after that.
            self.carry_out_effects(now);
        }
    }

    fn sorted(&self, id: LinkId, incoming: Incoming) -> Sorted {
        Sorted::Reply(match incoming {
            Incoming::Message {
                channel,
                pattern,
                payload,
            } => {
                return match self.sockets.node(id) {
                    Some(node) => {
                        let node = node.clone();
                        Sorted::Message(Message::new(channel, pattern, payload, node))
                    }
                    None => Sorted::Neither,
                };
            }
            Incoming::Other => return Sorted::Neither,
            Incoming::Subscribed(subject) => Reply::Subscribed(subject),
            Incoming::Unsubscribed(subject) => Reply::Unsubscribed(subject),
            Incoming::Pong => Reply::Pong,
            Incoming::Refused(error) => {
                let error = handshake::refusal(&error, None);
                let (code, detail) = (error.code(), error.detail());
                let denied =
                    code::denies_command(code.unwrap_or_default(), detail.unwrap_or_default());
                Reply::Error { error, denied }
            }
        })
    }

    fn hand_out(&self, message: Message) {
        self.presence.stats.messages.fetch_add(1, Relaxed);
        self.queue.0.message(message);
    }
}

enum Sorted {
    Message(Message),
    Reply(Reply),
    Neither,
}

impl Task {
    fn carry_out(&mut self, now: Instant) {
        self.carry_out_effects(now);
        self.full |= self.queue.0.room() == 0;
        let stop = self.full && !self.course.awaits_confirmation();
        self.course.stopped(stop, now);
        self.carry_out_effects(now);
    }

    /// The connection that serves, and how much may be read from it.
    fn to_read(&self) -> (Option<LinkId>, usize) {
        let serving = self.course.serving().map(|link| link.id);
        let room = if self.course.awaits_confirmation() {
            usize::MAX
        } else if self.full {
            0
        } else {
            self.queue.0.room()
        };
        (serving, room)
    }

    fn carry_out_effects(&mut self, now: Instant) {
        loop {
            let effects = self.course.effects();
            // First, so that a caller who is answered finds it in the status.
            self.presence.set(self.course.counts());
            if effects.is_empty() {
                return;
            }
            for effect in effects {
                self.carry_out_one(effect, now);
            }
        }
    }

    fn carry_out_one(&mut self, effect: Effect<Message>, now: Instant) {
        match effect {
            Effect::Dial {
                number,
                among,
                replaces,
            } => {
                let stats = &self.presence.stats;
                let role_pool = &self.role_pool;
                self.dials.start(number, &among, replaces, role_pool, stats);
            }
            Effect::Send(id, order) => self.sockets.send(id, &order),
            Effect::Drain(id) => self.drain(id),
            Effect::Close(id) => self.sockets.close(id),
            Effect::Message(message) => self.hand_out(message),
            Effect::Gap(gap) => {
                tracing::warn!(%gap, "a subscriber may have missed messages");
                self.presence.stats.gaps.fetch_add(1, Relaxed);
                self.queue.0.gap(gap);
            }
            Effect::Answer(id, answer) => self.answer(id, answer),
            Effect::Serves { node, again } => self.serves(node, again, now),
            Effect::Report(node, Lost::Silent(within)) => {
                self.role_pool.topology.exclude_silent(&node, within);
            }
            Effect::Report(node, Lost::Closed(why)) => {
                tracing::debug!(%node, why, "a subscriber lost its connection");
                self.role_pool.topology.suspect(&node);
            }
            Effect::Shun(node) => {
                self.role_pool.node_table.failed(&node);
            }
        }
    }

    fn serves(&mut self, node: Option<Node>, again: bool, now: Instant) {
        if node.is_some() {
            self.trouble = None;
            self.presence
                .stats
                .resubscribes
                .fetch_add(u64::from(again), Relaxed);
        }
        self.queue.0.set_node(node);
        self.look_at_age(now);
    }

    fn answer(&mut self, id: CallId, answer: Answer) {
        let answered = match answer {
            Answer::Done => Ok(()),
            Answer::Refused(subject, error) => Err(errors::refused(&subject, &error)),
            Answer::Late(waited) => Err(self.late(waited)),
            Answer::Hopeless => Err(self.ending()),
        };
        if let Some(caller) = self.answers.remove(&id) {
            // A caller that has gone does not want to know.
            let _ = caller.send(answered);
        }
    }

    fn late(&self, waited: Duration) -> RedisError {
        let why = self.role_pool.timed_out(self.trouble.clone(), waited);
        errors::late(why, waited).into()
    }

    fn ending(&self) -> RedisError {
        let trouble = self.trouble.clone();
        trouble.unwrap_or_else(|| self.role_pool.ending()).into()
    }

    /// Hands out what is here of a connection that is about to be closed. Where the reader is behind, the
    /// rest falls into the gap.
    fn drain(&mut self, id: LinkId) {
        let room = self.queue.0.room();
        for incoming in self.sockets.rest(id, room) {
            if let Sorted::Message(message) = self.sorted(id, incoming) {
                self.hand_out(message);
            }
        }
    }
}

async fn drained(queue: &Queue) {
    poll_fn(|cx| queue.poll_drained(cx)).await;
}

/// Moves the timer, where it would fire too late. Where it fires too early, it is moved then: a message
/// moves the next deadline, and must not cost a timer.
fn set_timer(timer: &mut Pin<Box<Sleep>>, due: Option<Instant>) {
    if let Some(due) = due
        && (due < timer.deadline() || timer.is_elapsed())
    {
        timer.as_mut().reset(due);
    } else if due.is_none() && timer.is_elapsed() {
        timer.as_mut().reset(Instant::now() + far::FAR);
    }
}

//! Asks one Sentinel for its view, at every refresh.
//!
//! Every known Sentinel has a task of its own. So all are asked at once, and one that hangs delays
//! none of the others. All refreshes that begin while a question is under way share one more
//! question.

use std::{sync::Arc, time::Duration};

use redis::{Cmd, ErrorKind, RedisError, RedisResult, Value, cmd};
use tokio::{
    sync::{mpsc, watch},
    time::Instant,
};

use crate::{
    config::{Config, Login},
    node::Node,
    sentinel::{
        answer::{Answer, View},
        message::{Message, SentinelError},
        refused::{Refused, is_about_the_command},
        reply::{self, MasterInfo, Replicas},
    },
    wire::{connection::WireConnection, handshake, value::Malformed},
};

/// Keeps a storm of suspicions from becoming a storm of questions.
const REST: Duration = Duration::from_millis(5);
/// While nothing happens a Sentinel is asked everything at every fourth refresh.
const EVERYTHING: u64 = 4;
/// How often a balanced address is dialled to find one certain Sentinel behind it. With three
/// Sentinels, all of these dials miss it twice in a thousand cases.
const MOST_DRAWS: usize = 16;

/// What the Sentinels were asked last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Asked {
    /// The newest refresh.
    pub(crate) round: u64,
    /// The newest refresh at which they had to answer everything. At later ones it is enough to say that
    /// the master is as it was.
    everything: u64,
}

impl Asked {
    /// What to ask at the next refresh. `calm`: nothing happens, and nothing is in doubt.
    #[must_use]
    pub(crate) fn next(self, round: u64, calm: bool) -> Self {
        let due = !calm || round >= self.everything + EVERYTHING;
        Self {
            round,
            everything: if due { round } else { self.everything },
        }
    }

    pub(crate) fn is_everything(self) -> bool {
        self.everything == self.round
    }
}

/// Where to reach a Sentinel.
#[derive(Debug, Clone)]
pub(crate) struct Contact {
    /// How it was configured, or announced by another Sentinel.
    pub(crate) name: Node,
    /// Where to connect to.
    pub(crate) address: Node,
}

/// `listened` is the id of the Sentinel whose events arrive by this address.
pub(crate) async fn run(
    contact: Contact,
    config: Arc<Config>,
    mut refreshes: watch::Receiver<Asked>,
    listened: watch::Receiver<Option<String>>,
    out: mpsc::Sender<Message>,
) {
    let mut client = Client {
        name: contact.name.clone(),
        address: contact.address,
        config,
        conn: None,
        listened,
        sought: None,
        whole: None,
    };
    let mut rested = Instant::now();
    loop {
        let asked = *refreshes.borrow_and_update();
        if asked.round > 0 {
            let answer = client.ask(asked).await;
            let message = Message::Answer {
                name: contact.name.clone(),
                round: asked.round,
                answer: answer.map_err(|error| SentinelError::new(&error, &client.address)),
            };
            if out.send(message).await.is_err() {
                return;
            }
            rested = Instant::now() + REST;
        }
        if refreshes.changed().await.is_err() {
            return;
        }
        // Mostly it has rested long since, and a timer would wake it for nothing.
        if Instant::now() < rested {
            tokio::time::sleep_until(rested).await;
        }
    }
}

struct Client {
    name: Node,
    address: Node,
    config: Arc<Config>,
    conn: Option<WireConnection>,
    listened: watch::Receiver<Option<String>>,
    /// The id that was last searched for behind this address. Each is searched for once.
    sought: Option<String>,
    /// What it answered when it was asked everything last, over this connection.
    whole: Option<Whole>,
}

/// An answer to everything.
struct Whole {
    /// The refresh that it belongs to.
    round: u64,
    /// The master of it, by `GET-MASTER-ADDR-BY-NAME` and by `MASTER`.
    named: Node,
    master: MasterInfo,
    answer: Arc<Answer>,
}

impl Whole {
    /// Whether these replies to [`about_the_master`] say the same of the master. Any error says
    /// something else.
    fn is_confirmed_by(&self, replies: &[Value]) -> bool {
        let [address, master] = replies else {
            return false;
        };
        reply::master_addr(address).is_ok_and(|named| named.as_ref() == Some(&self.named))
            && reply::master_info(master).is_ok_and(|master| master == self.master)
    }
}

impl Client {
    async fn ask(&mut self, asked: Asked) -> RedisResult<Arc<Answer>> {
        let deadline = Instant::now() + self.config.sentinel_timeout;
        if let Some(answer) = self.ask_about_the_master(asked, deadline).await {
            return Ok(answer);
        }
        let answer = self.ask_any(asked.round, deadline).await?;
        let listened = self.ask_listened(&answer, asked.round, deadline).await;
        Ok(listened.unwrap_or(answer))
    }

    /// Asks for the master only, where that is enough. What was answered last, if it is the same still:
    /// of everything else there are events.
    async fn ask_about_the_master(
        &mut self,
        asked: Asked,
        deadline: Instant,
    ) -> Option<Arc<Answer>> {
        let whole = self
            .whole
            .take_if(|whole| whole.round >= asked.everything)?;
        let newest = self.config.sentinel_logins().newest();
        let conn = self.conn.as_mut().filter(|conn| {
            let has_login = newest.is_none_or(|newest| newest.generation == conn.login());
            has_login && !conn.edition().has_successor()
        })?;
        let questions = about_the_master(&self.config);
        let replies = conn.exchange(&questions, deadline).await.ok()?;
        conn.trim();
        if !whole.is_confirmed_by(&replies) {
            return None;
        }
        let answer = Arc::clone(&whole.answer);
        self.whole = Some(whole);
        Some(answer)
    }

    /// Asks the Sentinel to which this address leads.
    async fn ask_any(&mut self, round: u64, deadline: Instant) -> RedisResult<Arc<Answer>> {
        if let Some(reused) = self.conn.take_if(|conn| !conn.is_stale()) {
            if reused.edition().has_successor() {
                // Where the Sentinel does not take the new certificates yet, it still answers over these.
                let half = Instant::now() + self.config.sentinel_timeout / 2;
                if let Ok((conn, replies)) = self.dial(&questions(&self.config), half).await {
                    self.sought = None;
                    return self.keep(conn, replies, round);
                }
            }
            let mut reused = self.with_newest_login(reused, deadline).await;
            if let Ok(replies) = reused.exchange(&questions(&self.config), deadline).await {
                return self.keep(reused, replies, round);
            }
        }
        self.conn = None;
        self.sought = None;
        let (conn, replies) = self.dial(&questions(&self.config), deadline).await?;
        self.keep(conn, replies, round)
    }

    /// Asks the Sentinel that is listened to, where the address leads to several and it can be
    /// found. An event must be followed up at the Sentinel that published it.
    async fn ask_listened(
        &mut self,
        answer: &Answer,
        round: u64,
        deadline: Instant,
    ) -> Option<Arc<Answer>> {
        let wanted = self.listened.borrow().clone()?;
        let elsewhere = answer.id.as_ref().is_some_and(|id| *id != wanted);
        if !elsewhere || self.sought.as_ref() == Some(&wanted) {
            return None;
        }
        self.sought = Some(wanted.clone());
        for _ in 0..MOST_DRAWS {
            let (mut conn, replies) = self.dial(&[my_id()], deadline).await.ok()?;
            if replies.first().and_then(text) != Some(wanted.as_str()) {
                continue;
            }
            let replies = conn.exchange(&questions(&self.config), deadline).await;
            return self.keep(conn, replies.ok()?, round).ok();
        }
        None
    }

    /// This connection, or one with newer credentials in its place, where there are some and the
    /// Sentinel accepts them.
    async fn with_newest_login(&self, conn: WireConnection, deadline: Instant) -> WireConnection {
        match self.config.sentinel_logins().newest() {
            Some(login) if login.generation != conn.login() => {
                let dialled = self.dial_as(&login, &[my_id()], deadline).await;
                dialled.map_or(conn, |(conn, _)| conn)
            }
            _ => conn,
        }
    }

    /// Makes a connection, signs in and asks, in one round trip.
    async fn dial(
        &self,
        questions: &[Cmd],
        deadline: Instant,
    ) -> RedisResult<(WireConnection, Vec<Value>)> {
        let logins = self.config.sentinel_logins();
        let (login, deadline) = login(&self.config, deadline).await?;
        let error = match self.dial_as(&login, questions, deadline).await {
            Err(error) => error,
            dialled => return dialled,
        };
        match logins.after(&login, &self.address, &error, deadline).await {
            Some(login) => self.dial_as(&login, questions, deadline).await,
            None => Err(error),
        }
    }

    async fn dial_as(
        &self,
        login: &Login,
        questions: &[Cmd],
        deadline: Instant,
    ) -> RedisResult<(WireConnection, Vec<Value>)> {
        let mut conn =
            handshake::connect_sentinel(&self.config, &self.name, &self.address, deadline).await?;
        let mut cmds: Vec<Cmd> = auth(login).into_iter().collect();
        let own = cmds.len();
        cmds.extend_from_slice(questions);
        let mut replies = conn.exchange(&cmds, deadline).await?;
        if let Some(Value::ServerError(error)) = replies.drain(..own).next() {
            return Err(handshake::refusal(&error, login.secret()));
        }
        conn.signed_in(login.generation);
        self.config.sentinel_logins().accepted(&self.address, login);
        Ok((conn, replies))
    }

    fn keep(
        &mut self,
        mut conn: WireConnection,
        replies: Vec<Value>,
        round: u64,
    ) -> RedisResult<Arc<Answer>> {
        // The answers are long and the next question is seconds away.
        conn.trim();
        self.conn = Some(conn);
        self.whole = None;
        let (answer, master) = read(replies, &self.config)?;
        let answer = Arc::new(answer);
        self.whole = master.map(|(named, master)| Whole {
            round,
            named,
            master,
            answer: Arc::clone(&answer),
        });
        Ok(answer)
    }
}

/// A Sentinel's own credentials; never those of the data nodes. A source of them may take longer than
/// a Sentinel may, so its time is added to the deadline.
pub(super) async fn login(config: &Config, deadline: Instant) -> RedisResult<(Login, Instant)> {
    let began = Instant::now();
    let patience = began + config.connect_timeout;
    let login = config.sentinel_logins().for_dial(patience).await?;
    Ok((login, deadline + began.elapsed()))
}

pub(super) fn auth(login: &Login) -> Option<Cmd> {
    let password = login.secret()?;
    Some(cmd("AUTH").arg(&login.username).arg(password).take())
}

pub(super) fn my_id() -> Cmd {
    cmd("SENTINEL").arg("MYID").take()
}

fn questions(config: &Config) -> Vec<Cmd> {
    let mut questions = Vec::from(about_the_master(config));
    questions.extend(["REPLICAS", "SENTINELS"].map(|what| question(what, config)));
    questions.push(my_id());
    questions
}

fn about_the_master(config: &Config) -> [Cmd; 2] {
    ["GET-MASTER-ADDR-BY-NAME", "MASTER"].map(|what| question(what, config))
}

fn question(what: &str, config: &Config) -> Cmd {
    cmd("SENTINEL").arg(what).arg(&config.master_name).take()
}

/// Makes one answer of the replies to [`questions`]. With it comes what it says of the master, where
/// nothing was refused.
fn read(replies: Vec<Value>, config: &Config) -> RedisResult<(Answer, Option<(Node, MasterInfo)>)> {
    let login = config.sentinel_logins().known().unwrap_or_default();
    let mut replies = replies.into_iter();
    let [address, master, replicas, sentinels, id] =
        std::array::from_fn(|_| replies.next().unwrap_or_default());
    let mut reading = Reading {
        answer: Answer {
            id: text(&id).map(str::to_owned),
            ..Answer::default()
        },
        secret: login.secret(),
    };
    // Before 6.2 a Sentinel does not know this command from clients; no permission changes that.
    if let Some(error) = reading
        .refusal(&id)
        .filter(|error| error.code() == Some("NOPERM"))
    {
        let refused = Refused::new("SENTINEL MYID", &error);
        reading.answer.refused.push(refused);
    }
    let named = if reading.is_allowed("SENTINEL GET-MASTER-ADDR-BY-NAME", &address)? {
        let Some(named) = reply::master_addr(&address).map_err(malformed)? else {
            return Ok((reading.answer, None));
        };
        Some(named)
    } else if reading
        .refusal(&master)
        .is_some_and(|error| says_no_such_master(&error))
    {
        return Ok((reading.answer, None));
    } else {
        None
    };
    let master = reading.master(&master)?;
    let replicas = reading.replicas(&replicas)?;
    if reading.is_allowed("SENTINEL SENTINELS", &sentinels)? {
        reading.answer.peers = reply::sentinels(&sentinels).map_err(malformed)?;
    }
    let Some(named) = named.or_else(|| Some(master.as_ref()?.node.clone())) else {
        let refusal = reading.refusal(&address);
        return Err(refusal.expect("BUG: only a refused question is not answered"));
    };
    let all_told = reading.answer.refused.is_empty();
    let said = master.clone().filter(|_| all_told);
    let said = said.map(|master| (named.clone(), master));
    Ok((reading.finish(named, master, replicas), said))
}

/// An answer of which not every reply has been read.
struct Reading<'a> {
    answer: Answer,
    secret: Option<&'a str>,
}

impl Reading<'_> {
    fn refusal(&self, reply: &Value) -> Option<RedisError> {
        match reply {
            Value::ServerError(error) => Some(handshake::refusal(error, self.secret)),
            _ => None,
        }
    }

    /// Whether a question was answered. One that may not be asked is recorded; any other refusal
    /// fails the whole answer.
    fn is_allowed(&mut self, command: &'static str, reply: &Value) -> RedisResult<bool> {
        match self.refusal(reply) {
            None => Ok(true),
            Some(error) if is_about_the_command(&error) => {
                self.answer.refused.push(Refused::new(command, &error));
                Ok(false)
            }
            Some(error) => Err(error),
        }
    }

    fn master(&mut self, reply: &Value) -> RedisResult<Option<MasterInfo>> {
        let allowed = self.is_allowed("SENTINEL MASTER", reply)?;
        let info = allowed.then(|| reply::master_info(reply).map_err(malformed));
        info.transpose()
    }

    /// `None` where the Sentinel may not list them.
    fn replicas(&mut self, reply: &Value) -> RedisResult<Option<Replicas>> {
        if !self.is_allowed("SENTINEL REPLICAS", reply)? {
            return Ok(None);
        }
        let replicas = reply::replicas(reply).map_err(malformed)?;
        self.answer.dropped = replicas.dropped;
        Ok(Some(replicas))
    }

    fn finish(
        mut self,
        named: Node,
        master: Option<MasterInfo>,
        replicas: Option<Replicas>,
    ) -> Answer {
        let listed = replicas.is_some();
        self.answer.view = Some(View {
            master: named,
            // The lowest epoch, so that a master whose epoch another Sentinel knows comes first.
            epoch: master.as_ref().map_or(0, |master| master.epoch),
            replicas: replicas.unwrap_or_default().entries,
            informed: listed && master.as_ref().is_some_and(|master| master.informed),
            master_down: master.as_ref().is_some_and(MasterInfo::is_down),
        });
        if let Some(master) = master {
            self.answer.coordinated = master.is_coordinated();
            self.answer.failover_flag = master
                .failover_flag()
                .map(|flag| (master.node.clone(), flag));
            self.answer.master_run_id = master.run_id.map(|id| (master.node, id));
        }
        self.answer
    }
}

fn says_no_such_master(error: &RedisError) -> bool {
    let detail = error.detail();
    detail.is_some_and(|detail| detail.starts_with("No such master"))
}

/// An id, as text.
pub(super) fn text(value: &Value) -> Option<&str> {
    match value {
        Value::BulkString(bytes) => std::str::from_utf8(bytes).ok(),
        Value::SimpleString(text) => Some(text),
        _ => None,
    }
}

fn malformed(error: Malformed) -> RedisError {
    (
        ErrorKind::UnexpectedReturnType,
        "the answer makes no sense",
        error.to_string(),
    )
        .into()
}

#[cfg(test)]
mod tests;

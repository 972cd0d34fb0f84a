//! Asks one Sentinel what it believes, whenever a refresh is called for.
//!
//! Every known Sentinel has a task of its own, so all are asked at once and one that hangs delays
//! nobody. A refresh that is called for while a question is under way is answered by one more
//! question, however many were called for.

use std::{sync::Arc, time::Duration};

use redis::{Cmd, ErrorKind, RedisError, RedisResult, Value, cmd};
use tokio::{
    sync::{mpsc, watch},
    time::Instant,
};

use crate::{
    config::Config,
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
/// How often a balanced address is dialled to find one Sentinel behind it. Where the balancer draws
/// one of three, all of these draws miss it twice in a thousand times.
const MOST_DRAWS: usize = 16;

/// Where to reach a Sentinel, and what it goes by.
#[derive(Debug, Clone)]
pub(crate) struct Contact {
    /// How it was configured, or announced by another Sentinel.
    pub(crate) name: Node,
    /// Where to connect to.
    pub(crate) address: Node,
}

/// `listened` is the id of the Sentinel whose events come by way of this address.
pub(crate) async fn run(
    contact: Contact,
    config: Arc<Config>,
    mut refreshes: watch::Receiver<u64>,
    listened: watch::Receiver<Option<String>>,
    out: mpsc::Sender<Message>,
) {
    let mut client = Client {
        address: contact.address,
        config,
        conn: None,
        listened,
        sought: None,
    };
    loop {
        let round = *refreshes.borrow_and_update();
        if round > 0 {
            let answer = client.ask().await;
            let message = Message::Answer {
                name: contact.name.clone(),
                round,
                answer: answer
                    .map(Box::new)
                    .map_err(|error| SentinelError::new(&error, &client.address)),
            };
            if out.send(message).await.is_err() {
                return;
            }
            tokio::time::sleep(REST).await;
        }
        if refreshes.changed().await.is_err() {
            return;
        }
    }
}

struct Client {
    address: Node,
    config: Arc<Config>,
    conn: Option<WireConnection>,
    listened: watch::Receiver<Option<String>>,
    /// The Sentinel that was looked for last, since this address had led to another one.
    sought: Option<String>,
}

impl Client {
    async fn ask(&mut self) -> RedisResult<Answer> {
        let deadline = Instant::now() + self.config.sentinel_timeout;
        let answer = self.ask_any(deadline).await?;
        Ok(self.ask_listened(&answer, deadline).await.unwrap_or(answer))
    }

    /// Asks the Sentinel to which this address leads.
    async fn ask_any(&mut self, deadline: Instant) -> RedisResult<Answer> {
        if let Some(mut reused) = self.conn.take_if(|conn| !conn.is_stale())
            && let Ok(replies) = reused.exchange(&questions(&self.config), deadline).await
        {
            return self.keep(reused, replies);
        }
        self.conn = None;
        self.sought = None;
        let (conn, replies) = self.dial(&questions(&self.config), deadline).await?;
        self.keep(conn, replies)
    }

    /// An event must be followed up at the Sentinel that gave it. Where the address leads to several,
    /// asks the one that is listened to, if it can be found.
    async fn ask_listened(&mut self, answer: &Answer, deadline: Instant) -> Option<Answer> {
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
            return self.keep(conn, replies.ok()?).ok();
        }
        None
    }

    /// Makes a connection, signs in and asks, in one round trip.
    async fn dial(
        &self,
        questions: &[Cmd],
        deadline: Instant,
    ) -> RedisResult<(WireConnection, Vec<Value>)> {
        let mut conn = handshake::connect_sentinel(&self.address, deadline).await?;
        let mut cmds: Vec<Cmd> = auth(&self.config).into_iter().collect();
        let own = cmds.len();
        cmds.extend_from_slice(questions);
        let mut replies = conn.exchange(&cmds, deadline).await?;
        if let Some(Value::ServerError(error)) = replies.drain(..own).next() {
            let secret = self.config.sentinel_password.as_deref();
            return Err(handshake::refusal(&error, secret));
        }
        Ok((conn, replies))
    }

    fn keep(&mut self, mut conn: WireConnection, replies: Vec<Value>) -> RedisResult<Answer> {
        // The answers are long and the next question is seconds away.
        conn.trim();
        self.conn = Some(conn);
        read(replies, &self.config)
    }
}

/// A Sentinel's own credentials; never those of the data nodes.
pub(super) fn auth(config: &Config) -> Option<Cmd> {
    let password = config.sentinel_password.as_ref()?;
    Some(
        cmd("AUTH")
            .arg(&config.sentinel_username)
            .arg(password)
            .take(),
    )
}

pub(super) fn my_id() -> Cmd {
    cmd("SENTINEL").arg("MYID").take()
}

fn questions(config: &Config) -> Vec<Cmd> {
    let ask = |what: &str| cmd("SENTINEL").arg(what).arg(&config.master_name).take();
    vec![
        ask("GET-MASTER-ADDR-BY-NAME"),
        ask("MASTER"),
        ask("REPLICAS"),
        ask("SENTINELS"),
        my_id(),
    ]
}

fn read(replies: Vec<Value>, config: &Config) -> RedisResult<Answer> {
    let secret = config.sentinel_password.as_deref();
    let refusal = |reply: &Value| match reply {
        Value::ServerError(error) => Some(handshake::refusal(error, secret)),
        _ => None,
    };
    let mut replies = replies.into_iter();
    let [address, master, replicas, sentinels, id] =
        std::array::from_fn(|_| replies.next().unwrap_or_default());
    let mut answer = Answer {
        id: text(&id).map(str::to_owned),
        ..Answer::default()
    };
    // Before 6.2 a Sentinel does not know this command from clients; no permission changes that.
    if let Some(error) = refusal(&id).filter(|error| error.code() == Some("NOPERM")) {
        answer.refused.push(Refused::new("SENTINEL MYID", &error));
    }
    let mut allowed = |command, reply| match refusal(reply) {
        None => Ok(true),
        Some(error) if is_about_the_command(&error) => {
            answer.refused.push(Refused::new(command, &error));
            Ok(false)
        }
        Some(error) => Err(error),
    };
    let named = if allowed("SENTINEL GET-MASTER-ADDR-BY-NAME", &address)? {
        let Some(named) = reply::master_addr(&address).map_err(malformed)? else {
            return Ok(answer);
        };
        Some(named)
    } else if refusal(&master).is_some_and(|error| says_no_such_master(&error)) {
        return Ok(answer);
    } else {
        None
    };
    let master = allowed("SENTINEL MASTER", &master)?
        .then(|| reply::master_info(&master).map_err(malformed))
        .transpose()?;
    let listed = allowed("SENTINEL REPLICAS", &replicas)?;
    let replicas = if listed {
        reply::replicas(&replicas).map_err(malformed)?
    } else {
        Replicas::default()
    };
    if allowed("SENTINEL SENTINELS", &sentinels)? {
        answer.peers = reply::sentinels(&sentinels).map_err(malformed)?;
    }
    if replicas.dropped > 0 {
        tracing::warn!(
            dropped = replicas.dropped,
            master_name = config.master_name,
            "a Sentinel listed replicas with unusable addresses"
        );
    }
    let Some(named) = named.or_else(|| Some(master.as_ref()?.node.clone())) else {
        return Err(refusal(&address).expect("BUG: only a refused question is not answered"));
    };
    answer.view = Some(View {
        master: named,
        // The lowest there is: it counts before nothing that another Sentinel knows the epoch of.
        epoch: master.as_ref().map_or(0, |master| master.epoch),
        replicas: replicas.entries,
        informed: listed && master.as_ref().is_some_and(|master| master.informed),
        master_down: master.as_ref().is_some_and(MasterInfo::is_down),
    });
    if let Some(master) = master {
        answer.coordinated = master.is_coordinated();
        answer.master_run_id = master.run_id.clone().map(|id| (master.node.clone(), id));
        answer.failover_flag = master.failover_flag().map(|flag| (master.node, flag));
    }
    Ok(answer)
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

//! Asks one Sentinel what it believes, whenever a look is called for.
//!
//! Every known Sentinel has a task of its own, so all are asked at once and one that hangs delays
//! nobody. A look that is called for while a question is under way is answered by one more
//! question, however many were called for.

use std::{sync::Arc, time::Duration};

use redis::{Cmd, ErrorKind, RedisError, RedisResult, Value, cmd};
use tokio::{
    sync::{mpsc, watch},
    time::Instant,
};

use super::{
    answer::{Answer, View},
    message::Message,
    reply,
};
use crate::{
    config::Config,
    node::Node,
    wire::{exclusive::Exclusive, handshake, value::Malformed},
};

/// Keeps a storm of suspicions from becoming a storm of questions.
const REST: Duration = Duration::from_millis(5);

/// Where to reach a Sentinel, and what it goes by.
#[derive(Debug, Clone)]
pub(crate) struct Contact {
    /// How it was configured, or announced by another Sentinel.
    pub(crate) name: Node,
    /// Where to connect to.
    pub(crate) address: Node,
}

pub(crate) async fn run(
    contact: Contact,
    config: Arc<Config>,
    mut looks: watch::Receiver<u64>,
    out: mpsc::Sender<Message>,
) {
    let mut conn = None;
    loop {
        let look = *looks.borrow_and_update();
        if look > 0 {
            let said = ask(&mut conn, &contact.address, &config).await;
            let message = Message::Answer {
                sentinel: contact.name.clone(),
                look,
                answer: said
                    .map(Box::new)
                    .map_err(|error| without_address(&error, &contact.address)),
            };
            if out.send(message).await.is_err() {
                return;
            }
            tokio::time::sleep(REST).await;
        }
        if looks.changed().await.is_err() {
            return;
        }
    }
}

async fn ask(conn: &mut Option<Exclusive>, address: &Node, config: &Config) -> RedisResult<Answer> {
    let deadline = Instant::now() + config.sentinel_timeout;
    if let Some(mut reused) = conn.take_if(|conn| !conn.is_stale())
        && let Ok(replies) = reused.exchange(&questions(config), deadline).await
    {
        // The answers are long and the next question is seconds away.
        reused.trim();
        *conn = Some(reused);
        return read(replies, config);
    }
    *conn = None;
    let mut fresh = handshake::connect_sentinel(address, deadline).await?;
    let mut cmds: Vec<Cmd> = auth(config).into_iter().collect();
    let own = cmds.len();
    cmds.extend(questions(config));
    let mut replies = fresh.exchange(&cmds, deadline).await?;
    if let Some(Value::ServerError(error)) = replies.drain(..own).next() {
        let secret = config.sentinel_password.as_deref();
        return Err(handshake::refusal(&error, secret));
    }
    fresh.trim();
    *conn = Some(fresh);
    read(replies, config)
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

fn questions(config: &Config) -> Vec<Cmd> {
    let ask = |what: &str| cmd("SENTINEL").arg(what).arg(&config.master_name).take();
    vec![
        ask("GET-MASTER-ADDR-BY-NAME"),
        ask("MASTER"),
        ask("REPLICAS"),
        ask("SENTINELS"),
        cmd("SENTINEL").arg("MYID").take(),
    ]
}

fn read(replies: Vec<Value>, config: &Config) -> RedisResult<Answer> {
    let mut replies = replies.into_iter();
    let mut next = || replies.next().unwrap_or_default();
    let (address, master, replicas, sentinels, id) = (next(), next(), next(), next(), next());
    if let Value::ServerError(error) = &address {
        return Err(handshake::refusal(
            error,
            config.sentinel_password.as_deref(),
        ));
    }
    // Before 6.2 a Sentinel does not tell its id to clients; its address must do then.
    let id = match id {
        Value::BulkString(id) => String::from_utf8(id).ok(),
        _ => None,
    };
    let Some(address) = reply::master_addr(&address).map_err(malformed)? else {
        return Ok(Answer {
            id,
            ..Answer::default()
        });
    };
    for reply in [&master, &replicas, &sentinels] {
        if let Value::ServerError(error) = reply {
            return Err(handshake::refusal(
                error,
                config.sentinel_password.as_deref(),
            ));
        }
    }
    let replicas = reply::replicas(&replicas).map_err(malformed)?;
    if replicas.dropped > 0 {
        tracing::warn!(
            dropped = replicas.dropped,
            master_name = config.master_name,
            "a Sentinel listed replicas with unusable addresses"
        );
    }
    let master = reply::master_info(&master).map_err(malformed)?;
    Ok(Answer {
        id,
        view: Some(View {
            master: address,
            epoch: master.epoch,
            replicas: replicas.entries,
            informed: master.informed,
        }),
        master_run_id: master.run_id.clone().map(|id| (master.node.clone(), id)),
        peers: reply::sentinels(&sentinels).map_err(malformed)?,
        deposing: master.deposing().map(|flag| (master.node, flag)),
        coordinated: false,
    })
}

/// What went wrong, for a list that names the Sentinel already.
fn without_address(error: &RedisError, address: &Node) -> String {
    let text = error.to_string();
    let prefix = format!("Sentinel {address}: ");
    match text.strip_prefix(&prefix) {
        Some(text) => text.to_owned(),
        None => text,
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

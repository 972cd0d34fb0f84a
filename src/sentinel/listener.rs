//! Listens to the events of one Sentinel. An event is a hint to look, never an address to adopt.

use std::{sync::Arc, time::Duration};

use redis::{RedisResult, Value, cmd};
use tokio::{sync::mpsc, time::Instant};

use super::{
    client::{Contact, auth},
    event,
    message::Message,
};
use crate::{
    config::Config,
    jitter,
    wire::{exclusive::Exclusive, handshake},
};

const FIRST_BACKOFF: Duration = Duration::from_millis(100);

pub(crate) async fn run(contact: Contact, config: Arc<Config>, out: mpsc::Sender<Message>) {
    let mut backoff = FIRST_BACKOFF;
    loop {
        let since = Instant::now();
        if let Err(error) = listen(&contact, &config, &out).await {
            tracing::debug!(sentinel = %contact.name, %error, "lost the events of a Sentinel");
        }
        if out.is_closed() {
            return;
        }
        // A subscription that held for a while was a good one: start anew, do not punish it.
        if since.elapsed() > config.refresh_interval {
            backoff = FIRST_BACKOFF;
        }
        tokio::time::sleep(jitter::around(backoff, 30)).await;
        backoff = (backoff * 2).min(config.refresh_interval);
    }
}

async fn listen(
    contact: &Contact,
    config: &Config,
    out: &mpsc::Sender<Message>,
) -> RedisResult<()> {
    let deadline = Instant::now() + config.sentinel_timeout;
    let mut conn = handshake::connect_sentinel(&contact.address, deadline).await?;
    if let Some(auth) = auth(config) {
        let replies = conn.exchange(&[auth], deadline).await?;
        if let Some(Value::ServerError(error)) = replies.into_iter().next() {
            let secret = config.sentinel_password.as_deref();
            return Err(handshake::refusal(&error, secret));
        }
    }
    conn.send(cmd("SUBSCRIBE").arg(event::CHANNELS)).await?;
    loop {
        // Silence may be peace or a dead link; after each poll interval of it the Sentinel must
        // answer a PING.
        let alive_until = Instant::now() + config.refresh_interval;
        while let Some(message) = conn.message(alive_until).await? {
            pass_on(&message, contact, config, out).await?;
        }
        ping(&mut conn, contact, config, out).await?;
    }
}

async fn ping(
    conn: &mut Exclusive,
    contact: &Contact,
    config: &Config,
    out: &mpsc::Sender<Message>,
) -> RedisResult<()> {
    conn.send(&cmd("PING")).await?;
    let deadline = Instant::now() + config.sentinel_timeout;
    while let Some(message) = conn.message(deadline).await? {
        if pass_on(&message, contact, config, out).await? == Passed::Pong {
            return Ok(());
        }
    }
    Err(std::io::Error::from(std::io::ErrorKind::TimedOut).into())
}

#[derive(Debug, PartialEq, Eq)]
enum Passed {
    Event,
    Pong,
}

async fn pass_on(
    message: &Value,
    contact: &Contact,
    config: &Config,
    out: &mpsc::Sender<Message>,
) -> RedisResult<Passed> {
    if let Value::ServerError(error) = message {
        return Err(handshake::refusal(
            error,
            config.sentinel_password.as_deref(),
        ));
    }
    let parts: Vec<&[u8]> = match message {
        Value::Array(parts) | Value::Push { data: parts, .. } => parts.iter().map(bytes).collect(),
        _ => Vec::new(),
    };
    let sentinel = contact.name.clone();
    let message = match parts[..] {
        [b"message", channel, payload] => event::parse(channel, payload, &config.master_name)
            .map(|event| Message::Event { sentinel, event }),
        // The last confirmation. Whatever was published before it is lost, so look.
        [b"subscribe", channel, _] if Some(&channel) == last_channel().as_ref() => {
            Some(Message::Subscribed)
        }
        [b"pong", ..] => return Ok(Passed::Pong),
        _ => None,
    };
    if let Some(message) = message
        && out.send(message).await.is_err()
    {
        return Err(std::io::Error::from(std::io::ErrorKind::NotConnected).into());
    }
    Ok(Passed::Event)
}

fn last_channel() -> Option<&'static [u8]> {
    event::CHANNELS.last().map(|channel| channel.as_bytes())
}

fn bytes(value: &Value) -> &[u8] {
    match value {
        Value::BulkString(bytes) => bytes,
        Value::SimpleString(text) => text.as_bytes(),
        _ => b"",
    }
}

//! Listens to the events of one Sentinel. An event is a hint to ask, never an address to adopt.

use std::{convert::Infallible, io, mem, sync::Arc, time::Duration};

use redis::{Cmd, RedisError, RedisResult, Value, cmd};
use tokio::{
    sync::{mpsc, watch},
    time::Instant,
};

use crate::{
    config::{Config, Login},
    node::Node,
    sentinel::{
        client::{self, Asked, Contact},
        event,
        message::{Message, SentinelError},
        refused::{Refused, is_about_the_command},
    },
    util::{
        backoff::{self, FIRST_SUBSCRIBE},
        far::FAR,
    },
    wire::{connection::WireConnection, handshake},
};

/// The longest pause before a Sentinel that refused us is tried again: the permission may be given
/// meanwhile, but each attempt is a line in its ACL log.
const LONGEST_BACKOFF: Duration = Duration::from_secs(60);

/// `listened` tells whose events arrive by this address.
pub(crate) async fn run(
    contact: Contact,
    config: Arc<Config>,
    mut refreshes: watch::Receiver<Asked>,
    listened: watch::Sender<Option<String>>,
    out: mpsc::Sender<Message>,
) {
    let mut pause = FIRST_SUBSCRIBE;
    loop {
        let since = Instant::now();
        let listener = Listener {
            name: &contact.name,
            config: &config,
            refreshes: &mut refreshes,
            listened: &listened,
            out: &out,
            id: None,
        };
        let Err(error) = listener.listen(&contact.address).await;
        tracing::debug!(sentinel = %contact.name, %error, "lost the events of a Sentinel");
        let why = SentinelError::new(&error, &contact.address);
        let refused = why.is_refusal();
        let name = contact.name.clone();
        if out.send(Message::Unsubscribed { name, why }).await.is_err() {
            return;
        }
        let longest = if refused {
            pause = pause.max(config.refresh_interval);
            LONGEST_BACKOFF.max(config.refresh_interval)
        } else {
            config.refresh_interval
        };
        // A subscription that held for a while was a good one, so the pause is short again.
        if !refused && since.elapsed() > config.refresh_interval {
            pause = FIRST_SUBSCRIBE;
        }
        let policy = backoff::subscribe(longest);
        tokio::time::sleep(policy.draw(pause)).await;
        pause = policy.grow(pause);
    }
}

/// One connection to a Sentinel.
struct Listener<'a> {
    name: &'a Node,
    config: &'a Config,
    refreshes: &'a mut watch::Receiver<Asked>,
    listened: &'a watch::Sender<Option<String>>,
    out: &'a mpsc::Sender<Message>,
    id: Option<String>,
}

/// The channels that may not be subscribed to.
#[derive(Default)]
struct Withheld {
    channels: Vec<&'static str>,
    error: String,
}

impl Withheld {
    fn refused(&self) -> Option<Refused> {
        (!self.channels.is_empty()).then(|| Refused {
            command: "SUBSCRIBE",
            error: format!("{}: {}", self.error, self.channels.join(", ")),
        })
    }
}

/// What a Sentinel sends on a subscribed connection.
enum Incoming {
    Confirmation,
    Pong,
    Error(RedisError),
    /// Anything else, also events, which have been passed on already.
    Other,
}

impl Listener<'_> {
    async fn listen(mut self, address: &Node) -> RedisResult<Infallible> {
        let mut conn = self.connect(address).await?;
        let mut withheld = self.subscribe(&mut conn, event::CHANNELS).await?;
        self.listened.send_replace(self.id.clone());
        self.announce(&withheld).await?;
        loop {
            self.pass_on_events(&mut conn).await?;
            if conn.edition().has_successor() || self.has_newer_login(&conn) {
                match self.replace(&mut conn, address, &withheld).await {
                    Ok(fresh) => conn = fresh,
                    // The old one still hears. The next round tries again.
                    Err(error) => {
                        tracing::debug!(sentinel = %self.name, %error, "no new connection to a Sentinel");
                    }
                }
            }
            self.ping(&mut conn).await?;
            // The permission may have been given meanwhile.
            let left = self.subscribe(&mut conn, &withheld.channels).await?;
            if left.channels.len() < withheld.channels.len() {
                self.announce(&left).await?;
            }
            withheld = left;
        }
    }

    /// Passes on what comes, until it is time to test the connection: no message may mean that nothing
    /// happens, or that the link is dead. That is at a refresh, which wakes this task anyway, and once
    /// for each interval.
    async fn pass_on_events(&mut self, conn: &mut WireConnection) -> RedisResult<()> {
        let rests_until = Instant::now() + self.config.refresh_interval / 2;
        loop {
            let message = tokio::select! {
                message = conn.message(Instant::now() + FAR) => message?,
                changed = self.refreshes.changed() => {
                    changed.map_err(|_| gone())?;
                    if Instant::now() >= rests_until {
                        return Ok(());
                    }
                    continue;
                }
            };
            let Some(message) = message else { continue };
            if let Incoming::Error(error) = self.take(message).await? {
                return Err(error);
            }
        }
    }

    fn has_newer_login(&self, conn: &WireConnection) -> bool {
        let newest = self.config.sentinel_logins().newest();
        newest.is_some_and(|newest| newest.generation != conn.login())
    }

    async fn connect(&mut self, address: &Node) -> RedisResult<WireConnection> {
        let deadline = Instant::now() + self.config.sentinel_timeout;
        let (login, deadline) = client::login(self.config, deadline).await?;
        let error = match self.sign_in(address, &login, deadline).await {
            Err(error) => error,
            signed_in => return signed_in,
        };
        let logins = self.config.sentinel_logins();
        match logins.after(&login, address, &error, deadline).await {
            Some(login) => self.sign_in(address, &login, deadline).await,
            None => Err(error),
        }
    }

    /// Listens over a connection with newer certificates or credentials. The old one goes only when the
    /// new one hears, and what came over it meanwhile is passed on. Behind a balanced address the new one
    /// may hear another Sentinel.
    async fn replace(
        &mut self,
        old: &mut WireConnection,
        address: &Node,
        withheld: &Withheld,
    ) -> RedisResult<WireConnection> {
        let heard = self.id.clone();
        let opened = self.open_beside(address, withheld).await;
        let id = mem::replace(&mut self.id, heard);
        let conn = opened?;
        while let Ok(Some(_)) = self.next(old, Instant::now()).await {}
        self.id = id;
        self.listened.send_replace(self.id.clone());
        self.announce(withheld).await?;
        Ok(conn)
    }

    async fn open_beside(
        &mut self,
        address: &Node,
        withheld: &Withheld,
    ) -> RedisResult<WireConnection> {
        let mut conn = self.connect(address).await?;
        let channels = event::CHANNELS.iter().copied();
        let channels: Vec<_> = channels
            .filter(|channel| !withheld.channels.contains(channel))
            .collect();
        self.subscribe(&mut conn, &channels).await?;
        Ok(conn)
    }

    /// Signs in, and asks for the Sentinel's id: a subscribed connection cannot ask any more.
    async fn sign_in(
        &mut self,
        address: &Node,
        login: &Login,
        deadline: Instant,
    ) -> RedisResult<WireConnection> {
        let mut conn =
            handshake::connect_sentinel(self.config, self.name, address, deadline).await?;
        let mut cmds: Vec<Cmd> = client::auth(login).into_iter().collect();
        cmds.push(client::my_id());
        let mut replies = conn.exchange(&cmds, deadline).await?;
        let id = replies.pop().unwrap_or_default();
        if let Some(Value::ServerError(error)) = replies.first() {
            return Err(handshake::refusal(error, login.secret()));
        }
        if let Value::ServerError(error) = &id {
            let error = self.refusal(error);
            if !is_about_the_command(&error) {
                return Err(error);
            }
        }
        self.id = client::text(&id).map(str::to_owned);
        conn.signed_in(login.generation);
        Ok(conn)
    }

    /// Subscribes to these channels, each with its own command: a command that names several is
    /// refused as a whole if one of them is. Returns the refused ones. It is an error if all of
    /// them are refused.
    async fn subscribe(
        &self,
        conn: &mut WireConnection,
        channels: &[&'static str],
    ) -> RedisResult<Withheld> {
        let cmds: Vec<Cmd> = channels
            .iter()
            .map(|channel| cmd("SUBSCRIBE").arg(channel).take())
            .collect();
        conn.send(&cmds).await?;
        let deadline = Instant::now() + self.config.sentinel_timeout;
        let mut withheld = Withheld::default();
        for channel in channels {
            if let Some(error) = self.confirmation(conn, deadline).await? {
                withheld.channels.push(channel);
                withheld.error = error.to_string();
                if withheld.channels.len() == event::CHANNELS.len() {
                    return Err(error);
                }
            }
        }
        Ok(withheld)
    }

    /// The reply to one `SUBSCRIBE`: its error, where it is refused.
    async fn confirmation(
        &self,
        conn: &mut WireConnection,
        deadline: Instant,
    ) -> RedisResult<Option<RedisError>> {
        loop {
            match self.next(conn, deadline).await? {
                Some(Incoming::Confirmation) => return Ok(None),
                Some(Incoming::Error(error)) if is_about_the_command(&error) => {
                    return Ok(Some(error));
                }
                Some(Incoming::Error(error)) => return Err(error),
                Some(Incoming::Pong | Incoming::Other) => {}
                None => return Err(timed_out()),
            }
        }
    }

    async fn ping(&self, conn: &mut WireConnection) -> RedisResult<()> {
        conn.send(&[cmd("PING")]).await?;
        let deadline = Instant::now() + self.config.sentinel_timeout;
        loop {
            match self.next(conn, deadline).await? {
                Some(Incoming::Pong) => return Ok(()),
                // A refusal shows that the Sentinel is alive.
                Some(Incoming::Error(error)) if is_about_the_command(&error) => return Ok(()),
                Some(Incoming::Error(error)) => return Err(error),
                Some(Incoming::Confirmation | Incoming::Other) => {}
                None => return Err(timed_out()),
            }
        }
    }

    /// The next thing that the Sentinel sends; `None` when nothing comes until the deadline.
    async fn next(
        &self,
        conn: &mut WireConnection,
        deadline: Instant,
    ) -> RedisResult<Option<Incoming>> {
        match conn.message(deadline).await? {
            Some(message) => self.take(message).await.map(Some),
            None => Ok(None),
        }
    }

    /// Passes it on if it is an event of our master.
    async fn take(&self, message: Value) -> RedisResult<Incoming> {
        let parts: Vec<&[u8]> = match &message {
            Value::ServerError(error) => return Ok(Incoming::Error(self.refusal(error))),
            Value::Array(parts) | Value::Push { data: parts, .. } => {
                parts.iter().map(bytes).collect()
            }
            _ => Vec::new(),
        };
        Ok(match parts[..] {
            [b"message", channel, payload] => {
                if let Some(event) = event::parse(channel, payload, &self.config.master_name) {
                    let (name, id) = (self.name.clone(), self.id.clone());
                    self.pass_on(Message::Event { name, id, event }).await?;
                }
                Incoming::Other
            }
            [b"subscribe", ..] => Incoming::Confirmation,
            [b"pong", ..] => Incoming::Pong,
            _ => Incoming::Other,
        })
    }

    async fn announce(&self, withheld: &Withheld) -> RedisResult<()> {
        let message = Message::Subscribed {
            name: self.name.clone(),
            id: self.id.clone(),
            refused: withheld.refused(),
        };
        self.pass_on(message).await
    }

    async fn pass_on(&self, message: Message) -> RedisResult<()> {
        let sent = self.out.send(message).await;
        sent.map_err(|_| gone())
    }

    fn refusal(&self, error: &redis::ServerError) -> RedisError {
        let login = self.config.sentinel_logins().known().unwrap_or_default();
        handshake::refusal(error, login.secret())
    }
}

/// The pool is closed.
fn gone() -> RedisError {
    io::Error::from(io::ErrorKind::NotConnected).into()
}

fn timed_out() -> RedisError {
    io::Error::from(io::ErrorKind::TimedOut).into()
}

fn bytes(value: &Value) -> &[u8] {
    match value {
        Value::BulkString(bytes) => bytes,
        Value::SimpleString(text) => text.as_bytes(),
        _ => b"",
    }
}

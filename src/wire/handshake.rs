//! The first exchange on a new connection: signs in, and proves the node's role.
//!
//! The reply to `HELLO` contains the node's role, so the proof costs nothing. All commands go out in
//! one write. Where `HELLO` is refused (a server before 6.0, an ACL without it, a renamed command), a
//! second exchange signs in with `AUTH` and asks `ROLE` instead.

use redis::{Cmd, ErrorKind, RedisError, RedisResult, ServerError, Value, cmd};
use tokio::time::Instant;

use crate::{
    config::{Config, Login, Protocol, ReplyLimits},
    error::{code::denies_command, failure::Peer},
    node::{Node, Role},
    util::escape::escape,
    wire::{
        connection::WireConnection,
        info,
        role::{self, RoleReply},
        stream::Stream,
        value::Fields,
    },
};

/// What a node said of itself in the handshake.
#[derive(Debug)]
pub(crate) struct Greeting {
    /// Its role, from `HELLO` or from `ROLE`.
    pub(crate) role: Option<Role>,
    /// Its reply to `ROLE`, where it was asked.
    pub(crate) detail: Option<RoleReply>,
    /// The error instead of its role.
    pub(crate) unproven: Option<String>,
    /// Whether it says that it is a node of a Redis Cluster.
    pub(crate) in_cluster_mode: bool,
    /// The zone that it says it is in.
    pub(crate) zone: Option<String>,
}

impl Greeting {
    /// Why its role is not known, for a node that did not tell it.
    pub(crate) fn why_unproven(&self) -> String {
        self.unproven
            .clone()
            .unwrap_or_else(|| "it does not tell its role".to_owned())
    }
}

/// Connects to a data node and signs in. `role` is what the node is expected to be; the caller finds in
/// the [`Greeting`] whether it is.
///
/// Where a source of credentials has others after a refusal, the node gets to see those too.
pub(crate) async fn connect(
    config: &Config,
    node: &Node,
    role: Role,
    deadline: Instant,
) -> RedisResult<(WireConnection, Greeting)> {
    let logins = config.node_logins();
    let login = logins.for_dial(deadline).await?;
    let error = match connect_as(config, &login, node, role, deadline).await {
        Err(error) => error,
        connected => return connected,
    };
    match logins.after(&login, node, &error, deadline).await {
        Some(login) => connect_as(config, &login, node, role, deadline).await,
        None => Err(error),
    }
}

async fn connect_as(
    config: &Config,
    login: &Login,
    node: &Node,
    role: Role,
    deadline: Instant,
) -> RedisResult<(WireConnection, Greeting)> {
    let address = config
        .address_of(node)
        .ok_or_else(|| std::io::Error::other("the address map panicked"))?;
    let stream = Stream::connect(&address, deadline).await?;
    #[cfg(feature = "tls")]
    let stream = match &config.tls {
        Some(tls) => {
            let limit = config.connect_timeout;
            let nodes = [node, &address];
            stream.encrypt(tls, nodes, deadline, limit).await?
        }
        None => stream,
    };
    let limits = config.reply_limits;
    let mut conn = WireConnection::new(
        stream,
        node.clone(),
        Peer::Node(role),
        config.db,
        limits,
        config.command_timeout,
    );
    let (greeting, _) = greet(config, login, &mut conn, role, &set_info(), deadline).await?;
    // With TLS 1.3 a server checks our certificate only after the handshake, so not earlier.
    conn.edition().accept();
    Ok((conn.lend(), greeting))
}

/// Connects to a Sentinel. `name` is how it was configured or announced. Nothing is sent yet: a Sentinel
/// knows neither `SELECT` nor the credentials of the data nodes, and must never see them.
#[cfg_attr(
    not(feature = "tls"),
    expect(
        unused_variables,
        reason = "only TLS needs to know more than the address"
    )
)]
pub(crate) async fn connect_sentinel(
    config: &Config,
    name: &Node,
    node: &Node,
    deadline: Instant,
) -> RedisResult<WireConnection> {
    let stream = Stream::connect(node, deadline).await?;
    #[cfg(feature = "tls")]
    let stream = match config.tls_of_sentinels() {
        Some(tls) => {
            let limit = config.sentinel_timeout;
            stream.encrypt(tls, [name, node], deadline, limit).await?
        }
        None => stream,
    };
    let limits = ReplyLimits {
        max_reply_bytes: SENTINEL_REPLY_BYTES,
        ..ReplyLimits::default()
    };
    Ok(WireConnection::new(
        stream,
        node.clone(),
        Peer::Sentinel,
        0,
        limits,
        None,
    ))
}

/// Room for 1 024 replicas with 40 fields each; the limit is for a hostile reply.
const SENTINEL_REPLY_BYTES: usize = 4 << 20;

/// Signs in, asks for the node's role, and sends `more` in the same write. Returns the replies to those
/// too, whatever they are. The connection may have been signed in before.
pub(crate) async fn greet(
    config: &Config,
    login: &Login,
    conn: &mut WireConnection,
    role: Role,
    more: &[Cmd],
    deadline: Instant,
) -> RedisResult<(Greeting, Vec<Value>)> {
    let greeted = say_hello(config, login, conn, role, more, deadline).await?;
    conn.signed_in(login.generation);
    config.node_logins().accepted(conn.node(), login);
    Ok(greeted)
}

async fn say_hello(
    config: &Config,
    login: &Login,
    conn: &mut WireConnection,
    role: Role,
    more: &[Cmd],
    deadline: Instant,
) -> RedisResult<(Greeting, Vec<Value>)> {
    let mut first = vec![hello(config, login)];
    first.extend(select(config));
    let ask_role = role == Role::Replica;
    if ask_role {
        first.push(cmd("ROLE"));
    }
    first.extend_from_slice(more);
    let mut replies = conn.exchange(&first, deadline).await?.into_iter();
    let hello = replies.next().unwrap_or_default();
    let secret = login.secret();
    if let Value::ServerError(error) = hello {
        let error = refusal(&error, secret);
        return if conn.is_open() && speaks_no_hello(&error, secret.is_some()) {
            greet_without_hello(config, login, conn, more, deadline).await
        } else {
            Err(error)
        };
    }
    // First, because a Sentinel also refuses SELECT, which would hide what it is.
    let own = read_hello(&hello)?;
    if config.db != 0 {
        refuse_error(replies.next(), secret)?;
    }
    let (detail, unproven) = if ask_role {
        read_role(replies.next().unwrap_or_default(), secret)?
    } else {
        (None, None)
    };
    let greeting = Greeting {
        role: own.role,
        detail,
        unproven,
        in_cluster_mode: own.in_cluster_mode,
        zone: own.zone,
    };
    Ok((greeting, replies.collect()))
}

async fn greet_without_hello(
    config: &Config,
    login: &Login,
    conn: &mut WireConnection,
    more: &[Cmd],
    deadline: Instant,
) -> RedisResult<(Greeting, Vec<Value>)> {
    let mut cmds = Vec::new();
    let secret = login.secret();
    if let Some(password) = secret {
        let mut auth = cmd("AUTH");
        auth.arg(&login.username).arg(password);
        cmds.push(auth);
    }
    cmds.extend(select(config));
    let required = cmds.len();
    cmds.push(cmd("ROLE"));
    if let Some(name) = &config.client_name {
        let mut set_name = cmd("CLIENT");
        set_name.arg("SETNAME").arg(name);
        cmds.push(set_name);
    }
    let own = cmds.len();
    cmds.extend_from_slice(more);
    let mut replies = conn.exchange(&cmds, deadline).await?;
    let to_more = replies.split_off(own);
    let mut replies = replies.into_iter();
    for _ in 0..required {
        refuse_error(replies.next(), secret)?;
    }
    let (detail, unproven) = read_role(replies.next().unwrap_or_default(), secret)?;
    let role = match detail {
        Some(RoleReply::Master { .. }) => Some(Role::Master),
        Some(RoleReply::Replica { .. }) => Some(Role::Replica),
        _ => None,
    };
    let greeting = Greeting {
        role,
        detail,
        unproven,
        zone: None,
        in_cluster_mode: false,
    };
    Ok((greeting, to_more))
}

fn hello(config: &Config, login: &Login) -> Cmd {
    let mut hello = cmd("HELLO");
    hello.arg(match config.protocol {
        Protocol::Resp2 => 2,
        Protocol::Resp3 => 3,
    });
    if let Some(password) = login.secret() {
        let username = login.username.as_deref().unwrap_or("default");
        hello.arg("AUTH").arg(username).arg(password);
    }
    if let Some(name) = &config.client_name {
        hello.arg("SETNAME").arg(name);
    }
    hello
}

fn select(config: &Config) -> Option<Cmd> {
    (config.db != 0).then(|| cmd("SELECT").arg(config.db).take())
}

/// Shows this library's name in `CLIENT LIST`, from Redis 7.2 on. Older servers refuse it, which does no
/// harm.
fn set_info() -> [Cmd; 2] {
    [
        ("LIB-NAME", env!("CARGO_PKG_NAME")),
        ("LIB-VER", env!("CARGO_PKG_VERSION")),
    ]
    .map(|(key, value)| cmd("CLIENT").arg("SETINFO").arg(key).arg(value).take())
}

/// Whether the server refused `HELLO` itself, as opposed to its arguments.
fn speaks_no_hello(error: &RedisError, with_password: bool) -> bool {
    match error.code() {
        Some("NOPROTO") => true,
        // Valkey 9 asks for a password before it checks whether it knows the command. A server that
        // knows HELLO would have checked the password that came with it.
        Some("NOAUTH") => with_password,
        code => denies_command(code.unwrap_or_default(), error.detail().unwrap_or_default()),
    }
}

fn refuse_error(reply: Option<Value>, secret: Option<&str>) -> RedisResult<()> {
    match reply {
        Some(Value::ServerError(error)) => Err(refusal(&error, secret)),
        _ => Ok(()),
    }
}

/// A server's error in the handshake, fit for a log.
///
/// A server or a proxy that does not know a command repeats its arguments, and those of `AUTH` and
/// `HELLO` are the credentials. Redis may cut them off in the middle, so a search for the secret does
/// not always find them: the arguments go as a whole.
pub(crate) fn refusal(error: &ServerError, secret: Option<&str>) -> RedisError {
    let mut text = error.details().unwrap_or_default().to_owned();
    if let Some(args) = text.find(", with args beginning with") {
        text.truncate(args);
    }
    if let Some(secret) = secret.filter(|secret| !secret.is_empty()) {
        text = text.replace(secret, "***");
    }
    let code = escape(error.code().as_bytes());
    let line = format!("-{code} {}\r\n", escape(text.as_bytes()));
    // Only the redis crate can build an error reply. Its parser accepts every line with a leading '-'.
    match redis::parse_redis_value(line.as_bytes()) {
        Ok(Value::ServerError(error)) => error.into(),
        _ => (ErrorKind::Client, "the server refused").into(),
    }
}

/// The role from a reply to `ROLE`, or why the server does not allow the command.
fn read_role(
    value: Value,
    secret: Option<&str>,
) -> RedisResult<(Option<RoleReply>, Option<String>)> {
    match value {
        Value::ServerError(error) => {
            let error = refusal(&error, secret);
            let (code, detail) = (error.code(), error.detail());
            if denies_command(code.unwrap_or_default(), detail.unwrap_or_default()) {
                Ok((None, Some(error.to_string())))
            } else {
                Err(error)
            }
        }
        value => match role::parse(&value) {
            Ok(role) => Ok((Some(role), None)),
            Err(malformed) => Err(unexpected(malformed.to_string())),
        },
    }
}

/// What a node says of itself in `HELLO`.
#[derive(Debug)]
struct OwnWords {
    role: Option<Role>,
    in_cluster_mode: bool,
    zone: Option<String>,
}

fn read_hello(hello: &Value) -> RedisResult<OwnWords> {
    let fields = Fields::of(hello)
        .map_err(|_| unexpected("HELLO was answered with something else".to_owned()))?;
    let mode = fields.get("mode");
    if mode == Some(b"sentinel") {
        return Err((
            ErrorKind::InvalidClientConfig,
            "the handshake failed",
            "this is a Sentinel, not a data node; give Sentinels with their master name \
             (redis-sentinel://…#name, Config::new)"
                .to_owned(),
        )
            .into());
    }
    Ok(OwnWords {
        role: match fields.get("role") {
            Some(b"master") => Some(Role::Master),
            Some(b"replica" | b"slave") => Some(Role::Replica),
            _ => None,
        },
        in_cluster_mode: mode == Some(b"cluster"),
        zone: fields.get("availability_zone").and_then(info::text_of),
    })
}

fn unexpected(detail: String) -> RedisError {
    (
        ErrorKind::UnexpectedReturnType,
        "the handshake failed",
        detail,
    )
        .into()
}

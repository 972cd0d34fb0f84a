//! What data nodes and Sentinels answer alike: HELLO, AUTH, PING, CLIENT, SUBSCRIBE.

use super::conn::{Conn, Session};
use super::value::Value;

/// Who is asked.
pub(super) struct Identity<'a> {
    /// `standalone` or `sentinel`
    pub(super) mode: &'a str,
    /// `master` or `replica`; Sentinels have none.
    pub(super) role: Option<&'a str>,
    pub(super) password: Option<&'a str>,
    /// Whether HELLO is known (Redis 6).
    pub(super) hello: bool,
}

const NOAUTH: &str = "NOAUTH Authentication required.";
const WRONGPASS: &str = "WRONGPASS invalid username-password pair or user is disabled.";
const NOAUTH_HELLO: &str = "NOAUTH HELLO must be called with the client already authenticated, \
    otherwise the HELLO <proto> AUTH <user> <pass> option can be used to authenticate the client \
    and select the RESP protocol version at the same time";
const AUTH_WITHOUT_PASSWORD: &str = "ERR AUTH <password> called without any password configured \
    for the default user. Are you sure your configuration is correct?";

/// The reply, or `None` when the command is not one of these.
pub(super) fn answer(conn: &Conn, command: &[String], who: &Identity<'_>) -> Option<Value> {
    let words: Vec<&str> = command.iter().map(String::as_str).collect();
    let name = words[0].to_ascii_uppercase();
    match name.as_str() {
        "AUTH" => return Some(auth(conn, &words[1..], who)),
        "HELLO" if who.hello => return Some(hello(conn, &words[1..], who)),
        _ if who.password.is_some() && !conn.session.lock().authenticated => {
            return Some(Value::error(NOAUTH));
        }
        _ => {}
    }
    Some(match name.as_str() {
        "PING" => ping(conn, words.get(1).copied()),
        "CLIENT" => client(conn, &words[1..]),
        "SUBSCRIBE" | "PSUBSCRIBE" => subscribe(conn, &name, &words[1..]),
        "UNSUBSCRIBE" | "PUNSUBSCRIBE" => unsubscribe(conn, &name, &words[1..]),
        _ => return None,
    })
}

pub(super) fn unknown_command(command: &[String]) -> Value {
    let arguments: String = command[1..]
        .iter()
        .map(|word| format!("'{word}' "))
        .collect();
    let name = &command[0];
    Value::error(format!(
        "ERR unknown command '{name}', with args beginning with: {arguments}"
    ))
}

fn auth(conn: &Conn, arguments: &[&str], who: &Identity<'_>) -> Value {
    let (user, password) = match arguments {
        [password] if who.password.is_some() => ("default", *password),
        [_] => return Value::error(AUTH_WITHOUT_PASSWORD),
        [user, password] => (*user, *password),
        _ => return Value::error("ERR syntax error"),
    };
    let accepted = user == "default" && who.password.is_none_or(|right| right == password);
    if accepted {
        conn.session.lock().authenticated = true;
        Value::ok()
    } else {
        Value::error(WRONGPASS)
    }
}

fn hello(conn: &Conn, arguments: &[&str], who: &Identity<'_>) -> Value {
    let mut protocol = conn.protocol();
    let mut rest = arguments;
    if let Some((version, options)) = arguments.split_first() {
        protocol = match *version {
            "2" => 2,
            "3" => 3,
            _ => return Value::error("NOPROTO unsupported protocol version"),
        };
        rest = options;
    }
    loop {
        match rest {
            [] => break,
            [option, user, password, tail @ ..] if option.eq_ignore_ascii_case("AUTH") => {
                let reply = auth(conn, &[*user, *password], who);
                if matches!(reply, Value::Error(_)) {
                    return reply;
                }
                rest = tail;
            }
            [option, name, tail @ ..] if option.eq_ignore_ascii_case("SETNAME") => {
                conn.session.lock().name = Some((*name).to_owned());
                rest = tail;
            }
            [option, ..] => {
                return Value::error(format!("ERR Syntax error in HELLO option '{option}'"));
            }
        }
    }
    if who.password.is_some() && !conn.session.lock().authenticated {
        return Value::error(NOAUTH_HELLO);
    }
    conn.set_protocol(protocol);
    let mut fields = vec![
        ("server", Value::bulk("redis")),
        ("version", Value::bulk("7.0.15")),
        ("proto", Value::Int(protocol.into())),
        ("id", Value::Int(client_id(conn))),
        ("mode", Value::bulk(who.mode)),
    ];
    fields.extend(who.role.map(|role| ("role", Value::bulk(role))));
    fields.push(("modules", Value::Array(Vec::new())));
    let fields = fields
        .into_iter()
        .map(|(key, value)| (Value::bulk(key), value));
    Value::Map(fields.collect())
}

fn ping(conn: &Conn, text: Option<&str>) -> Value {
    let subscribed = conn.session.lock().subscriptions() > 0;
    match (subscribed && conn.protocol() == 2, text) {
        (true, text) => Value::Array(["pong", text.unwrap_or_default()].map(Value::bulk).into()),
        (false, Some(text)) => Value::bulk(text),
        (false, None) => Value::Status("PONG".to_owned()),
    }
}

fn client(conn: &Conn, arguments: &[&str]) -> Value {
    let subcommand = arguments.first().copied().unwrap_or_default();
    let mut session = conn.session.lock();
    match (subcommand.to_ascii_uppercase().as_str(), arguments) {
        ("SETNAME", [_, name]) => {
            session.name = Some((*name).to_owned());
            Value::ok()
        }
        ("GETNAME", _) => session.name.clone().map_or(Value::Null, Value::bulk),
        ("ID", _) => Value::Int(client_id(conn)),
        ("NO-EVICT" | "REPLY" | "KILL" | "TRACKING", _) => Value::ok(),
        // CLIENT SETINFO came with 7.2, and this claims to be 7.0.
        _ => Value::error(format!(
            "ERR unknown subcommand '{subcommand}'. Try CLIENT HELP."
        )),
    }
}

fn client_id(conn: &Conn) -> i64 {
    i64::try_from(conn.id()).map_or(i64::MAX, |id| id + 1)
}

fn subscriptions<'a>(
    session: &'a mut Session,
    name: &str,
) -> &'a mut std::collections::BTreeSet<String> {
    if name.starts_with('P') {
        &mut session.patterns
    } else {
        &mut session.channels
    }
}

// One confirmation for each channel, so several pushes in a row are one reply here.
fn subscribe(conn: &Conn, name: &str, channels: &[&str]) -> Value {
    let mut session = conn.session.lock();
    let kind = name.to_ascii_lowercase();
    let mut confirmations = Vec::new();
    for channel in channels {
        subscriptions(&mut session, name).insert((*channel).to_owned());
        let count = session.subscriptions();
        confirmations.push(confirmation(&kind, Value::bulk(*channel), count));
    }
    Value::Several(confirmations)
}

fn unsubscribe(conn: &Conn, name: &str, channels: &[&str]) -> Value {
    let mut session = conn.session.lock();
    let kind = name.to_ascii_lowercase();
    let channels: Vec<String> = match channels {
        [] => subscriptions(&mut session, name).iter().cloned().collect(),
        _ => channels
            .iter()
            .map(|channel| (*channel).to_owned())
            .collect(),
    };
    if channels.is_empty() {
        return confirmation(&kind, Value::Null, session.subscriptions());
    }
    let mut confirmations = Vec::new();
    for channel in channels {
        subscriptions(&mut session, name).remove(&channel);
        let count = session.subscriptions();
        confirmations.push(confirmation(&kind, Value::bulk(channel), count));
    }
    Value::Several(confirmations)
}

fn confirmation(kind: &str, channel: Value, count: usize) -> Value {
    let count = i64::try_from(count).expect("nobody subscribes that often");
    Value::Push(vec![Value::bulk(kind), channel, Value::Int(count)])
}

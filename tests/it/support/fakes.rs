//! Fake nodes and Sentinels that several tests need.

use testkit::fake::{self, Action, Conn, FakeSentinel, FakeServer, SentinelView};

/// A master that answers a few commands as Redis would, except where `special` says what to do.
pub(crate) fn node_with(
    special: impl Fn(&Conn, &[String]) -> Option<Action> + Send + Sync + 'static,
) -> FakeServer {
    FakeServer::start(move |conn, words| {
        let words = words.iter().map(|word| String::from_utf8_lossy(word));
        let words: Vec<String> = words.map(std::borrow::Cow::into_owned).collect();
        special(conn, &words).unwrap_or_else(|| {
            let reply = answer(conn, &words);
            Action::Reply(reply.encode(conn.protocol()))
        })
    })
}

fn answer(conn: &Conn, words: &[String]) -> fake::Value {
    use fake::Value;
    let own_id = i64::try_from(conn.id()).unwrap();
    let command = words[0].to_ascii_uppercase();
    match (command.as_str(), &words[1..]) {
        ("HELLO", arguments) => {
            let protocol = arguments
                .first()
                .map_or(2, |version| version.parse().unwrap());
            conn.set_protocol(protocol);
            let fields = [
                ("server", Value::bulk("redis")),
                ("proto", Value::Int(protocol.into())),
                ("mode", Value::bulk("standalone")),
                ("role", Value::bulk("master")),
            ];
            Value::Map(fields.map(|(key, value)| (Value::bulk(key), value)).into())
        }
        ("ROLE", _) => Value::Array(vec![
            Value::bulk("master"),
            Value::Int(0),
            Value::Array(Vec::new()),
        ]),
        ("PING", _) => Value::Status("PONG".to_owned()),
        ("ECHO", [text]) => Value::bulk(text.as_str()),
        ("CLIENT", [id]) if id == "ID" => Value::Int(own_id),
        ("SELECT" | "AUTH" | "SET", _) => Value::ok(),
        _ => Value::error(format!("ERR unknown command '{}'", words[0])),
    }
}

/// A Sentinel that names this node as the master, and nothing else.
pub(crate) fn sentinel_of(port: u16) -> FakeSentinel {
    fake::sentinel(SentinelView::of_master(port))
}

/// A Sentinel with an id of its own: two with the same id count as one.
pub(crate) fn sentinel_with_id(view: SentinelView) -> FakeSentinel {
    let sentinel = fake::sentinel(view);
    let id = format!("{:040x}", sentinel.port());
    sentinel.update(|view| view.id = id);
    sentinel
}

/// As [`sentinel_with_id`], for one that names this node as the master of this epoch.
pub(crate) fn sentinel_at(epoch: u64, master: u16) -> FakeSentinel {
    let mut view = SentinelView::of_master(master);
    view.epoch = epoch;
    sentinel_with_id(view)
}

pub(crate) fn bulk(text: &str) -> Vec<u8> {
    format!("${}\r\n{text}\r\n", text.len()).into_bytes()
}

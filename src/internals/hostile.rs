//! What the fuzz targets assert about texts from outside: from Sentinels, from nodes, URLs, and tokens.

use redis::{Value, VerbatimFormat};

use crate::{
    config::{Config, ReplyLimits},
    internals::decode_in_pieces,
    node::{Node, Role},
    position::{MAX_OFFSET, report, token::Token},
    sentinel::{
        event::{self, EventKind},
        reply,
    },
    wire::role,
};

const NAME: &str = "mymaster";

/// Reading any answer of a Sentinel or a node does not panic, never gives an impossible address, and
/// gives the same for RESP2 and RESP3.
pub fn read_sentinel_reply(data: &[u8]) {
    let limits = ReplyLimits {
        max_bulk_bytes: 1 << 16,
        max_reply_bytes: 1 << 18,
        ..ReplyLimits::default()
    };
    for (value, _) in decode_in_pieces(data, &[], limits).replies {
        // A list of nodes is one in both.
        let flat = match &value {
            Value::Array(_) => flattened(&value),
            other => other.clone(),
        };
        let both = [&value, &flat];
        reply::master_addr(&value)
            .iter()
            .flatten()
            .for_each(check_node);
        let [new, old] = [&value, &flattened(&value)].map(reply::master_info);
        assert_eq!(new.as_ref().ok(), old.as_ref().ok());
        new.iter().for_each(|master| check_node(&master.node));
        let [new, old] = both.map(reply::replicas);
        assert_eq!(new.as_ref().ok(), old.as_ref().ok());
        for replica in new.iter().flat_map(|replicas| &replicas.entries) {
            check_node(&replica.node);
            replica.master.iter().for_each(check_node);
        }
        let [new, old] = both.map(reply::sentinels);
        assert_eq!(new.as_ref().ok(), old.as_ref().ok());
        new.iter().flatten().for_each(|peer| check_node(&peer.node));
        if let Ok(role::RoleReply::Replica { master, .. }) = role::parse(&value) {
            check_node(&master);
        }
        for text in [
            reply::master_info(&value).err(),
            reply::replicas(&value).err(),
        ] {
            text.iter().for_each(|error| check_text(&error.to_string()));
        }
    }
}

/// Maps as RESP2 has them: lists of names and values.
fn flattened(value: &Value) -> Value {
    match value {
        Value::Array(items) => Value::Array(items.iter().map(flattened).collect()),
        Value::Map(pairs) => {
            let flat = pairs.iter().flat_map(|(name, value)| [name, value]);
            Value::Array(flat.map(flattened).collect())
        }
        other => other.clone(),
    }
}

fn check_node(node: &Node) {
    assert!(!node.host().is_empty() && node.port() != 0, "{node}");
    check_text(&node.to_string());
}

/// Fit for one line of a log.
fn check_text(text: &str) {
    assert!(!text.contains(char::is_control), "{text:?}");
    assert!(text.len() < 1000, "{} bytes", text.len());
}

/// Reading any message on any channel does not panic. A message that is read as an event is about our
/// master, and the event's addresses stand in the message. The first line of `data` is the channel.
pub fn read_event(data: &[u8]) {
    let end = data.iter().position(|byte| *byte == b'\n');
    let (channel, payload) = data.split_at(end.unwrap_or(data.len()));
    let payload = payload.get(1..).unwrap_or_default();
    let Some(event) = event::parse(channel, payload, NAME) else {
        return;
    };
    let text = String::from_utf8_lossy(payload);
    for node in event.node.iter().chain(&event.master) {
        check_node(node);
    }
    if matches!(event.kind, EventKind::TiltEntered | EventKind::TiltLeft) {
        assert_eq!((event.node, event.master), (None, None));
        return;
    }
    assert!(text.split(' ').any(|word| word == NAME), "{text}");
    assert_eq!(event::parse(channel, payload, "another"), None, "{text}");
}

/// Reading any answer to `INFO replication` does not panic. A position stands in the answer, never the one
/// up to which a replica only received, and is the same in RESP2 and RESP3. `data` is the text.
pub fn read_position(data: &[u8]) {
    let found = report::parse_text(data);
    assert_eq!(
        report::parse(&Value::BulkString(data.to_vec())),
        found,
        "RESP2"
    );
    let text = String::from_utf8_lossy(data);
    if let Ok(text) = str::from_utf8(data) {
        let verbatim = Value::VerbatimString {
            format: VerbatimFormat::Text,
            text: text.to_owned(),
        };
        assert_eq!(report::parse(&verbatim), found, "RESP3");
    }
    let report = match found {
        Ok(report) => report,
        Err(error) => return check_text(&error.to_string()),
    };
    let says = |names: [&str; 2], value: &str| {
        let mut lines = text.split('\n').filter_map(|line| line.split_once(':'));
        lines.any(|(name, found)| names.contains(&name) && found.trim_end_matches('\r') == value)
    };
    let offset = report.position.offset;
    assert!(offset <= MAX_OFFSET, "{offset}");
    let (roles, offsets) = match report.role {
        Role::Master => (
            ["master", "primary"],
            ["master_repl_offset", "primary_repl_offset"],
        ),
        Role::Replica => (
            ["slave", "replica"],
            ["slave_repl_offset", "replica_repl_offset"],
        ),
    };
    assert!(roles.iter().any(|role| says(["role", "role"], role)));
    assert!(says(offsets, &offset.to_string()));
    let id = report.position.timeline.to_string();
    assert!(says(["master_replid", "primary_replid"], &id));
    if let Some(origin) = report.origin {
        assert_eq!(report.role, Role::Master);
        assert!((1..=offset + 1).contains(&origin.cut));
        let id = origin.parent.to_string();
        assert!(says(["master_replid2", "primary_replid2"], &id));
    }
}

/// Any text is a token that is written exactly so, or an error.
pub fn read_token(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else {
        return;
    };
    match text.parse::<Token>() {
        Ok(token) => {
            assert_eq!(token.to_string(), text);
            assert!(text.len() <= 83 && text.is_ascii(), "{text}");
        }
        Err(error) => check_text(&error.to_string()),
    }
}

const CANARY: &str = "c4n4ry-in-a-c04l-m1ne";

/// Reading a URL does not panic; what is shown of the configuration does not depend on its secrets,
/// and no error shows one.
pub fn read_url(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else {
        return;
    };
    if let Ok(config) = Config::from_url(text) {
        config.validate().expect("it was validated");
        let mut other = config.clone();
        for name in [&mut other.username, &mut other.sentinel_username] {
            name.iter_mut().for_each(|name| *name = "x".to_owned());
        }
        for secret in [&mut other.password, &mut other.sentinel_password] {
            secret.iter_mut().for_each(|secret| *secret = "x".into());
        }
        assert_eq!(format!("{config:?}"), format!("{other:?}"));
    }
    if text.contains(CANARY) {
        return;
    }
    for url in [
        format!("redis-sentinel://user:{CANARY}@{text}"),
        format!("redis-sentinel://{text}?sentinel_password={CANARY}#m"),
        format!("redis-sentinel://:{CANARY}{text}"),
    ] {
        let shown = match Config::from_url(&url) {
            // The rest of the URL may have made a part of it a name, which is no secret.
            Ok(_) => continue,
            Err(error) => format!("{error} {error:?}"),
        };
        assert!(!shown.contains(CANARY), "{shown}");
    }
}

#[cfg(test)]
mod tests;

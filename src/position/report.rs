//! What a node says in `INFO replication`, read without trusting it.

use redis::Value;

use crate::{
    node::Role,
    position::{MAX_OFFSET, Position, decimal, timeline::Timeline},
    util::escape::escape,
    wire::value::{Malformed, plain, text, unexpected},
};

/// A master writes some 80 bytes for each of its replicas.
const MAX_TEXT: usize = 256 * 1024;

/// How far a node's data goes, at the moment when it answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Report {
    pub(crate) role: Role,
    pub(crate) position: Position,
    /// Which timeline the node's own came from. Only a master knows: a replica may say where it began to
    /// follow, which is less, and a replica of Valkey may still name the one before.
    pub(crate) origin: Option<Origin>,
}

/// Where a timeline began.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Origin {
    pub(crate) parent: Timeline,
    /// The first offset that the two do not share.
    pub(crate) cut: u64,
}

/// Why a node has no position.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NoPosition {
    /// It never had its master's data, or threw it away to load it anew, or failed to load it.
    #[error("it has no data of its master")]
    NoData,
    #[error(transparent)]
    Malformed(#[from] Malformed),
}

/// Reads the reply to `INFO replication`.
pub(crate) fn parse(reply: &Value) -> Result<Report, NoPosition> {
    match text(reply) {
        Some(text) => parse_text(text),
        None => Err(malformed(not_text(plain(reply)))),
    }
}

/// Reads the text of the reply to `INFO replication`.
pub(crate) fn parse_text(text: &[u8]) -> Result<Report, NoPosition> {
    if text.len() > MAX_TEXT {
        return Err(malformed(format!("more than {MAX_TEXT} bytes")));
    }
    let fields = Fields::of(text)?;
    let timeline = fields.timeline.and_then(Timeline::parse);
    let timeline = timeline.ok_or_else(|| bad("replication id", fields.timeline))?;
    let at = |offset| Position { timeline, offset };
    match fields.role {
        Some(b"master" | b"primary") => {
            let offset = number(fields.master_offset);
            let offset = offset.ok_or_else(|| bad("master's offset", fields.master_offset))?;
            Ok(Report {
                role: Role::Master,
                position: at(offset),
                origin: fields.origin(at(offset)),
            })
        }
        Some(b"slave" | b"replica") => Ok(Report {
            role: Role::Replica,
            position: at(fields.applied()?),
            origin: None,
        }),
        other => Err(bad("role of a data node", other)),
    }
}

/// The fields that matter. Redis and Valkey write the older names; the newer ones are how Valkey calls the
/// same things elsewhere.
#[derive(Default)]
struct Fields<'a> {
    role: Option<&'a [u8]>,
    timeline: Option<&'a [u8]>,
    parent: Option<&'a [u8]>,
    cut: Option<&'a [u8]>,
    /// A replica has one too, which is no position: it outlives the data when a resync fails.
    master_offset: Option<&'a [u8]>,
    /// What was executed. What was only received is in `slave_read_repl_offset`.
    applied: Option<&'a [u8]>,
    link: Option<&'a [u8]>,
}

impl<'a> Fields<'a> {
    fn of(text: &'a [u8]) -> Result<Self, NoPosition> {
        let mut fields = Self::default();
        for line in text.split(|byte| *byte == b'\n') {
            let Some(colon) = memchr::memchr(b':', line) else {
                continue;
            };
            let (name, value) = line.split_at(colon);
            let Some(field) = fields.named(name) else {
                continue;
            };
            let value = &value[1..];
            let value = value.strip_suffix(b"\r").unwrap_or(value);
            // Of two that differ none is to be believed.
            if field.replace(value).is_some_and(|other| other != value) {
                return Err(malformed(format!("two different {}", escape(name))));
            }
        }
        Ok(fields)
    }

    fn named(&mut self, name: &[u8]) -> Option<&mut Option<&'a [u8]>> {
        Some(match name {
            b"role" => &mut self.role,
            b"master_replid" | b"primary_replid" => &mut self.timeline,
            b"master_replid2" | b"primary_replid2" => &mut self.parent,
            b"second_repl_offset" => &mut self.cut,
            b"master_repl_offset" | b"primary_repl_offset" => &mut self.master_offset,
            b"slave_repl_offset" | b"replica_repl_offset" => &mut self.applied,
            b"master_link_status" | b"primary_link_status" => &mut self.link,
            _ => return None,
        })
    }

    /// Up to where a replica has executed what its master sent.
    fn applied(&self) -> Result<u64, NoPosition> {
        let link = self
            .link
            .ok_or_else(|| malformed("no link status".into()))?;
        let applied = match self.applied {
            Some(b"-1") => return Err(NoPosition::NoData),
            applied => number(applied).ok_or_else(|| bad("replica's offset", applied))?,
        };
        // Without a link, and without the state of a former one, the server writes the constant 1.
        if link != b"up" && applied <= 1 {
            return Err(NoPosition::NoData);
        }
        Ok(applied)
    }

    /// Where a master's timeline began. None that cannot be: a master counts on from the cut.
    fn origin(&self, own: Position) -> Option<Origin> {
        let origin = Origin {
            parent: Timeline::parse(self.parent?)?,
            cut: number(self.cut)?,
        };
        let possible = origin.parent != own.timeline && (1..=own.offset + 1).contains(&origin.cut);
        possible.then_some(origin)
    }
}

fn number(field: Option<&[u8]>) -> Option<u64> {
    decimal(field?, MAX_OFFSET)
}

#[cold]
fn bad(what: &str, found: Option<&[u8]>) -> NoPosition {
    malformed(match found {
        Some(found) => format!("{} is no {what}", escape(found)),
        None => format!("no {what}"),
    })
}

#[cold]
fn malformed(reason: String) -> NoPosition {
    Malformed::new("INFO replication", reason).into()
}

#[cold]
fn not_text(value: &Value) -> String {
    match value {
        Value::ServerError(_) | Value::Nil => unexpected(value),
        _ => "not a text".into(),
    }
}

#[cfg(test)]
mod tests;

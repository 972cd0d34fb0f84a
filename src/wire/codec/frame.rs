//! An aggregate that still misses elements.

use redis::{PushKind, Value};

use crate::wire::codec::error::{CodecError, Fault};

/// No value is shorter on the wire than the RESP3 null, `_\r\n`.
const SHORTEST_VALUE: usize = 3;
/// Room for elements whose bytes are not at hand.
const SMALL_START: usize = 4;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Array,
    Set,
    Push,
    Map,
    Attribute,
}

impl Kind {
    pub(super) fn values_per_entry(self) -> u64 {
        match self {
            Self::Array | Self::Set | Self::Push => 1,
            Self::Map | Self::Attribute => 2,
        }
    }
}

enum Parts {
    List(Vec<Value>),
    /// The entries, and the key of the next one.
    Pairs(Vec<(Value, Value)>, Option<Value>),
}

pub(super) struct Frame {
    kind: Kind,
    /// Values still to come.
    missing: usize,
    /// Bytes that the aggregates around this one still need at least.
    owed: usize,
    parts: Parts,
}

impl Frame {
    /// `at_hand` bytes follow the header. Only as much room is made as they can fill, after what
    /// the aggregates around this one need of them: nested headers cannot add up their claims.
    pub(super) fn new(kind: Kind, values: usize, outer: Option<&Self>, at_hand: usize) -> Self {
        let owed = outer.map_or(0, |outer| {
            let still = outer.missing.saturating_sub(1);
            outer
                .owed
                .saturating_add(still.saturating_mul(SHORTEST_VALUE))
        });
        let possible = at_hand.saturating_sub(owed) / SHORTEST_VALUE;
        let room = values.min(possible.max(SMALL_START));
        let parts = match kind {
            Kind::Array | Kind::Set | Kind::Push => Parts::List(Vec::with_capacity(room)),
            Kind::Map | Kind::Attribute => Parts::Pairs(Vec::with_capacity(room / 2), None),
        };
        Self {
            kind,
            missing: values,
            owed,
            parts,
        }
    }

    #[inline]
    pub(super) fn is_complete(&self) -> bool {
        self.missing == 0
    }

    #[inline(always)]
    pub(super) fn add(&mut self, value: Value) {
        match &mut self.parts {
            Parts::List(list) => push(list, value, self.missing),
            Parts::Pairs(pairs, key) => match key.take() {
                None => *key = Some(value),
                Some(key) => push(pairs, (key, value), self.missing.div_ceil(2)),
            },
        }
        self.missing -= 1;
    }

    #[cfg(test)]
    pub(super) fn held(&self) -> usize {
        match &self.parts {
            Parts::List(list) => list.capacity() * size_of::<Value>(),
            Parts::Pairs(pairs, _) => pairs.capacity() * size_of::<(Value, Value)>(),
        }
    }

    pub(super) fn finish(self) -> Result<Value, Fault> {
        Ok(match (self.kind, self.parts) {
            (Kind::Array, Parts::List(list)) => Value::Array(list),
            (Kind::Set, Parts::List(list)) => Value::Set(list),
            (Kind::Push, Parts::List(list)) => return push_value(list),
            (Kind::Map, Parts::Pairs(pairs, None)) => Value::Map(pairs),
            (Kind::Attribute, Parts::Pairs(attributes, Some(data))) => Value::Attribute {
                data: Box::new(data),
                attributes,
            },
            _ => unreachable!("BUG: an aggregate of one kind with the parts of another"),
        })
    }
}

/// Doubles like `Vec::push`, but never beyond what the header declared.
#[inline]
fn push<T>(list: &mut Vec<T>, item: T, missing: usize) {
    if list.len() == list.capacity() {
        list.reserve_exact(list.len().max(SMALL_START).min(missing));
    }
    list.push(item);
}

fn push_value(list: Vec<Value>) -> Result<Value, Fault> {
    let mut list = list.into_iter();
    let kind = match list.next() {
        Some(Value::BulkString(kind)) => String::from_utf8(kind).map_err(|error| {
            CodecError::malformed("kind of push is not UTF-8", error.as_bytes())
        })?,
        Some(Value::SimpleString(kind)) => kind,
        _ => return Err(CodecError::malformed("kind of push is not a string", b"")),
    };
    Ok(Value::Push {
        kind: push_kind(kind),
        data: list.collect(),
    })
}

fn push_kind(kind: String) -> PushKind {
    match kind.as_str() {
        "invalidate" => PushKind::Invalidate,
        "message" => PushKind::Message,
        "pmessage" => PushKind::PMessage,
        "smessage" => PushKind::SMessage,
        "subscribe" => PushKind::Subscribe,
        "psubscribe" => PushKind::PSubscribe,
        "ssubscribe" => PushKind::SSubscribe,
        "unsubscribe" => PushKind::Unsubscribe,
        "punsubscribe" => PushKind::PUnsubscribe,
        "sunsubscribe" => PushKind::SUnsubscribe,
        _ => PushKind::Other(kind),
    }
}

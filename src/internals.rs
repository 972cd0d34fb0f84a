//! For this crate's benches, fuzz targets and tests only; not part of the public contract.
#![allow(
    missing_docs,
    missing_debug_implementations,
    clippy::missing_errors_doc,
    clippy::missing_panics_doc,
    reason = "nobody outside this repository is to use it"
)]

mod hostile;

use std::time::Duration;

use bytes::BytesMut;
use redis::{RedisResult, Value};
use tokio::time::Instant;

use crate::{
    config::{Config, ReplyLimits},
    node::{Node, Role},
    wire::{codec::Decoder, connection::WireConnection, handshake},
};

pub use crate::internals::hostile::{
    read_event, read_position, read_sentinel_reply, read_token, read_url,
};

/// The connection that the pools lend, without a pool: other pools are compared with it.
pub struct RawConnection(
    #[allow(dead_code, reason = "held for its size and its drop")] WireConnection,
);

impl RawConnection {
    /// Connects to a master on this port of the loopback address.
    pub async fn connect(port: u16) -> RedisResult<Self> {
        let config = Config::new(["127.0.0.1"], "any");
        let node = Node::new("127.0.0.1", port);
        let deadline = Instant::now() + Duration::from_secs(5);
        let (wire, _) = handshake::connect(&config, &node, Role::Master, deadline).await?;
        Ok(Self(wire))
    }
}

/// The decoder of `wire::codec`, with its error as text.
pub struct ReplyDecoder(Decoder);

impl ReplyDecoder {
    pub fn new(limits: ReplyLimits) -> Self {
        Self(Decoder::new(limits))
    }

    #[inline]
    pub fn buf_mut(&mut self) -> &mut BytesMut {
        self.0.buf_mut()
    }

    #[inline]
    pub fn decode(&mut self) -> Result<Option<Value>, String> {
        self.0.decode().map_err(|error| error.to_string())
    }

    pub fn reserve(&mut self) {
        self.0.reserve();
    }

    pub fn is_idle(&self) -> bool {
        self.0.is_idle()
    }

    pub fn shrink(&mut self) {
        self.0.shrink();
    }
}

/// What a decoder made of a stream of bytes.
#[derive(Debug)]
pub struct Outcome {
    /// The replies, each with the offset at which it was complete.
    pub replies: Vec<(Value, usize)>,
    pub error: Option<String>,
    pub idle: bool,
}

/// Decodes `stream`, handed over in pieces of these sizes, over and over; no sizes means whole.
pub fn decode_in_pieces(stream: &[u8], sizes: &[usize], limits: ReplyLimits) -> Outcome {
    let mut decoder = ReplyDecoder::new(limits);
    let mut outcome = Outcome {
        replies: Vec::new(),
        error: None,
        idle: true,
    };
    let mut sizes = sizes.iter().cycle();
    let mut rest = stream;
    while !rest.is_empty() && outcome.error.is_none() {
        let size = sizes.next().map_or(rest.len(), |&size| size.max(1));
        let (piece, later) = rest.split_at(size.min(rest.len()));
        rest = later;
        decoder.reserve();
        decoder.buf_mut().extend_from_slice(piece);
        loop {
            match decoder.decode() {
                Ok(Some(value)) => {
                    let used = stream.len() - rest.len() - decoder.buf_mut().len();
                    outcome.replies.push((value, used));
                }
                Ok(None) => break,
                Err(error) => {
                    outcome.error = Some(error);
                    break;
                }
            }
        }
        if decoder.is_idle() {
            decoder.shrink();
        }
    }
    outcome.idle = decoder.is_idle();
    outcome
}

/// Equality by bits, where `==` says that no NaN equals itself and that both zeros are the same.
pub fn same(left: &Value, right: &Value) -> bool {
    let all = |left: &[Value], right: &[Value]| {
        left.len() == right.len() && left.iter().zip(right).all(|(l, r)| same(l, r))
    };
    let pairs = |left: &[(Value, Value)], right: &[(Value, Value)]| {
        left.len() == right.len()
            && left
                .iter()
                .zip(right)
                .all(|(l, r)| same(&l.0, &r.0) && same(&l.1, &r.1))
    };
    match (left, right) {
        (Value::Double(l), Value::Double(r)) => l.to_bits() == r.to_bits(),
        (Value::Array(l), Value::Array(r)) | (Value::Set(l), Value::Set(r)) => all(l, r),
        (Value::Map(l), Value::Map(r)) => pairs(l, r),
        (Value::Push { kind: l, data: ld }, Value::Push { kind: r, data: rd }) => {
            l == r && all(ld, rd)
        }
        (
            Value::Attribute {
                data: l,
                attributes: la,
            },
            Value::Attribute {
                data: r,
                attributes: ra,
            },
        ) => same(l, r) && pairs(la, ra),
        (l, r) => l == r,
    }
}

/// The whole comparison of the fuzz target: the first bytes choose how the rest is cut.
///
/// - However the stream is cut, the replies and the end are the same.
/// - Every reply is what `redis::parse_redis_value` makes of the same bytes.
/// - What that parser takes and this one refuses is not how Redis would write that value.
pub fn compare_with_redis(data: &[u8]) {
    let (cuts, stream) = data.split_at(data.len().min(2));
    let sizes: Vec<usize> = cuts.iter().map(|&cut| usize::from(cut) + 1).collect();
    let limits = ReplyLimits {
        max_bulk_bytes: 1 << 20,
        max_reply_bytes: 2 << 20,
        ..ReplyLimits::default()
    };

    let whole = decode_in_pieces(stream, &[], limits);
    for sizes in [&sizes[..], &[1]] {
        let cut = decode_in_pieces(stream, sizes, limits);
        assert_eq!(
            whole.error.is_some(),
            cut.error.is_some(),
            "cut by {sizes:?}"
        );
        assert_eq!(whole.idle, cut.idle, "cut by {sizes:?}");
        assert_eq!(whole.replies.len(), cut.replies.len(), "cut by {sizes:?}");
        for (whole, cut) in whole.replies.iter().zip(&cut.replies) {
            assert_eq!(whole.1, cut.1, "cut by {sizes:?}");
            assert!(
                same(&whole.0, &cut.0),
                "{whole:?} is {cut:?}, cut by {sizes:?}"
            );
        }
    }

    let mut start = 0;
    for (value, end) in &whole.replies {
        let bytes = &stream[start..*end];
        match redis::parse_redis_value(bytes) {
            Ok(theirs) => assert!(same(value, &theirs), "{value:?} is {theirs:?} for redis"),
            // Only this decoder accepts bytes that are not UTF-8, and this depth.
            Err(_) if str::from_utf8(bytes).is_err() || depth(value) >= 100 => {}
            Err(error) => panic!("{value:?} is {error} for redis"),
        }
        start = *end;
    }
    let rest = &stream[start..];
    assert_eq!(whole.idle, rest.is_empty());
    if !is_safe_for_redis(rest) {
        return;
    }
    if let Ok(value) = redis::parse_redis_value(rest) {
        assert!(whole.error.is_some(), "{value:?} was not seen");
        let mut canonical = Vec::new();
        let complete = encode(&value, &mut canonical);
        assert!(
            !complete || !rest.starts_with(&canonical),
            "{value:?} was refused"
        );
    }
}

/// False for huge declared lengths: the redis crate's parser trusts them.
fn is_safe_for_redis(bytes: &[u8]) -> bool {
    !bytes
        .windows(5)
        .any(|window| window.iter().all(u8::is_ascii_digit))
}

fn depth(value: &Value) -> usize {
    let pairs = |pairs: &[(Value, Value)]| {
        let depths = pairs
            .iter()
            .map(|(key, value)| depth(key).max(depth(value)));
        depths.max().unwrap_or(0)
    };
    let all = |values: &[Value]| values.iter().map(depth).max().unwrap_or(0);
    match value {
        Value::Array(values) | Value::Set(values) => 1 + all(values),
        Value::Push { data, .. } => 1 + all(data),
        Value::Map(entries) => 1 + pairs(entries),
        Value::Attribute { data, attributes } => 1 + depth(data).max(pairs(attributes)),
        _ => 0,
    }
}

/// Writes `value` as Redis would in RESP3. False where the value does not tell how it was written.
fn encode(value: &Value, out: &mut Vec<u8>) -> bool {
    let line = |out: &mut Vec<u8>, text: String| {
        out.extend_from_slice(text.as_bytes());
        out.extend_from_slice(b"\r\n");
        true
    };
    let blob = |out: &mut Vec<u8>, tag: char, bytes: &[u8]| {
        out.extend_from_slice(format!("{tag}{}\r\n", bytes.len()).as_bytes());
        out.extend_from_slice(bytes);
        out.extend_from_slice(b"\r\n");
        true
    };
    match value {
        Value::Nil => line(out, "_".to_owned()),
        Value::Int(number) => line(out, format!(":{number}")),
        Value::Double(number) => line(out, format!(",{number}")),
        Value::Boolean(truth) => line(out, format!("#{}", if *truth { 't' } else { 'f' })),
        Value::Okay => line(out, "+OK".to_owned()),
        Value::SimpleString(text) => line(out, format!("+{text}")),
        Value::BulkString(bytes) => blob(out, '$', bytes),
        Value::ServerError(error) => match error.details() {
            Some(details) => line(out, format!("-{} {details}", error.code())),
            None => line(out, format!("-{}", error.code())),
        },
        Value::Array(values) => {
            line(out, format!("*{}", values.len())) && values.iter().all(|value| encode(value, out))
        }
        Value::Set(values) => {
            line(out, format!("~{}", values.len())) && values.iter().all(|value| encode(value, out))
        }
        Value::Map(entries) => {
            line(out, format!("%{}", entries.len()))
                && entries
                    .iter()
                    .all(|(key, value)| encode(key, out) && encode(value, out))
        }
        _ => false,
    }
}

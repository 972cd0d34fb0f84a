use proptest::{
    collection::vec,
    prelude::{Just, Strategy, any, prop_assert, prop_assert_eq, prop_oneof, proptest},
};
use redis::{PushKind, Value};

use super::{Decoder, LARGE_READ, SMALL_READ, error::CodecError, token::LINE_LIMIT};
use crate::{
    config::ReplyLimits,
    internals::{compare_with_redis, decode_in_pieces, same},
};

fn limits(change: impl FnOnce(&mut ReplyLimits)) -> ReplyLimits {
    let mut limits = ReplyLimits::default();
    change(&mut limits);
    limits
}

fn decoder(bytes: &[u8]) -> Decoder {
    let mut decoder = Decoder::new(ReplyLimits::default());
    decoder.buf_mut().extend_from_slice(bytes);
    decoder
}

/// The first reply of `bytes`, or the error; `None` when it needs more.
fn first(bytes: &[u8]) -> Result<Option<Value>, CodecError> {
    decoder(bytes).decode()
}

fn first_within(limits: ReplyLimits, bytes: &[u8]) -> Result<Option<Value>, CodecError> {
    let mut decoder = Decoder::new(limits);
    decoder.buf_mut().extend_from_slice(bytes);
    decoder.decode()
}

fn bulk(text: impl AsRef<[u8]>) -> Vec<u8> {
    blob('$', text.as_ref())
}

fn blob(tag: char, bytes: &[u8]) -> Vec<u8> {
    [
        format!("{tag}{}\r\n", bytes.len()).as_bytes(),
        bytes,
        b"\r\n",
    ]
    .concat()
}

fn line(tag: char, text: impl std::fmt::Display) -> Vec<u8> {
    format!("{tag}{text}\r\n").into_bytes()
}

/// Well-formed replies as bytes. What they mean is for the redis crate to say.
fn leaf() -> impl Strategy<Value = Vec<u8>> {
    // A lone CR or LF is text, a pair of them is not.
    let text = "[^\r\n]{0,12}|[a-zA-Z ]{0,6}|a\rb|a\nb|OK";
    prop_oneof![
        4 => vec(any::<u8>(), 0..80).prop_map(bulk),
        1 => vec(any::<u8>(), 5000..9000).prop_map(bulk),
        2 => text.prop_map(|text| line('+', text)),
        2 => any::<i64>().prop_map(|number| line(':', number)),
        1 => any::<u32>().prop_map(|number| line(':', format!("+{number}"))),
        1 => Just(line(':', format!("-{:019}", 7))),
        1 => Just(b"$-1\r\n".to_vec()),
        1 => Just(b"*-1\r\n".to_vec()),
        1 => Just(b"_\r\n".to_vec()),
        1 => any::<bool>().prop_map(|truth| line('#', if truth { 't' } else { 'f' })),
        1 => any::<f64>().prop_map(|number| line(',', number)),
        1 => any::<f32>().prop_map(|number| line(',', format!("{number:e}"))),
        1 => "inf|-inf|nan|-nan|1[.]5E-7|10|-0|[+]3[.]25".prop_map(|text| line(',', text)),
        1 => "[-+]?[0-9]{1,60}".prop_map(|text| line('(', text)),
        2 => "(ERR|MOVED|LOADING|READONLY|WRONGTYPE|[A-Z]{0,5})( [^\r\n]{0,20})?"
            .prop_map(|text| line('-', text)),
        1 => vec(any::<u8>(), 0..40).prop_map(|text| blob('!', &text)),
        1 => ("txt|mkd|[a-z]{3}|é~", vec(any::<u8>(), 0..40)).prop_map(|(format, text)| {
            blob('=', &[format.as_bytes(), b":", &text].concat())
        }),
    ]
}

fn aggregate(tag: char, entries: usize, parts: &[Vec<u8>]) -> Vec<u8> {
    [line(tag, entries), parts.concat()].concat()
}

fn push_of(parts: &[Vec<u8>]) -> impl Strategy<Value = Vec<u8>> + use<> {
    let parts = parts.to_vec();
    let kind = "(p|s)?message|(p|s)?(un)?subscribe|invalidate|monitor|[a-zé]{0,5}";
    (kind, any::<bool>()).prop_map(move |(kind, simple)| {
        let kind = if simple { line('+', kind) } else { bulk(kind) };
        aggregate('>', 1 + parts.len(), &[vec![kind], parts.clone()].concat())
    })
}

fn reply() -> impl Strategy<Value = Vec<u8>> {
    leaf().prop_recursive(5, 40, 6, |inner| {
        let some = || vec(inner.clone(), 0..6);
        let pairs = || {
            let pair = (inner.clone(), inner.clone());
            vec(pair.prop_map(|(key, value)| [key, value].concat()), 0..4)
        };
        prop_oneof![
            4 => some().prop_map(|parts| aggregate('*', parts.len(), &parts)),
            1 => some().prop_map(|parts| aggregate('~', parts.len(), &parts)),
            2 => pairs().prop_map(|parts| aggregate('%', parts.len(), &parts)),
            1 => (pairs(), inner.clone()).prop_map(|(parts, data)| {
                [aggregate('|', parts.len(), &parts), data].concat()
            }),
            1 => some().prop_flat_map(|parts| push_of(&parts)),
        ]
    })
}

proptest! {
    #[test]
    fn every_well_formed_reply_is_what_the_redis_crate_makes_of_it(bytes in reply()) {
        let theirs = redis::parse_redis_value(&bytes).unwrap();
        let mut decoder = decoder(&bytes);
        let ours = decoder.decode().unwrap().unwrap();
        prop_assert!(same(&ours, &theirs), "{ours:?} is {theirs:?}");
        prop_assert!(decoder.is_idle());
    }

    #[test]
    fn pipelined_replies_cut_at_random_are_the_same_replies(
        replies in vec(reply(), 1..6),
        sizes in vec(1_usize..200, 1..8),
    ) {
        let stream = replies.concat();
        let outcome = decode_in_pieces(&stream, &sizes, ReplyLimits::default());
        prop_assert_eq!(outcome.error, None);
        prop_assert!(outcome.idle);
        prop_assert_eq!(outcome.replies.len(), replies.len());
        let mut end = 0;
        for ((ours, used), bytes) in outcome.replies.iter().zip(&replies) {
            end += bytes.len();
            prop_assert_eq!(*used, end);
            prop_assert!(same(ours, &redis::parse_redis_value(bytes).unwrap()));
        }
    }

    #[test]
    fn a_reply_with_its_end_missing_needs_more_and_resumes_at_every_cut(bytes in reply()) {
        let theirs = redis::parse_redis_value(&bytes).unwrap();
        let step = bytes.len().div_ceil(300);
        for cut in (1..bytes.len()).step_by(step) {
            let mut decoder = decoder(&bytes[..cut]);
            prop_assert_eq!(decoder.decode(), Ok(None));
            prop_assert!(!decoder.is_idle());
            decoder.buf_mut().extend_from_slice(&bytes[cut..]);
            let ours = decoder.decode().unwrap().unwrap();
            prop_assert!(same(&ours, &theirs), "cut at {}: {:?} is {:?}", cut, ours, theirs);
        }
    }

    #[test]
    fn arbitrary_bytes_do_what_the_fuzz_target_asks(
        bytes in vec(prop_oneof![any::<u8>(), "[-+:$*%~|>_,#!=(0-9\r\n]".prop_map(|s| s.as_bytes()[0])], 0..60),
    ) {
        compare_with_redis(&bytes);
    }

    #[test]
    fn a_spoilt_reply_does_what_the_fuzz_target_asks(
        bytes in reply(),
        at in any::<proptest::sample::Index>(),
        byte in any::<u8>(),
    ) {
        let mut data = [&[3, 50], &bytes[..]].concat();
        let at = at.index(data.len());
        data[at] = byte;
        compare_with_redis(&data);
    }
}

#[test]
fn every_file_of_the_fuzz_corpus_passes_the_comparison() {
    let corpus = concat!(env!("CARGO_MANIFEST_DIR"), "/fuzz/corpus/codec");
    // The published crate comes without the fuzz directory.
    let Ok(files) = std::fs::read_dir(corpus) else {
        return;
    };
    let mut count = 0;
    for file in files {
        compare_with_redis(&std::fs::read(file.unwrap().path()).unwrap());
        count += 1;
    }
    assert!(count >= 40, "only {count} files in {corpus}");
}

#[test]
fn several_replies_in_one_buffer_come_out_one_by_one() {
    let mut decoder = decoder(b"+OK\r\n:1\r\n$2\r\nhi\r\n*1\r\n_\r\n:2");
    assert_eq!(decoder.decode(), Ok(Some(Value::Okay)));
    assert_eq!(decoder.decode(), Ok(Some(Value::Int(1))));
    assert_eq!(decoder.decode(), Ok(Some(Value::BulkString(b"hi".into()))));
    assert_eq!(decoder.decode(), Ok(Some(Value::Array(vec![Value::Nil]))));
    assert_eq!(decoder.decode(), Ok(None));
    assert!(!decoder.is_idle());
    decoder.buf_mut().extend_from_slice(b"\r\n");
    assert_eq!(decoder.decode(), Ok(Some(Value::Int(2))));
    assert!(decoder.is_idle());
}

#[test]
fn a_bulk_string_that_looks_like_replies_is_one_string_at_every_cut() {
    let refreshes = b"+OK\r\n:1\r\n$1\r\nx\r\n*1\r\n_\r\n";
    let reply = [line('*', 2), bulk(refreshes), bulk(b"\r\n\r\n")].concat();
    let expected = vec![
        Value::BulkString(refreshes.to_vec()),
        Value::BulkString(b"\r\n\r\n".to_vec()),
    ];
    for size in 1..reply.len() {
        let outcome = decode_in_pieces(&reply, &[size], ReplyLimits::default());
        let end = reply.len();
        assert_eq!(outcome.replies, [(Value::Array(expected.clone()), end)]);
    }
}

#[test]
fn a_status_cut_before_its_end_leaves_no_trace_on_the_next_one() {
    for status in ["+OK\r\n", "_\r\n"] {
        for cut in 1..status.len() {
            let mut decoder = decoder(&status.as_bytes()[..cut]);
            assert_eq!(decoder.decode(), Ok(None));
            decoder
                .buf_mut()
                .extend_from_slice(&status.as_bytes()[cut..]);
            decoder.buf_mut().extend_from_slice(b"+\r\n+a\r\n");
            assert!(decoder.decode().unwrap().is_some());
            let empty = Value::SimpleString(String::new());
            assert_eq!(decoder.decode(), Ok(Some(empty)));
            assert_eq!(decoder.decode(), Ok(Some(Value::SimpleString("a".into()))));
        }
    }
}

#[test]
fn what_the_redis_crate_lets_pass_is_malformed() {
    let lax: &[&[u8]] = &[
        b"$-2\r\n",
        b"$+1\r\nx\r\n",
        b"$ 1\r\nx\r\n",
        b"$-0\r\n",
        b"$\r\n",
        b"$?\r\n",
        b"*-2\r\n",
        b"*?\r\n",
        b"*1 \r\n",
        b"~-1\r\n",
        b"%-1\r\n",
        b"|-1\r\n",
        b">-1\r\n",
        b">0\r\n",
        b"!-1\r\n",
        b"=-1\r\n",
        b": 1\r\n",
        b":1 \r\n",
        b":\r\n",
        b":1\n",
        b":00000000000000000001\r\n",
        b":9223372036854775808\r\n",
        b":-9223372036854775809\r\n",
        b":--1\r\n",
        b"_x\r\n",
        b"#\r\n",
        b"#T\r\n",
        b", 1\r\n",
        b",\r\n",
        b",1.2.3\r\n",
        b"(\r\n",
        b"(-\r\n",
        b"(1_000\r\n",
        b"(12x\r\n",
        b"=2\r\nab\r\n",
        b"=6\r\nab:cde\r\n",
        b"=5\r\ntext:\r\n",
        b"+\xff\r\n",
        b">1\r\n:1\r\n",
        b">1\r\n+OK\r\n",
        b">1\r\n$1\r\n\xff\r\n",
        b"$1\r\nxyz",
        b"$0\r\nx\r\n",
        b"$2\r\nhi\n\n",
    ];
    for bytes in lax {
        let outcome = first(bytes);
        assert!(
            matches!(outcome, Err(CodecError::Malformed { .. })),
            "{} gave {outcome:?}",
            bytes.escape_ascii()
        );
    }
}

#[test]
fn integers_reach_both_ends_of_their_range() {
    for number in [i64::MIN, i64::MIN + 1, -1, 0, i64::MAX - 1, i64::MAX] {
        assert_eq!(first(&line(':', number)), Ok(Some(Value::Int(number))));
    }
}

#[test]
fn an_error_that_is_not_utf8_is_still_an_error_reply() {
    let reply = b"-ERR unknown command '\xff\xfe'\r\n";
    let Ok(Some(Value::ServerError(error))) = first(reply) else {
        panic!("not an error");
    };
    assert_eq!(error.code(), "ERR");
    assert_eq!(error.details(), Some("unknown command '\u{fffd}\u{fffd}'"));
}

#[test]
fn pushes_carry_their_kind() {
    let reply = b">3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$1\r\nm\r\n";
    let data = vec![
        Value::BulkString(b"c".into()),
        Value::BulkString(b"m".into()),
    ];
    let kind = PushKind::Message;
    assert_eq!(first(reply), Ok(Some(Value::Push { kind, data })));
}

#[test]
fn another_protocol_is_refused_and_shown_escaped_and_cut_short() {
    let banner = b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\n";
    let error = first(banner).unwrap_err();
    assert_eq!(
        error.to_string(),
        "malformed reply: unknown type of reply, found \"HTTP/1.1 400 Bad Request\\r\\nConten...\""
    );
    let error = first(b"\x16\x03\x01\x1b[2J").unwrap_err().to_string();
    assert!(
        error.ends_with("found \"\\x16\\x03\\x01\\x1b[2J\""),
        "{error}"
    );
}

#[test]
fn an_error_stays_and_is_no_boundary() {
    let mut decoder = decoder(b"?\r\n");
    let error = decoder.decode().unwrap_err();
    decoder.buf_mut().clear();
    decoder.buf_mut().extend_from_slice(b"+OK\r\n");
    assert_eq!(decoder.decode(), Err(error));
    decoder.buf_mut().clear();
    assert!(!decoder.is_idle());
}

#[test]
fn depth_is_limited_to_the_level() {
    let within = limits(|limits| limits.max_depth = 3);
    for header in [
        "*1\r\n",
        "~1\r\n",
        "%1\r\n:1\r\n",
        "|1\r\n:1\r\n:2\r\n",
        ">2\r\n+x\r\n",
    ] {
        let nested = |levels| [header.repeat(levels).as_bytes(), b":1\r\n"].concat();
        assert!(first_within(within, &nested(3)).unwrap().is_some());
        let error = first_within(within, &nested(4)).unwrap_err();
        assert_eq!(error, CodecError::TooDeep { limit: 3 });
    }
    let error = first_within(within, b"*1\r\n*1\r\n*1\r\n*0\r\n").unwrap_err();
    assert_eq!(
        error.to_string(),
        "reply is nested deeper than max_depth (3 levels)"
    );
}

#[test]
fn ten_thousand_levels_are_an_error_however_high_the_limit() {
    for header in ["*1\r\n", "|0\r\n", "%1\r\n_\r\n"] {
        let nested = header.repeat(10_000);
        let error = first(nested.as_bytes()).unwrap_err();
        assert_eq!(error, CodecError::TooDeep { limit: 100 });
        let within = limits(|limits| limits.max_depth = usize::MAX);
        let error = first_within(within, nested.as_bytes()).unwrap_err();
        assert_eq!(error, CodecError::TooDeep { limit: 512 });
    }
}

#[test]
fn every_depth_that_the_redis_crate_takes_is_taken() {
    let nested = ["*1\r\n".repeat(99), "*0\r\n".into()].concat().into_bytes();
    let theirs = redis::parse_redis_value(&nested).unwrap();
    assert_eq!(first(&nested), Ok(Some(theirs)));
}

#[test]
fn bulk_strings_are_limited_before_they_arrive() {
    let within = limits(|limits| limits.max_bulk_bytes = 3);
    assert!(first_within(within, b"$3\r\nabc\r\n").unwrap().is_some());
    for tag in ['$', '!', '='] {
        let error = first_within(within, &line(tag, 4)).unwrap_err();
        assert_eq!(
            error,
            CodecError::BulkTooLong {
                declared: 4,
                limit: 3
            }
        );
    }
    let error = first(b"$536870913\r\n").unwrap_err();
    assert_eq!(
        error.to_string(),
        "bulk string of 536870913 bytes is longer than max_bulk_bytes (536870912)"
    );
    assert!(first(b"$9999999999999999999\r\n").is_err());
}

#[test]
fn elements_are_limited_before_they_arrive() {
    let within = limits(|limits| limits.max_elements = 3);
    assert!(
        first_within(within, b"*3\r\n:1\r\n:1\r\n:1\r\n")
            .unwrap()
            .is_some()
    );
    assert!(
        first_within(within, b"%1\r\n:1\r\n:1\r\n")
            .unwrap()
            .is_some()
    );
    for header in ["*4", "~4", ">4", "%2", "|2"] {
        let error = first_within(within, format!("{header}\r\n").as_bytes()).unwrap_err();
        assert_eq!(
            error,
            CodecError::TooManyElements {
                declared: 4,
                limit: 3
            }
        );
    }
    for header in [
        "*2147483647",
        "%9223372036854775807",
        "|9999999999999999999",
    ] {
        assert!(
            first(format!("{header}\r\n").as_bytes()).is_err(),
            "{header}"
        );
    }
}

#[test]
fn the_whole_reply_is_limited_however_it_is_cut() {
    let reply = b"*3\r\n$3\r\nabc\r\n:1\r\n+x\r\n";
    let exact = limits(|limits| limits.max_reply_bytes = reply.len());
    let short = limits(|limits| limits.max_reply_bytes = reply.len() - 1);
    let twice = reply.repeat(2);
    for sizes in [&[][..], &[1], &[7]] {
        let outcome = decode_in_pieces(&twice, sizes, exact);
        assert_eq!((outcome.replies.len(), outcome.error), (2, None));
        let outcome = decode_in_pieces(&twice, sizes, short);
        let error = format!("reply is longer than max_reply_bytes ({})", reply.len() - 1);
        assert_eq!((outcome.replies.len(), outcome.error), (0, Some(error)));
    }
    let error = first_within(short, b"*2\r\n:1\r\n$1000\r\n").unwrap_err();
    let limit = reply.len() - 1;
    assert_eq!(error, CodecError::ReplyTooLong { limit });
}

#[test]
fn a_line_without_an_end_is_limited_however_it_is_cut() {
    let longest = [b"+".to_vec(), vec![b'x'; LINE_LIMIT - 1], b"\r\n".to_vec()].concat();
    let longer = [b"+x", &longest[1..]].concat();
    for sizes in [&[][..], &[1], &[4096], &[LINE_LIMIT + 1], &[LINE_LIMIT + 2]] {
        let outcome = decode_in_pieces(&longest, sizes, ReplyLimits::default());
        assert_eq!(
            (outcome.replies.len(), outcome.error),
            (1, None),
            "{sizes:?}"
        );
        let outcome = decode_in_pieces(&longer, sizes, ReplyLimits::default());
        let error = "line has no end within 65536 bytes".to_owned();
        assert_eq!(outcome.error, Some(error), "{sizes:?}");
    }
}

#[test]
fn a_declared_length_allocates_nothing() {
    let mut decoder = decoder(b"$536870912\r\n");
    assert_eq!(decoder.decode(), Ok(None));
    assert!(decoder.reply.held() < 8 * 1024);
    decoder.reserve();
    assert!(decoder.buf.capacity() <= SMALL_READ);

    // Every header claims all that follows, a hundred times. The outermost gets room for it, the
    // innermost grows by doubling with the values that are there.
    let claims = [b"*1000000\r\n".repeat(100), b"_\r\n".repeat(10_000)].concat();
    let mut decoder = self::decoder(&claims);
    assert_eq!(decoder.decode(), Ok(None));
    let possible = claims.len() / 3 * size_of::<Value>();
    assert!(decoder.reply.held() <= 4 * possible);
}

#[test]
fn complete_elements_leave_the_buffer_so_that_no_pause_reads_them_again() {
    let reply = [line('*', 20_000), bulk("0123456789").repeat(20_000)].concat();
    let mut decoder = decoder(b"");
    let mut pieces = reply.chunks(4096).peekable();
    while let Some(piece) = pieces.next() {
        decoder.buf_mut().extend_from_slice(piece);
        let value = decoder.decode().unwrap();
        assert_eq!(value.is_some(), pieces.peek().is_none());
        assert!(decoder.buf.len() < "$10\r\n".len());
    }
}

#[test]
fn a_bulk_string_leaves_the_buffer_as_it_arrives_and_has_no_slack() {
    let length = 3 << 20;
    let mut decoder = decoder(&line('$', length));
    for piece in vec![b'v'; length].chunks(1000) {
        decoder.buf_mut().extend_from_slice(piece);
        assert_eq!(decoder.decode(), Ok(None));
        assert_eq!(decoder.buf.len(), 0);
    }
    decoder.buf_mut().extend_from_slice(b"\r\n");
    let Ok(Some(Value::BulkString(data))) = decoder.decode() else {
        panic!("not a bulk string");
    };
    assert_eq!((data.len(), data.capacity()), (length, length));
}

#[test]
fn a_long_line_is_searched_once() {
    let mut decoder = decoder(b"+");
    for _ in 0..1000 {
        decoder.buf_mut().extend_from_slice(b"0123456789");
        assert_eq!(decoder.decode(), Ok(None));
        assert_eq!(decoder.reply.searched(), decoder.buf.len());
    }
}

#[test]
fn nothing_is_allocated_before_the_first_read() {
    let decoder = Decoder::new(ReplyLimits::default());
    assert_eq!((decoder.buf.capacity(), decoder.reply.held()), (0, 0));
    assert!(decoder.is_idle());
}

/// One read that fills `bytes` of the room, and what it decodes to.
fn read(decoder: &mut Decoder, bytes: usize, byte: u8) -> usize {
    decoder.reserve();
    let room = decoder.buf.capacity() - decoder.buf.len();
    let filled = decoder.buf.len() + bytes.min(room);
    decoder.buf_mut().resize(filled, byte);
    room
}

#[test]
fn room_grows_while_reads_fill_it_and_shrinks_at_the_boundary() {
    let mut decoder = decoder(b"");
    let length = 1 << 20;
    read(&mut decoder, 0, 0);
    decoder.buf_mut().extend_from_slice(&line('$', length));
    assert_eq!(decoder.decode(), Ok(None));
    let mut missing = length;
    let mut rooms = Vec::new();
    while missing > 0 {
        let room = read(&mut decoder, missing, b'v');
        rooms.push(room);
        missing -= room.min(missing);
        assert_eq!(decoder.decode(), Ok(None));
    }
    decoder.buf_mut().extend_from_slice(b"\r\n");
    assert!(decoder.decode().unwrap().is_some());
    assert!(rooms[0] <= SMALL_READ);
    assert!(rooms.iter().all(|&room| room <= 2 * LARGE_READ));
    assert!(rooms.iter().any(|&room| room >= LARGE_READ));

    assert!(decoder.is_idle());
    decoder.shrink();
    assert_eq!(decoder.buf.capacity(), 0);
    assert!(read(&mut decoder, 1, b'+') <= SMALL_READ);
}

#[test]
fn small_replies_never_move_the_room_beyond_small() {
    let mut decoder = decoder(b"");
    for _ in 0..10_000 {
        decoder.reserve();
        decoder.buf_mut().extend_from_slice(&bulk([b'v'; 64]));
        assert!(decoder.decode().unwrap().is_some());
    }
    assert!(decoder.peak <= SMALL_READ);
    decoder.shrink();
    assert!(decoder.peak > 0, "a small buffer is kept");
}

#[test]
fn shrink_keeps_what_is_unread() {
    let mut decoder = decoder(&bulk(vec![b'v'; 100_000]));
    decoder.buf_mut().extend_from_slice(b"*2\r\n:1\r\n$5\r\nhe");
    assert!(decoder.decode().unwrap().is_some());
    decoder.shrink();
    assert!(decoder.buf.capacity() <= SMALL_READ);
    assert_eq!(decoder.decode(), Ok(None));
    decoder.shrink();
    decoder.buf_mut().extend_from_slice(b"llo\r\n");
    let expected = vec![Value::Int(1), Value::BulkString(b"hello".into())];
    assert_eq!(decoder.decode(), Ok(Some(Value::Array(expected))));
}

#[test]
fn shrink_gives_back_a_stack_that_grew() {
    let nested = ["*1\r\n".repeat(50), ":1\r\n".into()].concat();
    let mut decoder = decoder(nested.as_bytes());
    assert!(decoder.decode().unwrap().is_some());
    assert!(decoder.reply.held() > 0);
    decoder.shrink();
    assert_eq!(decoder.reply.held(), 0);
}

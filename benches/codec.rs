//! Our reply decoder beside the two parsers of the redis crate: the one for a whole reply in a
//! slice, and the incremental one that its async connections use.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    reason = "a bench is a program: criterion makes its functions public, and it may panic"
)]

use std::{hint::black_box, time::Duration};

use bytes::BytesMut;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use redis_rw_pool::{ReplyLimits, internals::ReplyDecoder};
use tokio_util::codec::Decoder as _;

const PIECE: usize = 4 * 1024;

fn bulk(length: usize) -> Vec<u8> {
    let mut reply = format!("${length}\r\n").into_bytes();
    reply.resize(reply.len() + length, b'v');
    reply.extend_from_slice(b"\r\n");
    reply
}

fn array_of_bulks(count: usize) -> Vec<u8> {
    let mut reply = format!("*{count}\r\n").into_bytes();
    for index in 0..count {
        let text = format!("item:{index}");
        reply.extend_from_slice(format!("${}\r\n{text}\r\n", text.len()).as_bytes());
    }
    reply
}

/// As HGETALL answers in RESP3.
fn map(entries: usize) -> Vec<u8> {
    let mut reply = format!("%{entries}\r\n").into_bytes();
    for _ in 0..entries {
        reply.extend_from_slice(&bulk(8));
        reply.extend_from_slice(&bulk(20));
    }
    reply
}

/// Makes room, "reads", and drops the replies one by one, as a connection and its caller would.
fn ours(decoder: &mut ReplyDecoder, piece: &[u8]) {
    decoder.reserve();
    decoder.buf_mut().extend_from_slice(piece);
    while let Some(value) = decoder.decode().unwrap() {
        black_box(value);
    }
}

fn theirs(codec: &mut redis::ValueCodec, buffer: &mut BytesMut, piece: &[u8]) {
    buffer.reserve(2048);
    buffer.extend_from_slice(piece);
    while let Some(value) = codec.decode(buffer).unwrap() {
        black_box(value);
    }
}

fn whole(criterion: &mut Criterion) {
    let cases = [
        ("ok", b"+OK\r\n".to_vec()),
        ("int", b":1234567\r\n".to_vec()),
        ("bulk 64 B", bulk(64)),
        ("bulk 16 KiB", bulk(16 * 1024)),
        ("map of 100", map(100)),
        ("array of 10 000 bulks", array_of_bulks(10_000)),
    ];
    for (name, reply) in cases {
        let mut group = criterion.benchmark_group(name);
        group.throughput(Throughput::Bytes(reply.len() as u64));
        group.bench_function("ours", |bencher| {
            let mut decoder = ReplyDecoder::new(ReplyLimits::default());
            bencher.iter(|| ours(&mut decoder, black_box(&reply)));
        });
        group.bench_function("redis parse_redis_value", |bencher| {
            bencher.iter(|| redis::parse_redis_value(black_box(&reply)).unwrap());
        });
        group.bench_function("redis ValueCodec", |bencher| {
            let mut codec = redis::ValueCodec::default();
            let mut buffer = BytesMut::new();
            bencher.iter(|| theirs(&mut codec, &mut buffer, black_box(&reply)));
        });
        group.finish();
    }
}

fn pieces(criterion: &mut Criterion) {
    let pipeline = bulk(64).repeat(100);
    let large = array_of_bulks(100_000);
    let cases = [
        ("pipeline of 100 bulks", &pipeline, pipeline.len()),
        ("array of 100 000 in 4 KiB pieces", &large, PIECE),
        ("array of 100 000 in 64 KiB pieces", &large, 16 * PIECE),
    ];
    for (name, stream, size) in cases {
        let mut group = criterion.benchmark_group(name);
        group.throughput(Throughput::Bytes(stream.len() as u64));
        if stream.len() > size {
            group.sample_size(10);
        }
        group.bench_function("ours", |bencher| {
            let mut decoder = ReplyDecoder::new(ReplyLimits::default());
            bencher.iter(|| {
                stream
                    .chunks(size)
                    .for_each(|piece| ours(&mut decoder, piece))
            });
        });
        group.bench_function("redis ValueCodec", |bencher| {
            let mut codec = redis::ValueCodec::default();
            let mut buffer = BytesMut::new();
            bencher.iter(|| {
                stream
                    .chunks(size)
                    .for_each(|piece| theirs(&mut codec, &mut buffer, piece));
            });
        });
        group.finish();
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2));
    targets = whole, pieces
}
criterion_main!(benches);

//! Fresh reads, and what subscribers receive.

use crate::status::{
    Status,
    families::{Sink, counter, gauge, labelled, one},
};

pub(super) fn freshness(status: &Status, sink: &mut impl Sink) {
    let freshness = &status.freshness;
    let counts = counter(
        "redis_rw_pool_freshness",
        "What became of reads that were to see a certain write, and what they cost.",
    );
    let what = [
        ("proven", freshness.proven),
        ("thrown_away", freshness.thrown_away),
        ("waited", freshness.waited),
        ("from_master", freshness.from_master),
        ("stale", freshness.stale),
        ("failed", freshness.failed),
        ("lost", freshness.lost),
        ("unknown", freshness.unknown),
        ("refused", freshness.refused),
        ("questions", freshness.questions),
    ];
    labelled(sink, &counts, "event", what);
    let bytes = gauge(
        "redis_rw_pool_node_lag_bytes",
        "How far a node was behind the master when it was last asked.",
    );
    let nodes = freshness.nodes.iter();
    let nodes: Vec<_> = nodes.map(|lag| (lag.node.to_string(), lag)).collect();
    sink.family(&bytes);
    for (node, lag) in &nodes {
        if let Some(behind) = lag.bytes {
            sink.integer(&bytes, &[("node", node)], behind);
        }
    }
    let seconds = gauge(
        "redis_rw_pool_node_lag_seconds",
        "How long before it was last asked a node had all that the master had.",
    );
    sink.family(&seconds);
    for (node, lag) in &nodes {
        if let Some(behind) = lag.time {
            sink.float(&seconds, &[("node", node)], behind.as_secs_f64());
        }
    }
}

pub(super) fn subscribers(status: &Status, sink: &mut impl Sink) {
    let subscriber = &status.subscriber;
    let messages = counter(
        "redis_client_pubsub_messages",
        "Messages that subscribers received.",
    );
    let received = [("received", subscriber.messages)];
    labelled(sink, &messages, "redis_client_pubsub_direction", received);
    one(
        sink,
        &counter(
            "redis_rw_pool_subscriber_gaps",
            "Gaps that subscribers were told: messages may be missing there.",
        ),
        subscriber.gaps,
    );
    one(
        sink,
        &counter(
            "redis_rw_pool_subscriber_resubscribes",
            "How often a subscriber's connection took the place of another one.",
        ),
        subscriber.resubscribes,
    );
    one(
        sink,
        &counter(
            "redis_rw_pool_subscriber_dial_failures",
            "Dials for subscribers that failed.",
        ),
        subscriber.dial_failures,
    );
    let wanted = [
        ("channel", subscriber.channels),
        ("pattern", subscriber.patterns),
    ];
    let wanted = wanted.map(|(kind, count)| (kind, count as u64));
    labelled(
        sink,
        &gauge("redis_rw_pool_subscriptions", "What subscribers want now."),
        "kind",
        wanted,
    );
}

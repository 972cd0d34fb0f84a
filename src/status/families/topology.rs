//! Who is master and who is replica, whether writes are held back, and what the Sentinels say.

use crate::status::{
    Status,
    families::{LONGEST_TEXT, Sink, counter, gauge, labelled, one, one_time},
};

pub(super) fn writes(status: &Status, sink: &mut impl Sink) {
    let fence = &status.fence;
    let up = gauge(
        "redis_rw_pool_fence",
        "1 while writes are held back because the master is being replaced.",
    );
    one(sink, &up, u64::from(fence.up_for.is_some()));
    let sign = gauge(
        "redis_rw_pool_fence_info",
        "The sign because of which writes are held back now.",
    );
    sink.family(&sign);
    if let (Some(kind), Some(text)) = (fence.kind, &fence.sign) {
        let end = text.char_indices().nth(LONGEST_TEXT);
        let text = end.map_or(text.as_str(), |(end, _)| &text[..end]);
        let labels = [("kind", kind.as_str()), ("sign", text)];
        sink.integer(&sign, &labels, 1);
    }
    let held = counter(
        "redis_rw_pool_fence_seconds",
        "For how long writes were held back.",
    );
    one_time(sink, &held, fence.held);
    let raised = counter(
        "redis_rw_pool_fence_raised",
        "How often writes were held back.",
    );
    one(sink, &raised, fence.raised);
    let unconfirmed = counter(
        "redis_rw_pool_fence_false",
        "Signs of a failover that were not confirmed.",
    );
    one(sink, &unconfirmed, fence.false_signs);
    let master = &status.master;
    let info = gauge("redis_rw_pool_master_info", "Who is the master.");
    sink.family(&info);
    if let Some(node) = &master.node {
        sink.integer(&info, &[("node", &node.to_string())], 1);
    }
    let reachable = gauge(
        "redis_rw_pool_master_reachable",
        "1 if the master could be reached when it was tried last.",
    );
    one(sink, &reachable, u64::from(master.reachable));
    let since = gauge(
        "redis_rw_pool_master_state_seconds",
        "For how long the same master has been reachable, or not.",
    );
    one_time(sink, &since, master.since);
    let changes = counter(
        "redis_rw_pool_master_changes",
        "How often another master was adopted.",
    );
    one(sink, &changes, status.master_changes);
    let version = gauge(
        "redis_rw_pool_topology_version",
        "Grows with every change of the topology.",
    );
    one(sink, &version, status.topology.version);
    let epoch = gauge(
        "redis_rw_pool_topology_epoch",
        "The configuration epoch of the Sentinels under which the master was announced.",
    );
    one(sink, &epoch, status.topology.epoch);
}

pub(super) fn replicas(status: &Status, sink: &mut impl Sink) {
    let replicas = &status.topology.replicas;
    let count = gauge("redis_rw_pool_replicas", "Known replicas.");
    let readable = status.topology.readable().count();
    let excluded = replicas.len() - readable;
    let states = [("readable", readable as u64), ("excluded", excluded as u64)];
    labelled(sink, &count, "state", states);
    let why = gauge(
        "redis_rw_pool_replica_excluded",
        "1 for each replica that is not read from, with the reason.",
    );
    sink.family(&why);
    for replica in replicas {
        if let Some(excluded) = &replica.excluded {
            let node = replica.node.to_string();
            let labels = [("node", node.as_str()), ("reason", excluded.as_str())];
            sink.integer(&why, &labels, 1);
        }
    }
    let preferred = gauge(
        "redis_rw_pool_node_preferred",
        "1 for each node that reads prefer, whether or not it can serve them.",
    );
    sink.family(&preferred);
    for node in &status.topology.preferred {
        sink.integer(&preferred, &[("node", &node.to_string())], 1);
    }
}

pub(super) fn sentinels(status: &Status, sink: &mut impl Sink) {
    let sentinel = &status.sentinel;
    let count = gauge(
        "redis_rw_pool_sentinels",
        "Sentinels known, those that answer, and those whose events are heard.",
    );
    let states = [
        ("known", sentinel.known as u64),
        ("reachable", sentinel.reachable as u64),
        ("listening", sentinel.listening as u64),
    ];
    labelled(sink, &count, "state", states);
    let last = gauge(
        "redis_rw_pool_sentinel_last_answer_seconds",
        "How long ago a Sentinel, or without Sentinels a node, last answered.",
    );
    sink.family(&last);
    if let Some(ago) = sentinel.last_answer {
        sink.float(&last, &[], ago.as_secs_f64());
    }
    let refreshes = counter(
        "redis_rw_pool_sentinel_refreshes",
        "How often all Sentinels were asked.",
    );
    one(sink, &refreshes, sentinel.refreshes);
    let stale = counter(
        "redis_rw_pool_sentinel_stale_answers",
        "Answers that were ignored because of an older epoch.",
    );
    one(sink, &stale, sentinel.stale_answers);
    let events = counter(
        "redis_rw_pool_sentinel_events",
        "Events about this master that the Sentinels published.",
    );
    one(sink, &events, sentinel.events);
    let claim = gauge(
        "redis_rw_pool_sentinel_claim",
        "1 while Sentinels report against a master that is well.",
    );
    one(sink, &claim, u64::from(sentinel.claim.is_some()));
}

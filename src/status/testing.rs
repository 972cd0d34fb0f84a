//! Statuses for tests.

use std::{sync::Arc, time::Duration};

use crate::{
    error::Reports,
    node::Node,
    status::{
        Durations, FenceStatus, MasterStatus, MultiplexedStatus, PoolStatus, SentinelStatus,
        SignKind, Status, TlsStatus,
        discard::{Discard, Discards},
        failures::Failures,
        freshness::{FreshnessStats, FreshnessStatus, NodeLag},
        histogram::HistogramCounter,
        subscriber::SubscriberStatus,
    },
    topology::{Replica, Topology, excluded::Excluded},
};

/// A pool that has found nothing yet.
pub(crate) fn nothing(name: &str) -> Status {
    Status {
        name: name.to_owned(),
        master_name: name.to_owned(),
        master: MasterStatus::default(),
        master_changes: 0,
        topology: Arc::default(),
        write: PoolStatus::default(),
        read: PoolStatus::default(),
        writer: MultiplexedStatus::default(),
        reader: MultiplexedStatus::default(),
        sentinel: SentinelStatus::default(),
        fence: FenceStatus::default(),
        freshness: FreshnessStats::default().counters(),
        durations: None,
        subscriber: SubscriberStatus::default(),
        master_error: None,
        tls: None,
        sentinel_tls: None,
    }
}

/// One of which every part has something to say, in the words of a hostile server.
pub(crate) fn everything(text: &str) -> Status {
    let node = || Node::new(text, 6379);
    let times = HistogramCounter::default();
    for millis in [0, 3, 400, 70_000] {
        times.record(Duration::from_millis(millis));
    }
    let mut discards = Discards::default();
    discards.add(Discard::Broken);
    let pool = PoolStatus {
        active: 3,
        // Read one after another while the pool is at work.
        idle: 4,
        max_active: 16,
        waiting: 1,
        checkouts: 7,
        wait: times.snapshot(),
        wait_timeouts: 2,
        discards,
        failures: Failures([1, 2, 3]),
        ..PoolStatus::default()
    };
    let replica = |excluded| Replica {
        node: node(),
        excluded,
        since: 1,
        synced: true,
        orphaned: false,
        unlisted: None,
    };
    let error = || Some(text.to_owned());
    let tls = TlsStatus {
        reloads: 2,
        error: error(),
    };
    let reports: Reports = [(text.to_owned(), text.to_owned())].into_iter().collect();
    Status {
        master: MasterStatus {
            node: Some(node()),
            reachable: true,
            since: Duration::from_millis(1500),
            error: error(),
        },
        master_changes: 3,
        topology: Arc::new(Topology {
            version: 9,
            epoch: 4,
            master: Some(node()),
            replicas: vec![replica(None), replica(Some(Excluded::CatchingUp))],
            preferred: vec![node()],
            ..Topology::default()
        }),
        write: pool,
        writer: MultiplexedStatus {
            in_flight: 5,
            connections: 2,
            commands: 11,
            create: times.snapshot(),
            ..MultiplexedStatus::default()
        },
        sentinel: SentinelStatus {
            known: 3,
            reachable: 2,
            reports,
            last_answer: Some(Duration::from_millis(250)),
            claim: error(),
            ..SentinelStatus::default()
        },
        fence: FenceStatus {
            kind: Some(SignKind::Event),
            sign: error(),
            up_for: Some(Duration::from_secs(1)),
            held: Duration::from_secs(3),
            raised: 2,
            false_signs: 1,
        },
        freshness: FreshnessStatus {
            proven: 6,
            nodes: vec![NodeLag {
                node: node(),
                bytes: Some(7),
                time: Some(Duration::from_millis(500)),
            }],
            ..FreshnessStats::default().counters()
        },
        durations: Some(Durations {
            write: times.snapshot(),
            read: times.snapshot(),
        }),
        subscriber: SubscriberStatus {
            subscribers: 1,
            channels: 2,
            messages: 12,
            gaps: 1,
            ..SubscriberStatus::default()
        },
        master_error: error(),
        tls: Some(tls.clone()),
        sentinel_tls: Some(tls),
        ..nothing(text)
    }
}

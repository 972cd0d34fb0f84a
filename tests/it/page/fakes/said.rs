//! What the page says of a state.

use std::time::Duration;

use redis_rw_pool::{Ability, FenceStatus, MasterStatus, Node, ReadFrom, Topology};

use super::web::{
    pace::Pace,
    sentence::{self, Tone},
    timeline::{Seen, Timeline},
};

fn waiting(seconds: u64) -> Ability {
    let since = Duration::from_secs(seconds);
    Ability::Waiting {
        since,
        why: "so".to_owned(),
    }
}

fn unable(seconds: u64) -> Ability {
    let since = Duration::from_secs(seconds);
    Ability::Unable {
        since,
        why: "so".to_owned(),
    }
}

#[test]
fn a_sentence_says_where_writes_go_or_for_how_long_they_have_not() {
    let mut master = MasterStatus::default();
    master.node = Some(Node::new("10.0.0.1", 6379));
    let calm = FenceStatus::default();
    let mut up = FenceStatus::default();
    up.up_for = Some(Duration::from_millis(430));
    for (ability, fence, tone, text) in [
        (
            Ability::Able,
            &calm,
            Tone::Good,
            "Writes go to 10.0.0.1:6379.",
        ),
        (
            waiting(2),
            &up,
            Tone::Wait,
            "Writes are held back for 0.4 s.",
        ),
        (
            waiting(2),
            &calm,
            Tone::Wait,
            "Writes have waited for 2.0 s.",
        ),
        (unable(12), &calm, Tone::Bad, "No writes for 12 s."),
        (unable(600), &up, Tone::Bad, "No writes for 10 min."),
    ] {
        let said = sentence::of_writes(&ability, &master, fence);
        assert_eq!((said.tone, &*said.text), (tone, text));
        assert!(!said.detail.is_empty());
    }
}

#[test]
fn a_sentence_says_where_reads_go() {
    let mut topology = Topology::default();
    topology.master = Some(Node::new("10.0.0.1", 6379));
    for (ability, policy, tone, text) in [
        (
            Ability::Able,
            ReadFrom::ReplicaPreferred,
            Tone::Good,
            "Reads go to the master, 10.0.0.1:6379.",
        ),
        (
            Ability::Able,
            ReadFrom::Master,
            Tone::Good,
            "Reads go to the master, 10.0.0.1:6379.",
        ),
        (
            Ability::Able,
            ReadFrom::Any,
            Tone::Good,
            "Reads go to the master, 10.0.0.1:6379.",
        ),
        (
            waiting(1),
            ReadFrom::Replica,
            Tone::Wait,
            "Reads have waited for 1.0 s.",
        ),
        (
            unable(7_200),
            ReadFrom::Replica,
            Tone::Bad,
            "No reads for 2 h.",
        ),
    ] {
        let said = sentence::of_reads(&ability, &topology, policy);
        assert_eq!((said.tone, &*said.text), (tone, text), "{policy:?}");
    }
}

fn seen(state: &'static str) -> [Seen; 1] {
    let lane = "10.0.0.1:6379".to_owned();
    [Seen {
        lane,
        state,
        text: String::new(),
    }]
}

#[test]
fn the_time_line_has_a_span_for_each_state_and_forgets_after_ten_minutes() {
    let mut timeline = Timeline::default();
    let spans = |timeline: &Timeline| {
        let json = serde_json::to_value(timeline).unwrap();
        let Some(lane) = json["lanes"].get(0) else {
            return Vec::new();
        };
        let spans = lane["spans"].as_array().unwrap().iter();
        let of = |span: &serde_json::Value| {
            (
                span["from"].as_f64().unwrap(),
                span["to"].as_f64().unwrap(),
                span["state"].as_str().unwrap().to_owned(),
            )
        };
        spans.map(of).collect()
    };
    for (now, state) in [
        (1000.0, "master"),
        (1000.5, "master"),
        (1001.0, "lost"),
        (1001.5, "replica"),
    ] {
        timeline.record(now, &seen(state), &Pace::default());
    }
    let span = |from, to, state: &str| (from, to, state.to_owned());
    assert_eq!(
        spans(&timeline),
        [
            span(1000.0, 1001.0, "master"),
            span(1001.0, 1001.5, "lost"),
            span(1001.5, 1001.5, "replica")
        ]
    );
    // It was away for a while: between its spans is a gap.
    timeline.record(1060.0, &seen("replica"), &Pace::default());
    assert_eq!(
        spans(&timeline).last(),
        Some(&span(1060.0, 1060.0, "replica"))
    );
    assert_eq!(spans(&timeline).len(), 4);
    timeline.record(1601.2, &[], &Pace::default());
    assert_eq!(spans(&timeline).len(), 3);
    timeline.record(1661.0, &[], &Pace::default());
    assert!(spans(&timeline).is_empty());
    // What flaps all the time does not fill the memory.
    for turn in 0..2_000 {
        let state = if turn % 2 == 0 { "master" } else { "lost" };
        timeline.record(
            2000.0 + f64::from(turn) / 10.0,
            &seen(state),
            &Pace::default(),
        );
    }
    assert_eq!(spans(&timeline).len(), 300);
}

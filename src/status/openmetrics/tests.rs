use std::collections::HashSet;

use super::*;
use crate::status::{
    histogram::HistogramCounter,
    testing::{everything, nothing},
};

/// A line of numbers.
#[derive(Debug, Clone, PartialEq)]
struct Sample {
    name: String,
    labels: Vec<(String, String)>,
    value: f64,
}

/// Reads a line as the standard has it.
fn sample(line: &str) -> Sample {
    let end = line.find(['{', ' ']).expect("a name has an end");
    let (name, mut rest) = line.split_at(end);
    let is_name = |name: &str| {
        let letters = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        name.chars().all(letters) && !name.starts_with(|c: char| c.is_ascii_digit())
    };
    assert!(is_name(name) && !name.is_empty(), "{line}");
    let mut labels = Vec::new();
    if let Some(inner) = rest.strip_prefix('{') {
        rest = inner;
        loop {
            let (label, value) = rest.split_once("=\"").expect("a label has a value");
            assert!(is_name(label), "{line}");
            let mut text = String::new();
            let mut chars = value.char_indices();
            let end = loop {
                match chars.next().expect("a value has an end") {
                    (at, '"') => break at,
                    (_, '\\') => text.push(match chars.next().expect("it escapes something").1 {
                        'n' => '\n',
                        escaped @ ('"' | '\\') => escaped,
                        other => panic!("{other} is escaped in {line}"),
                    }),
                    (_, other) => text.push(other),
                }
            };
            labels.push((label.to_owned(), text));
            rest = &value[end + 1..];
            match rest.split_at(1) {
                (",", more) => rest = more,
                ("}", more) => {
                    rest = more;
                    break;
                }
                _ => panic!("after a label in {line}"),
            }
        }
    }
    let value = rest.strip_prefix(' ').expect("one space");
    Sample {
        name: name.to_owned(),
        labels,
        value: value.parse().expect("a number"),
    }
}

/// Checks the text against the standard, and returns its numbers.
fn read(text: &str) -> Vec<Sample> {
    let mut lines = text
        .strip_suffix("# EOF\n")
        .expect("it ends")
        .lines()
        .peekable();
    let (mut families, mut seen) = (HashSet::new(), HashSet::new());
    let mut samples = Vec::new();
    while let Some(line) = lines.next() {
        let head = line.strip_prefix("# TYPE ").expect("a family begins");
        let (family, kind) = head.split_once(' ').expect("a type");
        assert!(families.insert(family.to_owned()), "{family} begins twice");
        assert!(!family.ends_with("_total"), "{family}");
        if let Some(unit) = lines.next_if(|line| line.starts_with("# UNIT ")) {
            let (name, unit) = unit[7..].split_once(' ').expect("a unit");
            assert!(
                name == family && family.ends_with(&format!("_{unit}")),
                "{name} {unit}"
            );
        } else {
            assert!(!family.ends_with("seconds"), "{family} has a unit");
        }
        let help = lines.next().expect("a help text");
        let help = help.strip_prefix(&format!("# HELP {family} "));
        assert!(
            help.is_some_and(|help| help.ends_with('.')),
            "{family}: {help:?}"
        );
        while let Some(line) = lines.next_if(|line| !line.starts_with('#')) {
            let sample = sample(line);
            let suffix = sample.name.strip_prefix(family).expect("of the family");
            let fits = match kind {
                "counter" => suffix == "_total",
                "gauge" => suffix.is_empty(),
                "histogram" => ["_bucket", "_count", "_sum"].contains(&suffix),
                _ => panic!("{kind}"),
            };
            assert!(fits, "{line} of the {kind} {family}");
            assert!(
                seen.insert((sample.name.clone(), sample.labels.clone())),
                "twice: {line}"
            );
            assert!(sample.value >= 0.0, "{line}");
            samples.push(sample);
        }
    }
    samples
}

fn value(samples: &[Sample], name: &str, labels: &[(&str, &str)]) -> Option<f64> {
    let mut found = samples.iter().filter(|sample| {
        let own = sample.labels.iter();
        sample.name == name
            && own
                .map(|(a, b)| (a.as_str(), b.as_str()))
                .eq(labels.iter().copied())
    });
    found.next().map(|sample| sample.value)
}

#[test]
fn the_text_keeps_to_the_standard_in_every_state() {
    let long = "x".repeat(5000);
    let hostile = "a\"b\\c\nd} 1\n# EOF\r\té";
    for status in [
        nothing("mymaster"),
        nothing(""),
        nothing(hostile),
        everything("10.0.0.1"),
        everything(hostile),
        everything(&long),
        everything(""),
    ] {
        read(&status.openmetrics());
    }
}

#[test]
fn texts_of_servers_are_escaped_and_cut() {
    let hostile = "a\"b\\c\nd} 1\n# EOF\r\té";
    let samples = read(&everything(hostile).openmetrics());
    let labels = [("kind", "event"), ("sign", hostile)];
    assert_eq!(
        value(&samples, "redis_rw_pool_fence_info", &labels),
        Some(1.0)
    );
    let pool = format!("{hostile}/write");
    let labels = [("db_client_connection_pool_name", pool.as_str())];
    assert_eq!(
        value(&samples, "redis_rw_pool_checkouts_total", &labels),
        Some(7.0)
    );
    let samples = read(&everything(&"é".repeat(400)).openmetrics());
    let cut = "é".repeat(families::LONGEST_TEXT);
    let labels = [("kind", "event"), ("sign", cut.as_str())];
    assert_eq!(
        value(&samples, "redis_rw_pool_fence_info", &labels),
        Some(1.0)
    );
}

/// Dashboards and alerts are built on these.
#[test]
fn the_names_are_as_documented() {
    let text = everything("10.0.0.1").openmetrics();
    for line in [
        r#"db_client_connection_count{db_client_connection_pool_name="10.0.0.1/write",db_client_connection_state="idle"} 4"#,
        r#"db_client_connection_count{db_client_connection_pool_name="10.0.0.1/write",db_client_connection_state="used"} 0"#,
        r#"db_client_connection_count{db_client_connection_pool_name="10.0.0.1/writer",db_client_connection_state="used"} 2"#,
        r#"db_client_connection_max{db_client_connection_pool_name="10.0.0.1/write"} 16"#,
        r#"db_client_connection_idle_max{db_client_connection_pool_name="10.0.0.1/write"} 0"#,
        r#"db_client_connection_idle_min{db_client_connection_pool_name="10.0.0.1/write"} 0"#,
        r#"db_client_connection_pending_requests{db_client_connection_pool_name="10.0.0.1/write"} 1"#,
        r#"db_client_connection_timeouts_total{db_client_connection_pool_name="10.0.0.1/write"} 2"#,
        r#"db_client_connection_wait_time_seconds_bucket{db_client_connection_pool_name="10.0.0.1/write",le="1e-05"} 1"#,
        r#"db_client_connection_wait_time_seconds_bucket{db_client_connection_pool_name="10.0.0.1/write",le="0.005"} 2"#,
        r#"db_client_connection_wait_time_seconds_bucket{db_client_connection_pool_name="10.0.0.1/write",le="60.0"} 3"#,
        r#"db_client_connection_wait_time_seconds_bucket{db_client_connection_pool_name="10.0.0.1/write",le="+Inf"} 4"#,
        r#"db_client_connection_wait_time_seconds_sum{db_client_connection_pool_name="10.0.0.1/write"} 70.403"#,
        r#"db_client_connection_create_time_seconds_count{db_client_connection_pool_name="10.0.0.1/writer"} 4"#,
        r#"db_client_connection_use_time_seconds_count{db_client_connection_pool_name="10.0.0.1/read"} 0"#,
        r#"redis_client_connection_closed_total{db_client_connection_pool_name="10.0.0.1/write",redis_client_connection_close_reason="broken"} 1"#,
        r#"redis_client_errors_total{db_client_connection_pool_name="10.0.0.1/write",error_type="unknown_outcome"} 2"#,
        r#"redis_rw_pool_commands_total{db_client_connection_pool_name="10.0.0.1/writer",role="write"} 11"#,
        r#"redis_rw_pool_commands_total{db_client_connection_pool_name="10.0.0.1/reader",role="read"} 0"#,
        r#"redis_rw_pool_in_flight{role="write"} 5"#,
        "redis_rw_pool_fence 1",
        "# TYPE redis_rw_pool_fence_seconds counter",
        "redis_rw_pool_fence_seconds_total 3",
        "redis_rw_pool_fence_raised_total 2",
        "redis_rw_pool_fence_false_total 1",
        r#"redis_rw_pool_master_info{node="10.0.0.1:6379"} 1"#,
        "redis_rw_pool_master_reachable 1",
        "redis_rw_pool_master_state_seconds 1.5",
        "redis_rw_pool_master_changes_total 3",
        "redis_rw_pool_topology_version 9",
        r#"redis_rw_pool_replicas{state="readable"} 1"#,
        r#"redis_rw_pool_replicas{state="excluded"} 1"#,
        r#"redis_rw_pool_replica_excluded{node="10.0.0.1:6379",reason="catching_up"} 1"#,
        r#"redis_rw_pool_node_preferred{node="10.0.0.1:6379"} 1"#,
        r#"redis_rw_pool_sentinels{state="known"} 3"#,
        r#"redis_rw_pool_sentinels{state="reachable"} 2"#,
        "redis_rw_pool_sentinel_last_answer_seconds 0.25",
        r#"redis_rw_pool_freshness_total{event="proven"} 6"#,
        r#"redis_rw_pool_node_lag_bytes{node="10.0.0.1:6379"} 7"#,
        r#"redis_rw_pool_node_lag_seconds{node="10.0.0.1:6379"} 0.5"#,
        r#"redis_rw_pool_certificate_reloads_total{connections="sentinels"} 2"#,
    ] {
        assert!(text.lines().any(|found| found == line), "{line} in\n{text}");
    }
}

#[test]
fn every_family_is_there_in_every_state_and_in_the_same_order() {
    let families = |status: Status| {
        let text = status.openmetrics();
        let types = text.lines().filter(|line| line.starts_with("# TYPE "));
        types.map(str::to_owned).collect::<Vec<_>>()
    };
    let some = families(everything("a"));
    assert_eq!(some, families(nothing("b")));
    assert_eq!(everything("a").openmetrics(), everything("a").openmetrics());
}

#[test]
fn both_formats_have_the_same_samples() {
    for status in [nothing("shop"), everything("a \"quote\", a \\ and\na line")] {
        let samples = |text: &str| -> Vec<String> {
            let lines = text.lines().filter(|line| !line.starts_with('#'));
            lines.map(str::to_owned).collect()
        };
        let plain = status.prometheus();
        assert_eq!(samples(&plain), samples(&status.openmetrics()));
        assert!(plain.ends_with('\n') && !plain.contains("# EOF"), "{plain}");
    }
}

#[test]
fn in_the_older_format_each_sample_belongs_to_the_family_above_it() {
    let plain = everything("shop").prometheus();
    let mut family = "";
    let mut untyped = Vec::new();
    let mut lines = plain.lines();
    while let Some(line) = lines.next() {
        if let Some(help) = line.strip_prefix("# HELP ") {
            let (name, text) = help.split_once(' ').expect("a text");
            assert!(!text.is_empty(), "{line}");
            let described = lines.next().and_then(|line| line.strip_prefix("# TYPE "));
            let (typed, kind) = described
                .and_then(|line| line.split_once(' '))
                .expect("a type");
            assert_eq!(typed, name);
            assert_eq!(kind == "counter", name.ends_with("_total"), "{name}");
            if kind == "untyped" {
                untyped.push(name);
            }
            family = name;
            continue;
        }
        let name = sample(line).name;
        let of_family = name.strip_prefix(family).unwrap_or("another");
        assert!(
            ["", "_bucket", "_count", "_sum"].contains(&of_family),
            "{line}"
        );
    }
    assert_eq!(untyped, ["db_client_connection_count"]);
}

#[test]
fn the_bounds_are_those_of_the_histogram() {
    let histogram = HistogramCounter::default().snapshot();
    for (text, (bound, _)) in BOUNDS.into_iter().zip(histogram.buckets()) {
        let seconds: f64 = text.parse().unwrap();
        assert_eq!(
            seconds,
            bound.map_or(f64::INFINITY, |bound| bound.as_secs_f64())
        );
    }
}

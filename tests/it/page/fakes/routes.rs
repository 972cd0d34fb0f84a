//! What it answers.

use std::time::Duration;

use redis_rw_pool::{Config, Pool};
use serde_json::Value;
use testkit::{fake::Action, ports};
use tokio::{
    io::AsyncReadExt,
    net::TcpStream,
    time::{Instant, timeout},
};

use super::{Backend, node};
use crate::support::{SOON, eventually, node_with};

/// A text that would do harm in a page, or in a stream of events.
const HOSTILE: &str = "<img src=x onerror=\"alert('1')\"> \\ </script> data: {}";

fn config(port: u16) -> Config {
    Config::standalone(format!("127.0.0.1:{port}")).with(|config| {
        config.failover_timeout = Duration::from_millis(300);
        config.connect_timeout = Duration::from_millis(300);
    })
}

async fn running(config: Config) -> Backend {
    let pool = Pool::connect(config.clone()).await.unwrap();
    Backend::start(pool, &config).await
}

/// The next message of the stream with this name: its data.
async fn message(stream: &mut TcpStream, heard: &mut String, name: &str) -> Value {
    let start = format!("event: {name}\ndata: ");
    let next = async {
        loop {
            if let Some((_, rest)) = heard.split_once(&start)
                && let Some((data, rest)) = rest.split_once("\n\n")
            {
                let data = serde_json::from_str(data).expect("one line of JSON");
                *heard = rest.to_owned();
                return data;
            }
            let mut some = [0; 1 << 16];
            let count = stream.read(&mut some).await.unwrap();
            assert!(count > 0, "the stream ended: {heard}");
            // Between two messages is the size of a chunk.
            heard.push_str(std::str::from_utf8(&some[..count]).unwrap());
        }
    };
    timeout(SOON, next).await.expect("it comes twice a second")
}

#[tokio::test]
async fn every_route_answers() {
    let node = node();
    let backend = running(config(node.port())).await;
    for (path, kind, part) in [
        ("/", "text/html; charset=utf-8", "</html>"),
        (
            "/metrics",
            "text/plain; version=0.0.4; charset=utf-8",
            "# TYPE redis_rw_pool_fence gauge\n",
        ),
        ("/live", "text/plain; charset=utf-8", "alive"),
        (
            "/ready",
            "text/plain; charset=utf-8",
            "writes: able; reads: able",
        ),
        ("/status", "application/json", "\"checkouts\":"),
        ("/topology", "application/json", "\"replicas\":[]"),
        ("/kv/colour", "application/octet-stream", "blue"),
    ] {
        let answer = backend.get(path).await;
        assert!(
            answer.starts_with("HTTP/1.1 200 OK\r\n"),
            "{path}: {answer}"
        );
        assert!(
            answer.contains(&format!("\r\ncontent-type: {kind}\r\n")),
            "{path}: {answer}"
        );
        assert!(answer.contains(part), "{path}: {answer}");
    }
    assert_eq!(backend.code("/nothing").await, 404);
    let wanted = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5";
    let answer = backend.get_as("/metrics", wanted).await;
    assert!(answer.contains("\r\ncontent-type: application/openmetrics-text; version=1.0.0;"));
    assert!(answer.contains("\n# EOF\n"));
    let status = backend.get("/status").await;
    let status = status.split_once("\r\n\r\n").expect("it has a body").1;
    let status: Value = serde_json::from_str(status).unwrap();
    assert_eq!(status["master"]["reachable"], true);
}

#[tokio::test]
async fn it_is_ready_until_callers_get_errors_and_alive_all_the_time() {
    let port = ports::unused();
    let config_of = config(port);
    let backend = Backend::start(Pool::connect_lazy(config_of.clone()).unwrap(), &config_of).await;
    assert_eq!(backend.code("/ready").await, 503);
    assert_eq!(backend.code("/live").await, 200);
    assert_eq!(backend.code("/metrics").await, 200);

    let node = node();
    let backend = running(config(node.port())).await;
    assert_eq!(backend.code("/ready").await, 200);
    drop(node);
    eventually("the loss is known", SOON, || async {
        !backend.pool.health().writes.is_able()
    })
    .await;
    let answer = backend.get("/ready").await;
    assert!(
        answer.starts_with("HTTP/1.1 200") && answer.contains("writes: waiting"),
        "{answer}"
    );
    eventually("patience is over", SOON, || async {
        backend.code("/ready").await == 503
    })
    .await;
    assert_eq!(backend.code("/live").await, 200);
    backend.pool.close();
    for (path, code) in [
        ("/ready", 503),
        ("/live", 200),
        ("/status", 200),
        ("/", 200),
    ] {
        assert_eq!(backend.code(path).await, code, "{path}");
    }
    eventually("nobody is promised a stream", SOON, || async {
        backend.code("/events").await == 503
    })
    .await;
}

#[tokio::test]
async fn all_who_look_are_told_the_same_and_those_who_come_late_what_was_before() {
    let node = node();
    let backend = running(config(node.port())).await;
    let (mut first, mut second) = (
        backend.ask("GET /events").await,
        backend.ask("GET /events").await,
    );
    let (mut heard, mut heard_too) = (String::new(), String::new());
    let one = message(&mut first, &mut heard, "snapshot").await;
    assert_eq!(one["writes"]["tone"], "good", "{one}");
    assert_eq!(one["health"]["writes"]["ability"], "able");
    assert_eq!(one["timeline"]["lanes"][0]["name"], "writes");
    assert_eq!(
        one["status"]["topology"]["master"],
        format!("127.0.0.1:{}", node.port())
    );
    let mut other = message(&mut second, &mut heard_too, "snapshot").await;
    let same = message(&mut first, &mut heard, "snapshot").await;
    while other["at"].as_f64() < same["at"].as_f64() {
        other = message(&mut second, &mut heard_too, "snapshot").await;
    }
    assert_eq!(same, other);

    drop(node);
    let lost = message(&mut first, &mut heard, "event").await;
    assert_eq!(lost["event"], "master_lost", "{lost}");
    let mut late = backend.ask("GET /events").await;
    assert_eq!(message(&mut late, &mut String::new(), "event").await, lost);
}

#[tokio::test]
async fn a_text_of_a_server_arrives_as_it_is_in_one_line() {
    let node = node_with(|_, _| Some(Action::Reply(format!("-ERR {HOSTILE}\r\n").into())));
    let config = config(node.port());
    let backend = Backend::start(Pool::connect_lazy(config.clone()).unwrap(), &config).await;
    let mut stream = backend.ask("GET /events").await;
    let mut heard = String::new();
    let quoted = Value::from(HOSTILE).to_string();
    let quoted = quoted.trim_matches('"');
    let shown = async {
        loop {
            let snapshot = message(&mut stream, &mut heard, "snapshot").await;
            if snapshot.to_string().contains(quoted) {
                break;
            }
        }
    };
    timeout(SOON, shown).await.expect("the page shows its text");
}

#[tokio::test]
async fn a_stop_ends_open_streams() {
    let node = node();
    let backend = running(config(node.port())).await;
    let mut looking = backend.ask("GET /events").await;
    message(&mut looking, &mut String::new(), "snapshot").await;
    let began = Instant::now();
    backend.stop.send(()).expect("it serves");
    let mut rest = String::new();
    looking
        .read_to_string(&mut rest)
        .await
        .expect("it ends well");
    backend.served.await.unwrap().expect("it ends well");
    assert!(
        began.elapsed() < Duration::from_secs(1),
        "{:?}",
        began.elapsed()
    );
    assert!(
        !backend.pool.health().writes.is_able(),
        "the pool is closed"
    );
    assert!(TcpStream::connect(&backend.address).await.is_err());
}

#[tokio::test]
async fn the_page_is_complete_and_takes_no_text_for_markup() {
    let node = node();
    let backend = running(config(node.port())).await;
    let answer = backend.get("/").await;
    let (head, page) = answer.split_once("\r\n\r\n").expect("it has a body");
    for never in [
        "innerHTML",
        "outerHTML",
        "insertAdjacentHTML",
        "document.write",
        "eval(",
        "{{",
        "style=\"",
    ] {
        assert!(!page.contains(never), "{never}");
    }
    // One more is the name of a language, which nobody fetches.
    let elsewhere: Vec<_> = page.match_indices("://").collect();
    assert_eq!(
        elsewhere.len(),
        page.matches("'http://www.w3.org/2000/svg'").count()
    );
    assert!(!page.contains(" src=") && !page.contains("@import") && !page.contains("url("));
    let nonce = page.split_once("nonce=\"").expect("it has one").1;
    let nonce = nonce.split_once('"').expect("it ends").0;
    assert!(nonce.len() >= 16, "{nonce}");
    for part in [
        format!("script-src 'nonce-{nonce}'"),
        format!("style-src 'nonce-{nonce}'"),
        "default-src 'none'".to_owned(),
    ] {
        assert!(head.contains(&part), "{head}");
    }
    assert_eq!(
        page.matches("<script").count() + page.matches("<style").count(),
        2
    );
}

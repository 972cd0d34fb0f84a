//! The status as text for Prometheus, in the states of a real pool.

use std::{
    io::{ErrorKind, Write},
    process::{Command, Output, Stdio},
    time::Duration,
};

use redis_rw_pool::{
    Config, Pool,
    redis::{AsyncCommands, RedisResult},
};
use testkit::Server;
use tokio::time::Instant;

use crate::support::{SOON, eventually};

/// What Prometheus' own tool says to the text; `None` where it is not installed (Debian: `prometheus`).
fn promtool(text: &str) -> Option<Output> {
    let tool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut tool = match tool {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            eprintln!(
                "not checked with promtool, which is not installed (`make grafana-check` installs it)"
            );
            return None;
        }
        tool => tool.expect("it can be started"),
    };
    let mut input = tool.stdin.take().expect("it is piped");
    input.write_all(text.as_bytes()).expect("it reads");
    drop(input);
    Some(tool.wait_with_output().expect("it ends"))
}

/// What it has against the text in OpenMetrics, which it reads as the older format.
///
/// There a counter has its `_total` in the name of its family, so it does not find the help texts of ours.
/// And OpenTelemetry's name for the number of connections ends in `_count`. These are remarks on style.
fn complaints(text: &str) -> Vec<String> {
    let Some(output) = promtool(text) else {
        return Vec::new();
    };
    let said = String::from_utf8(output.stderr).expect("it is text");
    let expected = |line: &&str| {
        line.ends_with("_total no help text") || line.starts_with("db_client_connection_count ")
    };
    let unexpected = said.lines().filter(|line| !expected(line));
    unexpected.map(str::to_owned).collect()
}

fn assert_accepted(pool: &Pool, state: &str) {
    let status = pool.status();
    let text = status.openmetrics();
    let families = text.lines().filter(|line| line.starts_with("# TYPE "));
    assert!(
        families.count() > 40 && text.ends_with("\n# EOF\n"),
        "{state}: {text}"
    );
    let complaints = complaints(&text);
    assert!(complaints.is_empty(), "{state}: {complaints:?}");
    if let Some(output) = promtool(&status.prometheus()) {
        let is_silent = output.stdout.is_empty() && output.stderr.is_empty();
        assert!(output.status.success() && is_silent, "{state}: {output:?}");
    }
}

#[tokio::test]
async fn prometheus_accepts_the_text_in_every_state() {
    let server = Server::standalone(&[]);
    let pool = Pool::connect_lazy(Config::standalone(server.addr()).with(|config| {
        config.name = Some("a \"shop\" \\ \u{e9}".to_owned());
        config.failover_timeout = Duration::from_millis(200);
        config.connect_timeout = Duration::from_millis(200);
    }))
    .unwrap();
    assert_accepted(&pool, "nothing is known yet");
    pool.connected(SOON).await.unwrap();
    let session = pool.session();
    let () = session.writer().set("k", 1).await.unwrap();
    let _: Option<String> = session.reader().get("k").await.unwrap();
    let _: Option<String> = pool.read().await.unwrap().get("k").await.unwrap();
    assert_accepted(&pool, "all is well");
    let text = pool.status().openmetrics();
    let name = r#"db_client_connection_pool_name="a \"shop\" \\ é/write""#;
    assert!(text.contains(name), "{text}");
    server.kill();
    eventually("the master is lost", SOON, || async {
        !pool.status().master.reachable
    })
    .await;
    let failed: RedisResult<()> = pool.writer().set("k", 1).await;
    failed.expect_err("there is no master");
    assert_accepted(&pool, "the master is lost");
    pool.close();
    pool.closed().await;
    assert_accepted(&pool, "the pool is closed");

    // A scrape is no work. Ten times what it takes on a machine that does nothing else.
    let began = Instant::now();
    for _ in 0..100 {
        std::hint::black_box(pool.status().openmetrics());
    }
    let each = began.elapsed() / 100;
    assert!(each < Duration::from_millis(10), "{each:?}");
}

//! A Prometheus of our own, which scrapes the example once a second.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::Value;
use testkit::{Folder, ports};

use crate::http;
use crate::program::Program;

const START: Duration = Duration::from_secs(30);

#[derive(Debug)]
pub(crate) struct Prometheus {
    port: u16,
    started: f64,
    _program: Program,
}

impl Prometheus {
    pub(crate) fn start(folder: &Folder, example: u16, alerts: &Path) -> Result<Self, String> {
        let rules = folder.write("alerts.yml", shortened(alerts)?);
        let config = folder.write(
            "prometheus.yml",
            format!(
                "global:\n  scrape_interval: 1s\n  evaluation_interval: 1s\n\
                 rule_files: ['{}']\n\
                 scrape_configs:\n  - job_name: web\n    static_configs:\n      - targets: ['127.0.0.1:{example}']\n",
                rules.display()
            ),
        );
        let port = ports::take(1)[0];
        let mut command = Command::new("prometheus");
        command
            .arg(format!("--config.file={}", config.display()))
            .arg(format!(
                "--storage.tsdb.path={}",
                folder.path().join("data").display()
            ))
            .arg(format!("--web.listen-address=127.0.0.1:{port}"));
        let program = Program::start(folder, "prometheus", &mut command)?;
        let started = now();
        let this = Self {
            port,
            started,
            _program: program,
        };
        let deadline = Instant::now() + START;
        while !http::get(port, "/-/ready").is_ok_and(|(status, _)| status == 200) {
            if Instant::now() > deadline {
                return Err("Prometheus does not become ready".to_owned());
            }
            thread::sleep(Duration::from_millis(50));
        }
        Ok(this)
    }

    /// The series of this expression now.
    pub(crate) fn instant(&self, expression: &str) -> Result<Vec<Value>, String> {
        self.series(&format!("query?query={}", http::quoted(expression)))
    }

    /// How many series have a number at some moment since the start.
    pub(crate) fn over_time(&self, expression: &str) -> Result<usize, String> {
        let path = format!(
            "query_range?query={}&start={}&end={}&step=1",
            http::quoted(expression),
            self.started,
            now()
        );
        let is_number = |point: &Value| point[1].as_str().is_some_and(|value| value != "NaN");
        let has_numbers = |series: &Value| {
            series["values"]
                .as_array()
                .is_some_and(|points| points.iter().any(is_number))
        };
        let series = self.series(&path)?;
        Ok(series.iter().filter(|series| has_numbers(series)).count())
    }

    /// The values of a label in these series.
    pub(crate) fn label_values(&self, series: &str, label: &str) -> Result<Vec<String>, String> {
        let path = format!(
            "label/{label}/values?match%5B%5D={}&start={}&end={}",
            http::quoted(series),
            self.started,
            now()
        );
        let values = self.ask(&path)?;
        let values = values.as_array().into_iter().flatten();
        Ok(values
            .filter_map(Value::as_str)
            .map(str::to_owned)
            .collect())
    }

    /// Each alert with its expression and its state: `inactive`, `pending`, `firing`.
    pub(crate) fn alerts(&self) -> Result<Vec<Alert>, String> {
        let data = self.ask("rules?type=alert")?;
        let groups = data["groups"].as_array().into_iter().flatten();
        let rules = groups.flat_map(|group| group["rules"].as_array().into_iter().flatten());
        rules
            .map(|rule| {
                let text = |name: &str| rule[name].as_str().unwrap_or_default().to_owned();
                if let Some(problem) = rule["lastError"].as_str() {
                    return Err(format!("{}: {problem}", text("name")));
                }
                let told = rule["alerts"].as_array().into_iter().flatten();
                let told =
                    told.map(|alert| alert["annotations"]["summary"].as_str().unwrap_or_default());
                Ok(Alert {
                    name: text("name"),
                    expression: text("query"),
                    state: text("state"),
                    summaries: told.map(str::to_owned).collect(),
                })
            })
            .collect()
    }

    fn series(&self, path: &str) -> Result<Vec<Value>, String> {
        let data = self.ask(path)?;
        Ok(data["result"].as_array().cloned().unwrap_or_default())
    }

    fn ask(&self, path: &str) -> Result<Value, String> {
        let answer = http::get(self.port, &format!("/api/v1/{path}"));
        let (_, body) = answer.map_err(|error| format!("Prometheus: {error}"))?;
        let mut answer: Value =
            serde_json::from_str(&body).map_err(|error| format!("{error} in {body}"))?;
        if answer["status"] != "success" {
            return Err(format!("Prometheus says: {}", answer["error"]));
        }
        Ok(answer["data"].take())
    }
}

#[derive(Debug)]
pub(crate) struct Alert {
    pub(crate) name: String,
    pub(crate) expression: String,
    pub(crate) state: String,
    /// One for each series that it is about.
    pub(crate) summaries: Vec<String>,
}

/// An alert that waits for a minute waits for five seconds, so that the check does not take that long. A
/// failover that goes well takes less.
fn shortened(alerts: &Path) -> Result<String, String> {
    let text =
        fs::read_to_string(alerts).map_err(|error| format!("{}: {error}", alerts.display()))?;
    let lines = text.lines().map(|line| match line.split_once("for: ") {
        Some((indent, _)) if indent.trim().is_empty() => format!("{indent}for: 5s\n"),
        _ => format!("{line}\n"),
    });
    Ok(lines.collect())
}

fn now() -> f64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.expect("BUG: the clock is before 1970").as_secs_f64()
}

/// Runs promtool, which says what it found.
pub(crate) fn promtool(arguments: &[&str]) -> Result<(), String> {
    let output = Command::new("promtool")
        .args(arguments)
        .stdin(Stdio::null())
        .output();
    let output = output.map_err(|error| format!("promtool: {error}"))?;
    let said = [output.stdout, output.stderr].concat();
    print!("{}", String::from_utf8_lossy(&said));
    output
        .status
        .success()
        .then_some(())
        .ok_or_else(|| format!("promtool {} failed", arguments.join(" ")))
}

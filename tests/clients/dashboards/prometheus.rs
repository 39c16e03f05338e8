//! A real Prometheus with the configuration and rules of the project, and its query API.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use super::grafana_files;
use crate::common::{agent, has, read};

/// A running Prometheus; dropping it kills the process.
pub struct Prometheus {
    process: Child,
    pub url: String,
    _folder: tempfile::TempDir,
}

/// One series of a query result.
pub struct Series {
    pub labels: BTreeSet<String>,
    pub values: Vec<f64>,
}

/// Returns whether `prometheus` and `promtool` are installed (Debian package `prometheus`).
pub fn is_installed() -> bool {
    ["prometheus", "promtool"].into_iter().all(has)
}

/// Returns `prometheus.yml` with other targets and intervals of one second. Each replacement must match exactly once.
fn configuration(targets: &[&str]) -> String {
    let targets: Vec<String> = targets.iter().map(|url| format!("{:?}", url.trim_start_matches("http://"))).collect();
    let rules = std::path::absolute("grafana/rules").unwrap();
    let mut text = std::fs::read_to_string("grafana/prometheus.yml").unwrap();
    for (from, to) in [
        ("      - targets: [\"kiln:9091\"]", format!("      - targets: [{}]", targets.join(", "))),
        ("scrape_interval: 15s", "scrape_interval: 1s\n  scrape_timeout: 1s".to_string()),
        ("evaluation_interval: 15s", "evaluation_interval: 1s".to_string()),
        ("  - rules/kiln.recording.yml", format!("  - {}/kiln.recording.yml", rules.display())),
        ("  - rules/kiln.alerts.yml", format!("  - {}/kiln.alerts.yml", rules.display())),
    ] {
        assert_eq!(text.matches(from).count(), 1, "{from}");
        text = text.replace(from, &to);
    }
    text
}

impl Prometheus {
    pub fn start(targets: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("prometheus.yml");
        std::fs::write(&file, configuration(targets)).unwrap();
        let mut process = Command::new("prometheus")
            .arg(format!("--config.file={}", file.display()))
            .arg(format!("--storage.tsdb.path={}", folder.path().join("data").display()))
            .args(["--web.listen-address=127.0.0.1:0", "--log.format=json"])
            .stderr(Stdio::piped())
            .spawn()
            .expect("prometheus starts");
        let lines = BufReader::new(process.stderr.take().expect("stderr is piped")).lines().map_while(Result::ok);
        let (sender, log) = std::sync::mpsc::channel();
        std::thread::spawn(move || lines.for_each(|line| drop(sender.send(line))));
        let address = loop {
            let line = log.recv().expect("Prometheus logs its address");
            let event: Value = serde_json::from_str(&line).unwrap_or_else(|e| panic!("{e}: {line}"));
            assert_ne!(event["level"], "error", "{line}");
            if event["msg"] == "Listening on" {
                break event["address"].as_str().expect("an address").to_string();
            }
        };
        Self { process, url: format!("http://{address}"), _folder: folder }
    }

    /// Sends a request to the HTTP API. Returns `data` of the response, or its error.
    pub fn api(&self, path: &str, query: &[(&str, &str)]) -> Result<Value, String> {
        let request = agent().get(format!("{}/api/v1/{path}", self.url));
        let answer = read(request.query_pairs(query.iter().copied()).call()).json();
        if answer["status"] == "success" { Ok(answer["data"].clone()) } else { Err(answer["error"].to_string()) }
    }

    /// Runs an instant query.
    pub fn query(&self, expression: &str) -> Result<Vec<Series>, String> {
        self.api("query", &[("query", expression)]).map(|data| series(&data))
    }

    /// Runs a range query over the last seconds, with one value per second.
    pub fn query_range(&self, expression: &str, seconds: u64) -> Result<Vec<Series>, String> {
        let now = self.api("query", &[("query", "time()")])?["result"][1].as_str().map(str::parse::<f64>);
        let now = now.and_then(Result::ok).ok_or("no time")?;
        let (start, end) = ((now - seconds as f64).to_string(), now.to_string());
        let query = [("query", expression), ("start", &start), ("end", &end), ("step", "1")];
        self.api("query_range", &query).map(|data| series(&data))
    }

    /// Returns the values of a label.
    pub fn label_values(&self, label: &str, selector: &str) -> Result<Vec<String>, String> {
        let data = self.api(&format!("label/{label}/values"), &[("match[]", selector)])?;
        Ok(serde_json::from_value(data).expect("a list of words"))
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        // The process may have exited already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Returns the rules that Prometheus has loaded.
pub fn rules(prometheus: &Prometheus) -> Vec<Value> {
    let groups = prometheus.api("rules", &[]).unwrap();
    let rules = |group: &Value| grafana_files::list(&group["rules"]).cloned().collect::<Vec<_>>();
    let rules: Vec<Value> = grafana_files::list(&groups["groups"]).flat_map(rules).collect();
    assert_eq!(rules.iter().filter(|rule| rule["type"] == "alerting").count(), grafana_files::alerts().len());
    rules
}

/// Asserts that every rule was evaluated without an error, and that no alert for a broken server fires.
pub fn check_rules(prometheus: &Prometheus) {
    for rule in rules(prometheus) {
        let name = grafana_files::text(&rule, "name");
        assert_eq!(rule["health"], "ok", "{name}: {rule}");
        assert!(rule["lastError"].as_str().unwrap_or_default().is_empty(), "{name}: {rule}");
        let alerts_for_broken_servers = [
            "KilnDeviceLost",
            "KilnSelfTestFailing",
            "KilnLogLinesLost",
            "KilnRestarting",
            "KilnTargetDown",
            "KilnFeedbackLost",
        ];
        assert!(
            !alerts_for_broken_servers.contains(&name) || rule["state"] != "firing",
            "{name} fires for no reason: {rule}"
        );
    }
}

fn series(data: &Value) -> Vec<Series> {
    if data["resultType"] == "scalar" {
        return vec![Series { labels: BTreeSet::new(), values: vec![number(&data["result"])] }];
    }
    let found = data["result"].as_array().expect("series");
    let one = |series: &Value| Series {
        labels: series["metric"].as_object().expect("labels").keys().cloned().collect(),
        values: match series["values"].as_array() {
            Some(values) => values.iter().map(number).collect(),
            None => vec![number(&series["value"])],
        },
    };
    found.iter().map(one).collect()
}

/// Returns the value of a sample, a pair of time and text.
fn number(sample: &Value) -> f64 {
    sample[1].as_str().and_then(|text| text.parse().ok()).unwrap_or_else(|| panic!("not a number: {sample}"))
}

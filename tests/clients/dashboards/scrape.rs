//! The metrics page: names, labels, and the linter of Prometheus.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::process::{Command, Stdio};

use kiln_runtime::telemetry::metrics::{ALL, Kind};

use super::promql::family;
use crate::common::{Server, output_text};

/// Prefixes of metrics that promtool may criticize, each with the reason.
const ACCEPTED: [(&str, &str); 1] =
    [("nv_inference_", "Triton's metric names, in microseconds, are kept for compatibility with its dashboards")];

/// Metrics by name, with the labels of their series.
pub type Shown = BTreeMap<String, BTreeSet<String>>;

/// Parses the metrics pages of several servers.
pub fn shown_metrics(pages: &[&str]) -> Shown {
    let mut shown = Shown::new();
    for line in pages.iter().flat_map(|page| page.lines()) {
        if let Some(name) = line.strip_prefix("# TYPE ").and_then(|rest| rest.split(' ').next()) {
            shown.entry(name.to_string()).or_default();
        } else if !line.starts_with('#') && !line.is_empty() {
            let series = line.rsplit_once(' ').expect("a value").0;
            let (name, labels) = series.split_once('{').unwrap_or((series, ""));
            let name = if shown.contains_key(name) { name } else { family(name) };
            let known = shown.get_mut(name).unwrap_or_else(|| panic!("a series without a type: {line}"));
            let names = labels.split("\",").filter_map(|label| label.split_once("=\"")).map(|(name, _)| name);
            known.extend(names.filter(|name| *name != "le").map(str::to_string));
        }
    }
    shown
}

/// Asserts that the servers expose exactly the declared metrics and labels.
pub fn check_declarations(shown: &Shown) {
    let declared: Shown = ALL
        .iter()
        .map(|metric| (metric.name.to_string(), metric.labels.iter().map(|label| (*label).to_string()).collect()))
        .collect();
    assert_eq!(*shown, declared, "left: what two servers show; right: crates/runtime/src/telemetry/metrics/names.rs");
}

/// Asserts that promtool reports only the accepted prefixes, and that histograms are declared as such.
pub fn check_lint(server: &Server) {
    let page = server.get("/metrics").text();
    let mut lint = Command::new("promtool");
    lint.args(["check", "metrics"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut lint = lint.spawn().unwrap();
    lint.stdin.take().unwrap().write_all(page.as_bytes()).unwrap();
    let output = lint.wait_with_output().unwrap();
    let report = output_text(&output);
    let (accepted, left): (Vec<&str>, Vec<&str>) =
        report.lines().partition(|line| ACCEPTED.iter().any(|(prefix, _)| line.starts_with(prefix)));
    assert_eq!(left, Vec::<&str>::new(), "promtool check metrics");
    assert!(!accepted.is_empty(), "promtool no longer reports the accepted prefixes");
    let histograms = ALL.iter().filter(|metric| matches!(metric.kind, Kind::Histogram(_)));
    for metric in histograms {
        assert!(page.contains(&format!("# TYPE {} histogram", metric.name)), "{} is not a histogram", metric.name);
    }
}

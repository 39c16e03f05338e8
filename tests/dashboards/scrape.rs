//! The metrics page itself: names, labels, and what Prometheus' own linter says of it.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::process::{Command, Stdio};

use kiln_runtime::telemetry::metrics::{ALL, Kind};

use crate::common::Server;
use crate::promql::family;

/// What promtool finds, and why it stays.
const ACCEPTED: [(&str, &str); 1] =
    [("nv_inference_", "these are Triton's names, for those who read them already; it measures in microseconds")];

/// Metrics by name, with the labels of their series.
pub type Shown = BTreeMap<String, BTreeSet<String>>;

pub fn shown(pages: &[&str]) -> Shown {
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

/// What the servers show is what they say that they show.
pub fn is_as_declared(shown: &Shown) {
    let declared: Shown = ALL
        .iter()
        .map(|metric| (metric.name.to_string(), metric.labels.iter().map(|label| (*label).to_string()).collect()))
        .collect();
    assert_eq!(*shown, declared, "left: what two servers show; right: crates/runtime/src/telemetry/metrics/names.rs");
}

/// The page without the lines of metrics that promtool may find fault with.
pub fn is_clean(server: &Server) {
    let page = server.get("/metrics").text();
    let mut lint = Command::new("promtool");
    lint.args(["check", "metrics"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut lint = lint.spawn().unwrap();
    lint.stdin.take().unwrap().write_all(page.as_bytes()).unwrap();
    let output = lint.wait_with_output().unwrap();
    let said = [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat();
    let (accepted, left): (Vec<&str>, Vec<&str>) =
        said.lines().partition(|line| ACCEPTED.iter().any(|(prefix, _)| line.starts_with(prefix)));
    assert_eq!(left, Vec::<&str>::new(), "promtool check metrics");
    assert!(!accepted.is_empty(), "promtool says nothing of names that it cannot like");
    let histograms = ALL.iter().filter(|metric| matches!(metric.kind, Kind::Histogram(_)));
    for metric in histograms {
        assert!(page.contains(&format!("# TYPE {} histogram", metric.name)), "{} is no histogram", metric.name);
    }
}

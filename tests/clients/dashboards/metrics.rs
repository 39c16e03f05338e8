//! Metrics: declared names and labels, the linter of Prometheus, and the names used in panels, rules and documents.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::process::{Command, Stdio};

use kiln_runtime::telemetry::metrics::{ALL, Kind};

use super::grafana_files::{self, README};
use super::prometheus::{Prometheus, rules};
use super::promql::{family, label_values, selectors};
use crate::common::markdown::pages;
use crate::common::{Server, output_text};

/// Prefixes of metrics that promtool may criticize, each with the reason.
const ACCEPTED: [(&str, &str); 1] =
    [("nv_inference_", "Triton's metric names, in microseconds, are kept for compatibility with its dashboards")];

/// The documents that list the outcomes of requests: error codes, and lookups in the response cache.
const OUTCOMES: [&str; 2] = ["docs/errors.md", "docs/cache.md"];

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
    assert_eq!(
        *shown, declared,
        "left: what two servers show; right: crates/runtime/src/telemetry/metrics/definitions.rs"
    );
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

/// Asserts that every used metric exists, and that every existing metric has a panel or a documented reason to have none.
pub fn check_names(prometheus: &Prometheus, shown: &Shown) {
    let whole = |name: String| if shown.contains_key(&name) { name } else { family(&name).to_string() };
    let dashboard = grafana_files::dashboard();
    let targets = grafana_files::targets(&dashboard);
    let of = |expression: &str| selectors(expression).into_iter().map(|(name, _)| whole(name)).collect::<Vec<_>>();
    let panels: BTreeSet<String> = targets.iter().flat_map(|target| of(&target.expression)).collect();
    let rules = rules(prometheus);
    let in_rules: BTreeSet<String> = rules.iter().flat_map(|rule| of(grafana_files::text(rule, "query"))).collect();
    let recorded: BTreeSet<&str> = rules.iter().map(|rule| grafana_files::text(rule, "name")).collect();
    let of_prometheus = |name: &str| matches!(name, "up" | "ALERTS") || recorded.contains(name);
    let about_dashboard = grafana_files::read(README);
    let pages: Vec<String> = pages().iter().map(|page| grafana_files::read(page)).collect();
    let documents = pages.iter().chain([&about_dashboard]);
    let documented = documents.flat_map(|text| grafana_files::metric_names(text)).map(whole);
    for name in panels.iter().chain(&in_rules).cloned().chain(documented) {
        assert!(shown.contains_key(&name) || of_prometheus(&name), "no server exposes {name}");
    }
    let elsewhere = grafana_files::metric_names(&grafana_files::section(&about_dashboard, "Not on the dashboard"));
    for name in shown.keys() {
        let (panel, reason) = (panels.contains(name), elsewhere.contains(name));
        assert!(panel || reason, "{name} has no panel, and {README} does not say why under 'Not on the dashboard'");
        assert!(!(panel && reason), "{README} says that {name} has no panel, but it has one");
    }
    // A selector with an outcome that no longer exists would never match.
    let known = OUTCOMES.map(grafana_files::read).concat();
    for selector in targets.iter().flat_map(|target| selectors(&target.expression)).map(|(_, selector)| selector) {
        for word in label_values(&selector, "outcome").into_iter().filter(|word| *word != "ok") {
            assert!(known.contains(&format!("`{word}`")), "{OUTCOMES:?} have no outcome {word}: {selector}");
        }
    }
}

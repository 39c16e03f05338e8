//! Metrics, alerts and runbooks in the documents.

use std::collections::BTreeSet;

pub const README: &str = "grafana/README.md";

/// Reads a file of the project.
pub fn read(file: &str) -> String {
    std::fs::read_to_string(file).unwrap_or_else(|e| panic!("{file}: {e}"))
}

/// Returns the text below a heading, up to the next heading.
pub fn section(document: &str, heading: &str) -> String {
    let lines = document.lines().skip_while(|line| line.trim_start_matches('#').trim() != heading).skip(1);
    lines.take_while(|line| !line.starts_with('#')).collect::<Vec<_>>().join("\n")
}

/// Returns the metric names in a document, without words such as `kiln_test-...` and `process_*`.
pub fn metrics(document: &str) -> BTreeSet<String> {
    let words = document.split(|c: char| !(c.is_ascii_alphanumeric() || "_*-:.".contains(c)));
    let ours = |word: &&str| ["kiln_", "nv_inference_", "process_"].iter().any(|prefix| word.starts_with(prefix));
    let whole = |word: &&str| word.chars().all(|c| c.is_ascii_lowercase() || c == '_');
    words.map(|word| word.trim_end_matches(['.', ':'])).filter(ours).filter(whole).map(str::to_string).collect()
}

/// Returns each alert of the rules with its runbook address.
pub fn alerts() -> Vec<(String, String)> {
    let rules = read("grafana/rules/kiln.alerts.yml");
    let value = |line: &str, field: &str| Some(line.trim().strip_prefix(field)?.trim().trim_matches('"').to_string());
    let names: Vec<String> = rules.lines().filter_map(|line| value(line, "- alert:")).collect();
    let runbooks: Vec<String> = rules.lines().filter_map(|line| value(line, "runbook_url:")).collect();
    assert_eq!(names.len(), runbooks.len(), "an alert without a runbook");
    names.into_iter().zip(runbooks).collect()
}

//! The table in `docs/metrics.md`, written from the names.

use super::names::{ALL, Kind, Metric};

fn table() -> String {
    let rows = ALL.iter().map(row).collect::<String>();
    format!("| metric | kind | labels | what it tells |\n|---|---|---|---|\n{rows}")
}

fn row(metric: &Metric) -> String {
    let kind = match metric.kind {
        Kind::Counter => "counter",
        Kind::Gauge => "gauge",
        Kind::Histogram(_) => "histogram",
    };
    let labels = metric.labels.iter().map(|label| format!("`{label}`")).collect::<Vec<_>>().join(", ");
    format!("| `{}` | {kind} | {labels} | {} |\n", metric.name, metric.help)
}

#[test]
fn the_document_has_every_metric() {
    crate::doc_tables::holds("docs/metrics.md", "crates/runtime/src/telemetry/metrics/names.rs", &table());
}

#[test]
fn names_follow_prometheus_and_are_told_apart() {
    for (index, metric) in ALL.iter().enumerate() {
        let name = metric.name;
        assert!(ALL[..index].iter().all(|other| other.name != name), "{name} twice");
        assert!(metric.help.ends_with('.') && metric.help.len() > 10, "{name}: {}", metric.help);
        // Triton's have their own ways.
        let native = !name.starts_with("nv_");
        assert!(!native || (metric.kind == Kind::Counter) == name.ends_with("_total"), "{name}");
        if let Kind::Histogram(bounds) = metric.kind {
            assert!(bounds.windows(2).all(|pair| pair[0] < pair[1]), "{name}");
        }
    }
}

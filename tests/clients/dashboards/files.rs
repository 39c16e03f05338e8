//! Checks of the files without a server.

use std::collections::BTreeSet;
use std::process::Command;

use super::grafana_files::{self, README, list, text};
use super::prometheus;
use crate::common::{kiln, markdown, output_text, python};

fn promtool(arguments: &[&str]) {
    let output = Command::new("promtool").args(arguments).output().unwrap();
    assert!(output.status.success(), "promtool {arguments:?}: {}", output_text(&output));
}

#[test]
fn promtool_accepts_configuration_and_rules_and_rule_tests_pass() {
    if !prometheus::is_installed() {
        return;
    }
    promtool(&["check", "config", "grafana/prometheus.yml"]);
    promtool(&["check", "rules", "grafana/rules/kiln.recording.yml", "grafana/rules/kiln.alerts.yml"]);
    promtool(&["test", "rules", "grafana/rules/kiln.test.yml"]);
}

/// `promtool test rules` does not report rules without a test.
#[test]
fn every_alert_has_a_test_and_a_runbook() {
    let readme = grafana_files::read(README);
    let (anchors, tests) = (markdown::anchors(&readme), grafana_files::read("grafana/rules/kiln.test.yml"));
    let alerts = grafana_files::alerts();
    assert!(alerts.len() > 10, "the alerts were not found");
    for (alert, runbook) in &alerts {
        let anchor = runbook.strip_prefix("grafana/README.md#").unwrap_or_else(|| panic!("{alert}: {runbook}"));
        assert_eq!(*anchor, alert.to_lowercase());
        assert!(anchors.contains(anchor), "{alert} has no runbook in {README}");
        for part in ["What it means", "Look at", "Do"] {
            assert!(
                grafana_files::section(&readme, alert).contains(&format!("**{part}")),
                "the runbook of {alert}: {part}"
            );
        }
        assert!(tests.contains(&format!("runbook_url: {runbook}")), "no test expects {alert} to fire");
    }
    let alert = |name: &String| alerts.iter().any(|(alert, _)| alert == name);
    let headings = readme.lines().filter_map(|line| line.strip_prefix("### Kiln")).map(|name| format!("Kiln{name}"));
    assert_eq!(
        headings.filter(|name| !alert(name)).collect::<Vec<_>>(),
        Vec::<String>::new(),
        "runbooks without an alert"
    );
}

/// The dashboard models published by Grafana Labs accept the file without losing a field.
#[test]
fn dashboard_conforms_to_the_grafana_schema() {
    let Some(python) = python("grafana-foundation-sdk") else { return };
    let script = ["tests/clients/dashboards/schema.py", "grafana/dashboards/kiln.json"];
    let output = Command::new(python).args(script).output().unwrap();
    assert!(output.status.success(), "{}", output_text(&output));
}

#[test]
fn panels_have_description_unit_link_and_variables() {
    let dashboard = grafana_files::dashboard();
    let anchors = markdown::anchors(&grafana_files::read(README));
    assert_eq!(text(&dashboard, "uid"), "kiln");
    let mut ids = BTreeSet::new();
    for panel in list(&dashboard["panels"]) {
        assert!(ids.insert(panel["id"].as_u64()), "two panels have the id {}", panel["id"]);
    }
    let panels = grafana_files::panels(&dashboard);
    assert!(panels.len() > 30, "{}", panels.len());
    for panel in panels {
        let title = text(panel, "title");
        assert!(text(panel, "description").len() > 20, "the description of {title} is too short");
        assert!(!text(&panel["fieldConfig"]["defaults"], "unit").is_empty(), "{title} has no unit");
        assert_eq!(panel["datasource"]["uid"], "${datasource}", "{title}");
        let mut links = list(&panel["links"]).map(|link| text(link, "url"));
        let has_link =
            links.any(|url| url.strip_prefix("${docs}/grafana/README.md#").is_some_and(|a| anchors.contains(a)));
        assert!(has_link, "{title} links to no section of {README}");
        let mut ids_of_queries = BTreeSet::new();
        for target in list(&panel["targets"]) {
            assert_eq!(target["datasource"]["uid"], "${datasource}", "{title}");
            assert!(ids_of_queries.insert(text(target, "refId")), "{title} has two queries with the same id");
            let expression = text(target, "expr");
            // `ALERTS` covers all instances; every other expression must use the variable.
            let uses_variable = expression.contains("$instance") || expression.contains("ALERTS");
            assert!(uses_variable, "{title} does not use the variable: {expression}");
            let has_no_range = !expression.contains("rate(") && !expression.contains("increase(");
            assert!(has_no_range || expression.contains("[$__r"), "{title} has a fixed range: {expression}");
        }
    }
}

#[test]
fn panels_neither_overlap_nor_leave_gaps() {
    let dashboard = grafana_files::dashboard();
    let mut taken = BTreeSet::new();
    for panel in list(&dashboard["panels"]) {
        let [x, y, w, h] = ["x", "y", "w", "h"].map(|field| panel["gridPos"][field].as_u64().unwrap());
        assert!(x + w <= 24, "{} is too wide", panel["title"]);
        for cell in (x..x + w).flat_map(|x| (y..y + h).map(move |y| (x, y))) {
            assert!(taken.insert(cell), "{} overlaps another panel", panel["title"]);
        }
    }
    let height = taken.iter().map(|(_, y)| y + 1).max().unwrap();
    assert_eq!(taken.len() as u64, 24 * height, "there is a gap between panels");
}

/// Checks the mounts and the settings of the server in compose.yml, without starting the containers.
#[test]
fn compose_file_mounts_existing_files_and_has_valid_settings() {
    let compose = grafana_files::read("grafana/compose.yml");
    let mut mounts = 0;
    for line in compose.lines().filter_map(|line| line.trim().strip_prefix("- .")) {
        let path = format!("grafana/.{}", line.split(':').next().unwrap());
        assert!(std::path::Path::new(&path).exists(), "compose.yml mounts {path}, which is not there");
        mounts += 1;
    }
    assert_eq!(mounts, 7);
    let mut check = kiln();
    check.args(["config", "check"]);
    let settings = compose.lines().filter_map(|line| line.trim().split_once(": "));
    let settings: Vec<_> = settings.filter(|(name, value)| name.starts_with("KILN_") && !value.contains('$')).collect();
    for (name, value) in &settings {
        check.env(name, value);
    }
    let output = check.output().unwrap();
    let effective = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    for (name, value) in &settings {
        let is_effective = effective.lines().any(|line| line.contains(name) && line.contains(value));
        assert!(is_effective, "{name} is not a setting: {effective}");
    }
    assert!(settings.len() > 3, "{settings:?}");
    let [_, metrics] = ["KILN_LISTEN", "KILN_METRICS_LISTEN"]
        .map(|name| settings.iter().find(|(setting, _)| *setting == name).unwrap().1.rsplit(':').next().unwrap());
    let scraped = grafana_files::read("grafana/prometheus.yml");
    assert!(scraped.contains(&format!("targets: [\"kiln:{metrics}\"]")), "Prometheus scrapes another port");
}

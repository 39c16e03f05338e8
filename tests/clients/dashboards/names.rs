//! Names of metrics, rules and errors in panels, rules and documents.

use std::collections::BTreeSet;

use super::dashboard;
use super::documents::{self, README};
use super::prometheus::{Prometheus, rules};
use super::promql::{family, label_values, selectors};
use super::scrape::Shown;

/// Asserts that every used metric exists, and that every existing metric has a panel or a documented reason to have none.
pub fn check_names(prometheus: &Prometheus, shown: &Shown) {
    let whole = |name: String| if shown.contains_key(&name) { name } else { family(&name).to_string() };
    let dashboard = dashboard::load();
    let targets = dashboard::targets(&dashboard);
    let of = |expression: &str| selectors(expression).into_iter().map(|(name, _)| whole(name)).collect::<Vec<_>>();
    let panels: BTreeSet<String> = targets.iter().flat_map(|target| of(&target.expression)).collect();
    let rules = rules(prometheus);
    let in_rules: BTreeSet<String> = rules.iter().flat_map(|rule| of(dashboard::text(rule, "query"))).collect();
    let recorded: BTreeSet<&str> = rules.iter().map(|rule| dashboard::text(rule, "name")).collect();
    let of_prometheus = |name: &str| matches!(name, "up" | "ALERTS") || recorded.contains(name);
    let documents = [README, "README.md", "docs/access.md", "docs/metrics.md", "docs/models.md"].map(documents::read);
    let documented = documents.iter().flat_map(|text| documents::metrics(text)).map(whole);
    for name in panels.iter().chain(&in_rules).cloned().chain(documented) {
        assert!(shown.contains_key(&name) || of_prometheus(&name), "no server exposes {name}");
    }
    let elsewhere = documents::metrics(&documents::section(&documents[0], "Not on the dashboard"));
    for name in shown.keys() {
        let (panel, reason) = (panels.contains(name), elsewhere.contains(name));
        assert!(panel || reason, "{name} has no panel, and {README} does not say why under 'Not on the dashboard'");
        assert!(!(panel && reason), "{README} says that {name} has no panel, but it has one");
    }
    // A selector with an error code that no longer exists would never match.
    let known = documents[1].as_str();
    for selector in targets.iter().flat_map(|target| selectors(&target.expression)).map(|(_, selector)| selector) {
        for word in label_values(&selector, "outcome").into_iter().filter(|word| *word != "ok") {
            assert!(known.contains(&format!("`{word}`")), "the README knows no error {word}: {selector}");
        }
    }
}

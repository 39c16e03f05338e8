//! Reads the files in `grafana/`: the panels and expressions of the dashboard, the alerts, and the metrics in documents.

use std::collections::BTreeSet;

use serde_json::Value;

/// The document about the dashboard and the alerts.
pub const README: &str = "grafana/README.md";

/// One expression of a panel.
pub struct Target {
    /// Title of the panel.
    pub panel: String,
    /// The expression with its variables.
    pub expression: String,
    /// Whether the query is an instant query.
    pub instant: bool,
    /// Labels in the legend.
    pub legend: Vec<String>,
}

/// Reads the dashboard.
pub fn dashboard() -> Value {
    serde_json::from_str(&read("grafana/dashboards/kiln.json")).unwrap()
}

/// Returns all panels except rows.
pub fn panels(dashboard: &Value) -> Vec<&Value> {
    list(&dashboard["panels"]).filter(|panel| panel["type"] != "row").collect()
}

/// Iterates over the items of an array.
pub fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

/// Returns a string field.
pub fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value[field].as_str().unwrap_or_else(|| panic!("no {field} in {value}"))
}

/// Returns the expressions of all panels.
pub fn targets(dashboard: &Value) -> Vec<Target> {
    let of = |panel: &Value| {
        let target = |target: &Value| Target {
            panel: text(panel, "title").to_string(),
            expression: text(target, "expr").to_string(),
            instant: target["instant"] == true,
            legend: labels(text(target, "legendFormat")),
        };
        list(&panel["targets"]).map(target).collect::<Vec<_>>()
    };
    panels(dashboard).into_iter().flat_map(of).collect()
}

/// Returns the `{{labels}}` of a legend.
fn labels(legend: &str) -> Vec<String> {
    legend.split("{{").skip(1).filter_map(|part| Some(part.split_once("}}")?.0.trim().to_string())).collect()
}

/// Returns the query variables of a dashboard: name, selector, label.
pub fn variables(dashboard: &Value) -> Vec<(&str, &str, &str)> {
    fn parse(variable: &Value) -> (&str, &str, &str) {
        let query = text(&variable["query"], "query");
        let inside = query.strip_prefix("label_values(").and_then(|rest| rest.strip_suffix(')'));
        let (selector, label) = inside.and_then(|inside| inside.rsplit_once(", ")).unwrap_or_else(|| panic!("{query}"));
        (text(variable, "name"), selector, label)
    }
    list(&dashboard["templating"]["list"]).filter(|variable| variable["type"] == "query").map(parse).collect()
}

/// Joins the values of a variable as Grafana does in a PromQL expression: a regular expression in a string.
pub fn any_of(values: &[String]) -> String {
    let escape = |value: &String| {
        let special = |c: char| if "\\^$*+?.()|[]{}".contains(c) { format!("\\\\{c}") } else { c.to_string() };
        value.chars().map(special).collect::<String>()
    };
    format!("({})", values.iter().map(escape).collect::<Vec<_>>().join("|"))
}

/// Replaces the variables in an expression. The ranges suit one scrape per second.
pub fn fill(expression: &str, instances: &[String], models: &[String]) -> String {
    let filled = expression.replace("$instance", &any_of(instances)).replace("$model", &any_of(models));
    let filled = filled.replace("$__rate_interval", "10s").replace("$__range", "60s");
    assert!(!filled.contains('$'), "{filled} has an unknown variable");
    filled
}

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
pub fn metric_names(document: &str) -> BTreeSet<String> {
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

//! Queries to Prometheus: every panel and annotation of the dashboard, every rule, and facts about the load.

use std::time::{Duration, Instant};

use super::grafana_files::{self, Target};
use super::prometheus::{Prometheus, Series, rules};
use super::promql::selectors;

/// The maximum time until all queries have a result.
const TIMEOUT: Duration = Duration::from_secs(120);

/// Expressions that are empty until the effect of the load is visible in the metrics.
const FACTS: [(&str, &str); 19] = [
    ("a full queue", "kiln_requests_total{operation=\"predict_raw\", status=\"429\", outcome=\"overloaded\"} > 0"),
    ("a deadline", "sum(kiln_requests_total{status=~\"429|504\", outcome=~\"deadline_.*\"}) > 0"),
    ("an invalid image", "kiln_requests_total{status=\"422\", outcome=\"undecodable_image\"} > 0"),
    ("an unknown model", "kiln_requests_total{status=\"404\", outcome=\"unknown_model\"} > 0"),
    ("wrong keys", "kiln_requests_total{status=\"401\", outcome=\"key_invalid\"} > 0"),
    ("a form", "kiln_requests_total{operation=\"predict\", status=\"200\"} > 0"),
    ("a batch", "kiln_requests_total{operation=\"predict_batch\", status=\"200\"} > 0"),
    ("a tensor", "kiln_requests_total{operation=\"oip_infer\", status=\"200\"} > 0"),
    ("the rate limit of a key", "kiln_key_requests_total{key=\"batch-job\", outcome=\"rate_exceeded\"} > 0"),
    ("requests of a key", "kiln_key_requests_total{key=\"mobile-app\", outcome=\"ok\"} > 0"),
    ("feedback of each kind", "count(kiln_feedback_total > 0) == 3"),
    ("an accuracy between 0 and 1", "kiln_feedback_accuracy > 0 and kiln_feedback_accuracy < 1"),
    ("recorded predictions", "kiln_predictions_recorded_total > 10 and on (instance) kiln_stored_images_bytes > 0"),
    ("no dropped records", "sum(kiln_records_dropped_total) == 0"),
    ("a client that disconnected", "sum(kiln_cancelled_total) > 0"),
    ("a queue with capacity and requests", "kiln_queue_capacity == 4 and max_over_time(kiln_inflight_images[1m]) >= 2"),
    ("cached answers", "kiln_cache_requests_total{outcome=\"hit\"} > 0 and on (instance) kiln_cache_entries > 0"),
    (
        "phases that add up to the whole",
        "abs(sum(kiln_phase_duration_seconds_sum{phase!=\"total\"}) / \
         sum(kiln_phase_duration_seconds_sum{phase=\"total\"}) - 1) < 0.001",
    ),
    (
        "images run, as both sets of metric names count them",
        "sum by (instance, model) (nv_inference_count) > 10 and on (instance, model) kiln_batch_size_sum >= \
         on (instance, model) sum by (instance, model) (nv_inference_count)",
    ),
];

/// A query that must have a result at some point.
struct Query {
    what: String,
    expression: String,
    /// Whether the panel draws a graph.
    over_time: bool,
    labels: Vec<String>,
}

impl Query {
    /// Returns an error unless a series with the labels has a finite value.
    fn check(&self, prometheus: &Prometheus) -> Result<(), String> {
        let result = if self.over_time {
            prometheus.query_range(&self.expression, 10)
        } else {
            prometheus.query(&self.expression)
        };
        // An invalid expression never becomes valid.
        let series = result.unwrap_or_else(|error| panic!("{}: {error}: {}", self.what, self.expression));
        let is_complete = |series: &Series| {
            series.values.iter().any(|value| value.is_finite()) && self.labels.iter().all(|l| series.labels.contains(l))
        };
        if series.iter().any(is_complete) {
            return Ok(());
        }
        let found: Vec<_> = series.iter().map(|series| (&series.labels, &series.values)).collect();
        Err(format!(
            "{} has no number with the labels {:?}: {} gave {found:?}",
            self.what, self.labels, self.expression
        ))
    }
}

/// Repeats the queries until each has had a result. Panics with the missing ones after [`TIMEOUT`].
pub fn wait_for_all_results(prometheus: &Prometheus, has_gpu: bool) {
    let started = Instant::now();
    let mut queries = queries(prometheus, has_gpu);
    let count = queries.len();
    loop {
        let mut missing = Vec::new();
        queries.retain(|query| query.check(prometheus).map_err(|why| missing.push(why)).is_err());
        if queries.is_empty() {
            println!("{count} queries had results after {:?}", started.elapsed());
            return;
        }
        assert!(started.elapsed() < TIMEOUT, "{} of {count} have no result:\n{}", missing.len(), missing.join("\n"));
        std::thread::sleep(Duration::from_millis(500));
    }
}

/// Returns the values of the dashboard's variables as soon as every server has been scraped.
fn values(prometheus: &Prometheus, servers: usize) -> (Vec<String>, Vec<String>) {
    let dashboard = grafana_files::dashboard();
    let variables = grafana_files::variables(&dashboard);
    let [("instance", all, instance), ("model", of_instances, model)] = variables[..] else {
        panic!("other variables: {variables:?}")
    };
    let started = Instant::now();
    loop {
        let instances = prometheus.label_values(instance, all).unwrap();
        let selector = of_instances.replace("$instance", &grafana_files::any_of(&instances));
        let models = prometheus.label_values(model, &selector).unwrap();
        if instances.len() == servers && !models.is_empty() {
            assert_eq!(models, ["efficientnet-lite0"]);
            return (instances, models);
        }
        assert!(started.elapsed() < TIMEOUT, "the variables have the values {instances:?}, {models:?}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

fn queries(prometheus: &Prometheus, has_gpu: bool) -> Vec<Query> {
    let dashboard = grafana_files::dashboard();
    let (instances, models) = values(prometheus, if has_gpu { 2 } else { 1 });
    let fill = |expression: &str| grafana_files::fill(expression, &instances, &models);
    let of_panel = |target: Target| Query {
        what: format!("the panel '{}'", target.panel),
        expression: fill(&target.expression),
        over_time: !target.instant,
        labels: target.legend,
    };
    let on_device = |target: &Target| target.expression.contains("kiln_device_memory_bytes");
    let targets = grafana_files::targets(&dashboard).into_iter();
    let mut queries: Vec<Query> = targets.filter(|t| has_gpu || !on_device(t)).map(of_panel).collect();
    queries.extend(FACTS.iter().map(|(what, expression)| Query {
        what: (*what).to_string(),
        expression: (*expression).to_string(),
        over_time: false,
        labels: vec![],
    }));
    for annotation in grafana_files::list(&dashboard["annotations"]["list"]) {
        let expression = fill(grafana_files::text(annotation, "expr"));
        let name = grafana_files::text(annotation, "name");
        // No alert should fire, so the query needs a default to have a result.
        let expression = if name == "Alerts" { format!("{expression} or vector(0)") } else { expression };
        queries.push(Query { what: format!("the annotation '{name}'"), expression, over_time: false, labels: vec![] });
    }
    for rule in rules(prometheus) {
        let (name, expression) = (grafana_files::text(&rule, "name"), grafana_files::text(&rule, "query"));
        let query = |what: &str, expression: &str| Query {
            what: format!("{what} '{name}'"),
            expression: expression.to_string(),
            over_time: false,
            labels: vec![],
        };
        if rule["type"] == "recording" {
            queries.push(query("the rule", name));
        } else {
            let found = selectors(expression);
            assert!(!found.is_empty(), "{name} selects no series: {expression}");
            queries.extend(found.iter().map(|(_, selector)| query("a selector of the alert", selector)));
        }
    }
    queries
}

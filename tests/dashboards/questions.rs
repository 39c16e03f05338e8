//! What Prometheus is asked: every panel and mark of the dashboard, every rule, and facts about the load.

use std::time::{Duration, Instant};

use crate::dashboard::{self, Target};
use crate::prometheus::{Prometheus, Series};
use crate::promql::selectors;
use crate::rules::rules;

/// How long all queries together may go without an answer.
const PATIENCE: Duration = Duration::from_secs(120);

/// What the load does to the server is told, and what is told adds up. Each is empty while it is not so.
const FACTS: [(&str, &str); 19] = [
    ("a full queue", "kiln_requests_total{operation=\"predict_raw\", status=\"429\", outcome=\"overloaded\"} > 0"),
    ("too little time", "sum(kiln_requests_total{status=\"429\", outcome=~\"deadline_.*\"}) > 0"),
    ("a broken picture", "kiln_requests_total{status=\"422\", outcome=\"undecodable_image\"} > 0"),
    ("an unknown model", "kiln_requests_total{status=\"404\", outcome=\"unknown_model\"} > 0"),
    ("wrong keys", "kiln_requests_total{status=\"401\", outcome=\"key_invalid\"} > 0"),
    ("a form", "kiln_requests_total{operation=\"predict\", status=\"200\"} > 0"),
    ("several pictures", "kiln_requests_total{operation=\"predict_batch\", status=\"200\"} > 0"),
    ("a tensor", "kiln_requests_total{operation=\"oip_infer\", status=\"200\"} > 0"),
    ("a key's rate", "kiln_key_requests_total{key=\"batch-job\", outcome=\"rate_exceeded\"} > 0"),
    ("a key's work", "kiln_key_requests_total{key=\"mobile-app\", outcome=\"ok\"} > 0"),
    ("feedback of each kind", "count(kiln_feedback_total > 0) == 3"),
    ("answers of which some were right", "kiln_feedback_accuracy > 0 and kiln_feedback_accuracy < 1"),
    (
        "predictions that were recorded",
        "kiln_predictions_recorded_total > 10 and on (instance) kiln_stored_images_bytes > 0",
    ),
    ("nothing that was lost", "sum(kiln_records_dropped_total) == 0"),
    ("a client that went away", "sum(kiln_cancelled_total) > 0"),
    ("places, some of them taken", "kiln_queue_capacity == 4 and max_over_time(kiln_inflight_images[1m]) >= 2"),
    (
        "answers that were there",
        "kiln_cache_requests_total{outcome=\"hit\"} > 0 and on (instance) kiln_cache_entries > 0",
    ),
    (
        "phases that add up to the whole",
        "abs(sum(kiln_phase_duration_seconds_sum{phase!=\"total\"}) / \
         sum(kiln_phase_duration_seconds_sum{phase=\"total\"}) - 1) < 0.001",
    ),
    (
        "pictures run, as both sets of names count them",
        "sum by (instance, model) (nv_inference_count) > 10 and on (instance, model) kiln_batch_size_sum >= \
         on (instance, model) sum by (instance, model) (nv_inference_count)",
    ),
];

/// Something that Prometheus has to have an answer to, some time.
struct Question {
    what: String,
    expression: String,
    /// Whether a graph is drawn of it.
    over_time: bool,
    labels: Vec<String>,
}

impl Question {
    fn ask(&self, prometheus: &Prometheus) -> Result<(), String> {
        let answer =
            if self.over_time { prometheus.lately(&self.expression, 10) } else { prometheus.now(&self.expression) };
        // An expression that Prometheus does not understand will not get better.
        let series = answer.unwrap_or_else(|error| panic!("{}: {error}: {}", self.what, self.expression));
        let is_good = |series: &Series| {
            series.values.iter().any(|value| value.is_finite()) && self.labels.iter().all(|l| series.labels.contains(l))
        };
        if series.iter().any(is_good) {
            return Ok(());
        }
        let found: Vec<_> = series.iter().map(|series| (&series.labels, &series.values)).collect();
        Err(format!(
            "{} has no number with the labels {:?}: {} gave {found:?}",
            self.what, self.labels, self.expression
        ))
    }
}

pub fn every_query_is_answered(prometheus: &Prometheus, has_gpu: bool) {
    let begun = Instant::now();
    let mut questions = questions(prometheus, has_gpu);
    let asked = questions.len();
    loop {
        let mut missing = Vec::new();
        questions.retain(|question| question.ask(prometheus).map_err(|why| missing.push(why)).is_err());
        if questions.is_empty() {
            println!("{asked} queries answered after {:?}", begun.elapsed());
            return;
        }
        assert!(begun.elapsed() < PATIENCE, "{} of {asked} have no answer:\n{}", missing.len(), missing.join("\n"));
        std::thread::sleep(Duration::from_millis(500));
    }
}

/// The values of the dashboard's variables, once every server has been asked.
fn values(prometheus: &Prometheus, servers: usize) -> (Vec<String>, Vec<String>) {
    let dashboard = dashboard::load();
    let variables = dashboard::variables(&dashboard);
    let [("instance", all, instance), ("model", of_instances, model)] = variables[..] else {
        panic!("other variables: {variables:?}")
    };
    let begun = Instant::now();
    loop {
        let instances = prometheus.label_values(instance, all).unwrap();
        let selector = of_instances.replace("$instance", &dashboard::any_of(&instances));
        let models = prometheus.label_values(model, &selector).unwrap();
        if instances.len() == servers && !models.is_empty() {
            assert_eq!(models, ["efficientnet-lite0"]);
            return (instances, models);
        }
        assert!(begun.elapsed() < PATIENCE, "the variables have the values {instances:?}, {models:?}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

fn questions(prometheus: &Prometheus, has_gpu: bool) -> Vec<Question> {
    let dashboard = dashboard::load();
    let (instances, models) = values(prometheus, if has_gpu { 2 } else { 1 });
    let fill = |expression: &str| dashboard::fill(expression, &instances, &models);
    let of_panel = |target: Target| Question {
        what: format!("the panel '{}'", target.panel),
        expression: fill(&target.expression),
        over_time: !target.instant,
        labels: target.legend,
    };
    let on_device = |target: &Target| target.expression.contains("kiln_device_memory_bytes");
    let targets = dashboard::targets(&dashboard).into_iter();
    let mut questions: Vec<Question> = targets.filter(|t| has_gpu || !on_device(t)).map(of_panel).collect();
    questions.extend(FACTS.iter().map(|(what, expression)| Question {
        what: (*what).to_string(),
        expression: (*expression).to_string(),
        over_time: false,
        labels: vec![],
    }));
    for annotation in dashboard::list(&dashboard["annotations"]["list"]) {
        let expression = fill(dashboard::text(annotation, "expr"));
        let name = dashboard::text(annotation, "name");
        // No alert fires here, one hopes; that it can be asked for has been seen when this is understood.
        let expression = if name == "Alerts" { format!("{expression} or vector(0)") } else { expression };
        questions.push(Question { what: format!("the marks '{name}'"), expression, over_time: false, labels: vec![] });
    }
    for rule in rules(prometheus) {
        let (name, expression) = (dashboard::text(&rule, "name"), dashboard::text(&rule, "query"));
        let question = |what: &str, expression: &str| Question {
            what: format!("{what} '{name}'"),
            expression: expression.to_string(),
            over_time: false,
            labels: vec![],
        };
        if rule["type"] == "recording" {
            questions.push(question("the rule", name));
        } else {
            let asked = selectors(expression);
            assert!(!asked.is_empty(), "{name} asks for nothing: {expression}");
            questions.extend(asked.iter().map(|(_, selector)| question("a selector of the alert", selector)));
        }
    }
    questions
}

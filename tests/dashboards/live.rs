//! Two servers under load, Prometheus beside them: every query of the dashboard and the rules has an answer.

use std::collections::BTreeSet;
use std::process::Command;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use kiln::model::{Model, Weights};
use kiln::store::Store;
use serde_json::Value;

use crate::common::{Server, Stop, has_vulkan, kiln, must_run, said};
use crate::dashboard::{self, Target};
use crate::documents::{self, README};
use crate::load;
use crate::prometheus::{self, Prometheus, Series};
use crate::promql::{family, selectors, words};
use crate::scrape::{self, Shown};

/// How long all queries together may go without an answer.
const PATIENCE: Duration = Duration::from_secs(120);

/// A key that `kiln keygen` made, and its entry.
fn keygen(id: &str, words: &[&str]) -> (String, String) {
    let (status, entry, told) = said(kiln().args(["keygen", "--id", id]).args(words));
    assert_eq!(status, 0, "{told}");
    (told.split_whitespace().last().unwrap().to_string(), entry)
}

#[test]
fn every_panel_rule_and_name_has_its_series_in_a_real_prometheus() {
    if !prometheus::is_installed() {
        return;
    }
    let (app, app_entry) = keygen("mobile-app", &[]);
    let (slow, slow_entry) = keygen("batch-job", &["--requests-per-second", "2"]);
    let keys = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(keys.path(), [app_entry, slow_entry].concat()).unwrap();
    let keys = keys.path().to_str().unwrap();
    let often = ["--canary-interval", "1s", "--max-batch-size", "4"];
    let versions = tempfile::tempdir().unwrap();
    with_a_shadow(&Store::open(versions.path()));
    let versions = versions.path().to_str().unwrap();
    // A software adapter will do: only GPUs tell what memory their allocator holds.
    let gpu = has_vulkan().then(|| {
        let flags = ["--device", "vulkan", "--kernels", "fused", "--resize", "gpu"];
        Server::start_unready(&[&flags[..], &often].concat())
    });
    let data = tempfile::tempdir().unwrap();
    let recording = ["--data-dir", data.path().to_str().unwrap(), "--keep-images", "100"];
    let alone = ["--device", "cpu", "--keys", keys, "--queue-capacity", "4"];
    let kept = ["--model-store", versions, "--cache-bytes", "1MiB"];
    let cpu = Server::start_unready(&[&alone[..], &kept, &often, &recording].concat());
    let servers: Vec<&Server> = gpu.iter().chain([&cpu]).collect();
    let prometheus = Prometheus::start(&servers.iter().map(|server| server.url.as_str()).collect::<Vec<_>>());
    // Alerts ask for requests that failed by the server's fault; a server that is starting has some.
    let refused: Vec<bool> = servers.iter().map(|server| load::wait(server)).collect();
    assert!(refused.contains(&true), "the servers were ready before anybody could ask");

    let stop = AtomicBool::new(false);
    let pages = std::thread::scope(|scope| {
        gpu.iter().for_each(|server| load::steady(scope, server, &stop));
        load::mixed(scope, &cpu, [&app, &slow], &stop);
        let stopper = Stop(&stop);
        every_query_is_answered(&prometheus, gpu.is_some());
        the_script_draws_it(&prometheus);
        the_rules_work(&prometheus);
        drop(stopper);
        servers.iter().map(|server| server.get("/metrics").text()).collect::<Vec<_>>()
    });
    assert_eq!(cpu.get("/health/ready").status, 200);
    scrape::is_clean(&cpu);
    let shown = scrape::shown(&pages.iter().map(String::as_str).collect::<Vec<_>>());
    if gpu.is_some() {
        scrape::is_as_declared(&shown);
        names_are_those_of_the_server(&prometheus, &shown);
    }
}

/// A second version, the same as the first, which is compared.
fn with_a_shadow(store: &Store) {
    let model = Model::named("efficientnet-lite0").unwrap();
    let weights = Weights::new(model.weights().bytes().to_vec());
    let version = store.add(&model, &weights, "a test", None).unwrap();
    store.set_shadow(&model, Some(&version)).unwrap();
}

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
        "kiln_predictions_recorded_total > 10 and on (instance) kiln_kept_pictures_bytes > 0",
    ),
    ("nothing that was lost", "sum(kiln_recording_lost_total) == 0"),
    ("a client that went away", "sum(kiln_cancelled_total) > 0"),
    ("places, some of them taken", "kiln_queue_capacity == 4 and max_over_time(kiln_inflight_pictures[1m]) >= 2"),
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

fn every_query_is_answered(prometheus: &Prometheus, has_gpu: bool) {
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

/// `grafana/render.py` asks the same, and makes a picture of it.
fn the_script_draws_it(prometheus: &Prometheus) {
    let Some(python) = std::env::var_os("KILN_TEST_PYTHON") else {
        assert!(!must_run(), "KILN_TEST_PYTHON has to name a Python with matplotlib");
        eprintln!("SKIPPED: KILN_TEST_PYTHON names no Python with matplotlib");
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let picture = folder.path().join("dashboard.png");
    let mut draw = Command::new(python);
    draw.args(["grafana/render.py", "--minutes", "1", "--scrape", "1", "--prometheus", &prometheus.url, "--out"]);
    let output = draw.arg(&picture).env("MPLCONFIGDIR", folder.path()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let bytes = std::fs::read(&picture).unwrap();
    // Width and height of a PNG, after its signature and the header's name.
    let [width, height] = [16, 20].map(|at| u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap()));
    assert!(bytes.starts_with(b"\x89PNG") && width > 1500 && height > 3000, "{width} x {height}");
    assert!(bytes.len() > 50_000, "a picture of nothing: {} bytes", bytes.len());
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

fn rules(prometheus: &Prometheus) -> Vec<Value> {
    let groups = prometheus.ask("rules", &[]).unwrap();
    let rules = |group: &Value| dashboard::list(&group["rules"]).cloned().collect::<Vec<_>>();
    let rules: Vec<Value> = dashboard::list(&groups["groups"]).flat_map(rules).collect();
    assert_eq!(rules.iter().filter(|rule| rule["type"] == "alerting").count(), documents::alerts().len());
    rules
}

/// Every rule was evaluated without a fault, and nothing is told to be broken that is not.
fn the_rules_work(prometheus: &Prometheus) {
    for rule in rules(prometheus) {
        let name = dashboard::text(&rule, "name");
        assert_eq!(rule["health"], "ok", "{name}: {rule}");
        assert!(rule["lastError"].as_str().unwrap_or_default().is_empty(), "{name}: {rule}");
        let broken = [
            "KilnDeviceLost",
            "KilnCanaryFailing",
            "KilnLogLinesLost",
            "KilnRestarting",
            "KilnTargetDown",
            "KilnFeedbackLost",
        ];
        assert!(!broken.contains(&name) || rule["state"] != "firing", "{name} for no reason: {rule}");
    }
}

/// Names that a panel, rule or document uses are shown, and what is shown has a panel, or a reason to have none.
fn names_are_those_of_the_server(prometheus: &Prometheus, shown: &Shown) {
    let whole = |name: String| if shown.contains_key(&name) { name } else { family(&name).to_string() };
    let dashboard = dashboard::load();
    let targets = dashboard::targets(&dashboard);
    let of = |expression: &str| selectors(expression).into_iter().map(|(name, _)| whole(name)).collect::<Vec<_>>();
    let panels: BTreeSet<String> = targets.iter().flat_map(|target| of(&target.expression)).collect();
    let rules = rules(prometheus);
    let in_rules: BTreeSet<String> = rules.iter().flat_map(|rule| of(dashboard::text(rule, "query"))).collect();
    let recorded: BTreeSet<&str> = rules.iter().map(|rule| dashboard::text(rule, "name")).collect();
    let of_prometheus = |name: &str| matches!(name, "up" | "ALERTS") || recorded.contains(name);
    let documents = [README, "README.md"].map(documents::read);
    let documented = documents.iter().flat_map(|text| documents::metrics(text)).map(whole);
    for name in panels.iter().chain(&in_rules).cloned().chain(documented) {
        assert!(shown.contains_key(&name) || of_prometheus(&name), "nobody shows {name}");
    }
    let elsewhere = documents::metrics(&documents::section(&documents[0], "Not on the dashboard"));
    for name in shown.keys() {
        let (panel, reason) = (panels.contains(name), elsewhere.contains(name));
        assert!(panel || reason, "{name} has no panel, and {README} does not say why under 'Not on the dashboard'");
        assert!(!(panel && reason), "{README} says that {name} has no panel, but it has one");
    }
    // Codes of errors that no longer exist would never match.
    let known = documents[1].as_str();
    for selector in targets.iter().flat_map(|target| selectors(&target.expression)).map(|(_, selector)| selector) {
        for word in words(&selector, "outcome").into_iter().filter(|word| *word != "ok") {
            assert!(known.contains(&format!("`{word}`")), "the README knows no error {word}: {selector}");
        }
    }
}

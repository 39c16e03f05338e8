//! The folder of `--models`: models and versions appear, change and disappear while clients send requests, and no request fails.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::{Value, json};

use crate::common::{self, Answer, KEY, Server, Stop, bytes, key_file, keygen, kiln, run_command};

/// Longer than a model takes to load on a busy machine.
const TIMEOUT: Duration = Duration::from_secs(120);
const CAT: &str = "photos/cat_451x300.jpg";
const BROKEN: &[u8] = b"this is not a network";

struct Repository(tempfile::TempDir);

impl Repository {
    /// Creates a repository with these networks: the path of each, and the name of its file in `crates/zoo/skeletons`.
    fn new(networks: &[(&str, &str)]) -> Self {
        let repository = Self(tempfile::tempdir().unwrap());
        networks.iter().for_each(|(path, name)| repository.write(path, &network(name)));
        repository
    }

    fn path(&self, path: &str) -> PathBuf {
        self.0.path().join(path)
    }

    fn write(&self, path: &str, bytes: &[u8]) {
        let path = self.path(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }

    fn remove(&self, path: &str) {
        std::fs::remove_dir_all(self.path(path)).unwrap();
    }

    fn serve(&self, poll_interval: &str, flags: &[&str]) -> Server {
        let folder = self.0.path().to_str().unwrap();
        let own =
            ["--device", "cpu", "--models", folder, "--model-poll-interval", poll_interval, "--request-timeout", "5m"];
        // Without the default model of the other tests, which would be served, too.
        Server::start_with(&[&own, flags].concat(), &[("KILN_MODEL", "")])
    }
}

/// Returns a small network of ten classes.
fn network(name: &str) -> Vec<u8> {
    let path = Path::new("crates/zoo/skeletons").join(name).with_extension("onnx");
    kiln_zoo::fill(&std::fs::read(path).unwrap()).unwrap()
}

/// Waits until `holds` returns true for the body of `GET /models`.
#[track_caller]
fn until(server: &Server, what: &str, holds: impl Fn(&Value) -> bool) {
    let models = || server.get("/models").json();
    common::until(what, TIMEOUT, || holds(&models()), || models().to_string());
}

fn model<'a>(models: &'a Value, name: &str) -> Option<&'a Value> {
    models["models"].as_array().unwrap().iter().find(|model| model["name"] == name)
}

/// Returns the loaded versions of a model, the stable one first.
fn versions(models: &Value, name: &str) -> Vec<String> {
    let versions = model(models, name).and_then(|model| model["versions"].as_array());
    versions.into_iter().flatten().map(|version| version["version"].as_str().unwrap().to_string()).collect()
}

fn predict(server: &Server, query: &str) -> Answer {
    server.raw(&format!("/predict/raw{query}"), &bytes(CAT))
}

fn command(server: &Server, key: &str, path: &str) -> Answer {
    server.post(&format!("/v2/repository/{path}"), &[("X-API-Key", key)], b"{}")
}

/// Returns the index of the repository: name, version and state of each entry.
fn index(server: &Server) -> Vec<(String, String, String)> {
    let answer = command(server, KEY, "index");
    assert_eq!(answer.status, 200, "{}", answer.text());
    let text = |value: &Value| value.as_str().unwrap_or_default().to_string();
    let entry = |entry: &Value| (text(&entry["name"]), text(&entry["version"]), text(&entry["state"]));
    answer.json().as_array().unwrap().iter().map(entry).collect()
}

#[test]
fn models_are_added_replaced_and_removed_under_load_without_a_failed_request() {
    let repository = Repository::new(&[("cat/1/model.onnx", "act_silu")]);
    repository.write("dog/1/model.onnx", BROKEN);
    let server = repository.serve("100ms", &[]);
    let models = server.get("/models").json();
    assert_eq!(versions(&models, "cat"), ["1"]);
    assert_eq!((&models["not_loaded"][0]["name"], models["models"].as_array().unwrap().len()), (&json!("dog"), 1));
    let error = &models["not_loaded"][0]["load_error"];
    assert_eq!((&error["version"], &error["file"]), (&json!("1"), &json!("dog/1/model.onnx")));
    assert!(error["reason"].as_str().unwrap().len() > 20, "{error}");
    assert_eq!(server.metric("kiln_model_load_errors", &[]), 1.0);

    let (stopped, answered) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        let stop = Stop(&stopped);
        // Requests that name the model, the default model, and the protocol's path.
        for path in ["/predict/raw?model=cat", "/predict/raw", "/v2/models/cat/infer"] {
            let (server, stopped, answered) = (&server, &stopped, &answered);
            scope.spawn(move || {
                let (_stop, photo) = (Stop(stopped), bytes(CAT));
                while !stopped.load(Ordering::Relaxed) {
                    let headers = [("X-API-Key", KEY), ("Inference-Header-Content-Length", "0")];
                    let answer = server.post(path, &headers, &photo);
                    assert_eq!(answer.status, 200, "{path}: {}", answer.text());
                    answered.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        // Each step is followed by some answers of the state that it leads to.
        let step = |what: &str, holds: &dyn Fn(&Value) -> bool| {
            until(&server, what, holds);
            let before = answered.load(Ordering::Relaxed);
            let has_answers = || answered.load(Ordering::Relaxed) > before + 10 || stopped.load(Ordering::Relaxed);
            common::until("answers", TIMEOUT, has_answers, String::new);
            assert!(!stopped.load(Ordering::Relaxed), "a client has failed");
        };
        repository.write("ant/model.onnx", &network("lay_dw7"));
        step("a new model", &|models| versions(models, "ant") == ["1"]);
        assert_eq!(predict(&server, "?model=ant").status, 200);
        assert_eq!(predict(&server, "").json()["model"]["name"], "cat", "a new model does not become the default");

        let digest = |models: &Value| model(models, "cat").unwrap()["digest"].clone();
        let before = digest(&server.get("/models").json());
        repository.write("cat/1/model.onnx", &network("lay_asym"));
        step("a replaced file", &|models| digest(models) != before);

        repository.write("cat/2/model.onnx", &network("lay_grouped"));
        step("a new version", &|models| versions(models, "cat") == ["2", "1"]);
        let version = |query: &str| predict(&server, query).json()["model"]["version"].clone();
        assert_eq!((version("?model=cat"), version("?model=cat&version=1")), (json!("2"), json!("1")));

        repository.write("cat/3/model.onnx", BROKEN);
        step("a broken version", &|models| model(models, "cat").unwrap()["load_error"]["version"] == "3");
        let before = digest(&server.get("/models").json());
        repository.write("cat/2/model.onnx", BROKEN);
        step("a broken file", &|_| server.metric("kiln_model_load_errors", &[]) == 3.0);
        let models = server.get("/models").json();
        assert_eq!((digest(&models), versions(&models, "cat")), (before, vec!["2".to_string(), "1".to_string()]));

        repository.remove("ant");
        step("a removed model", &|models| model(models, "ant").is_none());
        // But for the number of its reloads, among which a refused one has to be seen.
        let is_series = |line: &str| line.contains("model=\"ant\"") && !line.starts_with("kiln_model_reloads_total");
        let has_series = || server.get("/metrics").text().lines().any(is_series);
        common::until("the metrics without the model", TIMEOUT, || !has_series(), String::new);
        let gone = predict(&server, "?model=ant");
        assert_eq!((gone.status, gone.code().as_str()), (404, "unknown_model"));
        repository.remove("cat/3");
        repository.remove("cat/2");
        step("removed versions", &|models| versions(models, "cat") == ["1"]);
        repository.write("dog/1/model.onnx", &network("act_silu"));
        step("a repaired model", &|models| versions(models, "dog") == ["1"] && models["not_loaded"] == json!([]));
        drop(stop);
    });
    assert_eq!(server.metric("kiln_model_load_errors", &[]), 0.0);
    assert_eq!(server.metric("nv_inference_request_failure", &[r#"model="cat""#]), 0.0);
    common::until(
        "the engines of one version",
        TIMEOUT,
        || server.metric("kiln_queue_capacity", &[r#"model="cat""#]) == 256.0,
        || server.metric("kiln_queue_capacity", &[r#"model="cat""#]).to_string(),
    );
    server.terminate();
    assert!(server.wait().success());
}

#[test]
fn clients_load_and_unload_models() {
    let repository = Repository::new(&[("cat/1/model.onnx", "act_silu"), ("dog/1/model.onnx", "lay_dw7")]);
    let user = keygen("user", &[]);
    let keys = key_file(&[&user]);
    // Changes are seen by commands alone.
    let server = repository.serve("1h", &["--keys", keys.path().to_str().unwrap()]);
    let entry = |name: &str, version: &str, state: &str| (name.to_string(), version.to_string(), state.to_string());
    let ready = [entry("cat", "1", "READY"), entry("dog", "1", "READY")];
    assert_eq!(index(&server), ready);
    assert!(server.get("/v2").json()["extensions"].as_array().unwrap().contains(&json!("model_repository")));
    let refused = command(&server, &user.key, "models/cat/unload");
    assert_eq!((refused.status, refused.code().as_str()), (403, "scope_missing"));

    let unloaded = command(&server, KEY, "models/cat/unload");
    assert_eq!((unloaded.status, unloaded.body.len()), (200, 0));
    assert_eq!(predict(&server, "?model=cat").code(), "unknown_model");
    assert_eq!(index(&server), [entry("cat", "1", "UNAVAILABLE"), ready[1].clone()]);
    let only_ready = server.post("/v2/repository/index", &[("X-API-Key", KEY)], br#"{"ready": true}"#).json();
    assert_eq!(only_ready.as_array().unwrap().len(), 1);
    assert_eq!(predict(&server, "").json()["model"]["name"], "dog", "the first of the other models is the default");

    repository.write("cat/2/model.onnx", &network("lay_grouped"));
    assert_eq!(command(&server, KEY, "models/cat/load").status, 200);
    assert_eq!(versions(&server.get("/models").json(), "cat"), ["2", "1"]);
    repository.write("cat/2/model.onnx", BROKEN);
    let failed = command(&server, KEY, "models/cat/load");
    assert_eq!((failed.status, failed.code().as_str()), (400, "model_not_loaded"));
    assert!(failed.text().contains("cat/2/model.onnx"), "{}", failed.text());
    assert_eq!(versions(&server.get("/models").json(), "cat"), ["2", "1"]);
    assert_eq!(predict(&server, "?model=cat").status, 200);

    for path in ["models/cow/load", "models/cow/unload"] {
        let unknown = command(&server, KEY, path);
        assert_eq!((unknown.status, unknown.code().as_str()), (404, "unknown_model"), "{path}");
    }
    for body in [&b"[]"[..], b"{", br#"{"parameters": {"config": "{}"}}"#] {
        let refused = server.post("/v2/repository/models/cat/load", &[("X-API-Key", KEY)], body);
        assert_eq!((refused.status, refused.code().as_str()), (400, "malformed_request"), "{}", refused.text());
    }
}

#[test]
fn server_without_a_repository_refuses_commands_and_lists_its_models() {
    let server = Server::start(&["--device", "cpu"]);
    let refused = command(&server, KEY, "models/efficientnet-lite0/unload");
    assert_eq!((refused.status, refused.code().as_str()), (404, "no_model_repository"));
    assert!(refused.json()["hint"].as_str().unwrap().contains("--models"));
    assert!(index(&server).iter().any(|(name, _, state)| name == "efficientnet-lite0" && state == "READY"));
    assert!(!server.get("/v2").json()["extensions"].as_array().unwrap().contains(&json!("model_repository")));
}

#[test]
fn other_models_are_served_beside_a_repository_if_the_configuration_names_them() {
    let repository = Repository::new(&[("cat/1/model.onnx", "act_silu"), ("file/1/model.onnx", "lay_dw7")]);
    let other = tempfile::tempdir().unwrap();
    let file = other.path().join("file.onnx");
    std::fs::write(&file, network("lay_asym")).unwrap();
    let server = repository.serve("100ms", &["--model", "efficientnet-lite0", file.to_str().unwrap()]);
    let models = server.get("/models").json();
    let names: Vec<&str> =
        models["models"].as_array().unwrap().iter().map(|model| model["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["cat", "efficientnet-lite0", "file"]);
    assert_eq!(model(&models, "efficientnet-lite0").unwrap()["default"], true);
    assert!((281..=285).contains(&predict(&server, "").top1()));
    let reason = model(&models, "file").unwrap()["load_error"]["reason"].as_str().unwrap();
    assert!(reason.contains("outside --models"), "{reason}");
    let refused = command(&server, KEY, "models/file/unload");
    assert_eq!((refused.status, refused.code().as_str()), (404, "unknown_model"));
}

#[test]
fn server_without_a_model_that_loads_exits_with_every_reason() {
    let run = |folder: &Path| {
        let mut command = kiln();
        command.env("KILN_MODEL", "").args(["serve", "--listen", "127.0.0.1:0", "--device", "cpu", "--models"]);
        run_command(command.arg(folder))
    };
    let repository = Repository::new(&[]);
    let (status, _, stderr) = run(repository.0.path());
    assert!(status == 1 && stderr.contains("Add one as NAME/1/model.onnx"), "{stderr}");
    repository.write("cat/1/model.onnx", BROKEN);
    repository.write("dog/labels.txt", b"no network");
    let (status, _, stderr) = run(repository.0.path());
    assert!(status == 1 && stderr.contains("  cat/1/model.onnx: ") && stderr.contains("  dog: "), "{stderr}");
    let (status, _, stderr) = run(&repository.path("nothing"));
    assert!(status == 1 && stderr.contains("cannot read") && stderr.contains("nothing"), "{stderr}");
}

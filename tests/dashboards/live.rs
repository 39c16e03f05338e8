//! Two servers under load, Prometheus beside them: every query of the dashboard and the rules has an answer.

use std::process::Command;
use std::sync::atomic::AtomicBool;

use kiln_inference::model::{Model, Weights};
use kiln::store::Store;

use crate::common::{Server, Stop, has_vulkan, key_file, keygen, python};
use crate::names::names_are_those_of_the_server;
use crate::prometheus::{self, Prometheus};
use crate::questions::every_query_is_answered;
use crate::rules::the_rules_work;
use crate::{load, scrape};

#[test]
fn every_panel_rule_and_name_has_its_series_in_a_real_prometheus() {
    if !prometheus::is_installed() {
        return;
    }
    let (app, slow) = (keygen("mobile-app", &[]), keygen("batch-job", &["--requests-per-second", "2"]));
    let keys = key_file(&[&app, &slow]);
    let keys = keys.path().to_str().unwrap();
    let often = ["--self-test-interval", "1s", "--max-batch-size", "4"];
    let versions = tempfile::tempdir().unwrap();
    with_a_shadow(&Store::open(versions.path()));
    let versions = versions.path().to_str().unwrap();
    // A software adapter will do: only GPUs tell what memory their allocator holds.
    let gpu = has_vulkan().then(|| {
        let flags = ["--device", "vulkan", "--kernels", "fused", "--resize", "gpu"];
        Server::start_unready(&[&flags[..], &often].concat())
    });
    let data = tempfile::tempdir().unwrap();
    let recording = ["--data-dir", data.path().to_str().unwrap(), "--image-sample-percent", "100"];
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
        load::mixed(scope, &cpu, [&app.key, &slow.key], &stop);
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

/// `grafana/render.py` asks the same, and makes a picture of it.
fn the_script_draws_it(prometheus: &Prometheus) {
    let Some(python) = python("matplotlib") else { return };
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

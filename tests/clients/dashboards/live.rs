//! Two servers under load, scraped by Prometheus: every query of the dashboard and the rules returns a result.

use std::path::Path;
use std::process::Command;
use std::sync::atomic::AtomicBool;

use super::load;
use super::metrics::{check_declarations, check_lint, check_names, shown_metrics};
use super::prometheus::{self, Prometheus, check_rules};
use super::queries::wait_for_all_results;
use crate::common::{Server, Stop, alone, has_vulkan, key_file, keygen, kiln, python, run_command};

const MODEL: &str = "efficientnet-lite0";

#[test]
fn every_panel_rule_and_metric_name_has_series_in_prometheus() {
    let _alone = alone();
    if !prometheus::is_installed() {
        return;
    }
    let (app, slow) = (keygen("mobile-app", &[]), keygen("batch-job", &["--requests-per-second", "2"]));
    let keys = key_file(&[&app, &slow]);
    let keys = keys.path().to_str().unwrap();
    let frequent = ["--self-test-interval", "1s", "--max-batch-size", "4"];
    let versions = tempfile::tempdir().unwrap();
    add_shadow(versions.path());
    let versions = versions.path().to_str().unwrap();
    // A software adapter suffices. Only GPU devices report the memory of their allocator.
    let gpu = has_vulkan().then(|| {
        let flags = ["--device", "vulkan", "--kernels", "fused", "--resize", "gpu"];
        Server::start_unready(&[&flags[..], &frequent].concat())
    });
    let data = tempfile::tempdir().unwrap();
    let recording = ["--data-dir", data.path().to_str().unwrap(), "--image-sample-percent", "100"];
    let cpu_flags = ["--device", "cpu", "--keys", keys, "--queue-capacity", "4"];
    let store = ["--model-store", versions, "--cache-bytes", "1MiB"];
    let cpu = Server::start_unready(&[&cpu_flags[..], &store, &frequent, &recording].concat());
    let servers: Vec<&Server> = gpu.iter().chain([&cpu]).collect();
    let prometheus = Prometheus::start(&servers.iter().map(|server| server.url.as_str()).collect::<Vec<_>>());
    // Some alerts query server errors. A starting server produces them: it responds with 503.
    let rejected: Vec<bool> = servers.iter().map(|server| load::wait_until_ready(server)).collect();
    assert!(rejected.contains(&true), "the servers were ready before the first request");

    let stop = AtomicBool::new(false);
    let pages = std::thread::scope(|scope| {
        gpu.iter().for_each(|server| load::steady(scope, server, &stop));
        load::mixed(scope, &cpu, [&app.key, &slow.key], &stop);
        let stopper = Stop(&stop);
        wait_for_all_results(&prometheus, gpu.is_some());
        check_render_script(&prometheus);
        check_rules(&prometheus);
        drop(stopper);
        servers.iter().map(|server| server.get("/metrics").text()).collect::<Vec<_>>()
    });
    assert_eq!(cpu.get("/health/ready").status, 200);
    check_lint(&cpu);
    let shown = shown_metrics(&pages.iter().map(String::as_str).collect::<Vec<_>>());
    if gpu.is_some() {
        check_declarations(&shown);
        check_names(&prometheus, &shown);
    }
}

/// Adds a copy of version 1 to a model store and labels it as the shadow.
fn add_shadow(store: &Path) {
    let weights = store.join("copy.bpk");
    let weights = weights.to_str().unwrap();
    for arguments in [&["export", MODEL, "--out", weights][..], &["add", MODEL, weights], &["shadow", MODEL, "2"]] {
        let (status, _, stderr) = run_command(kiln().arg("models").args(arguments).env("KILN_MODEL_STORE", store));
        assert_eq!(status, 0, "{arguments:?}: {stderr}");
    }
}

/// `grafana/render.py` draws the dashboard from the same queries.
fn check_render_script(prometheus: &Prometheus) {
    let Some(python) = python("matplotlib") else { return };
    let folder = tempfile::tempdir().unwrap();
    let image = folder.path().join("dashboard.png");
    let mut draw = Command::new(python);
    draw.args(["grafana/render.py", "--minutes", "1", "--scrape", "1", "--prometheus", &prometheus.url, "--out"]);
    let output = draw.arg(&image).env("MPLCONFIGDIR", folder.path()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let bytes = std::fs::read(&image).unwrap();
    // Width and height of a PNG follow its signature and the header's name.
    let [width, height] = [16, 20].map(|at| u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap()));
    assert!(bytes.starts_with(b"\x89PNG") && width > 1500 && height > 3000, "{width} x {height}");
    assert!(bytes.len() > 50_000, "the image is empty: {} bytes", bytes.len());
}

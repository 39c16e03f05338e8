//! The commands other than `serve`.

use crate::common::{Server, data, kiln, run_command};

fn run(arguments: &[&str]) -> (i32, String, String) {
    run_command(kiln().args(arguments))
}

#[test]
fn predict_classifies_files_as_text_and_as_json_lines() {
    let cat = data("photos/cat_451x300.jpg");
    let coffee = data("photos/coffee_640x480.jpg");
    let files = [cat.to_str().unwrap(), coffee.to_str().unwrap()];
    let (status, text, _) = run(&["predict", files[0], "--top-k", "2", "--device", "cpu", "--log-level", "warn"]);
    assert_eq!(status, 0);
    assert!(text.contains("(jpeg, 451x300)") && text.contains("cat (28"), "{text}");
    assert_eq!(text.lines().count(), 3);
    let (status, lines, _) = run(&["predict", files[0], files[1], "--json", "--device", "cpu"]);
    assert_eq!(status, 0);
    let lines: Vec<serde_json::Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 2);
    assert_eq!(lines[1]["file"], files[1]);
    assert_eq!(lines[1]["predictions"][0]["class_id"], 967);
}

#[test]
fn predict_reports_unreadable_files_and_classifies_the_others() {
    let cat = data("photos/cat_451x300.jpg");
    let readme = data("README.md");
    let files = ["/no/such/file", "/dev/zero", readme.to_str().unwrap(), cat.to_str().unwrap()];
    let (status, text, stderr) = run(&[&["predict", "--device", "cpu"], &files[..]].concat());
    assert_eq!(status, 1);
    assert!(text.contains("cat_451x300.jpg"), "{text}");
    assert!(stderr.contains("/no/such/file: ") && stderr.contains("README.md: not an image"), "{stderr}");
    assert!(stderr.contains("/dev/zero: it is not a regular file"), "{stderr}");
    assert!(stderr.contains("3 of 4 files could not be classified"), "{stderr}");
}

#[test]
fn keygen_prints_a_key_that_the_server_accepts() {
    let (status, key, _) = run(&["keygen"]);
    assert_eq!(status, 0);
    let (status, stdout, _) = run_command(kiln().args(["config", "check"]).env("KILN_API_KEY", key.trim()));
    assert_eq!(status, 0);
    assert!(!stdout.contains(key.trim()));
}

#[test]
fn devices_lists_the_cpu_and_marks_the_choice_of_auto() {
    let (status, text, _) = run(&["devices"]);
    assert_eq!(status, 0);
    assert!(text.contains("cpu") && text.contains("* is what '--device auto' takes"), "{text}");
    assert_eq!(text.lines().filter(|line| line.starts_with("* ") && !line.contains("is what")).count(), 1, "{text}");
}

#[test]
fn invalid_arguments_exit_with_status_two_and_an_explanation() {
    for (arguments, part) in [
        (&["--max-batch-size", "none"][..], "--max-batch-size 'none' must be a whole number from 1 to 1024"),
        (&["--no-such-flag"], "--no-such-flag"),
        (&["serve", "--device", "tpu"], "--device 'tpu' must be auto, cpu"),
        (&["predict"], "PATH"),
    ] {
        let (status, _, stderr) = run(arguments);
        assert_eq!(status, 2, "{arguments:?}");
        assert!(stderr.contains(part), "{arguments:?}: {stderr}");
    }
}

#[test]
#[cfg(unix)]
fn closed_standard_error_does_not_change_the_exit_status() {
    for (arguments, expected) in [
        (&["serve", "--device", "tpu"][..], 2),
        (&["healthcheck", "--listen", "127.0.0.1:0"], 1),
        // As for a closed standard output.
        (&["predict", "--device", "cpu", "/no/such/file"], 141),
    ] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let status = kiln().args(arguments).stdin(std::process::Stdio::null()).stderr(writer).status().unwrap();
        assert_eq!(status.code(), Some(expected), "{arguments:?}");
    }
}

#[test]
fn config_check_finds_invalid_settings_like_serve_and_predict() {
    for (arguments, part) in [
        (["--model", "nobody"], "--model 'nobody' must be a built-in model: "),
        (["--log-level", "loud"], "--log-level 'loud' must be error, warn"),
    ] {
        for command in [&["config", "check"][..], &["serve", "--listen", "127.0.0.1:0"], &["predict", "cat.jpg"]] {
            let (status, _, stderr) = run(&[command, &arguments].concat());
            assert_eq!(status, 2, "{command:?}: {stderr}");
            assert!(stderr.contains(part), "{command:?}: {stderr}");
        }
    }
}

#[test]
fn doctor_reports_a_busy_port_and_an_unreadable_key_file_with_their_fixes() {
    let folder = tempfile::tempdir().unwrap();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let keys = folder.path().join("keys.toml");
    let keys = keys.to_str().unwrap();
    let (status, text, stderr) = run(&["doctor", "--device", "cpu", "--listen", &address, "--keys", keys]);
    assert!(status == 1 && stderr.contains("kiln: problems found: 2."), "{text}{stderr}");
    let lines: Vec<&str> = text.lines().collect();
    let problem = |check: &str| {
        let start = format!("problem  {check} ");
        let index = lines.iter().position(|line| line.starts_with(&start)).unwrap_or_else(|| panic!("{start}: {text}"));
        (lines[index], lines[index + 1].trim())
    };
    let (busy, fix) = problem("port");
    assert!(
        busy.contains(&address) && fix.starts_with("fix: ") && fix.contains("--listen 127.0.0.1:"),
        "{busy}\n{fix}"
    );
    let (unreadable, fix) = problem("key file");
    assert!(unreadable.contains(&format!("key file {keys}: cannot be read")), "{unreadable}");
    assert_eq!(fix, format!("fix: kiln keygen --id NAME >> {keys}"));
}

#[test]
fn doctor_without_problems_exits_with_zero_and_prints_json() {
    let folder = tempfile::tempdir().unwrap();
    let cache = folder.path().to_str().unwrap();
    let arguments = ["doctor", "--json", "--device", "cpu", "--listen", "127.0.0.1:0", "--cache-dir", cache];
    let (status, json, stderr) = run(&arguments);
    assert_eq!(status, 0, "{json}{stderr}");
    let findings: Vec<serde_json::Value> = serde_json::from_str(&json).unwrap();
    for finding in &findings {
        assert!(finding["detail"].as_str().is_some_and(|detail| !detail.is_empty()), "{finding}");
        assert_ne!(finding["state"], "problem");
        assert_eq!(finding["fix"].is_null(), finding["state"] == "ok", "{finding}");
    }
    for check in
        ["version", "settings", "clock", "cpu", "kernels", "device", "port", "cache folder", "api key", "model"]
    {
        assert!(findings.iter().any(|finding| finding["check"] == check), "{check}: {json}");
    }
}

#[test]
fn unknown_variable_is_a_warning_with_a_suggestion() {
    let variable = ("KILN_MAX_BATCHSIZE", "3");
    let warning = "KILN_MAX_BATCHSIZE is not a setting; did you mean KILN_MAX_BATCH_SIZE?";
    let (status, _, stderr) = run_command(kiln().args(["config", "check"]).env(variable.0, variable.1));
    assert!(status == 0 && stderr.contains(warning), "{stderr}");
    let cat = data("photos/cat_451x300.jpg");
    let (status, _, stderr) =
        run_command(kiln().args(["predict", "--device", "cpu"]).arg(cat).env(variable.0, variable.1));
    let is_warning = |line: &str| line.contains("WARN") && line.contains(warning);
    assert!(status == 0 && stderr.lines().any(is_warning), "{stderr}");
}

/// Runs `kiln` with a limit on threads, as a user to whom the kernel applies it, which root is not. `None` if this machine
/// does not allow that.
#[cfg(target_os = "linux")]
fn run_with_thread_limit(limit: u32, arguments: &[&str]) -> Option<(i32, String, String)> {
    let binary = std::path::absolute(kiln().get_program()).ok()?;
    let run = |arguments: &[&str]| {
        let mut command = std::process::Command::new("setpriv");
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups", "prlimit", &format!("--nproc={limit}")]);
        let output = command.arg(&binary).args(arguments).stdin(std::process::Stdio::null()).output().ok()?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Some((output.status.code()?, text(&output.stdout), text(&output.stderr)))
    };
    // The version needs no thread. The other user may not be able to reach the binary.
    run(&["--version"]).filter(|(status, _, _)| *status == 0)?;
    run(arguments)
}

#[test]
#[cfg(target_os = "linux")]
fn refused_threads_are_one_sentence_with_the_limit_to_raise() {
    let Some((status, _, stderr)) = run_with_thread_limit(2, &["serve", "--listen", "127.0.0.1:0"]) else {
        eprintln!("skipped: this machine does not run the binary as another user");
        return;
    };
    assert_eq!(status, 1, "{stderr}");
    let is_complete =
        stderr.starts_with("kiln: the operating system refuses a thread: ") && stderr.contains("'ulimit -u'");
    assert!(is_complete, "{stderr}");
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
}

#[test]
fn bench_writes_a_table_and_reports_in_json_csv_and_html() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("here");
    let arguments = ["bench", "--device", "cpu", "--batch", "1,3", "--concurrency", "2", "--seconds", "1", "--out"];
    let (status, table, stderr) = run(&[&arguments[..], &[out.to_str().unwrap()]].concat());
    assert_eq!(status, 0, "{stderr}");
    assert!(table.contains("Engine alone") && table.contains("report.html"), "{table}");
    let read = |name: &str| std::fs::read_to_string(out.join(name)).unwrap();
    let report: serde_json::Value = serde_json::from_str(&read("report.json")).unwrap();
    let device = &report["devices"][0];
    assert_eq!((device["flag"].as_str(), device["precision"].as_str()), (Some("cpu"), Some("f32")));
    let sizes: Vec<_> = device["engine"].as_array().unwrap().iter().map(|run| run["batch_size"].as_u64()).collect();
    assert_eq!(sizes, [Some(1), Some(3)]);
    let load = &device["server"][0];
    assert_eq!((load["concurrency"].as_u64(), load["errors"].as_u64()), (Some(2), Some(0)));
    // Any machine that can build Kiln runs more than one image per second.
    for measured in [&device["engine"][0], &device["engine"][1], load] {
        assert!(measured["images_per_second"].as_f64().unwrap() > 1.0, "{measured}");
        assert!(measured["latency_ms"]["p99"].as_f64() >= measured["latency_ms"]["p50"].as_f64(), "{measured}");
    }
    let parts = ["decode_ms", "queue_ms", "inference_ms", "other_ms"].map(|part| load[part].as_f64().unwrap());
    let mean = load["latency_ms"]["mean"].as_f64().unwrap();
    assert!((parts.iter().sum::<f64>() - mean).abs() < 0.01 * mean, "{parts:?} of {mean}");
    assert_eq!(read("report.csv").lines().count(), 4);
    assert!(read("report.html").contains("<svg"));
}

#[test]
fn bench_rejects_a_folder_without_images() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_str().unwrap();
    let (status, _, stderr) = run(&["bench", "--device", "cpu", "--images", path, "--out", path]);
    assert_eq!(status, 1);
    assert!(stderr.contains("set --images to a folder of images"), "{stderr}");
}

#[test]
fn healthcheck_exits_with_zero_only_if_the_server_is_ready() {
    let server = Server::start(&["--device", "cpu"]);
    let listen = server.url.trim_start_matches("http://").to_string();
    let check = |arguments: &[&str]| {
        let (status, _, stderr) = run_command(kiln().arg("healthcheck").args(arguments).env("KILN_LISTEN", &listen));
        (status, stderr)
    };
    assert_eq!(check(&[]), (0, String::new()));
    assert_eq!(check(&["--live"]), (0, String::new()));
    drop(server);
    let (status, stderr) = check(&["--timeout", "1s"]);
    assert!(status == 1 && stderr.contains("does not answer"), "{stderr}");
    assert_eq!(check(&["--listen", "127.0.0.1:0"]).0, 1);
}

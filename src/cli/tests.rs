//! Tests of the command line.

use std::time::Duration;

use super::*;
use crate::config::settings::SETTINGS;
use crate::model_store::{Canary, TrafficShare};
use crate::predict::Output;

fn parsed(words: &[&str]) -> Result<Command, CliError> {
    let words = std::iter::once("kiln").chain(words.iter().copied()).map(OsString::from);
    parse(words, &|_: &str| None)
}

fn help(words: &[&str]) -> String {
    match parsed(words) {
        Err(CliError::Clap(help)) => {
            assert_eq!(help.exit_code(), 0);
            help.to_string()
        }
        other => panic!("no help: {other:?}"),
    }
}

#[test]
fn serve_is_the_default_command() {
    assert!(matches!(parsed(&[]), Ok(Command::Serve(_))));
    for words in [&["--max-batch-size", "3"][..], &["serve", "--max-batch-size", "3"]] {
        let Ok(Command::Serve(config)) = parsed(words) else { panic!("{words:?}") };
        assert_eq!(config.batching.max_batch_size, 3);
    }
}

#[test]
fn help_lists_every_setting_with_its_variable() {
    let help = help(&["serve", "--help"]);
    for setting in SETTINGS {
        assert!(help.contains(&setting.variable()), "{} is not in the help", setting.key);
    }
    assert!(!help.contains("--api-key <"), "secrets have no flag");
}

#[test]
fn predict_parses_files_and_flags() {
    let Ok(Command::Predict { request, config }) =
        parsed(&["predict", "a.jpg", "b.png", "--top-k", "3", "--json", "--device", "cpu"])
    else {
        panic!("not parsed")
    };
    assert_eq!((request.paths.len(), request.top_k, request.output), (2, Some(3), Output::JsonLines));
    assert_eq!(config.inference.device, kiln_inference::DeviceChoice::Cpu.into());
}

#[test]
fn bench_parses_lists() {
    let words = ["bench", "--device", "cpu,vulkan", "--batch", "1,8", "--concurrency", "2", "--seconds", "1"];
    let Ok(Command::Bench { plan, config }) = parsed(&words) else { panic!("not parsed") };
    assert_eq!((plan.batch_sizes, plan.concurrencies), (vec![1, 8], vec![2]));
    assert_eq!((plan.time, plan.images), (Duration::from_secs(1), None));
    assert_eq!(config.inference.device.all().len(), 2);
    let Ok(Command::Bench { plan, .. }) = parsed(&["bench", "--engine-only"]) else { panic!("not parsed") };
    assert_eq!((plan.batch_sizes, plan.concurrencies), (vec![1, 2, 4, 8], vec![]));
    for words in [&["bench", "--batch", "0"][..], &["bench", "--batch", ""], &["bench", "--seconds", "0"]] {
        assert!(matches!(parsed(words), Err(CliError::Clap(e)) if e.exit_code() == 2), "{words:?}");
    }
}

#[test]
fn invalid_arguments_and_invalid_settings_are_different_errors() {
    for words in [&["--no-such-flag"][..], &["no-such-word"], &["predict"], &["predict", "a", "--top-k", "0"]] {
        assert!(matches!(parsed(words), Err(CliError::Clap(e)) if e.exit_code() == 2), "{words:?}");
    }
    assert!(matches!(parsed(&["--device", "tpu"]), Err(CliError::Config(_))));
}

#[test]
fn keygen_parses_the_policy_of_a_key() {
    assert!(matches!(parsed(&["keygen"]), Ok(Command::Keygen(None))));
    let words = ["keygen", "--id", "app", "--scope", "predict,metrics", "--expires", "90d", "--queue-share", "0.5"];
    let Ok(Command::Keygen(Some(policy))) = parsed(&words) else { panic!("not parsed") };
    assert_eq!((policy.id.as_str(), policy.scopes.to_string().as_str()), ("app", "predict, metrics"));
    let left = policy.expires.unwrap().duration_since(std::time::SystemTime::now()).unwrap();
    assert_eq!(left.as_secs().div_ceil(24 * 60 * 60), 90);
    for (words, reason) in [
        (&["keygen", "--id", "a b"][..], "--id: id must have"),
        (&["keygen", "--id", "app", "--queue-share", "2"], "--queue-share: queue-share is 2"),
        (&["keygen", "--id", "app", "--expires", "soon"], "--expires: expires is 'soon'"),
        (&["keygen", "--id", "app", "--expires", "10000y"], "--expires: expires is more than a century"),
        (&["keygen", "--id", "app", "--expires", "9999999999999999999s"], "--expires: expires is more than"),
    ] {
        let Err(CliError::Config(refusal)) = parsed(words) else { panic!("{words:?}") };
        assert!(refusal.to_string().starts_with(reason), "{refusal}");
    }
    for words in [&["keygen", "--scope", "predict"][..], &["keygen", "--id", "a", "--scope", "root"]] {
        assert!(matches!(parsed(words), Err(CliError::Clap(e)) if e.exit_code() == 2), "{words:?}");
    }
}

#[test]
fn healthcheck_reads_address_and_tls_of_the_server() {
    let words = ["healthcheck", "--live", "--timeout", "1s", "--listen", "0.0.0.0:81"];
    let Ok(Command::Healthcheck(request)) = parsed(&words) else { panic!("not parsed") };
    let (listen, timeout) = ("0.0.0.0:81".parse().unwrap(), Duration::from_secs(1));
    assert_eq!(request, Healthcheck { listen, tls: false, live: true, timeout });
    let Ok(Command::Healthcheck(request)) = parsed(&["healthcheck", "--tls-cert", "nowhere"]) else { panic!() };
    assert!(request.tls && !request.live && request.listen.port() == 8080);
}

#[test]
fn doctor_reads_the_settings_of_a_server_also_if_some_are_invalid() {
    let words = ["doctor", "a.onnx", "--json", "--listen", "0.0.0.0:81", "--threads", "none"];
    let Ok(Command::Doctor { inspection, json }) = parsed(&words) else { panic!("not parsed") };
    assert!(json && inspection.config.server.listen.port() == 81);
    assert_eq!(inspection.config.model_files, [PathBuf::from("a.onnx")]);
    assert_eq!(inspection.errors.iter().map(|error| error.key).collect::<Vec<_>>(), ["threads"]);
    assert!(matches!(parsed(&["doctor"]), Ok(Command::Doctor { json: false, .. })));
}

#[test]
fn check_parses_devices() {
    let Ok(Command::Check(config)) = parsed(&["check", "--device", "cpu"]) else { panic!("not parsed") };
    assert_eq!((config.inference.device.all().len(), config.model), (1, None));
}

#[test]
fn serve_takes_model_files_and_inspect_takes_one() {
    let Ok(Command::Serve(config)) = parsed(&["serve", "a.onnx", "models/vit", "--preset", "timm"]) else { panic!() };
    assert_eq!(config.model_files, [PathBuf::from("a.onnx"), PathBuf::from("models/vit")]);
    assert_eq!(config.model_file_options.preset.map(|preset| preset.name), Some("timm"));
    let Ok(Command::Predict { config, .. }) = parsed(&["predict", "cat.jpg", "--model-file", "a.onnx, b.onnx"]) else {
        panic!("not parsed")
    };
    assert_eq!(config.model_files, [PathBuf::from("a.onnx"), PathBuf::from("b.onnx")]);
    let Ok(Command::Inspect { path, config }) = parsed(&["inspect", "a.onnx", "--input-size", "320x224"]) else {
        panic!("not parsed")
    };
    assert_eq!((path, config.model_file_options.image_size), (PathBuf::from("a.onnx"), Some([224, 320])));
    let Ok(Command::Serve(config)) = parsed(&["serve", "a.onnx", "--models", "repository"]) else { panic!() };
    assert_eq!(config.model_files, [PathBuf::from("a.onnx")]);
    assert_eq!(config.model_repository, Some(PathBuf::from("repository")));
    assert!(matches!(parsed(&["serve", "a.onnx", "--model-file", "b.onnx"]), Err(CliError::Clap(_))));
    assert!(matches!(parsed(&["serve", "a,b.onnx"]), Err(CliError::Config(_))));
}

#[test]
fn models_parses_each_subcommand() {
    let order = |words: &[&str]| match parsed(&[&["models"], words].concat()) {
        Ok(Command::Models { order, .. }) => order,
        other => panic!("{words:?}: {other:?}"),
    };
    let (model, version) = ("m".to_string(), "2".to_string());
    assert_eq!(order(&["list"]), StoreCommand::List);
    let file = PathBuf::from("w.bpk");
    let add = StoreCommand::Add { model: model.clone(), file: file.clone(), version: None };
    assert_eq!(order(&["add", "m", "w.bpk", "--model-store", "s"]), add);
    let export = StoreCommand::Export { model: model.clone(), version: Some(version.clone()), out: file };
    assert_eq!(order(&["export", "m", "--version", "2", "--out", "w.bpk"]), export);
    assert_eq!(order(&["promote", "m", "2"]), StoreCommand::Promote { model: model.clone(), version: version.clone() });
    let canary = |canary| StoreCommand::Canary { model: model.clone(), canary };
    let some = |part| canary(Some(Canary { version: version.clone(), share: TrafficShare::new(part).unwrap() }));
    assert_eq!(order(&["canary", "m", "2"]), some(0.1));
    assert_eq!(order(&["canary", "m", "2", "--share", "25%"]), some(0.25));
    assert_eq!(order(&["canary", "m", "--off"]), canary(None));
    assert_eq!(order(&["shadow", "m", "--off"]), StoreCommand::Shadow { model: model.clone(), version: None });
    for words in [&["models"][..], &["models", "canary", "m"], &["models", "canary", "m", "2", "--share", "2"]] {
        assert!(matches!(parsed(words), Err(CliError::Clap(e)) if e.exit_code() == 2), "{words:?}");
    }
}

#[test]
fn feedback_requires_a_data_dir() {
    let words = ["feedback", "export", "--data-dir", "data", "--out", "set", "--model", "cat", "--force"];
    let Ok(Command::FeedbackExport { data, out, model, force }) = parsed(&words) else { panic!("not parsed") };
    assert_eq!((data, out), (PathBuf::from("data"), PathBuf::from("set")));
    assert_eq!((model.as_deref(), force), (Some("cat"), true));
    let Ok(Command::FeedbackReport { data, out }) = parsed(&["feedback", "report", "--data-dir", "data"]) else {
        panic!("not parsed")
    };
    assert_eq!((data, out), (PathBuf::from("data"), PathBuf::from("report.html")));
    let Err(CliError::Config(refusal)) = parsed(&["feedback", "report"]) else { panic!("no error") };
    assert!(refusal.to_string().contains("--data-dir"), "{refusal}");
    for words in [&["feedback"][..], &["feedback", "export", "--data-dir", "data"]] {
        assert!(matches!(parsed(words), Err(CliError::Clap(e)) if e.exit_code() == 2), "{words:?}");
    }
}

#[test]
fn config_check_returns_a_report() {
    let Ok(Command::ConfigCheck(report)) = parsed(&["config", "check", "--shutdown-grace", "5s"]) else { panic!() };
    assert!(
        report.lines().any(|line| line.starts_with("shutdown-grace") && line.ends_with("--shutdown-grace")),
        "{report}"
    );
}

#[test]
fn completions_know_the_values_of_enumerated_flags() {
    let Ok(Command::Print(pages)) = parsed(&["completions", "bash"]) else { panic!("not parsed") };
    for values in [
        "auto cpu vulkan metal cuda",
        "f32 f16 bf16",
        "refuse accept",
        "text json",
        "true false",
        "predict feedback metrics admin",
        "high normal low",
        "bilinear bicubic lanczos",
    ] {
        assert!(pages[0].text.contains(&format!("compgen -W \"{values}\"")), "{values}");
    }
    // Suggestions are no limit: 'vulkan:1' and 'warn,kiln=debug' are valid too.
    let words = ["--device", "vulkan:1", "--log-level", "warn,kiln=debug"];
    assert!(matches!(parsed(&words), Ok(Command::Serve(_))));
}

#[test]
fn completions_and_manual_pages_cover_every_command() {
    let pages = |words: &[&str]| match parsed(words) {
        Ok(Command::Print(pages)) => pages,
        other => panic!("{words:?}: {other:?}"),
    };
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let [page] = &pages(&["completions", shell])[..] else { panic!("one page") };
        assert!(page.file.is_none() && page.text.contains("max-batch-size") && page.text.contains("healthcheck"));
    }
    let [page] = &pages(&["man"])[..] else { panic!("one page") };
    assert!(page.file.is_none() && page.text.contains("max\\-batch\\-size"), "{}", page.text);
    let all = pages(&["man", "--out", "man1"]);
    let names: Vec<&str> = all.iter().map(|page| page.file.as_ref().unwrap().to_str().unwrap()).collect();
    for name in ["man1/kiln.1", "man1/kiln-serve.1", "man1/kiln-models-promote.1", "man1/kiln-feedback-export.1"] {
        assert!(names.contains(&name), "{name} is not in {names:?}");
    }
    assert!(!names.iter().any(|name| name.contains("help")), "{names:?}");
    assert!(matches!(parsed(&["completions", "cmd"]), Err(CliError::Clap(e)) if e.exit_code() == 2));
}

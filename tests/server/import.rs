//! `kiln import` and `kiln check`.

use std::path::Path;

use crate::common::{kiln, run_command};

const RESNET: &str = "model-import/tests/models/small-resnet/small-resnet.onnx";

/// Runs `kiln import` in `folder` without a terminal. Returns the exit status, standard output and standard error.
fn import(folder: &Path, arguments: &[&str]) -> (i32, String, String) {
    run_command(kiln().arg("import").args(arguments).current_dir(folder))
}

/// Creates a folder that looks like a checkout without models.
fn checkout() -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(root.path().join("model-import/models")).unwrap();
    std::fs::write(root.path().join("Cargo.toml"), "").unwrap();
    root
}

fn entries(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap();
    let mut names: Vec<String> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn import_writes_a_model_folder_into_the_checkout_and_prints_the_next_command() {
    let root = checkout();
    let models = root.path().join("model-import/models");
    let onnx = std::path::absolute(RESNET).unwrap();
    let flags = [onnx.to_str().unwrap(), "--labels", "numbers", "--preset", "timm", "--licence", "MIT"];
    let (status, stdout, stderr) = import(&models, &flags);
    assert_eq!(status, 0, "{stderr}");
    for part in ["45x61, 10 classes", "all of them can be imported", "fused kernels", "--model small-resnet photo.jpg"]
    {
        assert!(stdout.contains(part), "{part}: {stdout}");
    }
    let folder = models.join("small-resnet");
    assert_eq!(entries(&folder), ["labels.txt", "model.toml", "small-resnet.onnx"]);
    assert_eq!(entries(&models), ["small-resnet"]);
    let manifest: toml::Table = std::fs::read_to_string(folder.join("model.toml")).unwrap().parse().unwrap();
    assert_eq!(manifest["input"]["width"].as_integer(), Some(45));
    assert_eq!(manifest["preprocess"]["filter"].as_str(), Some("bicubic"));
    assert_eq!(manifest["licence"].as_str(), Some("MIT"));
    assert_eq!(std::fs::read_to_string(folder.join("labels.txt")).unwrap().lines().last(), Some("class_9"));
    // The second import finds an existing folder.
    let (status, _, stderr) = import(root.path(), &flags);
    assert!(status == 1 && stderr.contains("--force"), "{stderr}");
    assert_eq!(import(root.path(), &[&flags[..], &["--force", "--model-version", "2"]].concat()).0, 0);
    assert!(std::fs::read_to_string(folder.join("model.toml")).unwrap().contains("version = \"2\""));
}

#[test]
fn missing_and_invalid_arguments_are_usage_errors_without_a_terminal() {
    let root = checkout();
    let onnx = std::path::absolute(RESNET).unwrap();
    let onnx = onnx.to_str().unwrap();
    for (arguments, part) in [
        (&["--preset", "timm"][..], "--labels is missing"),
        (&["--labels", "numbers"], "--preset is missing"),
        (&["--labels", "none.txt", "--preset", "timm"], "--labels: cannot read none.txt"),
        (&["--labels", "imagenet", "--preset", "timm"], "1000 labels, but the network has 10 classes"),
        (&["--labels", "numbers", "--preset", "mine"], "possible values: torchvision"),
        (&["--labels", "numbers", "--preset", "timm", "--out", "x", "--verify"], "--verify builds the program"),
    ] {
        let (status, _, stderr) = import(root.path(), &[&[onnx], arguments].concat());
        assert!(status == 2 && stderr.contains(part), "{arguments:?}: {status} {stderr}");
    }
    assert!(entries(&root.path().join("model-import/models")).is_empty());
}

/// Adds a small program to the checkout. It replaces the server, whose build takes minutes.
fn with_program(root: &Path, main: &str) {
    std::fs::write(root.join("Cargo.toml"), "[package]\nname = \"small\"\nedition = \"2024\"\n").unwrap();
    std::fs::create_dir_all(root.join("src")).unwrap();
    std::fs::write(root.join("src/main.rs"), main).unwrap();
}

#[test]
fn import_with_logits_builds_the_program_and_verifies_the_model() {
    let root = checkout();
    let onnx = std::path::absolute(RESNET).unwrap();
    let logits = root.path().join("logits.txt");
    std::fs::write(&logits, (0..10).map(|class| format!("{}\n", class as f32 / 3.0)).collect::<String>()).unwrap();
    let flags = [onnx.to_str().unwrap(), "--labels", "numbers", "--preset", "timm", "--name", "net", "--force"];
    let import_verified = |main: &str, more: &[&str]| {
        with_program(root.path(), main);
        let mut command = kiln();
        command.arg("import").args(flags).args(["--logits", logits.to_str().unwrap()]).args(more);
        run_command(command.current_dir(root.path()).env("CARGO_TARGET_DIR", root.path().join("target")))
    };
    // The new program finds the model in its folder, and `import` runs `check` for it.
    let right = "fn main() {
        let arguments = std::env::args().skip(1).collect::<Vec<_>>().join(\" \");
        assert_eq!(arguments, \"check --model net --device cpu\");
        assert_eq!(include_str!(\"../model-import/models/net/reference_logits.txt\").lines().count(), 10);
        println!(\"right\");
    }";
    let (status, stdout, stderr) = import_verified(right, &[]);
    assert_eq!(status, 0, "{stdout}{stderr}");
    assert!(stdout.find("right") < stdout.find("predict --model net"), "{stdout}");
    let (status, stdout, stderr) = import_verified("fn main() { std::process::exit(1) }", &[]);
    assert_eq!(status, 1, "{stdout}");
    assert!(stderr.contains("differ from the reference logits") && stderr.contains("net/model.toml"), "{stderr}");
    let (status, _, stderr) = import_verified("fn main() { no_such_thing() }", &[]);
    assert_eq!(status, 1);
    assert!(stderr.contains("no_such_thing") && stderr.contains("does not build with the model"), "{stderr}");
    assert_eq!(import_verified("fn main() { no_such_thing() }", &["--no-verify"]).0, 0);
}

#[test]
fn import_outside_of_a_checkout_requires_out() {
    let elsewhere = tempfile::tempdir().unwrap();
    let onnx = std::path::absolute(RESNET).unwrap();
    let flags = [onnx.to_str().unwrap(), "--labels", "numbers", "--preset", "plain"];
    let (status, _, stderr) = import(elsewhere.path(), &flags);
    assert!(status == 1 && stderr.contains("is in no checkout of Kiln"), "{stderr}");
    assert!(entries(elsewhere.path()).is_empty());
    let (status, _, stderr) = import(elsewhere.path(), &[&flags[..], &["--out", "here"]].concat());
    assert_eq!(status, 0, "{stderr}");
    assert!(elsewhere.path().join("here/model.toml").is_file());
}

#[test]
fn truncated_onnx_file_is_an_error_and_not_a_panic() {
    let root = checkout();
    let whole = std::fs::read(RESNET).unwrap();
    let path = root.path().join("broken.onnx");
    for part in [0, whole.len() / 3, whole.len() - 7] {
        std::fs::write(&path, &whole[..part]).unwrap();
        let (status, _, stderr) = import(root.path(), &["broken.onnx", "--labels", "numbers", "--preset", "timm"]);
        assert_eq!(status, 1, "{stderr}");
        assert!(stderr.starts_with("kiln: ") && !stderr.contains("panicked"), "{stderr}");
    }
    assert!(entries(&root.path().join("model-import/models")).is_empty());
}

#[test]
fn check_reports_the_distance_to_the_reference_logits() {
    let (status, stdout, stderr) = run_command(kiln().args(["check", "--device", "cpu"]));
    assert_eq!(status, 0, "{stdout}{stderr}");
    assert!(
        stdout.starts_with("efficientnet-lite0 1 on ")
            && stdout.contains("right; logits differ from those of its manifest by"),
        "{stdout}"
    );
    assert_eq!(stdout.lines().count(), 1);
}

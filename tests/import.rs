//! `kiln import` and `kiln check` by the real binary.
#![forbid(unsafe_code)]

mod common;

use std::path::Path;

use common::{kiln, said};

const RESNET: &str = "model-import/tests/models/small-resnet/small-resnet.onnx";

/// `kiln import` in `folder`, where standard input is no terminal: status, what it said and what it complained of.
fn import(folder: &Path, arguments: &[&str]) -> (i32, String, String) {
    said(kiln().arg("import").args(arguments).current_dir(folder))
}

/// A folder that looks like a checkout with no models yet.
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
fn a_network_becomes_a_folder_of_the_checkout_around_with_the_next_command() {
    let root = checkout();
    let models = root.path().join("model-import/models");
    let onnx = std::path::absolute(RESNET).unwrap();
    let flags = [onnx.to_str().unwrap(), "--labels", "numbers", "--preset", "timm", "--licence", "MIT"];
    let (status, told, complaint) = import(&models, &flags);
    assert_eq!(status, 0, "{complaint}");
    for part in ["45x61, 10 classes", "all of them can be imported", "fused kernels", "--model small-resnet photo.jpg"]
    {
        assert!(told.contains(part), "{part}: {told}");
    }
    let folder = models.join("small-resnet");
    assert_eq!(entries(&folder), ["labels.txt", "model.toml", "small-resnet.onnx"]);
    assert_eq!(entries(&models), ["small-resnet"]);
    let manifest: toml::Table = std::fs::read_to_string(folder.join("model.toml")).unwrap().parse().unwrap();
    assert_eq!(manifest["input"]["width"].as_integer(), Some(45));
    assert_eq!(manifest["preprocess"]["filter"].as_str(), Some("bicubic"));
    assert_eq!(manifest["licence"].as_str(), Some("MIT"));
    assert_eq!(std::fs::read_to_string(folder.join("labels.txt")).unwrap().lines().last(), Some("class_9"));
    // A second time it is there already.
    let (status, _, complaint) = import(root.path(), &flags);
    assert!(status == 1 && complaint.contains("--force"), "{complaint}");
    assert_eq!(import(root.path(), &[&flags[..], &["--force", "--model-version", "2"]].concat()).0, 0);
    assert!(std::fs::read_to_string(folder.join("model.toml")).unwrap().contains("version = \"2\""));
}

#[test]
fn what_is_missing_is_an_error_of_usage_where_nobody_can_be_asked() {
    let root = checkout();
    let onnx = std::path::absolute(RESNET).unwrap();
    let onnx = onnx.to_str().unwrap();
    for (arguments, part) in [
        (&["--preset", "timm"][..], "--labels is missing"),
        (&["--labels", "numbers"], "--preset is missing"),
        (&["--labels", "none.txt", "--preset", "timm"], "--labels: cannot read none.txt"),
        (&["--labels", "imagenet", "--preset", "timm"], "1000 labels, but the network has 10 classes"),
        (&["--labels", "numbers", "--preset", "mine"], "it must be torchvision"),
        (&["--labels", "numbers", "--preset", "timm", "--out", "x", "--verify"], "--verify builds the program"),
    ] {
        let (status, _, complaint) = import(root.path(), &[&[onnx], arguments].concat());
        assert!(status == 2 && complaint.contains(part), "{arguments:?}: {status} {complaint}");
    }
    assert!(entries(&root.path().join("model-import/models")).is_empty());
}

/// Makes the checkout a program, so small that it is built at once. It stands in for the server, which takes minutes.
fn with_program(root: &Path, main: &str) {
    std::fs::write(root.join("Cargo.toml"), "[package]\nname = \"small\"\nedition = \"2024\"\n").unwrap();
    std::fs::create_dir_all(root.join("src")).unwrap();
    std::fs::write(root.join("src/main.rs"), main).unwrap();
}

#[test]
fn with_logits_the_program_is_built_and_asked() {
    let root = checkout();
    let onnx = std::path::absolute(RESNET).unwrap();
    let logits = root.path().join("logits.txt");
    std::fs::write(&logits, (0..10).map(|class| format!("{}\n", class as f32 / 3.0)).collect::<String>()).unwrap();
    let flags = [onnx.to_str().unwrap(), "--labels", "numbers", "--preset", "timm", "--name", "net", "--force"];
    let verified = |main: &str, more: &[&str]| {
        with_program(root.path(), main);
        let mut command = kiln();
        command.arg("import").args(flags).args(["--logits", logits.to_str().unwrap()]).args(more);
        said(command.current_dir(root.path()).env("CARGO_TARGET_DIR", root.path().join("target")))
    };
    // The fresh program finds the model in its folder and is asked for it by name.
    let right = "fn main() {
        let asked = std::env::args().skip(1).collect::<Vec<_>>().join(\" \");
        assert_eq!(asked, \"check --model net --device cpu\");
        assert_eq!(include_str!(\"../model-import/models/net/reference_logits.txt\").lines().count(), 10);
        println!(\"right\");
    }";
    let (status, told, errors) = verified(right, &[]);
    assert_eq!(status, 0, "{told}{errors}");
    assert!(told.find("right") < told.find("predict --model net"), "{told}");
    let (status, told, errors) = verified("fn main() { std::process::exit(1) }", &[]);
    assert_eq!(status, 1, "{told}");
    assert!(errors.contains("answers otherwise than the logits say") && errors.contains("net/model.toml"), "{errors}");
    let (status, _, errors) = verified("fn main() { no_such_thing() }", &[]);
    assert_eq!(status, 1);
    assert!(errors.contains("no_such_thing") && errors.contains("does not build with the model"), "{errors}");
    assert_eq!(verified("fn main() { no_such_thing() }", &["--no-verify"]).0, 0);
}

#[test]
fn outside_of_a_checkout_the_way_out_is_told_and_taken() {
    let elsewhere = tempfile::tempdir().unwrap();
    let onnx = std::path::absolute(RESNET).unwrap();
    let flags = [onnx.to_str().unwrap(), "--labels", "numbers", "--preset", "plain"];
    let (status, _, complaint) = import(elsewhere.path(), &flags);
    assert!(status == 1 && complaint.contains("is in no checkout of Kiln"), "{complaint}");
    assert!(entries(elsewhere.path()).is_empty());
    let (status, _, complaint) = import(elsewhere.path(), &[&flags[..], &["--out", "here"]].concat());
    assert_eq!(status, 0, "{complaint}");
    assert!(elsewhere.path().join("here/model.toml").is_file());
}

#[test]
fn a_broken_file_is_one_calm_sentence() {
    let root = checkout();
    let whole = std::fs::read(RESNET).unwrap();
    let path = root.path().join("broken.onnx");
    for part in [0, whole.len() / 3, whole.len() - 7] {
        std::fs::write(&path, &whole[..part]).unwrap();
        let (status, _, complaint) = import(root.path(), &["broken.onnx", "--labels", "numbers", "--preset", "timm"]);
        assert_eq!(status, 1, "{complaint}");
        assert!(complaint.starts_with("kiln: ") && !complaint.contains("panicked"), "{complaint}");
    }
    assert!(entries(&root.path().join("model-import/models")).is_empty());
}

#[test]
fn check_tells_how_far_a_model_is_from_its_reference() {
    let (status, told, complaint) = said(kiln().args(["check", "--device", "cpu"]));
    assert_eq!(status, 0, "{told}{complaint}");
    assert!(
        told.starts_with("efficientnet-lite0 1 on ")
            && told.contains("right; logits differ from those of its manifest by"),
        "{told}"
    );
    assert_eq!(told.lines().count(), 1);
}

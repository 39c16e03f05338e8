//! Models that the build rejects, and the messages.
#![forbid(unsafe_code)]

mod onnx_file;

use std::path::{Path, PathBuf};

use kiln_graph::{Graph, ModelError, read_model, read_models, sha256_hex};
use onnx_file::{INPUT, integer, model_of, model_of_nodes, model_with, node};

fn default_model() -> PathBuf {
    PathBuf::from("../models/efficientnet-lite0")
}

/// A copy of the default model with its manifest changed by `edit`. The folder is deleted with the guard.
fn edited(edit: impl Fn(String) -> String) -> (tempfile::TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let folder = directory.path().join("copy");
    std::fs::create_dir(&folder).unwrap();
    for file in ["efficientnet-lite0.onnx", "labels.txt", "reference_logits.txt", "model.toml"] {
        std::fs::copy(default_model().join(file), folder.join(file)).unwrap();
    }
    let manifest = std::fs::read_to_string(folder.join("model.toml")).unwrap();
    std::fs::write(folder.join("model.toml"), edit(manifest)).unwrap();
    (directory, folder)
}

/// The default model with another network.
fn with_onnx(onnx: &[u8]) -> (tempfile::TempDir, PathBuf) {
    let digest = sha256_hex(onnx);
    let old = "ee68ba6a324fdb7ab8060980f2ecff71740187dffe37c1d146e88c2785984fbc";
    let (guard, folder) = edited(|text| text.replace("efficientnet-lite0.onnx", "odd.onnx").replace(old, &digest));
    std::fs::write(folder.join("odd.onnx"), onnx).unwrap();
    (guard, folder)
}

fn rejection(folder: &Path) -> String {
    let checked = read_model(folder).and_then(|model| Graph::read_model(&model)?.check_model(&model));
    checked.expect_err("this model must be rejected").to_string()
}

#[test]
fn default_model_is_accepted() {
    let models = read_models(Path::new("../models")).unwrap();
    let model = models.iter().find(|model| model.manifest.name == "efficientnet-lite0").unwrap();
    assert_eq!(model.labels.len(), 1000);
    Graph::read_model(model).unwrap().check_model(model).unwrap();
}

#[test]
fn wrong_digest_is_rejected_with_both_digests() {
    let (_guard, folder) = edited(|text| text.replace("ee68ba6a", "00000000"));
    let message = rejection(&folder);
    assert!(message.contains("has sha256 ee68ba6a") && message.contains("expects 00000000"), "{message}");
    assert!(message.contains("put the new sha256 into model.toml"), "{message}");
}

#[test]
fn shape_that_differs_from_manifest_is_rejected() {
    let (_guard, folder) = edited(|text| text.replace("width = 224", "width = 240"));
    let message = rejection(&folder);
    assert!(message.contains("axis 3 of its input 'input' is 224, but the manifest makes it 240"), "{message}");
    let (_guard, folder) = edited(|text| text.replace("reference_logits = \"reference_logits.txt\"\n", ""));
    let labels = std::fs::read_to_string(folder.join("labels.txt")).unwrap();
    std::fs::write(folder.join("labels.txt"), labels.lines().skip(1).collect::<Vec<_>>().join("\n")).unwrap();
    let message = rejection(&folder);
    assert!(message.contains("is 1000, but the manifest makes it 999. Is the labels file complete"), "{message}");
}

#[test]
fn reference_logits_of_wrong_length_are_rejected() {
    let (_guard, folder) = edited(|text| text);
    std::fs::write(folder.join("reference_logits.txt"), "0.5\nNaN\n").unwrap();
    let message = rejection(&folder);
    assert!(message.contains("must hold 1000 logits, one a line; it has 1 in 2 lines"), "{message}");
}

#[test]
fn unsupported_operators_are_rejected_and_listed() {
    let (_guard, folder) = with_onnx(&model_of(&["Frobnicate"]));
    let message = rejection(&folder);
    assert!(message.contains("Frobnicate") && message.contains("Export it again"), "{message}");
    // Two unknown operators, and one that onnx-ir parses but burn-onnx has no code for, in one message.
    let (_guard, folder) = with_onnx(&model_of(&["Frobnicate", "RoiAlign", "Frobnicate", "Shuffle"]));
    let message = rejection(&folder);
    assert!(message.contains("Frobnicate (2 times), RoiAlign, Shuffle"), "{message}");
}

#[test]
fn file_of_another_format_is_rejected_with_one_remedy() {
    let (_guard, folder) = with_onnx(b"PK\x03\x04archive/data.pkl");
    let message = rejection(&folder);
    assert!(message.contains("this is not an ONNX file: it is a ZIP archive. If"), "{message}");
    assert!(message.ends_with("otherwise unpack it.") && !message.contains("burn-onnx"), "{message}");
}

#[test]
fn softmax_output_is_rejected_also_before_identity_nodes() {
    for operators in [&["Softmax"][..], &["Softmax", "Identity"], &["LogSoftmax", "Flatten", "Identity"]] {
        let (_guard, folder) = with_onnx(&model_of(operators));
        let message = rejection(&folder);
        assert!(message.contains("it ends in a softmax"), "{operators:?}: {message}");
    }
}

#[test]
fn sigmoid_and_decomposed_softmax_outputs_are_rejected() {
    let (_guard, folder) = with_onnx(&model_of(&["Sigmoid"]));
    let message = rejection(&folder);
    assert!(message.contains("it ends in a sigmoid") && message.contains("Export it with the logits"), "{message}");
    let nodes = [
        node("GlobalAveragePool", &["input"], "average", &[]),
        node("Flatten", &["average"], "values", &[]),
        node("Exp", &["values"], "powers", &[]),
        node("ReduceSum", &["powers"], "sum", &[integer("keepdims", 1)]),
        node("Div", &["powers", "sum"], "logits", &[]),
    ];
    let (_guard, folder) = with_onnx(&model_of_nodes(&nodes));
    let message = rejection(&folder);
    assert!(message.contains("it ends in a softmax, written as Exp and Div"), "{message}");
}

#[test]
fn labels_accept_byte_order_mark_and_reject_control_characters() {
    let (_guard, folder) = edited(|text| text);
    let labels = std::fs::read_to_string(folder.join("labels.txt")).unwrap();
    std::fs::write(folder.join("labels.txt"), format!("\u{feff}{labels}")).unwrap();
    assert_eq!(read_model(&folder).unwrap().labels[0], labels.lines().next().unwrap());
    std::fs::write(folder.join("labels.txt"), format!("a\u{1b}[2J\n{labels}")).unwrap();
    let message = rejection(&folder);
    assert!(message.contains("labels.txt") && message.contains("line 1 has a control character"), "{message}");
}

#[test]
fn channels_last_and_several_inputs_are_rejected_with_the_fix() {
    let last = [("images", &[Some(224), Some(224), Some(3)][..])];
    let (_guard, folder) = with_onnx(&model_with(&last, &[], Some(1000)));
    let message = rejection(&folder);
    assert!(message.contains("has the channels last") && message.contains("--inputs-as-nchw images"), "{message}");
    let (_guard, folder) = with_onnx(&model_with(&[INPUT, ("mask", &[Some(1)])], &[], Some(1000)));
    let message = rejection(&folder);
    assert!(message.contains("it has 2 inputs") && message.contains("its only input"), "{message}");
}

#[test]
fn invalid_manifest_is_rejected_with_the_key() {
    for (from, to, part) in [
        ("version = \"1\"", "", "missing field `version`"),
        ("version = \"1\"", "version = \"1\"\ncolour = \"red\"", "unknown field `colour`"),
        ("filter = \"bicubic\"", "filter = \"nearest\"", "unknown variant `nearest`"),
        ("std = [128.0, 128.0, 128.0]", "std = [0.0, 128.0, 128.0]", "'preprocess.std' must be above 0"),
        ("name = \"efficientnet-lite0\"", "name = \"a/b\"", "is part of URLs"),
        ("name = \"efficientnet-lite0\"", "name = \".hidden\"", "'name' is part of URLs: '.hidden' must"),
        ("version = \"1\"", "version = \".1\"", "'version' is part of URLs: '.1' must"),
        ("version = \"1\"", "version = \"stable\"", "'version' is part of URLs: 'stable' must be no label"),
        ("version = \"1\"", "version = \"labels.toml\"", "not end with '.toml'"),
        ("mean = [127.0, ", "mean = [nan, ", "'preprocess.mean' must be finite"),
        ("onnx = \"efficientnet-lite0.onnx\"", "onnx = \"lite0.v1.onnx\"", "Rename the file"),
        ("onnx = \"efficientnet-lite0.onnx\"", "onnx = \"../lite0.onnx\"", "a file in the model's folder"),
        ("labels = \"labels.txt\"", "labels = \"/etc/passwd\"", "'labels' must be a file in the model's folder"),
    ] {
        let (_guard, folder) = edited(|text| {
            assert!(text.contains(from), "the manifest has no '{from}'");
            text.replacen(from, to, 1)
        });
        let message = rejection(&folder);
        assert!(message.contains("model.toml is not a valid manifest") && message.contains(part), "{message}");
    }
}

#[test]
fn folder_without_models_is_rejected() {
    let empty = tempfile::tempdir().unwrap();
    let rejected = read_models(empty.path()).unwrap_err();
    assert!(
        matches!(rejected, ModelError::NoModels { .. }) && rejected.to_string().contains("docs/models.md"),
        "{rejected}"
    );
}

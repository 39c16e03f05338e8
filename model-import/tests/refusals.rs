//! What the build script refuses, and the sentences that it refuses with. Its own files are included here.
#![forbid(unsafe_code)]

mod build_script;
mod onnx_file;

use std::path::{Path, PathBuf};

use build_script::error::Refusal;
use build_script::{graph, manifest};
use onnx_file::{INPUT, integer, model_of, model_of_nodes, model_with, node};

fn default_model() -> PathBuf {
    PathBuf::from("models/efficientnet-lite0")
}

/// A copy of the default model whose manifest went through `edit`, in a folder that goes with the guard.
fn edited(edit: impl Fn(String) -> String) -> (tempfile::TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let folder = directory.path().join("copy");
    std::fs::create_dir(&folder).unwrap();
    for file in ["efficientnet-lite0.onnx", "labels.txt", "canary.txt", "model.toml"] {
        std::fs::copy(default_model().join(file), folder.join(file)).unwrap();
    }
    let manifest = std::fs::read_to_string(folder.join("model.toml")).unwrap();
    std::fs::write(folder.join("model.toml"), edit(manifest)).unwrap();
    (directory, folder)
}

/// The default model with another file in place of its network.
fn with_onnx(onnx: &[u8]) -> (tempfile::TempDir, PathBuf) {
    let digest: String =
        <sha2::Sha256 as sha2::Digest>::digest(onnx).iter().map(|byte| format!("{byte:02x}")).collect();
    let old = "ee68ba6a324fdb7ab8060980f2ecff71740187dffe37c1d146e88c2785984fbc";
    let (guard, folder) = edited(|text| text.replace("efficientnet-lite0.onnx", "odd.onnx").replace(old, &digest));
    std::fs::write(folder.join("odd.onnx"), onnx).unwrap();
    (guard, folder)
}

fn refusal(folder: &Path) -> String {
    let refused = manifest::read(folder).and_then(|model| graph::check(&model, &graph::read(&model)?));
    refused.expect_err("this model must be refused").to_string()
}

#[test]
fn the_default_model_is_taken() {
    let models = manifest::read_all(Path::new("models")).unwrap();
    let model = models.iter().find(|model| model.manifest.name == "efficientnet-lite0").unwrap();
    assert_eq!(model.labels.len(), 1000);
    graph::check(model, &graph::read(model).unwrap()).unwrap();
}

#[test]
fn another_file_than_the_manifest_names_is_refused_with_both_digests() {
    let (_guard, folder) = edited(|text| text.replace("ee68ba6a", "00000000"));
    let sentence = refusal(&folder);
    assert!(sentence.contains("has sha256 ee68ba6a") && sentence.contains("expects 00000000"), "{sentence}");
    assert!(sentence.contains("put the new sha256 into model.toml"), "{sentence}");
}

#[test]
fn a_graph_that_does_not_fit_its_manifest_is_refused() {
    let (_guard, folder) = edited(|text| text.replace("width = 224", "width = 240"));
    let sentence = refusal(&folder);
    assert!(sentence.contains("axis 3 of its input 'input' is 224, but the manifest makes it 240"), "{sentence}");
    let (_guard, folder) = edited(|text| text.replace("canary = \"canary.txt\"\n", ""));
    let labels = std::fs::read_to_string(folder.join("labels.txt")).unwrap();
    std::fs::write(folder.join("labels.txt"), labels.lines().skip(1).collect::<Vec<_>>().join("\n")).unwrap();
    let sentence = refusal(&folder);
    assert!(sentence.contains("is 1000, but the manifest makes it 999. Is the labels file complete"), "{sentence}");
}

#[test]
fn a_canary_of_another_network_is_refused() {
    let (_guard, folder) = edited(|text| text);
    std::fs::write(folder.join("canary.txt"), "0.5\nNaN\n").unwrap();
    let sentence = refusal(&folder);
    assert!(sentence.contains("must hold 1000 logits, one a line; it has 1 in 2 lines"), "{sentence}");
}

#[test]
fn an_operator_that_cannot_be_imported_is_refused_with_advice() {
    let (_guard, folder) = with_onnx(&model_of(&["Frobnicate"]));
    let sentence = refusal(&folder);
    assert!(sentence.contains("Frobnicate") && sentence.contains("Export it again"), "{sentence}");
    // Two that nobody knows, and one that is parsed but has no code, all in one answer.
    let (_guard, folder) = with_onnx(&model_of(&["Frobnicate", "RoiAlign", "Frobnicate", "Shuffle"]));
    let sentence = refusal(&folder);
    assert!(sentence.contains("Frobnicate (2 times), RoiAlign, Shuffle"), "{sentence}");
}

#[test]
fn a_softmax_at_the_end_is_refused_even_behind_other_nodes() {
    for operators in [&["Softmax"][..], &["Softmax", "Identity"], &["LogSoftmax", "Flatten", "Identity"]] {
        let (_guard, folder) = with_onnx(&model_of(operators));
        let sentence = refusal(&folder);
        assert!(sentence.contains("it ends in a softmax"), "{operators:?}: {sentence}");
    }
}

#[test]
fn what_is_no_logits_any_more_is_refused_in_other_forms_too() {
    let (_guard, folder) = with_onnx(&model_of(&["Sigmoid"]));
    let sentence = refusal(&folder);
    assert!(sentence.contains("it ends in a sigmoid") && sentence.contains("Export it with the logits"), "{sentence}");
    let nodes = [
        node("GlobalAveragePool", &["input"], "average", &[]),
        node("Flatten", &["average"], "values", &[]),
        node("Exp", &["values"], "powers", &[]),
        node("ReduceSum", &["powers"], "sum", &[integer("keepdims", 1)]),
        node("Div", &["powers", "sum"], "logits", &[]),
    ];
    let (_guard, folder) = with_onnx(&model_of_nodes(&nodes));
    let sentence = refusal(&folder);
    assert!(sentence.contains("it ends in a softmax, written as Exp and Div"), "{sentence}");
}

#[test]
fn labels_may_begin_with_a_byte_order_mark_and_hold_no_control_characters() {
    let (_guard, folder) = edited(|text| text);
    let labels = std::fs::read_to_string(folder.join("labels.txt")).unwrap();
    std::fs::write(folder.join("labels.txt"), format!("\u{feff}{labels}")).unwrap();
    assert_eq!(manifest::read(&folder).unwrap().labels[0], labels.lines().next().unwrap());
    std::fs::write(folder.join("labels.txt"), format!("a\u{1b}[2J\n{labels}")).unwrap();
    let sentence = refusal(&folder);
    assert!(sentence.contains("labels.txt") && sentence.contains("line 1 has a control character"), "{sentence}");
}

#[test]
fn channels_last_and_several_inputs_are_refused_with_the_way_out() {
    let last = [("pictures", &[Some(224), Some(224), Some(3)][..])];
    let (_guard, folder) = with_onnx(&model_with(&last, &[], Some(1000)));
    let sentence = refusal(&folder);
    assert!(sentence.contains("has the channels last") && sentence.contains("--inputs-as-nchw pictures"), "{sentence}");
    let (_guard, folder) = with_onnx(&model_with(&[INPUT, ("mask", &[Some(1)])], &[], Some(1000)));
    let sentence = refusal(&folder);
    assert!(sentence.contains("it has 2 inputs") && sentence.contains("its only input"), "{sentence}");
}

#[test]
fn a_manifest_that_says_too_little_or_too_much_is_refused() {
    for (from, to, part) in [
        ("version = \"1\"", "", "missing field `version`"),
        ("version = \"1\"", "version = \"1\"\ncolour = \"red\"", "unknown field `colour`"),
        ("filter = \"bicubic\"", "filter = \"nearest\"", "unknown variant `nearest`"),
        ("std = [128.0, 128.0, 128.0]", "std = [0.0, 128.0, 128.0]", "'preprocess.std' must be above 0"),
        ("name = \"efficientnet-lite0\"", "name = \"a/b\"", "stands in addresses"),
        ("name = \"efficientnet-lite0\"", "name = \".hidden\"", "'name' stands in addresses: '.hidden' must"),
        ("version = \"1\"", "version = \".1\"", "'version' stands in addresses: '.1' must"),
        ("version = \"1\"", "version = \"stable\"", "'version' stands in addresses: 'stable' must be no label"),
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
        let sentence = refusal(&folder);
        assert!(sentence.contains("model.toml is not a valid manifest") && sentence.contains(part), "{sentence}");
    }
}

#[test]
fn a_folder_without_models_is_refused() {
    let empty = tempfile::tempdir().unwrap();
    let refused = manifest::read_all(empty.path()).unwrap_err();
    assert!(matches!(refused, Refusal::NoModels { .. }) && refused.to_string().contains("docs/models.md"), "{refused}");
}

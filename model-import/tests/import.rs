//! ONNX files that `kiln import` accepts and rejects, and the folders that it writes, read back as the build reads them.
#![forbid(unsafe_code)]

#[path = "../graph/tests/onnx_file/mod.rs"]
mod onnx_file;

use std::path::{Path, PathBuf};

use kiln_graph::{Crop, Graph, Model, read_model, read_models};
use model_import::import::{Draft, ImportError, PRESETS, inspect, write};
use onnx_file::{
    INPUT, integer, integers, model_of, model_of_nodes, model_of_nodes_with, model_with, model_with_external_weights,
    node, ones,
};

fn small(name: &str) -> PathBuf {
    PathBuf::from(format!("tests/models/{name}/{name}.onnx"))
}

fn draft(name: &str, classes: usize) -> Draft {
    Draft {
        name: name.to_string(),
        version: "1".to_string(),
        description: "Cats, \"dogs\"\nand = #others".to_string(),
        source: "C:\\models".to_string(),
        licence: "MIT".to_string(),
        labels: (0..classes).map(|class| format!("class {class}")).collect(),
        logits: None,
        preprocess: PRESETS[0].values(224, 224),
    }
}

/// Reads and checks a folder as the build does.
fn build(folder: &Path) -> Model {
    let model = read_model(folder).unwrap();
    Graph::read_model(&model).unwrap().check_model(&model).unwrap();
    model
}

/// Writes `onnx` to a file and returns the error of its inspection.
fn rejection(onnx: &[u8]) -> ImportError {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("odd.onnx");
    std::fs::write(&path, onnx).unwrap();
    inspect(&path, None).expect_err("this file must be rejected")
}

#[test]
fn imported_folders_are_accepted_by_the_build() {
    let models = tempfile::tempdir().unwrap();
    for (name, classes, unfused) in
        [("small-resnet", 10, false), ("small-mobilenet-v3", 7, false), ("small-unknown", 5, true)]
    {
        let network = inspect(&small(name), None).unwrap();
        assert_eq!((network.classes, network.unfused.is_some()), (classes, unfused), "{name}: {:?}", network.unfused);
        assert!(network.operators.values().sum::<usize>() > 3 && network.opset.is_some(), "{network:?}");
        let folder = models.path().join(name);
        let logits: Vec<f32> = (0..classes).map(|class| class as f32 / 3.0).collect();
        write(&network, &Draft { logits: Some(logits.clone()), ..draft(name, classes) }, &folder, false).unwrap();
        let model = build(&folder);
        assert_eq!((model.manifest.input.width, model.manifest.input.height), (network.width, network.height));
        assert_eq!(model.reference_logits, Some(logits));
        let expected = draft(name, classes);
        assert_eq!((&model.manifest.description, &model.manifest.source), (&expected.description, &expected.source));
        assert_eq!(model.labels, expected.labels);
        assert_eq!(
            (model.manifest.preprocess.mean, model.manifest.preprocess.std),
            (expected.preprocess.mean, expected.preprocess.std)
        );
        assert!(matches!(model.manifest.preprocess.crop, Crop::CentralPadded { padding: 32 }));
        assert_eq!(std::fs::read(model.onnx_path()).unwrap(), std::fs::read(small(name)).unwrap());
    }
    // The build accepts all of them together, and no other file is left.
    assert_eq!(read_models(models.path()).unwrap().len(), 3);
    assert_eq!(std::fs::read_dir(models.path()).unwrap().count(), 3);
}

#[test]
fn unfused_network_names_the_unsupported_node() {
    let unfused = inspect(&small("small-unknown"), None).unwrap().unfused.unwrap();
    assert!(unfused.starts_with("its ") && unfused.len() > 8, "{unfused}");
}

#[test]
fn batch_norm_with_fewer_constants_than_channels_is_not_fused() {
    let normed = |constants: u64| {
        let inputs = ["conv", "scale", "bias", "mean", "variance"];
        let nodes = [
            ones(&[3, 3, 1, 1], "weight"),
            node("Conv", &["input", "weight"], "conv", &[integers("kernel_shape", &[1, 1])]),
            inputs[1..].iter().flat_map(|name| ones(&[constants], name)).collect(),
            node("BatchNormalization", &inputs, "normed", &[]),
            node("GlobalAveragePool", &["normed"], "average", &[]),
            node("Flatten", &["average"], "logits", &[]),
        ];
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("normed.onnx");
        std::fs::write(&path, model_of_nodes(&nodes)).unwrap();
        inspect(&path, None).unwrap().unfused
    };
    assert_eq!(normed(3), None);
    assert!(normed(2).is_some_and(|unfused| unfused.contains("BatchNormalization")));
}

#[test]
fn folder_is_replaced_only_with_replace_and_only_if_it_is_a_model() {
    let models = tempfile::tempdir().unwrap();
    let network = inspect(&small("small-resnet"), None).unwrap();
    let folder = models.path().join("net");
    write(&network, &draft("net", 10), &folder, false).unwrap();
    let newer = Draft { version: "2".to_string(), ..draft("net", 10) };
    let rejected = write(&network, &newer, &folder, false).unwrap_err();
    assert!(matches!(&rejected, ImportError::Exists(path) if *path == folder), "{rejected}");
    assert_eq!(build(&folder).manifest.version, "1");
    write(&network, &newer, &folder, true).unwrap();
    assert_eq!(build(&folder).manifest.version, "2");
    let photos = models.path().join("photos");
    std::fs::create_dir(&photos).unwrap();
    std::fs::write(photos.join("cat.jpg"), "a cat").unwrap();
    let rejected = write(&network, &draft("photos", 10), &photos, true).unwrap_err();
    assert!(matches!(rejected, ImportError::NotAModel(_)), "{rejected}");
    assert!(photos.join("cat.jpg").exists());
    // A folder with a model.toml and other files is not replaced.
    for other in [".git", "notes.md"] {
        let path = folder.join(other);
        if other == ".git" {
            std::fs::create_dir(&path).unwrap()
        } else {
            std::fs::write(&path, "mine").unwrap()
        }
        let rejected = write(&network, &newer, &folder, true).unwrap_err();
        assert!(matches!(&rejected, ImportError::OtherFiles { others, .. } if *others == [other]), "{rejected}");
        assert!(path.exists() && rejected.to_string().contains(other), "{rejected}");
        if other == ".git" { std::fs::remove_dir(&path).unwrap() } else { std::fs::remove_file(&path).unwrap() }
    }
    // Files that the manifest names belong to the model, with any name.
    let manifest = std::fs::read_to_string(folder.join("model.toml")).unwrap().replace("labels.txt", "classes.txt");
    std::fs::write(folder.join("model.toml"), manifest).unwrap();
    std::fs::write(folder.join("classes.txt"), "a\n").unwrap();
    write(&network, &newer, &folder, true).unwrap();
    assert!(!folder.join("classes.txt").exists());
    assert_eq!(std::fs::read_dir(models.path()).unwrap().count(), 2);
}

#[test]
fn rejected_draft_leaves_no_files() {
    let models = tempfile::tempdir().unwrap();
    let network = inspect(&small("small-resnet"), None).unwrap();
    write(&network, &draft("my-net", 10), &models.path().join("my-net"), false).unwrap();
    let no_std = |draft: Draft| {
        let preprocess = model_import::import::Preprocess { std: [0.0; 3], ..draft.preprocess };
        Draft { preprocess, ..draft }
    };
    for (draft, part) in [
        (draft("few", 9), "9 labels were given, but the network has 10 classes"),
        (Draft { logits: Some(vec![0.5; 11]), ..draft("many", 10) }, "11 logits were given"),
        // The build would reject both, because they share a module.
        (draft("my_net", 10), "is too close to that of"),
        (no_std(draft("flat", 10)), "'preprocess.std' must be above 0"),
    ] {
        let rejected = write(&network, &draft, &models.path().join(&draft.name), false).unwrap_err().to_string();
        assert!(rejected.contains(part), "{rejected}");
    }
    assert_eq!(std::fs::read_dir(models.path()).unwrap().count(), 1);
}

#[test]
fn files_that_are_not_classifiers_are_rejected() {
    for (onnx, part) in [
        (model_of(&["Softmax", "Identity"]), "it ends in a softmax, which Kiln applies itself"),
        (model_with(&[("x", &[Some(224), Some(224), Some(3)])], &[], Some(5)), "has the channels last"),
        (model_with(&[INPUT, ("mask", &[Some(1)])], &[], Some(5)), "it has 2 inputs, but a classifier has one"),
        (model_of(&["Frob", "Shuffle", "Frob"]), "cannot import the operator(s) Frob (2 times), Shuffle."),
        (model_with(&[("x", &[Some(1), Some(28), Some(28)])], &[], Some(5)), "axis 1 of its input 'x' is 1"),
        (model_with(&[("x", &[Some(1), Some(28), Some(28)])], &[], Some(5)), "run: kiln serve /"),
        (b"PK\x03\x04archive/data.pkl".to_vec(), "export the model (torch.onnx.export)"),
        (model_with(&[("x", &[Some(3), None, None])], &[], Some(5)), "--size 224x224"),
        (model_with_external_weights("weights.bin", false), "are in another file, 'weights.bin'"),
        (model_with_external_weights("weights.bin", true), "are in another file, 'weights.bin'"),
        (model_with(&[INPUT], &["Tanh"], Some(1 << 50)), "1125899906842624 classes, but the nodes before it give 3"),
        (model_with(&[INPUT], &[], Some(5)), "declares 5 classes, but the nodes before it give 3"),
        (model_of(&["Identity"; 10_001]), "it has 10003 operators, but no more than 10000"),
        (b"not a model at all".to_vec(), "this is not an ONNX file"),
        (Vec::new(), "this is not an ONNX file"),
    ] {
        let message = rejection(&onnx).to_string();
        assert!(message.contains(part), "{message}");
    }
    let message = inspect(Path::new("/dev/zero"), None).unwrap_err().to_string();
    assert!(message.contains("not a regular file"), "{message}");
    let message = inspect(Path::new("/no/such.onnx"), None).unwrap_err().to_string();
    assert!(message.contains("cannot read /no/such.onnx"), "{message}");
}

#[test]
fn networks_whose_code_does_not_compile_are_rejected_with_the_way_at_start() {
    let quantised = model_of_nodes(&[
        ones(&[], "scale"),
        node("QuantizeLinear", &["input", "scale"], "integers", &[]),
        node("DequantizeLinear", &["integers", "scale"], "values", &[]),
        node("GlobalAveragePool", &["values"], "average", &[]),
        node("Flatten", &["average"], "logits", &[]),
    ]);
    let message = rejection(&quantised).to_string();
    assert!(message.contains("no code that compiles for quantised values"), "{message}");
    assert!(message.contains("run: kiln serve ") && message.contains("without a build"), "{message}");
}

#[test]
fn network_that_nothing_reads_is_not_said_to_run_at_start() {
    let message = rejection(&model_of(&["Frob"])).to_string();
    for part in ["burn-onnx refuses it: burn-onnx cannot import", "cannot serve it either: Kiln does not know", "Frob"]
    {
        assert!(message.contains(part), "{message}");
    }
    assert!(!message.contains("model-import/models") && !message.contains("supports more operators"), "{message}");
}

#[test]
fn suggested_command_has_the_size_with_which_the_file_was_read() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("grey.onnx");
    std::fs::write(&path, model_with(&[("x", &[Some(1), None, None])], &[], Some(1))).unwrap();
    let message = inspect(&path, Some([160, 96])).unwrap_err().to_string();
    assert!(message.ends_with("grey.onnx --input-size 160x96"), "{message}");
}

#[test]
fn implausible_attributes_are_rejected_by_name() {
    let pooled = |attribute: Vec<u8>| {
        let pool = node("MaxPool", &["input"], "pooled", &[integers("kernel_shape", &[2, 2]), attribute]);
        let average = node("GlobalAveragePool", &["pooled"], "average", &[]);
        model_of_nodes(&[pool, average, node("Flatten", &["average"], "logits", &[])])
    };
    for (attribute, part) in [
        (integers("strides", &[-1, -1]), "has -1 in 'strides'"),
        (integers("strides", &[0, 1]), "has 0 in 'strides'"),
        (integers("pads", &[0, 0, i64::MAX, 0]), "has 9223372036854775807 in 'pads'"),
        (integers("dilations", &[1, 0]), "has 0 in 'dilations'"),
        (integer("group", 0), "has 0 in 'group'"),
    ] {
        let message = rejection(&pooled(attribute)).to_string();
        assert!(message.contains(part) && message.contains("MaxPool"), "{message}");
    }
}

#[test]
fn more_than_a_million_classes_are_rejected() {
    // Only the file's declaration determines the number of classes.
    let onnx = |classes| {
        let nodes = [node("Flatten", &["x"], "flat", &[]), node("Tanh", &["flat"], "logits", &[])];
        model_of_nodes_with(("x", &[Some(3), None, None]), &nodes, classes)
    };
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("many.onnx");
    std::fs::write(&path, onnx(1 << 50)).unwrap();
    let rejected = inspect(&path, Some([8, 8])).unwrap_err();
    assert!(matches!(rejected, ImportError::ManyClasses { .. }), "{rejected}");
    std::fs::write(&path, onnx(192)).unwrap();
    assert_eq!(inspect(&path, Some([8, 8])).unwrap().classes, 192);
}

#[test]
fn channels_last_are_detected_with_dynamic_axes() {
    let turned = |perm: &[i64]| {
        let nodes = [
            node("Transpose", &["x"], "turned", &[integers("perm", perm)]),
            node("GlobalAveragePool", &["turned"], "average", &[]),
            node("Flatten", &["average"], "logits", &[]),
        ];
        model_of_nodes_with(("x", &[None, None, None]), &nodes, 3)
    };
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("open.onnx");
    std::fs::write(&path, turned(&[0, 3, 1, 2])).unwrap();
    let message = inspect(&path, Some([32, 32])).unwrap_err().to_string();
    assert!(message.contains("has the channels last"), "{message}");
    std::fs::write(&path, turned(&[0, 1, 3, 2])).unwrap();
    let another = inspect(&path, Some([32, 32])).map_err(|e| e.to_string());
    assert!(!another.is_err_and(|message| message.contains("channels last")));
}

#[test]
fn size_applies_only_to_dynamic_axes() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("open.onnx");
    std::fs::write(&path, model_with(&[("x", &[Some(3), None, None])], &[], Some(3))).unwrap();
    let network = inspect(&path, Some([160, 96])).unwrap();
    assert_eq!((network.width, network.height, network.classes), (160, 96, 3));
    let rejected = inspect(&small("small-resnet"), Some([1, 1])).unwrap_err();
    assert!(matches!(rejected, ImportError::OtherSize { .. }), "{rejected}");
}

#[test]
fn damaged_files_are_rejected_without_a_crash() {
    let whole = std::fs::read(small("small-mobilenet-v3")).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("damaged.onnx");
    let mut rejected = 0;
    for part in 0..48 {
        std::fs::write(&path, &whole[..whole.len() * part / 48]).unwrap();
        inspect(&path, None).expect_err("a truncated file is not a network");
    }
    // A generator that is the same on every platform (Knuth's MMIX).
    let mut state = 1_u64;
    let mut next = |below: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % below
    };
    for _ in 0..150 {
        let mut damaged = whole.clone();
        for _ in 0..1 + next(4) {
            // Most of a file is weights, where any value is valid; the structure is at the beginning and at the end.
            let at = next(4096.min(whole.len()));
            let at = if next(2) == 0 { at } else { whole.len() - 1 - at };
            damaged[at] = next(256) as u8;
        }
        std::fs::write(&path, &damaged).unwrap();
        rejected += usize::from(inspect(&path, None).is_err());
    }
    assert!(rejected > 10, "the damage did nothing");
}

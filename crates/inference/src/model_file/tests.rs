//! Models with real files beside a network that does not run.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use burn::tensor::Device;
use model_import::import::Preset;
use model_import::{Crop, Filter, Network};

use super::location::Location;
use super::{ModelFile, ModelFileError, describe, test_input};
use crate::model::Task;
use crate::model::onnx_model::{InputInfo, LoadFileError, OnnxSource, OutputInfo, OutputKind, Takes};

#[derive(Debug)]
struct FakeSource {
    input: InputInfo,
    output: OutputInfo,
    metadata: BTreeMap<String, String>,
}

impl OnnxSource for FakeSource {
    fn input(&self) -> &InputInfo {
        &self.input
    }

    fn output(&self) -> &OutputInfo {
        &self.output
    }

    fn metadata(&self) -> &BTreeMap<String, String> {
        &self.metadata
    }

    fn sha256(&self) -> &str {
        "ab"
    }

    fn notes(&self) -> &[String] {
        &[]
    }

    fn load(&self, _device: &Device) -> Result<Box<dyn Network>, LoadFileError> {
        unreachable!("these tests load no network")
    }
}

/// A folder with `net.onnx` and other files, and the network that the ONNX file holds.
struct Fixture {
    folder: tempfile::TempDir,
    source: FakeSource,
}

impl Fixture {
    fn new(width: usize, kind: OutputKind) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("net.onnx"), "").unwrap();
        let output = OutputInfo { name: "logits".to_string(), width, kind, removed: None };
        Self { folder, source: FakeSource { input: test_input(224), output, metadata: BTreeMap::new() } }
    }

    fn with(self, file: &str, text: &str) -> Self {
        std::fs::write(self.folder.path().join(file), text).unwrap();
        self
    }

    fn with_metadata(mut self, key: &str, text: &str) -> Self {
        self.source.metadata.insert(key.to_string(), text.to_string());
        self
    }

    fn taking(mut self, takes: Takes) -> Self {
        self.source.input.takes = takes;
        self
    }

    fn opened(self, preset: Option<&str>) -> Result<ModelFile, ModelFileError> {
        let preset = preset.map(|name| name.parse::<&'static Preset>().unwrap());
        describe(&Location::find(self.folder.path())?, Arc::new(self.source), preset)
    }

    fn labels(self) -> Vec<String> {
        let found = self.opened(None).unwrap();
        found.model.spec().labels.iter().map(ToString::to_string).collect()
    }

    fn error(self) -> String {
        self.opened(None).unwrap_err().to_string()
    }
}

fn two() -> Fixture {
    Fixture::new(2, OutputKind::Logits)
}

#[test]
fn class_names_come_from_the_first_source_that_has_them() {
    assert_eq!(two().labels(), ["class_0", "class_1"]);
    let config = || two().with("config.json", r#"{"id2label": {"1": "d", "0": "c"}}"#);
    assert_eq!(config().labels(), ["c", "d"]);
    let metadata = || config().with_metadata("names", "{0: 'e', 1: 'f'}");
    assert_eq!(metadata().labels(), ["e", "f"]);
    let beside = || metadata().with("classes.txt", "g\nh\n");
    assert_eq!(beside().labels(), ["g", "h"]);
    let own = || beside().with("net.labels.txt", "i\nj");
    assert_eq!(own().labels(), ["i", "j"]);
    let manifest = own().with("model.toml", "labels = \"own.txt\"").with("own.txt", "\u{feff}k\nl");
    assert_eq!(manifest.labels(), ["k", "l"]);
    let imagenet = Fixture::new(1000, OutputKind::Logits).labels();
    assert!(imagenet[0].contains("tench"), "{}", imagenet[0]);
}

#[test]
fn wrong_number_of_names_is_an_error_in_a_file_and_a_warning_in_metadata() {
    let error = two().with("labels.txt", "a\nb\nc").error();
    assert!(error.contains("has 3 class names, but the output 'logits' has 2 classes"), "{error}");
    let found = two().with_metadata("classes", "a,b,c").opened(None).unwrap();
    assert!(found.warnings[0].contains("'classes'") && found.labels_origin.contains("numbers"), "{found:?}");
    let missing = two().with("model.toml", "labels = \"no.txt\"").error();
    assert!(missing.contains("no.txt") && missing.contains("does not exist"), "{missing}");
    let damaged = two().with("config.json", "{").error();
    assert!(damaged.contains("config.json: it is not valid JSON"), "{damaged}");
    let huge = " ".repeat((1 << 20) + 1);
    assert!(two().with("config.json", &huge).error().contains("more than 1048576 bytes"));
}

#[test]
fn preprocessing_comes_from_the_first_source_that_has_it() {
    let of = |fixture: Fixture, preset| {
        let found = fixture.opened(preset).unwrap();
        (found.model.spec().filter, found.model.spec().crop, found.warnings)
    };
    let (filter, crop, warnings) = of(two(), None);
    assert_eq!((filter, crop), (Filter::Bilinear, Crop::CentralPadded { padding: 32 }));
    assert!(warnings[0].contains("net.onnx; ImageNet's mean") && warnings[0].contains("--preset"), "{warnings:?}");
    let timm =
        || two().with("config.json", r#"{"mean": [0.5], "std": [0.5], "crop_pct": 1, "interpolation": "bicubic"}"#);
    assert_eq!(of(timm(), None), (Filter::Bicubic, Crop::CentralPadded { padding: 0 }, Vec::new()));
    let hugging_face =
        || timm().with("preprocessor_config.json", r#"{"size": 224, "resample": 1, "do_normalize": false}"#);
    assert_eq!(of(hugging_face(), None), (Filter::Lanczos, Crop::None, Vec::new()));
    assert_eq!(of(hugging_face(), Some("vit")).1, Crop::CentralPadded { padding: 24 });
    let values = "filter = \"lanczos\"\ncrop = { central-padded = 7 }\nmean = [1, 2, 3]\nstd = [4, 5, 6]";
    let manifest = hugging_face().with("model.toml", &format!("[preprocess]\n{values}"));
    assert_eq!(of(manifest, Some("vit")), (Filter::Lanczos, Crop::CentralPadded { padding: 7 }, Vec::new()));
    let invalid = two().with("preprocessor_config.json", r#"{"image_mean": [0], "image_std": [0]}"#).error();
    assert!(invalid.contains("preprocessor_config.json: each standard deviation"), "{invalid}");
}

#[test]
fn network_that_normalises_its_input_gets_pixels() {
    let scale = |takes| {
        let found = two().with("preprocessor_config.json", r#"{"image_mean": [0.5], "image_std": [0.5]}"#);
        let found = found.taking(takes).opened(None).unwrap();
        (found.model.spec().mean[0], found.model.spec().std[0])
    };
    assert_eq!(scale(Takes::Normalised), (127.5, 127.5));
    assert_eq!(scale(Takes::Pixels), (0.0, 1.0));
    assert_eq!(scale(Takes::UnitRange), (0.0, 255.0));
}

#[test]
fn output_decides_task_and_number_of_classes() {
    let binary = Fixture::new(1, OutputKind::Binary).opened(None).unwrap();
    let spec = binary.model.spec();
    assert_eq!((spec.task, spec.outputs, &*spec.labels[1]), (Task::SingleLabel, 2, "positive"));
    let named = Fixture::new(1, OutputKind::Binary).with("labels.txt", "cat\ndog").opened(None).unwrap();
    assert_eq!(&*named.model.spec().labels[1], "dog");
    let embedding = Fixture::new(768, OutputKind::Embedding).opened(None).unwrap();
    let spec = embedding.model.spec();
    assert_eq!((spec.task, spec.outputs, spec.labels.len()), (Task::Embedding, 768, 0));
    let many = Fixture::new(1000, OutputKind::MultiLabel).opened(None).unwrap();
    assert_eq!((many.model.spec().task, &*many.model.spec().labels[0]), (Task::MultiLabel, "class_0"));
}

#[test]
fn manifest_describes_the_model_and_its_digest_is_verified() {
    let text =
        "name = \"pets\"\nversion = \"7\"\nsha256 = \"AB\"\nreference_logits = \"logits.txt\"\nlicence = \"MIT\"";
    let found = two().with("model.toml", text).with("logits.txt", "0.5\n-1e3\n").opened(None).unwrap();
    let spec = found.model.spec();
    assert_eq!((spec.name.as_str(), found.model.version(), spec.licence.as_str()), ("pets", "7", "MIT"));
    assert_eq!(found.model.reference_logits(), Some(&[0.5, -1000.0][..]));
    assert!(found.model.digest() == "sha256:ab" && !found.model.is_built_in());
    let other = two().with("model.toml", "sha256 = \"cd\"").error();
    assert!(other.contains("has the SHA-256 ab, but its model.toml says cd"), "{other}");
    let logits = two().with("model.toml", "reference_logits = \"x\"").with("x", "1\nnan\n").error();
    assert!(logits.contains("2 finite logits"), "{logits}");
}

#[test]
fn implausible_image_size_is_refused() {
    for side in [0, 8193] {
        let mut fixture = two();
        fixture.source.input.width = side;
        assert!(fixture.error().contains("each side must be from 1 to 8192"));
    }
    assert!(Location::find(Path::new("/no/such/model.onnx")).is_err());
}

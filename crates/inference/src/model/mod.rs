//! A model without its tensors: description, class labels, weights, version and digest; and the labels of versions.

pub mod onnx_model;
mod spec;

use std::sync::{Arc, LazyLock};

use model_import::BuiltIn;

pub use model_import::Weights;
use onnx_model::OnnxSource;
pub use spec::{ModelSpec, Task};

/// A model: its description, and where its network comes from. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Model {
    spec: Arc<ModelSpec>,
    source: Source,
}

/// Where a network comes from.
#[derive(Clone, Debug)]
enum Source {
    /// The graph is built in, with the built-in weights or with other weights.
    BuiltIn {
        built_in: &'static BuiltIn,
        /// The version that replaces the built-in one, if any.
        other: Option<Arc<OtherVersion>>,
    },
    /// Graph and weights were read from an ONNX file.
    File(Arc<dyn OnnxSource>),
}

/// Where the network of a model is loaded from.
#[derive(Clone, Debug)]
pub enum NetworkSource {
    /// The built-in graph, with these weights.
    BuiltIn(&'static BuiltIn, Weights),
    /// An ONNX file.
    File(Arc<dyn OnnxSource>),
}

#[derive(Debug)]
struct OtherVersion {
    version: String,
    weights: Weights,
    /// The digest of graph and weights together, in hex.
    sha256: String,
    reference_logits: Option<Box<[f32]>>,
}

/// The built-in models, whose descriptions are copied once.
static BUILT_IN: LazyLock<Vec<Model>> = LazyLock::new(|| {
    let source = |built_in: &'static BuiltIn| Source::BuiltIn { built_in, other: None };
    let model =
        |built_in: &'static BuiltIn| Model { spec: Arc::new(ModelSpec::from(built_in.spec)), source: source(built_in) };
    model_import::MODELS.iter().map(model).collect()
});

impl Model {
    /// Iterates over every built-in model with its built-in weights, in the order of names; never empty.
    pub fn all() -> impl Iterator<Item = Self> {
        BUILT_IN.iter().cloned()
    }

    /// Returns the names of the built-in models, in order.
    pub fn built_in_names() -> Vec<&'static str> {
        BUILT_IN.iter().map(Self::name).collect()
    }

    /// Creates a model that is not built in, for tests that need several models.
    #[doc(hidden)]
    pub fn for_test(name: &str, version: &str) -> Self {
        Self::described_for_test(|spec| (spec.name, spec.version) = (name.to_string(), version.to_string()))
    }

    /// Creates a model with a changed description, for tests that do not run its network.
    #[doc(hidden)]
    pub fn described_for_test(change: impl FnOnce(&mut ModelSpec)) -> Self {
        let first = &BUILT_IN[0];
        let mut spec = (*first.spec).clone();
        change(&mut spec);
        Self { spec: Arc::new(spec), ..first.clone() }
    }

    /// Returns the built-in model of that name, with its built-in weights.
    pub fn named(name: &str) -> Option<Self> {
        Self::all().find(|model| model.name() == name)
    }

    /// Creates a model whose network is read from an ONNX file.
    pub fn from_file(spec: ModelSpec, file: Arc<dyn OnnxSource>) -> Self {
        Self { spec: Arc::new(spec), source: Source::File(file) }
    }

    /// Returns the same graph with other weights, as version `version`. Weights that do not fit fail when they are loaded.
    /// Computing the digest takes tens of milliseconds.
    ///
    /// # Panics
    ///
    /// Panics if the model is not built in.
    pub fn with_weights(&self, version: &str, weights: Weights) -> Self {
        self.with_weights_and_reference(version, weights, None)
    }

    /// Like [`Model::with_weights`], with reference logits, if they are known: the correct logits of the synthetic image,
    /// one per class in index order. The self-test of an engine compares with them.
    ///
    /// # Panics
    ///
    /// Panics if the model is not built in.
    pub fn with_weights_and_reference(
        &self,
        version: &str,
        weights: Weights,
        reference_logits: Option<Box<[f32]>>,
    ) -> Self {
        let built_in = self.built_in().expect("only a built-in model has other weights");
        let sha256 = built_in.sha256_with(&weights);
        let other = OtherVersion { version: version.to_string(), weights, sha256, reference_logits };
        Self { spec: Arc::clone(&self.spec), source: Source::BuiltIn { built_in, other: Some(Arc::new(other)) } }
    }

    /// Returns the description. Its version is that of the original weights.
    pub fn spec(&self) -> &ModelSpec {
        &self.spec
    }

    /// Returns the name of the model in requests.
    pub fn name(&self) -> &str {
        &self.spec.name
    }

    /// Returns the version of the original weights, whatever weights this model has.
    pub fn original_version(&self) -> &str {
        &self.spec.version
    }

    /// Returns the version of these weights.
    pub fn version(&self) -> &str {
        self.other().map_or(self.original_version(), |other| &other.version)
    }

    /// Returns whether the graph is built in. Otherwise the model was read from a file.
    pub fn is_built_in(&self) -> bool {
        self.built_in().is_some()
    }

    /// Returns the entry of a built-in model.
    pub fn built_in(&self) -> Option<&'static BuiltIn> {
        match &self.source {
            Source::BuiltIn { built_in, .. } => Some(*built_in),
            Source::File(_) => None,
        }
    }

    /// Returns where the network is loaded from.
    pub fn network(&self) -> NetworkSource {
        match &self.source {
            Source::BuiltIn { built_in, other: Some(other) } => NetworkSource::BuiltIn(built_in, other.weights.clone()),
            Source::BuiltIn { built_in, other: None } => NetworkSource::BuiltIn(built_in, built_in.embedded()),
            Source::File(file) => NetworkSource::File(Arc::clone(file)),
        }
    }

    /// Returns the weights of a built-in model, its own or others. The weights of an ONNX file are part of the file.
    pub fn weights(&self) -> Option<Weights> {
        match self.network() {
            NetworkSource::BuiltIn(_, weights) => Some(weights),
            NetworkSource::File(_) => None,
        }
    }

    /// Returns the reference logits, if they are known: the correct logits of the synthetic image, f32, one per class in
    /// index order.
    pub fn reference_logits(&self) -> Option<&[f32]> {
        match self.other() {
            Some(other) => other.reference_logits.as_deref(),
            None => self.spec.reference_logits.as_deref(),
        }
    }

    /// Returns `sha256:<hex>`, which identifies graph and weights: the digest of the ONNX file, or, with other weights, the
    /// digest of the ONNX file's digest and the weights' digest.
    pub fn digest(&self) -> String {
        format!("sha256:{}", self.other().map_or(&self.spec.sha256, |other| &other.sha256))
    }

    /// Returns `sha256:<hex>` of the weights alone, or of the ONNX file that holds them. Takes tens of milliseconds for the
    /// built-in weights.
    pub fn weights_digest(&self) -> String {
        self.weights().map_or_else(|| self.digest(), |weights| format!("sha256:{}", weights.sha256()))
    }

    /// Returns the version that replaces the built-in one, if any.
    fn other(&self) -> Option<&OtherVersion> {
        match &self.source {
            Source::BuiltIn { other, .. } => other.as_deref(),
            Source::File(_) => None,
        }
    }

    /// Returns the name of a class. Every class has a name: their number is checked when the model is built or read.
    pub fn label(&self, class_id: usize) -> Arc<str> {
        self.spec.labels.get(class_id).cloned().unwrap_or_default()
    }
}

/// The role of a version of a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum VersionLabel {
    /// Serves the requests that name no version.
    Stable,
    /// Serves a share of the requests that name no version.
    Canary,
    /// Runs on the images that the stable version serves. Its results are only compared.
    Shadow,
}

impl VersionLabel {
    /// All labels.
    pub const ALL: [Self; 3] = [Self::Stable, Self::Canary, Self::Shadow];

    /// Returns the label as it is written in requests and files.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Stable => "stable",
            Self::Canary => "canary",
            Self::Shadow => "shadow",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_weights_make_another_version_of_the_same_graph() {
        let model = Model::all().next().unwrap();
        let other = model.with_weights("2", Weights::new(vec![1, 2, 3]));
        assert_eq!((other.version(), model.version()), ("2", model.original_version()));
        assert_eq!(other.spec().sha256, model.spec().sha256);
        let another = model.with_weights("2", Weights::new(vec![1, 2, 4]));
        let digests = [model.digest(), other.digest(), another.digest()];
        assert!(digests.iter().all(|digest| digest.len() == 71 && digest.starts_with("sha256:")), "{digests:?}");
        assert!(digests[0] != digests[1] && digests[1] != digests[2] && digests[0] != digests[2], "{digests:?}");
        assert_eq!(other.weights_digest(), "sha256:039058c6f2c0cb492c533b0a4d14ef77cc0f78abccced5287d84a1a2011cfb81");
        assert_ne!(model.weights_digest(), model.digest());
        // The reference logits of the built-in weights are wrong for other weights.
        assert!(other.reference_logits().is_none());
        let known = model.with_weights_and_reference("2", Weights::new(vec![1, 2, 3]), Some(Box::new([1.0])));
        assert_eq!((known.reference_logits(), known.digest()), (Some(&[1.0][..]), other.digest()));
    }
}

//! What the rest of the server may know of a model: its description, labels, version and digest. No tensors.

mod label;

use std::sync::Arc;

use model_import::{BuiltIn, ModelSpec};

pub use label::Label;
pub use model_import::Weights;

/// A model whose graph was built in, with its own weights or with others, as the other rooms see it. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Model {
    built_in: &'static BuiltIn,
    /// Another version than the one that was built in.
    other: Option<Arc<Other>>,
}

#[derive(Debug)]
struct Other {
    version: String,
    weights: Weights,
    /// Of graph and weights together.
    sha256: String,
    golden: Option<Box<[f32]>>,
}

impl Model {
    /// Every model of this program with its own weights, in the order of their names; never empty.
    pub fn all() -> impl Iterator<Item = Self> {
        model_import::MODELS.iter().map(|built_in| Self { built_in, other: None })
    }

    /// A model that the build knows nothing of, for tests that need several.
    #[doc(hidden)]
    pub fn made_up(name: &'static str, version: &'static str) -> Self {
        let first = &model_import::MODELS[0];
        let spec = Box::leak(Box::new(ModelSpec { name, version, ..*first.spec }));
        Self { built_in: Box::leak(Box::new(BuiltIn { spec, ..*first })), other: None }
    }

    /// The model of that name, with its own weights.
    pub fn named(name: &str) -> Option<Self> {
        Self::all().find(|model| model.spec().name == name)
    }

    /// The same graph with other weights, by another version's name. Whether they fit shows when they are loaded. Takes tens
    /// of milliseconds, for the digest.
    pub fn with_weights(&self, version: &str, weights: Weights) -> Self {
        self.with_weights_and_golden(version, weights, None)
    }

    /// [`Model::with_weights`], and their right logits of the synthetic picture where those are known, which an engine is held
    /// to: one a class in index order.
    pub fn with_weights_and_golden(&self, version: &str, weights: Weights, golden: Option<Box<[f32]>>) -> Self {
        let sha256 = self.built_in.sha256_with(&weights);
        let other = Other { version: version.to_string(), weights, sha256, golden };
        Self { built_in: self.built_in, other: Some(Arc::new(other)) }
    }

    /// What the manifest says. Its version is that of the model's own weights.
    pub fn spec(&self) -> &'static ModelSpec {
        self.built_in.spec
    }

    /// The version of these weights.
    pub fn version(&self) -> &str {
        self.other.as_ref().map_or(self.spec().version, |other| &other.version)
    }

    /// The entry from which inference loads the network.
    pub fn built_in(&self) -> &'static BuiltIn {
        self.built_in
    }

    /// What the network is loaded with.
    pub fn weights(&self) -> Weights {
        self.other.as_ref().map_or_else(|| self.built_in.embedded(), |other| other.weights.clone())
    }

    /// The right logits of the synthetic picture, where they are known: f32, one a class in index order.
    pub fn golden(&self) -> Option<&[f32]> {
        match &self.other {
            Some(other) => other.golden.as_deref(),
            None => self.spec().reference_logits,
        }
    }

    /// `sha256:<hex>`, by which graph and weights are told from all others: of the ONNX file that both were made from, or of
    /// that file's digest and that of the weights where they are others.
    pub fn digest(&self) -> String {
        format!("sha256:{}", self.other.as_ref().map_or(self.spec().sha256, |other| &other.sha256))
    }

    /// `sha256:<hex>` of the weights alone. Takes tens of milliseconds for those that were built in.
    pub fn weights_digest(&self) -> String {
        format!("sha256:{}", self.weights().sha256())
    }

    /// The name of a class. Classes beyond the labels do not occur: the build checks their number.
    pub fn label(&self, class_id: usize) -> &'static str {
        self.spec().labels.get(class_id).copied().unwrap_or("")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_weights_are_another_version_of_the_same_graph() {
        let model = Model::all().next().unwrap();
        let other = model.with_weights("2", Weights::new(vec![1, 2, 3]));
        assert_eq!((other.version(), model.version()), ("2", model.spec().version));
        assert_eq!(other.spec().sha256, model.spec().sha256);
        let another = model.with_weights("2", Weights::new(vec![1, 2, 4]));
        let digests = [model.digest(), other.digest(), another.digest()];
        assert!(digests.iter().all(|digest| digest.len() == 71 && digest.starts_with("sha256:")), "{digests:?}");
        assert!(digests[0] != digests[1] && digests[1] != digests[2] && digests[0] != digests[2], "{digests:?}");
        assert_eq!(other.weights_digest(), "sha256:039058c6f2c0cb492c533b0a4d14ef77cc0f78abccced5287d84a1a2011cfb81");
        assert_ne!(model.weights_digest(), model.digest());
        // The logits of the model's own weights are wrong for others.
        assert!(other.golden().is_none());
        let known = model.with_weights_and_golden("2", Weights::new(vec![1, 2, 3]), Some(Box::new([1.0])));
        assert_eq!((known.golden(), known.digest()), (Some(&[1.0][..]), other.digest()));
    }
}

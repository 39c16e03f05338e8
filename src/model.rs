//! What the rest of the server may know of a model: its description, labels and digest. No tensors, no weights.

use model_import::{BuiltIn, ModelSpec};

/// A model that was built in, as the other rooms see it.
#[derive(Clone, Copy, Debug)]
pub struct Model {
    built_in: &'static BuiltIn,
}

impl Model {
    /// Every model of this program, in the order of their names; never empty.
    pub fn all() -> impl Iterator<Item = Self> {
        model_import::MODELS.iter().map(|built_in| Self { built_in })
    }

    /// A model that the build knows nothing of, for tests that need several.
    #[cfg(test)]
    pub(crate) fn made_up(name: &'static str, version: &'static str) -> Self {
        let first = &model_import::MODELS[0];
        let spec = Box::leak(Box::new(ModelSpec { name, version, ..*first.spec }));
        Self { built_in: Box::leak(Box::new(BuiltIn { spec, ..*first })) }
    }

    /// The model of that name.
    pub fn named(name: &str) -> Option<Self> {
        Self::all().find(|model| model.spec().name == name)
    }

    /// What the manifest says.
    pub fn spec(&self) -> &'static ModelSpec {
        self.built_in.spec
    }

    /// The entry from which inference loads the network.
    pub fn built_in(&self) -> &'static BuiltIn {
        self.built_in
    }

    /// `sha256:<hex>` of the ONNX file that the model was made from.
    pub fn digest(&self) -> String {
        format!("sha256:{}", self.spec().sha256)
    }

    /// The name of a class. Classes beyond the labels do not occur: the build checks their number.
    pub fn label(&self, class_id: usize) -> &'static str {
        self.spec().labels.get(class_id).copied().unwrap_or("")
    }
}

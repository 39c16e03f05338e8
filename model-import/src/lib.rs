//! The models of Kiln as Burn code: classifiers that the build script generated from ONNX files, with their weights embedded.
//!
//! [`MODELS`] lists them. [`BuiltIn::load`] puts a network on a device, and [`BuiltIn::load_with`] does so with other
//! [`Weights`]. To add a model, add a folder under `models/` with a `model.toml`, an `.onnx` file and a labels file;
//! [`import`] writes such folders. `kiln-graph` reads ONNX; no other crate of Kiln does.
#![forbid(unsafe_code)]

mod head;
pub mod import;
mod network;
mod weights;

use burn::tensor::Device;

pub use head::{Head, HeadError};
pub use kiln_graph::{Crop, Filter};
pub use kiln_kernels::Layout;
#[doc(hidden)]
pub use network::fill;
pub use network::{LoadError, Network, panic_message};
pub use weights::{Weights, WeightsMismatch};

/// The description of a model: the content of its manifest, fixed when the program was built.
#[derive(Clone, Copy, Debug)]
pub struct ModelSpec {
    /// Name of the model in requests.
    pub name: &'static str,
    /// Version of the model in requests.
    pub version: &'static str,
    /// One sentence for users.
    pub description: &'static str,
    /// Origin of the weights.
    pub source: &'static str,
    /// SPDX name of the weights' licence.
    pub licence: &'static str,
    /// SHA-256 of the ONNX file, in lower-case hex.
    pub sha256: &'static str,
    /// Width of the network's input, in pixels.
    pub width: u32,
    /// Height of the network's input, in pixels.
    pub height: u32,
    /// Filter of the resize to that size.
    pub filter: Filter,
    /// Region of the photo that is resized.
    pub crop: Crop,
    /// Mean of red, green and blue, in units of 0..=255.
    pub mean: [f32; 3],
    /// Standard deviation of red, green and blue, in units of 0..=255.
    pub std: [f32; 3],
    /// Class names in index order, one for each output of the network.
    pub labels: &'static [&'static str],
    /// Logits of the synthetic image as another runtime computes them, one for each label, if the manifest names them.
    pub reference_logits: Option<&'static [f32]>,
}

/// A model that is embedded in the program.
#[derive(Clone, Copy)]
pub struct BuiltIn {
    /// The content of its manifest.
    pub spec: &'static ModelSpec,
    #[doc(hidden)]
    pub weights: &'static [u8],
    #[doc(hidden)]
    pub load: Load,
}

/// Puts a generated network on a device. The first weights are the embedded ones, which determine the expected tensors; the
/// second ones are loaded.
#[doc(hidden)]
pub type Load = fn(&Device, &Weights, &Weights) -> Result<Box<dyn Network>, WeightsMismatch>;

impl BuiltIn {
    /// The weights that the program was built with.
    pub fn embedded(&self) -> Weights {
        Weights::embedded(self.weights)
    }

    /// The maximum size of a weights file for this model, in bytes.
    pub fn max_weight_bytes(&self) -> usize {
        weights::max_bytes(&self.embedded())
    }

    /// Puts the network with its embedded weights on `device`.
    ///
    /// # Errors
    ///
    /// The embedded weights do not fit the generated network.
    pub fn load(&self, device: &Device) -> Result<Box<dyn Network>, LoadError> {
        self.load_with(device, &self.embedded())
    }

    /// Puts the network with other weights on `device`. Whatever the file holds, this does not panic and uses no more memory
    /// than the embedded weights do.
    ///
    /// # Errors
    ///
    /// [`LoadError::Mismatch`] for weights from a file, [`LoadError::Embedded`] for the embedded ones.
    pub fn load_with(&self, device: &Device, weights: &Weights) -> Result<Box<dyn Network>, LoadError> {
        let model = self.spec.name;
        (self.load)(device, &self.embedded(), weights).map_err(|reason| match weights.is_embedded() {
            true => LoadError::Embedded { model, reason },
            false => LoadError::Mismatch { model, reason },
        })
    }

    /// Identifies this network with other weights: SHA-256 over the digests of the ONNX file and of the weights, in lower-case
    /// hex.
    pub fn sha256_with(&self, weights: &Weights) -> String {
        kiln_graph::sha256_hex(format!("{}{}", self.spec.sha256, weights.sha256()).as_bytes())
    }
}

/// Leaves out the weights, which are millions of numbers.
impl std::fmt::Debug for BuiltIn {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BuiltIn").field("spec", self.spec).finish_non_exhaustive()
    }
}

mod models {
    use super::{BuiltIn, Crop, Filter, Layout, ModelSpec, built_in};
    include!(concat!(env!("OUT_DIR"), "/models.rs"));
}
pub use models::*;

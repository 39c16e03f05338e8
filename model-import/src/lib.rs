//! The only place that sees ONNX: classifiers that `build.rs` turned into Burn code, with their weights embedded.
//!
//! [`MODELS`] lists them; [`BuiltIn::load`] puts one on a device, [`BuiltIn::load_with`] the same network with other
//! [`Weights`]. A model is added by a folder under `models/` with a `model.toml`, an `.onnx` file and a labels file; nothing
//! here needs to change.
#![forbid(unsafe_code)]

mod head;
pub mod import;
mod misfit;
mod network;
mod spec;
mod weights;

use burn::tensor::Device;

pub use head::{Head, HeadError};
pub use kiln_kernels::Layout;
pub use misfit::Misfit;
#[doc(hidden)]
pub use network::fill;
pub use network::{LoadError, Network};
pub use spec::{Crop, Filter, ModelSpec};
pub use weights::Weights;

/// A model that is part of the program.
#[derive(Clone, Copy)]
pub struct BuiltIn {
    /// What its manifest says.
    pub spec: &'static ModelSpec,
    #[doc(hidden)]
    pub weights: &'static [u8],
    #[doc(hidden)]
    pub load: Load,
}

/// A generated network on a device: the embedded weights tell which ones fit, and the last ones are loaded.
#[doc(hidden)]
pub type Load = fn(&Device, &Weights, &Weights) -> Result<Box<dyn Network>, Misfit>;

impl BuiltIn {
    /// The weights that the program was built with.
    pub fn embedded(&self) -> Weights {
        Weights::embedded(self.weights)
    }

    /// The most bytes that a file of weights may have that fits.
    pub fn most_weight_bytes(&self) -> usize {
        misfit::most_bytes(&self.embedded())
    }

    /// Puts the network and its own weights on `device`.
    ///
    /// # Errors
    ///
    /// The embedded weights do not fit the generated network.
    pub fn load(&self, device: &Device) -> Result<Box<dyn Network>, LoadError> {
        self.load_with(device, &self.embedded())
    }

    /// Puts the network with any weights on `device`. Whatever is in them, this neither panics nor takes more memory than the
    /// network's own weights do.
    ///
    /// # Errors
    ///
    /// [`LoadError::Misfit`] for weights from elsewhere, [`LoadError::Embedded`] for the program's own.
    pub fn load_with(&self, device: &Device, weights: &Weights) -> Result<Box<dyn Network>, LoadError> {
        let model = self.spec.name;
        (self.load)(device, &self.embedded(), weights).map_err(|reason| match weights.is_embedded() {
            true => LoadError::Embedded { model, reason },
            false => LoadError::Misfit { model, reason },
        })
    }

    /// What tells this network with other weights from all others: SHA-256 of the ONNX file's digest and that of the weights,
    /// in lower-case hex.
    pub fn sha256_with(&self, weights: &Weights) -> String {
        weights::hex(format!("{}{}", self.spec.sha256, weights.sha256()).as_bytes())
    }
}

/// Without the weights, which are millions of numbers.
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

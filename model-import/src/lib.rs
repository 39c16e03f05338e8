//! The only place that sees ONNX: classifiers that `build.rs` turned into Burn code, with their weights embedded.
//!
//! [`MODELS`] lists them; [`BuiltIn::load`] puts one on a device. A model is added by a folder under `models/`
//! with a `model.toml`, an `.onnx` file and a labels file; nothing here needs to change.
#![forbid(unsafe_code)]

pub mod import;
mod network;
mod spec;

use burn::tensor::Device;

pub use kiln_kernels::Layout;
#[doc(hidden)]
pub use network::fill;
pub use network::{LoadError, Network};
pub use spec::{Crop, Filter, ModelSpec};

/// A model that is part of the program.
#[derive(Clone, Copy, Debug)]
pub struct BuiltIn {
    /// What its manifest says.
    pub spec: &'static ModelSpec,
    #[doc(hidden)]
    pub load: fn(&Device) -> Result<Box<dyn Network>, LoadError>,
}

impl BuiltIn {
    /// Puts the network and its weights on `device`.
    ///
    /// # Errors
    ///
    /// The embedded weights do not fit the generated network.
    pub fn load(&self, device: &Device) -> Result<Box<dyn Network>, LoadError> {
        (self.load)(device)
    }
}

mod models {
    use super::{BuiltIn, Crop, Filter, Layout, ModelSpec, built_in};
    include!(concat!(env!("OUT_DIR"), "/models.rs"));
}
pub use models::*;

//! A generated network behind one trait, and the loading of its weights.

use burn::tensor::Tensor;
use burn_store::{BurnpackStore, ModuleSnapshot};
use kiln_kernels::Layout;

/// A classifier on a device. Several threads may run it at once.
pub trait Network: Send + Sync {
    /// How it wants its pictures.
    fn layout(&self) -> Layout;

    /// Normalised pictures, f32 in [`Network::layout`], to logits, f32 `[batch, classes]`.
    fn forward(&self, pictures: Tensor<4>) -> Tensor<2>;
}

/// The embedded weights do not fit the network: the program was built wrongly.
#[derive(Debug, thiserror::Error)]
#[error("the weights of model '{model}' do not load: {reason}. Build the program again from clean sources.")]
pub struct LoadError {
    model: &'static str,
    reason: String,
}

/// Fills `network` with `weights`, a Burnpack file. For [`built_in`] alone.
#[doc(hidden)]
pub fn fill<M: ModuleSnapshot>(model: &'static str, mut network: M, weights: &'static [u8]) -> Result<M, LoadError> {
    let refuse = |reason: String| LoadError { model, reason };
    let mut store = BurnpackStore::from_static(weights);
    let applied = network.load_from(&mut store).map_err(|e| refuse(e.to_string()))?;
    if applied.missing.is_empty() && applied.errors.is_empty() {
        return Ok(network);
    }
    Err(refuse(applied.to_string()))
}

/// The entry of one generated model: implements [`Network`] for it and tells how to load it.
#[doc(hidden)]
#[macro_export]
macro_rules! built_in {
    ($name:ident, $spec:ident, $network:ty, $weights:ident, $layout:expr) => {
        impl $crate::Network for $network {
            fn layout(&self) -> $crate::Layout {
                $layout
            }

            fn forward(&self, pictures: burn::tensor::Tensor<4>) -> burn::tensor::Tensor<2> {
                <$network>::forward(self, pictures)
            }
        }
        fn load(device: &burn::tensor::Device) -> Result<Box<dyn $crate::Network>, $crate::LoadError> {
            let network = <$network>::new(device);
            Ok(Box::new($crate::fill($spec.name, network, &$weights.0)?))
        }

        pub(crate) const $name: $crate::BuiltIn = $crate::BuiltIn { spec: &$spec, load };
    };
}

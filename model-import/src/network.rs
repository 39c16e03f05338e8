//! The trait of generated networks, and the loading of their weights.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

use burn::module::Module;
use burn::tensor::Tensor;
use burn_store::Applier;
use kiln_kernels::Layout;

use super::weights::{self, Weights, WeightsMismatch};

/// A classifier on a device. Several threads may run it concurrently.
pub trait Network: Send + Sync {
    /// The layout of its input.
    fn layout(&self) -> Layout;

    /// Computes logits, f32 `[batch, classes]`, from normalised images, f32 in [`Network::layout`].
    fn forward(&self, images: Tensor<4>) -> Tensor<2>;
}

/// The weights do not fit the network.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LoadError {
    /// The embedded weights do not fit: the build is broken.
    #[error("the weights of model '{model}' do not load: {reason}. Build the program again from clean sources.")]
    Embedded {
        /// The model's name.
        model: &'static str,
        /// The difference.
        reason: WeightsMismatch,
    },
    /// The file is for another network, or damaged.
    #[error(
        "these weights do not fit model '{model}': {reason}. 'kiln models export {model}' writes a file that fits, for comparison."
    )]
    Mismatch {
        /// The model's name.
        model: &'static str,
        /// The difference.
        reason: WeightsMismatch,
    },
}

/// Creates a network and fills it with `weights`, whose tensors must be those of `embedded`. Only for
/// [`built_in`](crate::built_in!).
#[doc(hidden)]
pub fn fill<M: Module>(make: impl FnOnce() -> M, embedded: &Weights, weights: &Weights) -> Result<M, WeightsMismatch> {
    let tensors = weights::check(embedded, weights)?.into_values().collect();
    // burn-store's own function aborts the process if the device panics, so the weights are applied here.
    let applied = catch_unwind(AssertUnwindSafe(|| {
        let mut applier = Applier::new(tensors, None, None, false);
        let network = make().map(&mut applier);
        (network, applier.into_result())
    }));
    let (network, applied) = applied.map_err(|panic| WeightsMismatch::LoadFailed(panic_message(&*panic)))?;
    if applied.missing.is_empty() && applied.unused.is_empty() && applied.errors.is_empty() {
        return Ok(network);
    }
    Err(WeightsMismatch::LoadFailed(applied.to_string()))
}

/// Returns the message of a panic, if it is a text.
pub fn panic_message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no reason was given").to_string()
}

/// Implements [`Network`] for a generated model, and defines its [`BuiltIn`](crate::BuiltIn).
#[doc(hidden)]
#[macro_export]
macro_rules! built_in {
    ($name:ident, $spec:ident, $network:ty, $weights:ident, $layout:expr) => {
        impl $crate::Network for $network {
            fn layout(&self) -> $crate::Layout {
                $layout
            }

            fn forward(&self, images: burn::tensor::Tensor<4>) -> burn::tensor::Tensor<2> {
                <$network>::forward(self, images)
            }
        }
        fn load(
            device: &burn::tensor::Device,
            embedded: &$crate::Weights,
            weights: &$crate::Weights,
        ) -> Result<Box<dyn $crate::Network>, $crate::WeightsMismatch> {
            Ok(Box::new($crate::fill(|| <$network>::new(device), embedded, weights)?))
        }

        pub(crate) const $name: $crate::BuiltIn = $crate::BuiltIn { spec: &$spec, weights: &$weights.0, load };
    };
}

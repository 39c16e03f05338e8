//! A generated network behind one trait, and the loading of its weights.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

use burn::module::Module;
use burn::tensor::Tensor;
use burn_store::Applier;
use kiln_kernels::Layout;

use super::misfit::{self, Misfit};
use super::weights::Weights;

/// A classifier on a device. Several threads may run it at once.
pub trait Network: Send + Sync {
    /// How it wants its pictures.
    fn layout(&self) -> Layout;

    /// Normalised pictures, f32 in [`Network::layout`], to logits, f32 `[batch, classes]`.
    fn forward(&self, pictures: Tensor<4>) -> Tensor<2>;
}

/// Weights and network do not go together.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LoadError {
    /// The program was built wrongly.
    #[error("the weights of model '{model}' do not load: {reason}. Build the program again from clean sources.")]
    Embedded {
        /// The model's name.
        model: &'static str,
        /// What is wrong with them.
        reason: Misfit,
    },
    /// A file is for another network, or damaged.
    #[error(
        "these weights do not fit model '{model}': {reason}. 'kiln models export {model}' writes some that do, to compare with."
    )]
    Misfit {
        /// The model's name.
        model: &'static str,
        /// What is wrong with them.
        reason: Misfit,
    },
}

/// Fills `network` with `weights`, or says why they do not fit where `embedded` do. For [`built_in`](crate::built_in!) alone.
#[doc(hidden)]
pub fn fill<M: Module>(make: impl FnOnce() -> M, embedded: &Weights, weights: &Weights) -> Result<M, Misfit> {
    let tensors = misfit::check(embedded, weights)?.into_values().collect();
    // Not burn-store's own way to apply them, which ends the process where the device panics.
    let applied = catch_unwind(AssertUnwindSafe(|| {
        let mut applier = Applier::new(tensors, None, None, false);
        let network = make().map(&mut applier);
        (network, applier.into_result())
    }));
    let (network, applied) = applied.map_err(|panic| Misfit::Refused(words(&*panic)))?;
    if applied.missing.is_empty() && applied.unused.is_empty() && applied.errors.is_empty() {
        return Ok(network);
    }
    Err(Misfit::Refused(applied.to_string()))
}

fn words(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no reason was given").to_string()
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
        fn load(
            device: &burn::tensor::Device,
            embedded: &$crate::Weights,
            weights: &$crate::Weights,
        ) -> Result<Box<dyn $crate::Network>, $crate::Misfit> {
            Ok(Box::new($crate::fill(|| <$network>::new(device), embedded, weights)?))
        }

        pub(crate) const $name: $crate::BuiltIn = $crate::BuiltIn { spec: &$spec, weights: &$weights.0, load };
    };
}

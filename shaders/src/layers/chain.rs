//! Three convolutions as one Burn module: dense, depthwise, pointwise.

use burn::backend::Dispatch;
use burn::module::Module;
use burn::tensor::{Device, Tensor};

use super::Runner;
use super::conv::Conv;
use super::ops::LayerOps;
use crate::cpu::{self, ConvSpec};

/// An inverted bottleneck: the same as its three convolutions one after the other, with the residual at the end.
#[derive(Module, Debug)]
pub struct Chain {
    first: Conv,
    depthwise: Conv,
    last: Conv,
}

impl Chain {
    /// A chain whose weights are still to be loaded.
    pub fn new(first: ConvSpec, depthwise: ConvSpec, last: ConvSpec, device: &Device) -> Self {
        Self { first: Conv::new(first, device), depthwise: Conv::new(depthwise, device), last: Conv::new(last, device) }
    }

    /// Runs it on `[batch, height, width, inputs]`.
    ///
    /// # Panics
    ///
    /// The shapes do not fit.
    pub fn forward(&self, input: Tensor<4>, residual: Option<Tensor<4>>) -> Tensor<4> {
        if !matches!(Runner::of(&input), Runner::Cpu) {
            let between = self.depthwise.forward(self.first.forward(input, None), None);
            return self.last.forward(between, residual);
        }
        let chain =
            cpu::Chain { first: self.first.packed(), depthwise: self.depthwise.packed(), last: self.last.packed() };
        let input = input.into_dispatch();
        Tensor::from_dispatch(match residual {
            None => Dispatch::chain(input, chain),
            Some(residual) => Dispatch::chain_add(input, residual.into_dispatch(), chain),
        })
    }
}

//! Convolution as a Burn module: holds the weights as they are stored, and packs them once for the device it runs on.

use std::sync::{Arc, OnceLock};

use burn::backend::Dispatch;
use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor};

use super::ops::LayerOps;
use super::{plain, runs_kernels};
use crate::cpu::{ConvSpec, Isa, PackedConv};

/// `activation(convolution(input) + bias + residual)` on NHWC pictures.
#[derive(Module, Debug)]
pub struct Conv {
    /// f32 `[outputs, inputs / groups, height, width]`.
    weight: Param<Tensor<4>>,
    /// f32 `[outputs]`.
    bias: Param<Tensor<1>>,
    #[module(skip)]
    spec: ConvSpec,
    /// Made by the first run.
    #[module(skip)]
    packed: Arc<OnceLock<PackedConv>>,
}

impl Conv {
    /// A convolution whose weights are still to be loaded; until then they are zero.
    pub fn new(spec: ConvSpec, device: &Device) -> Self {
        let [height, width] = spec.geometry.kernel;
        let inputs = if spec.depthwise { 1 } else { spec.inputs };
        Self {
            weight: Param::from_tensor(Tensor::zeros([spec.outputs, inputs, height, width], device)),
            bias: Param::from_tensor(Tensor::zeros([spec.outputs], device)),
            spec,
            packed: Arc::default(),
        }
    }

    /// Runs it on f32 `[batch, height, width, inputs]`.
    ///
    /// # Panics
    ///
    /// The shapes do not fit.
    pub fn forward(&self, input: Tensor<4>, residual: Option<Tensor<4>>) -> Tensor<4> {
        if !runs_kernels(&input) {
            return plain::conv(input, residual, &self.spec, self.weight.val(), self.bias.val());
        }
        let input = input.into_dispatch();
        Tensor::from_dispatch(match residual {
            None => Dispatch::conv(input, self.packed()),
            Some(residual) => Dispatch::conv_add(input, residual.into_dispatch(), self.packed()),
        })
    }

    /// The weights for the CPU kernels.
    pub(super) fn packed(&self) -> &PackedConv {
        self.packed.get_or_init(|| {
            let (weight, bias) = (self.weight.val().into_data(), self.bias.val().into_data());
            let values = "the weights are f32, as they were made";
            PackedConv::pack(Isa::in_use(), self.spec, weight.as_slice().expect(values), bias.as_slice().expect(values))
        })
    }
}

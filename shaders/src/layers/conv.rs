//! Convolution as a Burn module: holds the weights as they are stored, and packs them once for the device it runs on.

use std::sync::{Arc, OnceLock};

use burn::backend::Dispatch;
use burn::module::{Module, Param};
use burn::tensor::{DType, Device, Tensor};

use super::ops::{FusedOps, LayerOps};
use super::{Runner, plain};
use crate::cpu::{ConvSpec, Isa, PackedConv};
use crate::gpu::{self, Tiles};

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
    /// The same on a GPU, with the type of the tensors that it is for.
    #[module(skip)]
    on_gpu: Arc<OnceLock<(DType, gpu::PackedConv)>>,
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
            on_gpu: Arc::default(),
        }
    }

    /// Runs it on `[batch, height, width, inputs]`: f32, or on a GPU f16 as well, but always the same.
    ///
    /// # Panics
    ///
    /// The shapes do not fit, or the type is another one than before.
    pub fn forward(&self, input: Tensor<4>, residual: Option<Tensor<4>>) -> Tensor<4> {
        match Runner::of(&input) {
            Runner::Cpu => self.on_cpu(input, residual),
            Runner::Gpu(tiles) if self.fits_gpu(&input, residual.is_some()) => self.fused(input, residual, tiles),
            Runner::Gpu(_) | Runner::Twin => {
                let dtype = input.dtype();
                let (weight, bias) = (self.weight.val().cast(dtype), self.bias.val().cast(dtype));
                plain::conv(input, residual, &self.spec, weight, bias)
            }
        }
    }

    fn on_cpu(&self, input: Tensor<4>, residual: Option<Tensor<4>>) -> Tensor<4> {
        let input = input.into_dispatch();
        Tensor::from_dispatch(match residual {
            None => Dispatch::conv(input, self.packed()),
            Some(residual) => Dispatch::conv_add(input, residual.into_dispatch(), self.packed()),
        })
    }

    /// Whether there is a WGSL program for it.
    fn fits_gpu(&self, input: &Tensor<4>, has_residual: bool) -> bool {
        let whole_quads = self.spec.outputs.is_multiple_of(4);
        let fits = if self.spec.depthwise { whole_quads && !has_residual } else { whole_quads || !has_residual };
        fits && matches!(input.dtype(), DType::F32 | DType::F16)
    }

    fn fused(&self, input: Tensor<4>, residual: Option<Tensor<4>>, tiles: Tiles) -> Tensor<4> {
        let dtype = input.dtype();
        let (packed_for, packed) = self.on_gpu.get_or_init(|| {
            let (weight, bias) = self.values();
            (dtype, gpu::PackedConv::pack(&self.spec, &weight, &bias, dtype, &input.device()))
        });
        assert_eq!(*packed_for, dtype, "the weights were packed for another type");
        let (input, weight) = (input.into_dispatch(), packed.weight.clone().into_dispatch());
        let bias = packed.bias.clone().into_dispatch();
        let output: Tensor<4> = Tensor::from_dispatch(match residual {
            None => Dispatch::fused_conv(input, weight, bias, self.spec, tiles),
            Some(residual) => Dispatch::fused_conv_add(input, residual.into_dispatch(), weight, bias, self.spec, tiles),
        });
        // Without the channels that were filled up.
        if self.spec.outputs.is_multiple_of(4) { output } else { output.narrow(3, 0, self.spec.outputs) }
    }

    /// The weights for the CPU kernels.
    pub(super) fn packed(&self) -> &PackedConv {
        self.packed.get_or_init(|| {
            let (weight, bias) = self.values();
            PackedConv::pack(Isa::in_use(), self.spec, &weight, &bias)
        })
    }

    /// Weight and bias as they were stored.
    fn values(&self) -> (Vec<f32>, Vec<f32>) {
        let values = "the weights are f32, as they were made";
        let (weight, bias) = (self.weight.val().into_data(), self.bias.val().into_data());
        (weight.try_into_vec::<f32>().expect(values), bias.try_into_vec::<f32>().expect(values))
    }
}

//! The layers of convolutional classifiers, fused and in NHWC, which generated networks call.
//!
//! | layer | function |
//! |---|---|
//! | [`Conv`] | convolution, bias, residual and activation in one pass |
//! | [`InvertedBottleneck`] | dense, depthwise and pointwise convolution, a few rows at a time |
//! | [`ExpandedDepthwise`] | dense and depthwise convolution, a few rows at a time |
//! | [`pool`], [`global_average_pool`] | pooling |
//! | [`scale`] | a factor for each channel (squeeze and excite) |
//! | [`tensor`] | tensor operations of any rank, and convolutions with groups and dilation, on the CPU only |
//!
//! On the CPU they run the kernels of [`crate::cpu`], and on GPUs the WGSL programs. Elsewhere, and under
//! [`Kernels::Stock`], they run the reference implementation in Burn's tensor operations. The CPU kernels use the instruction
//! set, threads and buffers of the [`Context`] that the thread has entered.

mod backend;
mod reference;
pub mod tensor;

use std::sync::{Arc, OnceLock};

use burn::backend::{Dispatch, DispatchDevice};
use burn::module::{Module, Param};
use burn::tensor::{DType, Device, Tensor, TensorData};

use crate::Kernels;
use crate::cpu::{self, Context, PackedConv};
pub use crate::cpu::{Activation, ConvSpec, GeneralConvSpec, Geometry, PackedGeneralConv, Pooling};
use crate::gpu::GpuWeights;
use crate::wgsl::Tiles;
pub(crate) use backend::filled_tensor;
use backend::{CpuLayerOps, GpuLayerOps};

/// The implementation that runs a layer.
enum Runner {
    Cpu,
    Gpu(Tiles),
    Reference,
}

impl Runner {
    /// Selects the implementation for a layer whose input is `tensor`.
    fn for_tensor(tensor: &Tensor<4>) -> Self {
        let device = tensor.device();
        match (Kernels::current(&device), device.as_dispatch()) {
            (Kernels::Stock, _) => Self::Reference,
            (Kernels::Fused(_), DispatchDevice::Flex(_)) => Self::Cpu,
            (Kernels::Fused(tiles), _) => Self::Gpu(tiles),
        }
    }
}

/// `activation(convolution(input) + bias + residual)` on NHWC images.
///
/// The module holds the weights as they are stored, and packs them in its first run for the device that runs it. On the CPU
/// that fixes the instruction set: the one of the [`Context`] of the first run.
#[derive(Module, Debug)]
pub struct Conv {
    /// f32 `[outputs, inputs / groups, height, width]`.
    weight: Param<Tensor<4>>,
    /// f32 `[outputs]`.
    bias: Param<Tensor<1>>,
    #[module(skip)]
    spec: ConvSpec,
    /// Weights for the CPU kernels.
    #[module(skip)]
    packed: Arc<OnceLock<PackedConv>>,
    /// Weights for the WGSL programs, and the type of the tensors that they are packed for.
    #[module(skip)]
    gpu_weights: Arc<OnceLock<(DType, GpuWeights)>>,
}

impl Conv {
    /// Creates a convolution with zero weights, to be loaded later.
    pub fn new(spec: ConvSpec, device: &Device) -> Self {
        let [height, width] = spec.geometry.kernel;
        let inputs = if spec.depthwise { 1 } else { spec.inputs };
        Self {
            weight: Param::from_tensor(Tensor::zeros([spec.outputs, inputs, height, width], device)),
            bias: Param::from_tensor(Tensor::zeros([spec.outputs], device)),
            spec,
            packed: Arc::default(),
            gpu_weights: Arc::default(),
        }
    }

    /// Creates a convolution with weights `[outputs, inputs / groups, height, width]` and a bias `[outputs]`. If the CPU kernels
    /// run it, the weights are packed at once and kept only so: under [`Kernels::Stock`] it cannot run any more.
    ///
    /// # Panics
    ///
    /// Panics if the number of weights is not that of `spec`, or if no kernel exists for it.
    pub fn from_values(spec: ConvSpec, weight: Vec<f32>, bias: Vec<f32>, device: &Device) -> Self {
        let runs_on_cpu = matches!(device.as_dispatch(), DispatchDevice::Flex(_))
            && matches!(Kernels::current(device), Kernels::Fused(_));
        if runs_on_cpu {
            let packed = PackedConv::pack(Context::current().isa(), spec, &weight, &bias);
            return Self {
                weight: Param::from_tensor(Tensor::zeros([1, 1, 1, 1], device)),
                bias: Param::from_tensor(Tensor::zeros([1], device)),
                spec,
                packed: Arc::new(OnceLock::from(packed)),
                gpu_weights: Arc::default(),
            };
        }
        let [height, width] = spec.geometry.kernel;
        let inputs = if spec.depthwise { 1 } else { spec.inputs };
        let shape = [spec.outputs, inputs, height, width];
        Self {
            weight: Param::from_tensor(Tensor::from_data(TensorData::new(weight, shape), device)),
            bias: Param::from_tensor(Tensor::from_data(TensorData::new(bias, [spec.outputs]), device)),
            spec,
            packed: Arc::default(),
            gpu_weights: Arc::default(),
        }
    }

    /// Runs the convolution on `[batch, height, width, inputs]`: f32, or on a GPU f16. Every call must use the same type.
    ///
    /// # Panics
    ///
    /// Panics if the shapes do not match, or if the type differs from that of the first call.
    pub fn forward(&self, input: Tensor<4>, residual: Option<Tensor<4>>) -> Tensor<4> {
        match Runner::for_tensor(&input) {
            Runner::Cpu => self.forward_cpu(input, residual),
            Runner::Gpu(tiles) if self.has_gpu_kernel(&input, residual.is_some()) => {
                self.forward_gpu(input, residual, tiles)
            }
            Runner::Gpu(_) | Runner::Reference => {
                let dtype = input.dtype();
                let (weight, bias) = (self.weight.val().cast(dtype), self.bias.val().cast(dtype));
                reference::conv(input, residual, &self.spec, weight, bias)
            }
        }
    }

    fn forward_cpu(&self, input: Tensor<4>, residual: Option<Tensor<4>>) -> Tensor<4> {
        let input = input.into_dispatch();
        Tensor::from_dispatch(match residual {
            None => Dispatch::cpu_conv(input, self.packed()),
            Some(residual) => Dispatch::cpu_conv_add(input, residual.into_dispatch(), self.packed()),
        })
    }

    /// Returns whether a WGSL program exists for this convolution.
    fn has_gpu_kernel(&self, input: &Tensor<4>, has_residual: bool) -> bool {
        let whole_quads = self.spec.outputs.is_multiple_of(4);
        let fits = if self.spec.depthwise { whole_quads && !has_residual } else { whole_quads || !has_residual };
        let activation = matches!(
            self.spec.activation,
            Activation::Identity | Activation::Clamp { .. } | Activation::HardSigmoid { .. } | Activation::HardSwish
        );
        fits && activation && matches!(input.dtype(), DType::F32 | DType::F16)
    }

    fn forward_gpu(&self, input: Tensor<4>, residual: Option<Tensor<4>>, tiles: Tiles) -> Tensor<4> {
        let dtype = input.dtype();
        let (packed_for, packed) = self.gpu_weights.get_or_init(|| {
            let (weight, bias) = self.values();
            (dtype, GpuWeights::pack(&self.spec, &weight, &bias, dtype, &input.device()))
        });
        assert_eq!(*packed_for, dtype, "the weights were packed for another type");
        let (input, weight) = (input.into_dispatch(), packed.weight.clone().into_dispatch());
        let bias = packed.bias.clone().into_dispatch();
        let output: Tensor<4> = Tensor::from_dispatch(match residual {
            None => Dispatch::gpu_conv(input, weight, bias, self.spec, tiles),
            Some(residual) => Dispatch::gpu_conv_add(input, residual.into_dispatch(), weight, bias, self.spec, tiles),
        });
        // Remove the padding channels.
        if self.spec.outputs.is_multiple_of(4) { output } else { output.narrow(3, 0, self.spec.outputs) }
    }

    /// Returns the weights for the CPU kernels, and packs them in the first call.
    fn packed(&self) -> &PackedConv {
        self.packed.get_or_init(|| {
            let (weight, bias) = self.values();
            PackedConv::pack(Context::current().isa(), self.spec, &weight, &bias)
        })
    }

    /// Returns the stored weight and bias.
    fn values(&self) -> (Vec<f32>, Vec<f32>) {
        let values = "the weights are created as f32";
        let (weight, bias) = (self.weight.val().into_data(), self.bias.val().into_data());
        (weight.try_into_vec::<f32>().expect(values), bias.try_into_vec::<f32>().expect(values))
    }
}

/// An inverted bottleneck: equal to its three convolutions one after the other, with the residual added in the last one.
#[derive(Module, Debug)]
pub struct InvertedBottleneck {
    first: Conv,
    depthwise: Conv,
    last: Conv,
}

impl InvertedBottleneck {
    /// Creates an inverted bottleneck with zero weights, to be loaded later.
    pub fn new(first: ConvSpec, depthwise: ConvSpec, last: ConvSpec, device: &Device) -> Self {
        Self { first: Conv::new(first, device), depthwise: Conv::new(depthwise, device), last: Conv::new(last, device) }
    }

    /// Creates an inverted bottleneck of three convolutions.
    pub fn from_convs(first: Conv, depthwise: Conv, last: Conv) -> Self {
        Self { first, depthwise, last }
    }

    /// Runs the three convolutions on `[batch, height, width, inputs]`.
    ///
    /// # Panics
    ///
    /// Panics if the shapes do not match.
    pub fn forward(&self, input: Tensor<4>, residual: Option<Tensor<4>>) -> Tensor<4> {
        if !matches!(Runner::for_tensor(&input), Runner::Cpu) {
            let between = self.depthwise.forward(self.first.forward(input, None), None);
            return self.last.forward(between, residual);
        }
        let bottleneck = cpu::InvertedBottleneck {
            first: self.first.packed(),
            depthwise: self.depthwise.packed(),
            last: Some(self.last.packed()),
        };
        let input = input.into_dispatch();
        Tensor::from_dispatch(match residual {
            None => Dispatch::cpu_bottleneck(input, bottleneck),
            Some(residual) => Dispatch::cpu_bottleneck_add(input, residual.into_dispatch(), bottleneck),
        })
    }
}

/// A dense and a depthwise convolution: equal to one after the other. Unlike [`InvertedBottleneck`] it has no last convolution,
/// since the network needs the whole output first, for instance for squeeze-and-excitation.
#[derive(Debug)]
pub struct ExpandedDepthwise {
    first: Conv,
    depthwise: Conv,
}

impl ExpandedDepthwise {
    /// Joins two convolutions.
    pub fn from_convs(first: Conv, depthwise: Conv) -> Self {
        Self { first, depthwise }
    }

    /// Runs both convolutions on `[batch, height, width, inputs]`.
    ///
    /// # Panics
    ///
    /// Panics if the shapes do not match.
    pub fn forward(&self, input: Tensor<4>) -> Tensor<4> {
        if !matches!(Runner::for_tensor(&input), Runner::Cpu) {
            return self.depthwise.forward(self.first.forward(input, None), None);
        }
        let (first, depthwise) = (self.first.packed(), self.depthwise.packed());
        let bottleneck = cpu::InvertedBottleneck { first, depthwise, last: None };
        Tensor::from_dispatch(Dispatch::cpu_bottleneck(input.into_dispatch(), bottleneck))
    }
}

/// Pools f32 `[batch, height, width, channels]` by a window.
///
/// # Panics
///
/// Panics if the window is larger than the padded image.
pub fn pool(input: Tensor<4>, pooling: Pooling, geometry: Geometry) -> Tensor<4> {
    match Runner::for_tensor(&input) {
        Runner::Cpu => Tensor::from_dispatch(Dispatch::cpu_pool(input.into_dispatch(), pooling, geometry)),
        Runner::Gpu(_) if input.dims()[3].is_multiple_of(4) => {
            Tensor::from_dispatch(Dispatch::gpu_pool(input.into_dispatch(), pooling, geometry))
        }
        Runner::Gpu(_) | Runner::Reference => reference::pool(input, pooling, &geometry),
    }
}

/// Returns the mean of each channel: f32 `[batch, height, width, channels]` to `[batch, 1, 1, channels]`.
pub fn global_average_pool(input: Tensor<4>) -> Tensor<4> {
    let [_, height, width, _] = input.dims();
    let whole = Geometry { kernel: [height, width], ..Geometry::POINTWISE };
    pool(input, Pooling::AverageWithPadding, whole)
}

/// Multiplies each channel of f32 `[batch, height, width, channels]` by its own value of `gate`, `[batch, 1, 1, channels]`.
///
/// # Panics
///
/// Panics if the shapes do not match.
pub fn scale(input: Tensor<4>, gate: Tensor<4>) -> Tensor<4> {
    match Runner::for_tensor(&input) {
        Runner::Cpu => Tensor::from_dispatch(Dispatch::cpu_scale(input.into_dispatch(), gate.into_dispatch())),
        // Burn's multiplication is a single pass as well.
        Runner::Gpu(_) | Runner::Reference => reference::scale(input, gate),
    }
}

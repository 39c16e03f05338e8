//! The layers as Burn backend extensions: for the CPU, with packed weights and slices, and for GPUs, with WGSL programs.

use burn::backend::flex::{FlexTensor, Layout};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, Flex, backend_extension};
use burn::tensor::{AllocationProperty, Bytes, DType, Shape};
use burn_cubecl::CubeBackend;
use burn_cubecl::tensor::CubeTensor;

use crate::cpu::{self, Activation, Context, ConvSpec, Geometry, InvertedBottleneck, NhwcBatch, PackedConv, Pooling};
use crate::gpu::Launch;
use crate::wgsl::{LANES, Operation, Tiles};

/// Layers on the CPU. Images are NHWC, f32 `[batch, height, width, channels]`.
#[backend_extension(Flex)]
pub(super) trait CpuLayerOps: Backend {
    /// Computes `activation(convolution(input) + bias)`.
    fn cpu_conv(input: FloatTensor<Self>, conv: &PackedConv) -> FloatTensor<Self>;

    /// Computes `activation(convolution(input) + bias + residual)`.
    fn cpu_conv_add(input: FloatTensor<Self>, residual: FloatTensor<Self>, conv: &PackedConv) -> FloatTensor<Self>;

    /// Runs an inverted bottleneck.
    fn cpu_bottleneck(input: FloatTensor<Self>, bottleneck: InvertedBottleneck<'_>) -> FloatTensor<Self>;

    /// Runs an inverted bottleneck and adds `residual` in its last convolution.
    fn cpu_bottleneck_add(
        input: FloatTensor<Self>,
        residual: FloatTensor<Self>,
        bottleneck: InvertedBottleneck<'_>,
    ) -> FloatTensor<Self>;

    /// Pools by a window.
    fn cpu_pool(input: FloatTensor<Self>, pooling: Pooling, geometry: Geometry) -> FloatTensor<Self>;

    /// Multiplies each channel of `input` by its own value of `gate`, `[batch, 1, 1, channels]`.
    fn cpu_scale(input: FloatTensor<Self>, gate: FloatTensor<Self>) -> FloatTensor<Self>;
}

impl CpuLayerOps for Flex {
    fn cpu_conv(input: FlexTensor, conv: &PackedConv) -> FlexTensor {
        run_cpu_conv(input, None, conv)
    }

    fn cpu_conv_add(input: FlexTensor, residual: FlexTensor, conv: &PackedConv) -> FlexTensor {
        run_cpu_conv(input, Some(residual), conv)
    }

    fn cpu_bottleneck(input: FlexTensor, bottleneck: InvertedBottleneck<'_>) -> FlexTensor {
        run_cpu_bottleneck(input, None, bottleneck)
    }

    fn cpu_bottleneck_add(input: FlexTensor, residual: FlexTensor, bottleneck: InvertedBottleneck<'_>) -> FlexTensor {
        run_cpu_bottleneck(input, Some(residual), bottleneck)
    }

    fn cpu_pool(input: FlexTensor, pooling: Pooling, geometry: Geometry) -> FlexTensor {
        let input = input.to_contiguous();
        let [count, height, width, channels] = shape_of(&input);
        let [height, width] = geometry.output_size([height, width]);
        filled_tensor([count, height, width, channels], |context, output| {
            cpu::pool(context, pooling, &geometry, as_batch(&input), output);
        })
    }

    fn cpu_scale(input: FlexTensor, gate: FlexTensor) -> FlexTensor {
        let (input, gate) = (input.to_contiguous(), gate.to_contiguous());
        let shape = shape_of(&input);
        filled_tensor(shape, |_, output| cpu::scale(as_batch(&input), values(&gate), output))
    }
}

fn run_cpu_conv(input: FlexTensor, residual: Option<FlexTensor>, conv: &PackedConv) -> FlexTensor {
    let (input, residual) = (input.to_contiguous(), residual.map(|tensor| tensor.to_contiguous()));
    let shape = conv.output_shape(shape_of(&input));
    filled_tensor(shape, |context, output| {
        conv.run(context, as_batch(&input), residual.as_ref().map(values), output);
    })
}

fn run_cpu_bottleneck(
    input: FlexTensor,
    residual: Option<FlexTensor>,
    bottleneck: InvertedBottleneck<'_>,
) -> FlexTensor {
    let (input, residual) = (input.to_contiguous(), residual.map(|tensor| tensor.to_contiguous()));
    let shape = bottleneck.output_shape(shape_of(&input));
    filled_tensor(shape, |context, output| {
        bottleneck.run(context, as_batch(&input), residual.as_ref().map(values), output);
    })
}

/// Returns a tensor whose values `fill` writes, in the context of this thread and in a buffer from its pool.
pub(crate) fn filled_tensor(shape: impl Into<Shape>, fill: impl FnOnce(&Context, &mut [f32])) -> FlexTensor {
    let (context, shape) = (Context::current(), shape.into());
    let mut output = context.buffers.take(shape.num_elements());
    fill(&context, &mut output);
    let bytes = Bytes::from_shared(bytes::Bytes::from_owner(output), AllocationProperty::Native);
    FlexTensor::new(bytes, Layout::contiguous(shape), DType::F32)
}

fn shape_of(tensor: &FlexTensor) -> [usize; 4] {
    tensor.layout().shape().dims()
}

/// Returns the values of a contiguous tensor, which may be a part of a larger buffer.
pub(super) fn values(tensor: &FlexTensor) -> &[f32] {
    let layout = tensor.layout();
    &tensor.storage::<f32>()[layout.start_offset()..][..layout.num_elements()]
}

fn as_batch(tensor: &FlexTensor) -> NhwcBatch<'_> {
    NhwcBatch::new(values(tensor), shape_of(tensor))
}

/// Layers on GPUs. Images are NHWC, f32 or f16 `[batch, height, width, channels]`.
#[backend_extension(Cube, Fusion: cfg(feature = "fusion"))]
pub(super) trait GpuLayerOps: Backend {
    /// Computes `activation(convolution(input) + bias)` with [`crate::gpu::GpuWeights`]. The channels of the output are
    /// padded to a multiple of four.
    #[fusion(dtype = input, shape = conv_shape(input, spec))]
    fn gpu_conv(
        input: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        spec: ConvSpec,
        tiles: Tiles,
    ) -> FloatTensor<Self>;

    /// Computes `activation(convolution(input) + bias + residual)`. The residual has the shape of the output.
    #[fusion(dtype = input, shape = conv_shape(input, spec))]
    fn gpu_conv_add(
        input: FloatTensor<Self>,
        residual: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        spec: ConvSpec,
        tiles: Tiles,
    ) -> FloatTensor<Self>;

    /// Pools by a window. The channels are a multiple of four.
    #[fusion(dtype = input, shape = pool_shape(input, geometry))]
    fn gpu_pool(input: FloatTensor<Self>, pooling: Pooling, geometry: Geometry) -> FloatTensor<Self>;
}

impl GpuLayerOps for CubeBackend {
    fn gpu_conv(
        input: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        spec: ConvSpec,
        tiles: Tiles,
    ) -> FloatTensor<Self> {
        run_gpu_conv(input, None, [weight, bias], &spec, tiles)
    }

    fn gpu_conv_add(
        input: FloatTensor<Self>,
        residual: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        spec: ConvSpec,
        tiles: Tiles,
    ) -> FloatTensor<Self> {
        run_gpu_conv(input, Some(residual), [weight, bias], &spec, tiles)
    }

    fn gpu_pool(input: FloatTensor<Self>, pooling: Pooling, geometry: Geometry) -> FloatTensor<Self> {
        let shape = pool_shape(&input.meta.shape, &geometry);
        let [_, height, width, channels] = input.meta.shape.dims();
        let [count, out_height, out_width, _] = shape.dims();
        let (pixels, quads) = (count * out_height * out_width, channels / 4);
        let kind = match pooling {
            Pooling::Max => 0,
            Pooling::Average => 1,
            Pooling::AverageWithPadding => 2,
        };
        let dtype = input.dtype;
        Launch::new(Operation::Pool)
            .info([pixels, quads, height, width, out_height, out_width])
            .info(geometry.kernel.into_iter().chain(geometry.stride).chain(geometry.before).chain([kind]))
            .input(input)
            .run(shape, dtype, pixels * quads)
    }
}

fn run_gpu_conv(
    input: CubeTensor,
    residual: Option<CubeTensor>,
    [weight, bias]: [CubeTensor; 2],
    spec: &ConvSpec,
    tiles: Tiles,
) -> CubeTensor {
    let shape = conv_shape(&input.meta.shape, spec);
    let Plan { operation, depth, across, channels, lanes } = Plan::new(spec, &shape, tiles);
    let [_, height, width, _] = input.meta.shape.dims();
    let [count, out_height, out_width, outputs] = shape.dims();
    let Geometry { kernel, stride, before, .. } = spec.geometry;
    let (activation, low, high) = match spec.activation {
        Activation::Identity => (0, f32::NEG_INFINITY, f32::INFINITY),
        Activation::Clamp { low, high } => (0, low, high),
        Activation::HardSigmoid { alpha, beta } => (1, alpha, beta),
        Activation::HardSwish => (2, 0.0, 0.0),
        other => unreachable!("`Conv` runs {other:?} by the reference implementation"),
    };
    let dtype = input.dtype;
    let has_residual = usize::from(residual.is_some());
    // The program has a binding for the residual, so it needs some tensor there.
    let residual = residual.unwrap_or_else(|| weight.clone());
    Launch::new(operation)
        .info([count * out_height * out_width, outputs / 4, depth, across, channels])
        .info([height, width, out_height, out_width, kernel[1], stride[0], stride[1], before[0], before[1]])
        .info([has_residual, activation])
        .info_f32([low, high])
        .input(input)
        .input(weight)
        .input(bias)
        .input(residual)
        .run(shape, dtype, lanes)
}

/// How a WGSL program divides a convolution into tiles.
struct Plan {
    operation: Operation,
    /// Values in one sum, in quads; for a depthwise convolution, the taps.
    depth: usize,
    /// Lanes side by side over the columns of a tile.
    across: usize,
    /// Input channels, in the unit of the program.
    channels: usize,
    lanes: usize,
}

impl Plan {
    fn new(spec: &ConvSpec, output: &Shape, tiles: Tiles) -> Self {
        let [count, height, width, outputs] = output.dims();
        let (taps, quads) = (spec.geometry.kernel.iter().product::<usize>(), outputs / 4);
        if spec.depthwise {
            let lanes = count * height * width.div_ceil(4) * quads;
            return Self { operation: Operation::Depthwise, depth: taps, across: 1, channels: quads, lanes };
        }
        let (operation, channels) = match spec.inputs % 4 {
            0 if spec.geometry.is_pointwise() => (Operation::Pointwise(tiles), spec.inputs / 4),
            0 => (Operation::Conv(tiles), spec.inputs / 4),
            _ => (Operation::ConvNarrow(tiles), spec.inputs),
        };
        // Each lane computes two quads of columns and four rows. If there are few columns, a tile has more rows instead.
        let across = quads.div_ceil(2).next_power_of_two().clamp(2, 8);
        let tile_rows = LANES as usize / across * 4;
        let tiles = (count * height * width).div_ceil(tile_rows) * quads.div_ceil(2 * across);
        let depth = taps * spec.inputs.div_ceil(4);
        Self { operation, depth, across, channels, lanes: tiles * LANES as usize }
    }
}

/// Returns the output shape of a convolution on a GPU.
fn conv_shape(input: &Shape, spec: &ConvSpec) -> Shape {
    let [count, height, width, _] = input.dims();
    let [height, width] = spec.geometry.output_size([height, width]);
    Shape::from([count, height, width, spec.outputs.next_multiple_of(4)])
}

/// Returns the output shape of pooling.
fn pool_shape(input: &Shape, geometry: &Geometry) -> Shape {
    let [count, height, width, channels] = input.dims();
    let [height, width] = geometry.output_size([height, width]);
    Shape::from([count, height, width, channels])
}

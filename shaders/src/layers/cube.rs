//! The layers on GPUs: which WGSL program a layer takes, and the numbers that it is told.

use burn::backend::tensor::FloatTensor;
use burn::tensor::Shape;
use burn_cubecl::CubeBackend;
use burn_cubecl::tensor::CubeTensor;

use super::ops::{FusedOps, conv_shape, pool_shape};
use crate::cpu::{Activation, ConvSpec, Geometry, Pooling};
use crate::gpu::{LANES, Launch, Operation, Tiles};

impl FusedOps for CubeBackend {
    fn fused_conv(
        input: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        spec: ConvSpec,
        tiles: Tiles,
    ) -> FloatTensor<Self> {
        run(input, None, [weight, bias], &spec, tiles)
    }

    fn fused_conv_add(
        input: FloatTensor<Self>,
        residual: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        spec: ConvSpec,
        tiles: Tiles,
    ) -> FloatTensor<Self> {
        run(input, Some(residual), [weight, bias], &spec, tiles)
    }

    fn fused_pool(input: FloatTensor<Self>, pooling: Pooling, geometry: Geometry) -> FloatTensor<Self> {
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
            .numbers([pixels, quads, height, width, out_height, out_width])
            .numbers(geometry.kernel.into_iter().chain(geometry.stride).chain(geometry.before).chain([kind]))
            .tensor(input)
            .fill(shape, dtype, pixels * quads)
    }
}

fn run(
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
    };
    let dtype = input.dtype;
    let has_residual = usize::from(residual.is_some());
    // Something has to be bound where the residual would be.
    let residual = residual.unwrap_or_else(|| weight.clone());
    Launch::new(operation)
        .numbers([count * out_height * out_width, outputs / 4, depth, across, channels])
        .numbers([height, width, out_height, out_width, kernel[1], stride[0], stride[1], before[0], before[1]])
        .numbers([has_residual, activation])
        .floats([low, high])
        .tensor(input)
        .tensor(weight)
        .tensor(bias)
        .tensor(residual)
        .fill(shape, dtype, lanes)
}

/// How a convolution is cut into tiles.
struct Plan {
    operation: Operation,
    /// Values that go into one sum, in quads; of a depthwise convolution the taps.
    depth: usize,
    /// Lanes side by side over the columns of a tile.
    across: usize,
    /// Input channels, as the program counts them.
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
        // Each lane has two quads of columns and four rows. Where there are few columns, a tile is higher instead.
        let across = quads.div_ceil(2).next_power_of_two().clamp(2, 8);
        let tile_rows = LANES as usize / across * 4;
        let tiles = (count * height * width).div_ceil(tile_rows) * quads.div_ceil(2 * across);
        let depth = taps * spec.inputs.div_ceil(4);
        Self { operation, depth, across, channels, lanes: tiles * LANES as usize }
    }
}

//! Each WGSL program of a layer against the reference implementation.

use burn::module::{Module, ModuleMapper, Param};
use burn::tensor::{DType, Device, Tensor, TensorData};
use kiln_kernels::layers::{self, Activation, Conv, ConvSpec, Geometry, InvertedBottleneck, Pooling};
use kiln_kernels::{Kernels, Tiles};

use crate::vulkan;

/// Returns numbers in -1..=1 without a pattern of any size used here.
fn numbers(count: usize, seed: usize) -> Vec<f32> {
    (0..count).map(|i| ((i * 7919 + seed * 104_729) % 2003) as f32 / 1001.0 - 1.0).collect()
}

fn tensor(shape: [usize; 4], seed: usize, device: &Device) -> Tensor<4> {
    Tensor::from_data(TensorData::new(numbers(shape.iter().product(), seed), shape), (device, DType::F32))
}

/// Fills the weights of a layer, which are zero after its creation.
struct Fill(usize);

impl ModuleMapper for Fill {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        self.0 += 1;
        let tensor = param.val();
        let shape: [usize; D] = tensor.dims();
        let data = TensorData::new(numbers(shape.iter().product(), self.0), shape);
        Param::from_tensor(Tensor::from_data(data, (&tensor.device(), DType::F32)))
    }
}

fn values(tensor: Tensor<4>) -> Vec<f32> {
    tensor.cast(DType::F32).into_data().try_into_vec().unwrap()
}

/// Compares both kinds of tiles with the reference implementation, in f32, and in f16 if the device supports it.
fn assert_matches_reference(what: &str, device: &Device, run: impl Fn(DType) -> Tensor<4>) {
    let stock = Kernels::Stock.scope(|| run(DType::F32));
    let shape = stock.dims();
    let expected = values(stock);
    let scale = expected.iter().fold(1.0_f32, |most, value| most.max(value.abs()));
    for tiles in [Tiles::Workgroup, Tiles::Registers] {
        for (dtype, tolerance) in [(DType::F32, 1e-5), (DType::F16, 4e-3)] {
            if !device.supports_dtype(dtype) {
                eprintln!("SKIPPED: this device does not support {dtype:?}");
                continue;
            }
            let ours = Kernels::Fused(tiles).scope(|| run(dtype));
            assert_eq!((ours.dims(), ours.dtype()), (shape, dtype), "{what}");
            for (index, (ours, expected)) in values(ours).iter().zip(&expected).enumerate() {
                let difference = (ours - expected).abs() / scale;
                assert!(difference < tolerance, "{what}, {tiles:?}, {dtype:?}: {index} is {ours}, not {expected}");
            }
        }
    }
}

fn square(side: usize, stride: usize, before: usize, after: usize) -> Geometry {
    Geometry { kernel: [side; 2], stride: [stride; 2], before: [before; 2], after: [after; 2] }
}

fn spec(inputs: usize, outputs: usize, geometry: Geometry, depthwise: bool, activation: Activation) -> ConvSpec {
    ConvSpec { inputs, outputs, geometry, depthwise, activation }
}

const RELU6: Activation = Activation::Clamp { low: 0.0, high: 6.0 };

#[test]
fn convolution_programs_match_reference() {
    let Some(device) = vulkan::device() else { return };
    let asymmetric = Geometry { kernel: [3, 2], stride: [2, 1], before: [1, 0], after: [0, 1] };
    // Few and many channels, sizes that end within a tile, and padding on either side.
    let specs = [
        spec(16, 8, Geometry::POINTWISE, false, Activation::Identity),
        spec(20, 132, Geometry::POINTWISE, false, RELU6),
        spec(64, 24, Geometry::POINTWISE, false, Activation::HardSwish),
        spec(7, 10, Geometry::POINTWISE, false, Activation::HardSigmoid { alpha: 0.2, beta: 0.5 }),
        spec(3, 32, square(3, 2, 0, 1), false, RELU6),
        spec(8, 12, square(3, 1, 1, 1), false, Activation::RELU),
        spec(8, 30, asymmetric, false, Activation::Identity),
        spec(6, 16, square(7, 2, 3, 3), false, Activation::RELU),
        spec(8, 8, square(3, 1, 1, 1), true, RELU6),
        spec(36, 36, square(5, 2, 1, 2), true, RELU6),
        spec(12, 12, square(7, 1, 3, 3), true, Activation::HardSwish),
        spec(10, 10, square(3, 1, 1, 1), true, RELU6),
    ];
    for (seed, spec) in specs.into_iter().enumerate() {
        for shape in [[1, 9, 13, spec.inputs], [3, 17, 10, spec.inputs]] {
            let input = tensor(shape, seed, &device);
            assert_matches_reference(&format!("{spec:?} on {shape:?}"), &device, |dtype| {
                // A layer packs its weights for one type only.
                let conv = Conv::new(spec, &device).map(&mut Fill(seed));
                conv.forward(input.clone().cast(dtype), None)
            });
        }
    }
}

#[test]
fn residual_is_added_before_activation() {
    let Some(device) = vulkan::device() else { return };
    for spec in [
        spec(24, 16, Geometry::POINTWISE, false, RELU6),
        spec(4, 8, square(3, 1, 1, 1), false, Activation::HardSwish),
        spec(4, 6, square(3, 1, 1, 1), false, RELU6),
    ] {
        let input = tensor([2, 7, 6, spec.inputs], 1, &device);
        let residual = tensor([2, 7, 6, spec.outputs], 2, &device);
        assert_matches_reference(&format!("{spec:?}"), &device, |dtype| {
            let conv = Conv::new(spec, &device).map(&mut Fill(3));
            conv.forward(input.clone().cast(dtype), Some(residual.clone().cast(dtype)))
        });
    }
}

#[test]
fn inverted_bottleneck_matches_reference() {
    let Some(device) = vulkan::device() else { return };
    let (first, depthwise, last) = (
        spec(8, 24, Geometry::POINTWISE, false, RELU6),
        spec(24, 24, square(3, 1, 1, 1), true, RELU6),
        spec(24, 8, Geometry::POINTWISE, false, Activation::Identity),
    );
    let input = tensor([2, 6, 9, 8], 5, &device);
    assert_matches_reference("inverted bottleneck", &device, |dtype| {
        let bottleneck = InvertedBottleneck::new(first, depthwise, last, &device).map(&mut Fill(1));
        let input = input.clone().cast(dtype);
        bottleneck.forward(input.clone(), Some(input))
    });
}

#[test]
fn pooling_program_matches_reference() {
    let Some(device) = vulkan::device() else { return };
    for channels in [8, 10] {
        let input = tensor([2, 9, 7, channels], 4, &device);
        for pooling in [Pooling::Max, Pooling::Average, Pooling::AverageWithPadding] {
            for geometry in [square(3, 2, 1, 1), square(2, 1, 0, 1)] {
                assert_matches_reference(&format!("{pooling:?} of {channels}, {geometry:?}"), &device, |dtype| {
                    layers::pool(input.clone().cast(dtype), pooling, geometry)
                });
            }
        }
        assert_matches_reference("global", &device, |dtype| layers::global_average_pool(input.clone().cast(dtype)));
    }
}

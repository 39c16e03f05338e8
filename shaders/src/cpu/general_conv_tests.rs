//! Compares convolutions with groups and dilation, on every instruction set of this machine, with their definition.

use super::tests::{RELU6, activate, assert_close_within, values};
use super::winograd::Winograd;
use super::*;

/// Computes a convolution with groups and dilation, tap by tap.
fn general_conv(
    spec: &GeneralConvSpec,
    shape: [usize; 4],
    [input, weight, bias]: [&[f32]; 3],
    residual: Option<&[f32]>,
) -> Vec<f32> {
    let Geometry { kernel, stride, before, .. } = spec.geometry;
    let [_, height, width, inputs] = shape;
    let [count, out_height, out_width, outputs] = spec.output_shape(shape);
    let (group_inputs, group_outputs) = (inputs / spec.groups, outputs / spec.groups);
    let mut output = Vec::new();
    for index in 0..count * out_height * out_width * outputs {
        let (channel, pixel) = (index % outputs, index / outputs);
        let [image, y, x] = [pixel / out_width / out_height, pixel / out_width % out_height, pixel % out_width];
        let mut sum = bias[channel] + residual.map_or(0.0, |values| values[index]);
        for (ky, kx) in (0..kernel[0]).flat_map(|ky| (0..kernel[1]).map(move |kx| (ky, kx))) {
            let iy = (y * stride[0] + ky * spec.dilation[0]).wrapping_sub(before[0]);
            let ix = (x * stride[1] + kx * spec.dilation[1]).wrapping_sub(before[1]);
            if iy < height && ix < width {
                for c in 0..group_inputs {
                    let from =
                        ((image * height + iy) * width + ix) * inputs + channel / group_outputs * group_inputs + c;
                    sum += input[from] * weight[((channel * group_inputs + c) * kernel[0] + ky) * kernel[1] + kx];
                }
            }
        }
        output.push(activate(spec.activation, sum));
    }
    output
}

#[test]
fn general_convolution_matches_definition() {
    let window = |kernel: [usize; 2], stride: [usize; 2], before: [usize; 2], after: [usize; 2]| Geometry {
        kernel,
        stride,
        before,
        after,
    };
    let three = window([3, 3], [1, 1], [1, 1], [1, 1]);
    for (inputs, outputs, groups, geometry, dilation, size) in [
        // Groups: fewer channels than a vector, as many, more, and odd numbers.
        (32, 32, 8, three, [1, 1], [9, 7]),
        (32, 64, 4, window([3, 3], [2, 2], [1, 1], [1, 1]), [1, 1], [10, 9]),
        (30, 18, 6, three, [1, 1], [5, 6]),
        (20, 70, 2, window([1, 1], [1, 1], [0, 0], [0, 0]), [1, 1], [5, 6]),
        (16, 16, 2, window([5, 2], [1, 2], [2, 0], [2, 1]), [1, 1], [8, 9]),
        (64, 64, 4, three, [1, 1], [60, 60]),
        // Groups that fill vectors, or four of whose channels share one.
        (64, 64, 16, three, [1, 1], [9, 7]),
        (64, 64, 16, window([5, 3], [2, 2], [2, 1], [2, 1]), [1, 1], [11, 10]),
        (48, 48, 6, window([3, 3], [2, 1], [2, 2], [2, 2]), [2, 2], [9, 8]),
        (96, 96, 3, three, [1, 1], [7, 7]),
        // Dilation, without and with groups.
        (5, 9, 1, window([3, 3], [1, 1], [2, 2], [2, 2]), [2, 2], [8, 9]),
        (6, 8, 2, window([3, 2], [2, 1], [3, 1], [3, 3]), [3, 1], [9, 8]),
        (8, 24, 2, window([3, 3], [2, 2], [2, 3], [2, 3]), [2, 3], [13, 11]),
        // Depthwise: other windows, dilation, multipliers.
        (20, 20, 20, window([9, 9], [1, 1], [4, 4], [4, 4]), [1, 1], [12, 10]),
        (40, 40, 40, window([1, 7], [1, 1], [0, 3], [0, 3]), [1, 1], [6, 8]),
        (33, 33, 33, window([3, 3], [4, 4], [1, 1], [1, 1]), [1, 1], [9, 13]),
        (70, 70, 70, window([3, 3], [1, 1], [2, 2], [2, 2]), [2, 2], [9, 8]),
        (5, 15, 5, three, [1, 1], [6, 5]),
        (24, 48, 24, window([3, 3], [2, 2], [1, 1], [1, 1]), [1, 1], [8, 9]),
        (4, 12, 4, window([3, 3], [3, 3], [1, 1], [1, 1]), [1, 1], [12, 12]),
        // Fused convolutions.
        (9, 20, 1, three, [1, 1], [6, 5]),
        (24, 24, 24, three, [1, 1], [6, 5]),
    ] {
        compare([inputs, outputs, groups], geometry, dilation, size, 1e-4);
    }
}

#[test]
fn convolution_by_winograds_algorithm_matches_definition() {
    // Whole tiles, parts of tiles, several blocks; channels of whole vectors and of narrow ones; padding on one side.
    for (inputs, outputs, before, after, size) in [
        (32, 64, [1, 1], [1, 1], [12, 12]),
        (72, 40, [1, 1], [1, 1], [13, 18]),
        (32, 32, [0, 2], [1, 0], [11, 14]),
        (40, 32, [0, 0], [0, 0], [39, 41]),
    ] {
        let geometry = Geometry { kernel: [3, 3], stride: [1, 1], before, after };
        let spec = ConvSpec { inputs, outputs, geometry, depthwise: false, activation: Activation::Identity };
        assert!(Winograd::is_faster(&spec, geometry.output_size(size)), "{spec:?} is summed directly");
        // The sums reach 30: the tolerance is some 1e-5 of them.
        compare([inputs, outputs, 1], geometry, [1, 1], size, 5e-4);
    }
}

#[test]
fn image_gives_the_same_values_in_every_batch_and_with_every_number_of_threads() {
    let geometry = Geometry { kernel: [3, 3], stride: [1, 1], before: [1, 1], after: [1, 1] };
    let spec = ConvSpec { inputs: 32, outputs: 40, geometry, depthwise: false, activation: RELU6 };
    let (weight, bias) = (values(40 * 32 * 9, 2), values(40, 3));
    // Winograd's algorithm, and sums whose columns two threads share if there is one image.
    for [height, width] in [[13, 14], [7, 6]] {
        let (input, length) = (values(3 * height * width * 32, 1), height * width * 40);
        for isa in Isa::available() {
            let packed = PackedConv::pack(isa, spec, &weight, &bias);
            let run = |input: &[f32], count: usize, threads: usize| {
                let mut output = vec![0.0; count * length];
                let batch = NhwcBatch::new(input, [count, height, width, 32]);
                packed.run(&Context::new(isa, threads), batch, None, &mut output);
                output
            };
            let all = run(&input, 3, 1);
            assert!(all == run(&input, 3, 2), "{isa}: two threads");
            for (index, image) in input.chunks_exact(height * width * 32).enumerate() {
                let own = &all[index * length..][..length];
                assert!(own == run(image, 1, 1) && own == run(image, 1, 2), "{isa}: image {index} alone");
            }
        }
    }
}

/// Compares a convolution with its definition, on every instruction set, with and without a residual.
fn compare(
    [inputs, outputs, groups]: [usize; 3],
    geometry: Geometry,
    dilation: [usize; 2],
    size: [usize; 2],
    tolerance: f32,
) {
    for activation in [RELU6, Activation::Swish] {
        let spec = GeneralConvSpec { inputs, outputs, groups, geometry, dilation, activation };
        let shape = [2, size[0], size[1], inputs];
        let depth = inputs / groups * geometry.kernel[0] * geometry.kernel[1];
        let (input, weight, bias) = (values(shape.iter().product(), 1), values(outputs * depth, 2), values(outputs, 3));
        let length = spec.output_shape(shape).iter().product();
        let residual = values(length, 4);
        for residual in [None, Some(&residual[..])] {
            let expected = general_conv(&spec, shape, [&input, &weight, &bias], residual);
            for isa in Isa::available().into_iter().chain(Isa::bf16()) {
                for threads in [1, 2] {
                    let packed = PackedGeneralConv::pack(isa, spec, &weight, &bias);
                    let mut output = vec![77.0; length + 64];
                    let batch = NhwcBatch::new(&input, shape);
                    packed.run(&Context::new(isa, threads), batch, residual, &mut output[..length]);
                    assert!(output[length..].iter().all(|mark| *mark == 77.0), "{isa} writes beyond the end");
                    assert_close_within(tolerance, &output[..length], &expected, &format!("{isa} {spec:?}"));
                }
            }
        }
    }
}

//! Compares convolutions with groups and dilation, on every instruction set of this machine, with their definition.

use super::tests::{RELU6, activate, assert_close, values};
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
        // Fused convolutions.
        (9, 20, 1, three, [1, 1], [6, 5]),
        (24, 24, 24, three, [1, 1], [6, 5]),
    ] {
        for activation in [RELU6, Activation::Swish] {
            let spec = GeneralConvSpec { inputs, outputs, groups, geometry, dilation, activation };
            let shape = [2, size[0], size[1], inputs];
            let depth = inputs / groups * geometry.kernel[0] * geometry.kernel[1];
            let (input, weight, bias) =
                (values(shape.iter().product(), 1), values(outputs * depth, 2), values(outputs, 3));
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
                        assert_close(&output[..length], &expected, &format!("{isa} {spec:?}"));
                    }
                }
            }
        }
    }
}

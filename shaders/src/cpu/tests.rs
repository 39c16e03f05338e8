//! Compares every kernel, on every instruction set of this machine, with a direct implementation of its definition.

use super::*;

/// Returns pseudo-random values in -1..1 that bfloat16 represents exactly.
pub(super) fn values(count: usize, seed: u32) -> Vec<f32> {
    let mut state = seed.wrapping_mul(2_654_435_761).wrapping_add(12_345);
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let value = (state >> 8) as f32 / (1 << 23) as f32 - 1.0;
        f32::from_bits(value.to_bits() & 0xffff_0000)
    };
    (0..count).map(|_| next()).collect()
}

pub(super) fn activate(activation: Activation, x: f32) -> f32 {
    activation.function().map_or(x, |function| function.of(x))
}

/// One convolution with its input and weights.
struct Case {
    spec: ConvSpec,
    shape: [usize; 4],
    input: Vec<f32>,
    weight: Vec<f32>,
    bias: Vec<f32>,
}

impl Case {
    fn new(spec: ConvSpec, [count, height, width]: [usize; 3]) -> Self {
        let depth = spec.geometry.kernel[0] * spec.geometry.kernel[1] * if spec.depthwise { 1 } else { spec.inputs };
        let shape = [count, height, width, spec.inputs];
        Self {
            spec,
            shape,
            input: values(shape.iter().product(), 1),
            weight: values(spec.outputs * depth, 2),
            bias: values(spec.outputs, 3),
        }
    }

    fn packed(&self, isa: Isa) -> PackedConv {
        PackedConv::pack(isa, self.spec, &self.weight, &self.bias)
    }

    /// Computes `activation(sum of input times weight + bias + residual)`, tap by tap.
    fn expected(&self, input: &[f32], shape: [usize; 4], residual: Option<&[f32]>) -> Vec<f32> {
        let ConvSpec { inputs, outputs, geometry: Geometry { kernel, stride, before, .. }, .. } = self.spec;
        let [count, height, width, _] = shape;
        let size = self.spec.geometry.output_size([height, width]);
        let mut output = Vec::new();
        for (image, y, x) in
            (0..count).flat_map(|p| (0..size[0]).flat_map(move |y| (0..size[1]).map(move |x| (p, y, x))))
        {
            for channel in 0..outputs {
                let mut sum = self.bias[channel];
                let seen = if self.spec.depthwise { channel..channel + 1 } else { 0..inputs };
                for (ky, kx) in (0..kernel[0]).flat_map(|ky| (0..kernel[1]).map(move |kx| (ky, kx))) {
                    let at = [y * stride[0] + ky, x * stride[1] + kx];
                    let (Some(iy), Some(ix)) = (at[0].checked_sub(before[0]), at[1].checked_sub(before[1])) else {
                        continue;
                    };
                    if iy >= height || ix >= width {
                        continue;
                    }
                    for (index, c) in seen.clone().enumerate() {
                        let weight = ((channel * seen.len() + index) * kernel[0] + ky) * kernel[1] + kx;
                        sum += input[((image * height + iy) * width + ix) * inputs + c] * self.weight[weight];
                    }
                }
                sum += residual.map_or(0.0, |values| values[output.len()]);
                output.push(activate(self.spec.activation, sum));
            }
        }
        output
    }
}

pub(super) fn assert_close(ours: &[f32], expected: &[f32], what: &str) {
    assert_close_within(1e-4, ours, expected, what);
}

pub(super) fn assert_close_within(tolerance: f32, ours: &[f32], expected: &[f32], what: &str) {
    assert_eq!(ours.len(), expected.len(), "{what}");
    for (index, (a, b)) in ours.iter().zip(expected).enumerate() {
        assert!((a - b).abs() < tolerance * b.abs().max(1.0), "{what}: value {index} is {a}, not {b}");
    }
}

fn dense(inputs: usize, outputs: usize, geometry: Geometry, activation: Activation) -> ConvSpec {
    ConvSpec { inputs, outputs, geometry, depthwise: false, activation }
}

fn depthwise(channels: usize, side: usize, stride: usize, before: usize, after: usize) -> ConvSpec {
    let geometry = Geometry { kernel: [side; 2], stride: [stride; 2], before: [before; 2], after: [after; 2] };
    ConvSpec { inputs: channels, outputs: channels, geometry, depthwise: true, activation: RELU6 }
}

/// A context with several threads, whatever the machine has.
fn context() -> Context {
    Context::new(Isa::best(), 3)
}

pub(super) const RELU6: Activation = Activation::Clamp { low: 0.0, high: 6.0 };

fn check(case: &Case, with_residual: bool) {
    let shape = case.packed(Isa::best()).output_shape(case.shape);
    let residual = with_residual.then(|| values(shape.iter().product(), 4));
    let expected = case.expected(&case.input, case.shape, residual.as_deref());
    for isa in Isa::available().into_iter().chain(Isa::bf16()) {
        // Marks follow the output, to detect a write beyond its end.
        let length = expected.len();
        let mut output = vec![77.0; length + 64];
        case.packed(isa).run(
            &context(),
            NhwcBatch::new(&case.input, case.shape),
            residual.as_deref(),
            &mut output[..length],
        );
        assert!(output[length..].iter().all(|mark| *mark == 77.0), "{isa} writes beyond the end");
        assert_close(&output[..length], &expected, &format!("{isa} {:?}", case.spec));
    }
}

#[test]
fn dense_convolution_matches_definition() {
    let odd = Geometry { kernel: [3, 2], stride: [2, 1], before: [0, 1], after: [1, 0] };
    let square = |side: usize, stride: usize| Geometry {
        kernel: [side; 2],
        stride: [stride; 2],
        before: [side / 2; 2],
        after: [side / 2; 2],
    };
    for activation in
        [RELU6, Activation::RELU, Activation::HardSwish, Activation::HardSigmoid { alpha: 0.2, beta: 0.5 }]
    {
        check(&Case::new(dense(5, 24, Geometry::POINTWISE, activation), [2, 5, 7]), true);
    }
    for outputs in [1, 7, 16, 40, 48, 100] {
        check(&Case::new(dense(9, outputs, Geometry::POINTWISE, Activation::Identity), [1, 3, 11]), true);
        check(&Case::new(dense(3, outputs, square(3, 2), RELU6), [2, 9, 10]), false);
    }
    check(&Case::new(dense(4, 20, odd, Activation::Identity), [2, 6, 5]), true);
    check(&Case::new(dense(6, 33, square(7, 2), Activation::RELU), [1, 15, 13]), false);
    check(&Case::new(dense(64, 10, Geometry::POINTWISE, Activation::Identity), [3, 1, 1]), false);
    // Channels in multiples of 8, which use bfloat16 products; and more pixels than one block.
    check(&Case::new(dense(24, 40, Geometry::POINTWISE, RELU6), [2, 5, 7]), true);
    check(&Case::new(dense(40, 56, square(3, 2), Activation::Identity), [2, 9, 10]), false);
    check(&Case::new(dense(1024, 20, Geometry::POINTWISE, Activation::Identity), [1, 7, 9]), false);
}

#[test]
fn second_pass_activations_match_definition() {
    for activation in [
        Activation::LeakyRelu { slope: 0.1 },
        Activation::Sigmoid,
        Activation::Tanh,
        Activation::Swish,
        Activation::Gelu,
        Activation::GeluTanh,
    ] {
        for outputs in [3, 24, 41] {
            check(&Case::new(dense(5, outputs, Geometry::POINTWISE, activation), [2, 5, 7]), true);
        }
        let square = Geometry { kernel: [3; 2], stride: [2; 2], before: [1; 2], after: [1; 2] };
        check(&Case::new(dense(3, 40, square, activation), [2, 9, 10]), false);
        for channels in [5, 24, 43] {
            check(&Case::new(ConvSpec { activation, ..depthwise(channels, 3, 1, 1, 1) }, [2, 6, 9]), false);
        }
    }
}

#[test]
fn depthwise_convolution_matches_definition() {
    for channels in [1, 3, 8, 17, 40, 144] {
        check(&Case::new(depthwise(channels, 3, 1, 1, 1), [2, 6, 9]), false);
        check(&Case::new(depthwise(channels, 3, 2, 0, 1), [1, 8, 10]), false);
    }
    check(&Case::new(depthwise(24, 5, 1, 2, 2), [2, 7, 7]), false);
    check(&Case::new(depthwise(24, 5, 2, 1, 2), [1, 14, 16]), false);
    check(&Case::new(depthwise(20, 7, 1, 3, 3), [1, 9, 20]), false);
    check(&Case::new(depthwise(20, 7, 2, 3, 3), [1, 9, 20]), false);
}

#[test]
fn inverted_bottleneck_matches_its_three_convolutions() {
    for (side, stride, size, count) in
        [(3, 1, [9, 8], 2), (3, 2, [56, 40], 1), (5, 1, [60, 31], 1), (5, 2, [14, 14], 3)]
    {
        let (before, after) = if stride == 1 { (side / 2, side / 2) } else { ((side - 2) / 2, (side - 1) / 2) };
        let first = Case::new(dense(8, 40, Geometry::POINTWISE, RELU6), [count, size[0], size[1]]);
        let middle = Case::new(depthwise(40, side, stride, before, after), [count, size[0], size[1]]);
        let [_, height, width, _] = middle.packed(Isa::best()).output_shape(middle.shape);
        let last = Case::new(dense(40, 9, Geometry::POINTWISE, Activation::Identity), [count, height, width]);
        let residual = values(count * height * width * 9, 5);
        let wide = first.expected(&first.input, first.shape, None);
        let narrow = middle.expected(&wide, middle.shape, None);
        let expected = last.expected(&narrow, last.shape, Some(&residual));
        for isa in Isa::available() {
            let [a, b, c] = [&first, &middle, &last].map(|case| case.packed(isa));
            let bottleneck = InvertedBottleneck { first: &a, depthwise: &b, last: Some(&c) };
            let mut output = vec![0.0; expected.len()];
            bottleneck.run(&context(), NhwcBatch::new(&first.input, first.shape), Some(&residual), &mut output);
            assert_close(&output, &expected, &format!("{isa}, side {side}, stride {stride}"));
            let mut output = vec![0.0; narrow.len()];
            let bottleneck = InvertedBottleneck { last: None, ..bottleneck };
            bottleneck.run(&context(), NhwcBatch::new(&first.input, first.shape), None, &mut output);
            assert_close(&output, &narrow, &format!("{isa}, side {side}, stride {stride}, without the last"));
        }
        // bfloat16 rounds the values in between, so the expected result is that of the three convolutions one by one.
        if let Some(isa) = Isa::bf16() {
            let [a, b, c] = [&first, &middle, &last].map(|case| case.packed(isa));
            let [mut wide, mut narrow] = [vec![0.0; wide.len()], vec![0.0; narrow.len()]];
            let (mut expected, mut output) = (vec![0.0; expected.len()], vec![0.0; expected.len()]);
            a.run(&context(), NhwcBatch::new(&first.input, first.shape), None, &mut wide);
            b.run(&context(), NhwcBatch::new(&wide, middle.shape), None, &mut narrow);
            c.run(&context(), NhwcBatch::new(&narrow, last.shape), Some(&residual), &mut expected);
            let bottleneck = InvertedBottleneck { first: &a, depthwise: &b, last: Some(&c) };
            bottleneck.run(&context(), NhwcBatch::new(&first.input, first.shape), Some(&residual), &mut output);
            assert_close(&output, &expected, &format!("{isa}, side {side}, stride {stride}"));
        }
    }
}

#[test]
fn pooling_and_scaling_match_definition() {
    let geometry = Geometry { kernel: [3, 2], stride: [2, 2], before: [1, 0], after: [1, 1] };
    let (shape, channels) = ([2, 6, 7, 19], 19);
    let input = values(shape.iter().product(), 6);
    let size = geometry.output_size([6, 7]);
    for pooling in [Pooling::Max, Pooling::Average, Pooling::AverageWithPadding] {
        let mut expected = Vec::new();
        for (image, y, x) in (0..2).flat_map(|p| (0..size[0]).flat_map(move |y| (0..size[1]).map(move |x| (p, y, x)))) {
            for channel in 0..channels {
                let rows = (y * 2).saturating_sub(1)..(y * 2 + 2).min(6);
                let seen: Vec<f32> = rows
                    .flat_map(|iy| (x * 2..(x * 2 + 2).min(7)).map(move |ix| (iy, ix)))
                    .map(|(iy, ix)| input[((image * 6 + iy) * 7 + ix) * channels + channel])
                    .collect();
                let sum: f32 = seen.iter().sum();
                expected.push(match pooling {
                    Pooling::Max => seen.iter().copied().fold(f32::NEG_INFINITY, f32::max),
                    Pooling::Average => sum / seen.len() as f32,
                    Pooling::AverageWithPadding => sum / 6.0,
                });
            }
        }
        let mut output = vec![0.0; expected.len()];
        pool(&context(), pooling, &geometry, NhwcBatch::new(&input, shape), &mut output);
        assert_close(&output, &expected, &format!("{pooling:?}"));
    }
    let gate = values(2 * channels, 7);
    let expected: Vec<f32> =
        input.iter().enumerate().map(|(i, x)| x * gate[i / (6 * 7 * channels) * channels + i % channels]).collect();
    let mut output = vec![0.0; input.len()];
    scale(NhwcBatch::new(&input, shape), &gate, &mut output);
    assert_close(&output, &expected, "scale");
}

#[test]
fn nan_stays_nan_in_its_own_pixel() {
    for isa in Isa::available() {
        let mut case = Case::new(dense(4, 20, Geometry::POINTWISE, RELU6), [1, 1, 3]);
        case.input[5] = f32::NAN;
        let mut output = vec![0.0; 60];
        case.packed(isa).run(&context(), NhwcBatch::new(&case.input, case.shape), None, &mut output);
        assert!(output[20..40].iter().all(|value| value.is_nan()), "{isa} loses the NaN");
        assert!(output[..20].iter().all(|value| value.is_finite()), "{isa} spreads the NaN");
    }
}

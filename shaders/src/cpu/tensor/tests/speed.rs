//! Times of the operations, for sizes of usual classifiers:
//! `cargo test --release speed -- --ignored --nocapture --test-threads 1`

use std::hint::black_box;
use std::time::{Duration, Instant};

use super::*;

/// Returns the shortest of some runs.
fn shortest(mut run: impl FnMut()) -> Duration {
    let time = |_| {
        let start = Instant::now();
        run();
        start.elapsed()
    };
    (0..15).map(time).min().unwrap()
}

/// Prints the times of `naive` and of `ours` with one and two threads.
fn report(what: &str, length: usize, naive: impl Fn(&mut [f32]), ours: impl Fn(&Context, &mut [f32])) {
    let mut output = vec![0.0; length];
    let naive = shortest(|| naive(black_box(&mut output)));
    let [one, two] = [1, 2].map(|threads| {
        let context = Context::new(Isa::best(), threads);
        shortest(|| ours(&context, black_box(&mut output)))
    });
    eprintln!("{what:60} naive {naive:10.1?}   1 thread {one:10.1?}   2 threads {two:10.1?}");
}

#[test]
#[ignore = "measures times"]
fn speed() {
    let (rows, width) = (197 * 4, 768);
    let count = rows * width;
    let (a, b) = (values(count, 1), values(count, 2));
    let map = |output: &mut [f32], f: fn(f32) -> f32| output.iter_mut().zip(&a).for_each(|(o, x)| *o = f(*x));
    let one = |f: Unary| move |context: &Context, output: &mut [f32], a: &[f32]| unary(context, f, a, output);
    for (function, naive) in [
        (Unary::Exp, f32::exp as fn(f32) -> f32),
        (Unary::Sigmoid, |x| 1.0 / (1.0 + (-x).exp())),
        (Unary::Tanh, f32::tanh),
        (Unary::Swish { alpha: 1.0 }, |x| x / (1.0 + (-x).exp())),
        (Unary::Gelu, |x| 0.5 * x * (1.0 + (x * 0.797_884_6 * (1.0 + 0.044_715 * x * x)).tanh())),
        (Unary::Mish, |x| x * x.exp().ln_1p().tanh()),
        (Unary::Erf, f32::tanh),
        (Unary::HardSwish, |x| x * (x / 6.0 + 0.5).clamp(0.0, 1.0)),
        (Unary::Round, f32::round_ties_even),
        (Unary::Log, f32::ln),
    ] {
        report(&format!("{function:?}"), count, |o| map(o, naive), |c, o| one(function)(c, o, &a));
    }
    let row = &b[..width];
    report(
        "Add, same shape",
        count,
        |o| (0..count).for_each(|i| o[i] = a[i] + b[i]),
        |c, o| binary(c, Binary::Add, &a, &[rows, width], &b, &[rows, width], o, &[rows, width]),
    );
    report(
        "Mul, row",
        count,
        |o| (0..count).for_each(|i| o[i] = a[i] * row[i % width]),
        |c, o| binary(c, Binary::Mul, &a, &[rows, width], row, &[1, width], o, &[rows, width]),
    );
    report(
        "Sub, column",
        count,
        |o| (0..count).for_each(|i| o[i] = a[i] - b[i / width]),
        |c, o| binary(c, Binary::Sub, &a, &[rows, width], &b[..rows], &[rows, 1], o, &[rows, width]),
    );
    report(
        "affine with Clamp",
        count,
        |o| (0..count).for_each(|i| o[i] = (a[i] * row[i % width] + row[i % width]).max(0.0)),
        |c, o| affine(c, &a, row, row, Some(Unary::Clamp { low: 0.0, high: f32::INFINITY }), o),
    );
    let layer_norm_naive = |o: &mut [f32]| {
        for (o, x) in o.chunks_exact_mut(width).zip(a.chunks_exact(width)) {
            let mean = x.iter().sum::<f32>() / width as f32;
            let variance = x.iter().map(|x| (x - mean).powi(2)).sum::<f32>() / width as f32;
            (0..width).for_each(|i| o[i] = (x[i] - mean) / (variance + 1e-5).sqrt() * row[i] + row[i]);
        }
    };
    report("layer_norm 788 x 768", count, layer_norm_naive, |c, o| layer_norm(c, &a, width, 1e-5, row, row, o));
    let softmax_naive = |o: &mut [f32]| {
        for (o, x) in o.chunks_exact_mut(width).zip(a.chunks_exact(width)) {
            let most = x.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            o.iter_mut().zip(x).for_each(|(o, x)| *o = (x - most).exp());
            let sum = o.iter().sum::<f32>();
            o.iter_mut().for_each(|o| *o /= sum);
        }
    };
    report("softmax 788 x 768", count, softmax_naive, |c, o| softmax(c, &a, rows, width, 1, false, o));
    let softmax_197 = |c: &Context, o: &mut [f32]| softmax(c, &a[..197 * 3072], 3072, 197, 1, false, o);
    report("softmax 3072 x 197", 197 * 3072, |_| (), softmax_197);
    report("softmax over columns, 788 x 768", count, |_| (), |c, o| softmax(c, &a, 1, rows, width, false, o));
    let sum_rows =
        |o: &mut [f32]| o.iter_mut().zip(a.chunks_exact(width)).for_each(|(o, x)| *o = x.iter().sum::<f32>());
    report("reduce, last axis", rows, sum_rows, |c, o| reduce(c, Reduction::Sum, &a, &[rows, width], &[1], o));
    let sum_columns = |o: &mut [f32]| (0..width).for_each(|i| o[i] = (0..rows).map(|r| a[r * width + i]).sum());
    report("reduce, first axis", width, sum_columns, |c, o| reduce(c, Reduction::Sum, &a, &[rows, width], &[0], o));
    let transposed = |o: &mut [f32]| (0..count).for_each(|i| o[i] = a[i % rows * width + i / rows]);
    report("permute [1, 0]", count, transposed, |c, o| permute(c, &a, &[rows, width], &[1, 0], o));
    let heads = [4, 197, 12, 64];
    let swapped = |o: &mut [f32]| {
        for (i, o) in o.iter_mut().enumerate() {
            let [d, t, h, n] = [i % 64, i / 64 % 197, i / 64 / 197 % 12, i / 64 / 197 / 12];
            *o = a[((n * 197 + t) * 12 + h) * 64 + d];
        }
    };
    report("permute [0, 2, 1, 3]", count, swapped, |c, o| permute(c, &a, &heads, &[0, 2, 1, 3], o));
    report("permute [0, 2, 3, 1]", count, |_| (), |c, o| permute(c, &a, &heads, &[0, 2, 3, 1], o));
    report(
        "concat of 384 and 384",
        count,
        |_| (),
        |c, o| concat(c, &[(&a[..count / 2], 384), (&b[..count / 2], 384)], rows, 1, o),
    );
    for (what, items, [m, k, n], transposed) in [
        ("ViT-B, Q times K", 12, [197, 64, 197], true),
        ("ViT-B, A times V", 12, [197, 197, 64], false),
        ("Swin, Q times K", 192, [49, 32, 49], true),
        ("Swin, A times V", 192, [49, 49, 32], false),
        ("197 x 768 x 768", 1, [197, 768, 768], false),
        ("1 x 1024 x 1000", 1, [1, 1024, 1000], false),
    ] {
        let (x, y) = (values(items * m * k, 3), values(items * k * n, 4));
        let naive = |o: &mut [f32]| {
            o.fill(0.0);
            for item in 0..items {
                for (row, column) in (0..m).flat_map(|row| (0..k).map(move |column| (row, column))) {
                    let value = x[(item * m + row) * k + column];
                    let o = &mut o[(item * m + row) * n..][..n];
                    if transposed {
                        (0..n).for_each(|i| o[i] += value * y[(item * n + i) * k + column]);
                    } else {
                        (0..n).for_each(|i| o[i] += value * y[(item * k + column) * n + i]);
                    }
                }
            }
        };
        report(&format!("{what}: {} MFLOP", 2 * items * m * k * n / 1_000_000), items * m * n, naive, |c, o| {
            matmul(c, &x, &[items], &y, &[items], MatmulSize { m, k, n }, transposed, o);
        });
    }
}

#[test]
#[ignore = "measures times"]
fn speed_of_convolutions() {
    use crate::cpu::{Activation, GeneralConvSpec, Geometry, NhwcBatch, PackedGeneralConv};
    let square = |side: usize, stride: usize| Geometry {
        kernel: [side; 2],
        stride: [stride; 2],
        before: [side / 2; 2],
        after: [side / 2; 2],
    };
    for (what, size, inputs, outputs, groups, geometry, dilation) in [
        ("pointwise 56 x 56 x 64 to 128", 56, 64, 128, 1, square(1, 1), 1),
        ("pointwise 14 x 14 x 384 to 384", 14, 384, 384, 1, square(1, 1), 1),
        ("stem 224 x 224 x 3 to 32", 224, 3, 32, 1, square(3, 2), 1),
        ("depthwise 3 x 3, 56 x 56 x 144", 56, 144, 144, 144, square(3, 1), 1),
        ("depthwise 7 x 7, 56 x 56 x 96", 56, 96, 96, 96, square(7, 1), 1),
        ("depthwise 7 x 7 by taps (stride 3), 56 x 56 x 96", 56, 96, 96, 96, square(7, 3), 1),
        ("depthwise 9 x 9, 56 x 56 x 96", 56, 96, 96, 96, square(9, 1), 1),
        ("ResNeXt 32 x 4, 56 x 56 x 128", 56, 128, 128, 32, square(3, 1), 1),
        ("ResNeXt 32 x 16, 14 x 14 x 512", 14, 512, 512, 32, square(3, 1), 1),
        ("dilated 3 x 3, 28 x 28 x 128", 28, 128, 128, 1, square(3, 1), 2),
        ("dense 3 x 3, 28 x 28 x 128", 28, 128, 128, 1, square(3, 1), 1),
    ] {
        let shape = [1, size, size, inputs];
        let input = values(shape.iter().product(), 1);
        for activation in [Activation::Identity, Activation::Swish] {
            let spec = GeneralConvSpec { inputs, outputs, groups, geometry, dilation: [dilation; 2], activation };
            let depth = inputs / groups * geometry.kernel[0] * geometry.kernel[1];
            let packed = PackedGeneralConv::pack(Isa::best(), spec, &values(outputs * depth, 2), &values(outputs, 3));
            let length: usize = spec.output_shape(shape).iter().product();
            let work = 2 * length * depth / 1_000_000;
            report(
                &format!("{what}, {activation:?}, {work} MFLOP"),
                length,
                |_| (),
                |context, output| {
                    packed.run(context, NhwcBatch::new(&input, shape), None, output);
                },
            );
        }
    }
}

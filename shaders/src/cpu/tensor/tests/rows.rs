use super::*;

#[test]
fn layer_norm_matches_definition() {
    for (rows, width) in [(1, 1), (3, 7), (2, 32), (5, 100), (197, 384), (1, 1000)] {
        let input: Vec<f32> = values(rows * width, 1).iter().map(|x| x * 3.0 + 5.0).collect();
        let (scale, bias) = (values(width, 2), values(width, 3));
        let mut expected = Vec::new();
        for row in input.chunks_exact(width) {
            let count = width as f64;
            let mean = row.iter().map(|x| f64::from(*x)).sum::<f64>() / count;
            let variance = row.iter().map(|x| (f64::from(*x) - mean).powi(2)).sum::<f64>() / count;
            let factor = 1.0 / (variance + 1e-5).sqrt();
            let normalised = row.iter().map(|x| ((f64::from(*x) - mean) * factor) as f32);
            expected.extend(normalised.zip(&scale).zip(&bias).map(|((x, scale), bias)| x * scale + bias));
        }
        check(&format!("{rows} x {width}"), &expected, 1e-5, |context, output| {
            layer_norm(context, &input, width, 1e-5, &scale, &bias, output);
        });
    }
}

#[test]
fn softmax_matches_definition() {
    for [outer, size, inner] in
        [[1, 1, 1], [3, 7, 1], [2, 33, 1], [1, 1000, 1], [200, 197, 1], [2, 5, 3], [3, 40, 70], [2, 100, 333]]
    {
        let input: Vec<f32> = values(outer * size * inner, 1).iter().map(|x| x * 30.0).collect();
        for log in [false, true] {
            let mut expected = vec![0.0; input.len()];
            for (o, i) in (0..outer).flat_map(|o| (0..inner).map(move |i| (o, i))) {
                let at = |s: usize| (o * size + s) * inner + i;
                let most = (0..size).map(|s| input[at(s)]).fold(f32::NEG_INFINITY, f32::max);
                let sum: f64 = (0..size).map(|s| f64::from(input[at(s)] - most).exp()).sum();
                for s in 0..size {
                    let x = f64::from(input[at(s)] - most);
                    expected[at(s)] = if log { x - sum.ln() } else { x.exp() / sum } as f32;
                }
            }
            check(&format!("{outer} {size} {inner} {log}"), &expected, 2e-6, |context, output| {
                softmax(context, &input, outer, size, inner, log, output);
            });
        }
    }
}

#[test]
fn softmax_of_masked_and_of_nan_rows() {
    let input = [f32::NEG_INFINITY, 0.0, f32::NEG_INFINITY, 0.0, f32::NAN, 0.0, 1.0, 2.0];
    let expected = [0.0, 0.5, 0.0, 0.5, f32::NAN, f32::NAN, f32::NAN, f32::NAN];
    check("rows", &expected, 1e-6, |context, output| softmax(context, &input, 2, 4, 1, false, output));
    let columns = [f32::NEG_INFINITY, f32::NAN, 0.0, 0.0, f32::NEG_INFINITY, 1.0, 0.0, 2.0];
    let expected = [0.0, f32::NAN, 0.5, f32::NAN, 0.0, f32::NAN, 0.5, f32::NAN];
    check("columns", &expected, 1e-6, |context, output| softmax(context, &columns, 1, 4, 2, false, output));
}

#[test]
fn reduce_matches_definition() {
    let cases: [(&[usize], &[usize]); 14] = [
        (&[7], &[0]),
        (&[5, 9], &[]),
        (&[5, 9], &[0, 1]),
        (&[5, 9], &[1]),
        (&[5, 9], &[0]),
        (&[2, 3, 4, 5], &[1, 3]),
        (&[2, 3, 4, 5], &[0, 2]),
        (&[2, 3, 4, 5], &[3, 1, 2]),
        (&[2, 1, 4, 1], &[1, 3]),
        (&[2, 7, 7, 300], &[1, 2]),
        (&[2, 300, 7, 7], &[2, 3]),
        (&[1, 20, 20, 700], &[1, 2]),
        (&[300, 401], &[1]),
        (&[3, 3, 90, 90], &[0, 2]),
    ];
    for (shape, axes) in cases {
        let count: usize = shape.iter().product();
        let mut input: Vec<f32> = values(count, 1).iter().map(|x| x * 0.2 + 1.0).collect();
        if count > 40 {
            input[count / 3] = f32::NAN;
        }
        let kept: Vec<usize> =
            shape.iter().enumerate().map(|(axis, size)| if axes.contains(&axis) { 1 } else { *size }).collect();
        let results: usize = kept.iter().product();
        for reduction in [Reduction::Sum, Reduction::Mean, Reduction::Max, Reduction::Min, Reduction::Product] {
            let start = match reduction {
                Reduction::Sum | Reduction::Mean => 0.0,
                Reduction::Max => f64::NEG_INFINITY,
                Reduction::Min => f64::INFINITY,
                Reduction::Product => 1.0,
            };
            let mut expected = vec![start; results];
            for (i, x) in input.iter().enumerate() {
                let (result, x) = (&mut expected[index(&position(i, shape), &kept)], f64::from(*x));
                *result = match reduction {
                    Reduction::Sum | Reduction::Mean => *result + x,
                    _ if x.is_nan() || result.is_nan() => f64::NAN,
                    Reduction::Max => result.max(x),
                    Reduction::Min => result.min(x),
                    Reduction::Product => *result * x,
                };
            }
            let count = (count / results) as f64;
            let divisor = if reduction == Reduction::Mean { count } else { 1.0 };
            let expected: Vec<f32> = expected.iter().map(|x| (x / divisor) as f32).collect();
            check(&format!("{reduction:?} {shape:?} {axes:?}"), &expected, 1e-5, |context, output| {
                reduce(context, reduction, &input, shape, axes, output);
            });
        }
    }
}

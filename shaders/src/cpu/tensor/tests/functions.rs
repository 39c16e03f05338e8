use super::*;

/// Values over the whole range of f32, and densely around zero.
fn grid() -> Vec<f32> {
    let mut values = vec![0.0, -0.0, f32::INFINITY, f32::NEG_INFINITY, f32::NAN, f32::MAX, f32::MIN, f32::MIN_POSITIVE];
    values.extend([0.5, 1.5, 2.5, -0.5, -1.5, -2.5, 88.72, 88.73, -87.33, -87.34, -103.0, 0.625, 0.921_875, 4.0]);
    values.extend((-60_000..60_000).map(|step| step as f32 * 0.001_7));
    for exponent in -37..38 {
        values.extend([1.0, 1.37, 3.3].iter().flat_map(|x| [x * 10_f32.powi(exponent), -x * 10_f32.powi(exponent)]));
    }
    values
}

/// The error function in f64, by its series below 3 and the continued fraction of its complement above.
fn erf(x: f64) -> f64 {
    let t = x.abs();
    let result = if t < 3.0 {
        let (mut term, mut sum) = (t, t);
        for n in 1..100 {
            term *= -t * t / f64::from(n);
            sum += term / f64::from(2 * n + 1);
        }
        sum * 2.0 / std::f64::consts::PI.sqrt()
    } else {
        let fraction = (1..60).rev().fold(t, |fraction, n| t + f64::from(n) / 2.0 / fraction);
        1.0 - (-t * t).exp() / std::f64::consts::PI.sqrt() / fraction
    };
    if x.is_nan() { x } else { result.copysign(x) }
}

fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

fn run(context: &Context, function: Unary, input: &[f32]) -> Vec<f32> {
    let mut output = vec![77.0; input.len()];
    unary(context, function, input, &mut output);
    output
}

/// Compares a function with its definition in f64. `scale(x, y)` is the value that the error is relative to.
fn compare(function: Unary, definition: impl Fn(f64) -> f64, scale: impl Fn(f64, f64) -> f64, tolerance: f64) {
    let grid = grid();
    let mut worst = (0.0, 0.0);
    for isa in Isa::available() {
        for threads in [1, 2] {
            for (x, ours) in grid.iter().zip(run(&Context::new(isa, threads), function, &grid)) {
                let x = f64::from(*x);
                let exact = definition(x);
                let ours = f64::from(ours);
                if exact.is_nan() {
                    assert!(ours.is_nan(), "{function:?}, {isa}: {x} gives {ours}, not NaN");
                    continue;
                }
                if exact.abs() > f64::from(f32::MAX) {
                    assert!(
                        ours.abs() > 3.4e38 && ours * exact > 0.0,
                        "{function:?}, {isa}: {x} gives {ours}, not {exact}"
                    );
                    continue;
                }
                // Results below the smallest normal number may be 0.
                let error = (ours - exact).abs() - 1.2e-38;
                let error = if error <= 0.0 { 0.0 } else { error / scale(x, exact).abs() };
                if error > worst.0 {
                    worst = (error, x);
                }
                assert!(error <= tolerance, "{function:?}, {isa}: {x} gives {ours}, not {exact}: error {error:.2e}");
            }
        }
    }
    eprintln!("{function:?}: the largest error is {:.2e}, at {}", worst.0, worst.1);
}

fn of_result(_: f64, y: f64) -> f64 {
    y
}

fn of_argument(x: f64, y: f64) -> f64 {
    x.abs().max(y.abs())
}

fn of_one(_: f64, y: f64) -> f64 {
    y.abs().max(1.0)
}

#[test]
fn vectorised_functions_are_accurate_to_1e_6() {
    compare(Unary::Exp, f64::exp, of_result, 1e-6);
    compare(Unary::Erf, erf, of_result, 1e-6);
    compare(Unary::Tanh, f64::tanh, of_result, 1e-6);
    compare(Unary::Sigmoid, sigmoid, of_result, 1e-6);
    compare(Unary::Swish { alpha: 1.0 }, |x| x * sigmoid(x), of_argument, 1e-6);
    compare(Unary::Swish { alpha: 1.702 }, |x| x * sigmoid(f64::from(1.702_f32) * x), of_argument, 1e-6);
    compare(Unary::Gelu, |x| 0.5 * x * (1.0 + erf(x / 2_f64.sqrt())), of_argument, 1e-6);
    let root = (2.0 / std::f64::consts::PI).sqrt();
    let gelu_tanh = |x: f64| {
        if x == f64::NEG_INFINITY { f64::NAN } else { 0.5 * x * (1.0 + (root * (x + 0.044_715 * x.powi(3))).tanh()) }
    };
    compare(Unary::GeluTanh, gelu_tanh, of_argument, 1e-6);
    compare(Unary::Mish, |x| x * x.exp().ln_1p().tanh(), of_argument, 1e-6);
    let elu = |x: f64| 1.5 * if x < 0.0 { 0.7 * (x * 0.5).exp_m1() } else { x };
    compare(Unary::Elu { alpha: 0.7, gamma: 1.5, scale: 0.5 }, elu, of_one, 1e-6);
    compare(Unary::HardSwish, |x| x * (x / 6.0 + 0.5).clamp(0.0, 1.0), of_argument, 1e-6);
}

#[test]
fn other_functions_match_the_standard_library() {
    for (function, definition) in [
        (Unary::Abs, f64::abs as fn(f64) -> f64),
        (Unary::Acos, f64::acos),
        (Unary::Asin, f64::asin),
        (Unary::Atan, f64::atan),
        (Unary::Ceil, f64::ceil),
        (Unary::Cosh, f64::cosh),
        (Unary::Floor, f64::floor),
        (Unary::Log, f64::ln),
        (Unary::Neg, |x| -x),
        (Unary::Reciprocal, |x| 1.0 / x),
        (Unary::Round, f64::round_ties_even),
        (Unary::Sinh, f64::sinh),
        (Unary::Softplus, |x| x.max(0.0) + (-x.abs()).exp().ln_1p() + if x.is_nan() { x } else { 0.0 }),
        (Unary::Sqrt, f64::sqrt),
        (Unary::Trunc, f64::trunc),
        (Unary::LeakyRelu { slope: 0.25 }, |x| if x < 0.0 { x * 0.25 } else { x }),
        (Unary::ThresholdedRelu { alpha: 0.5 }, |x| if x <= 0.5 { 0.0 } else { x }),
        (Unary::Clamp { low: -0.5, high: 6.0 }, |x| x.clamp(-0.5, 6.0)),
        (Unary::HardSigmoid { alpha: 0.25, beta: 0.5 }, |x| (x * 0.25 + 0.5).clamp(0.0, 1.0)),
        (Unary::Power(2.0), |x| x * x),
        (Unary::Power(3.0), |x| x * x * x),
        (Unary::Power(4.0), |x| x.powi(4)),
        (Unary::Power(-1.0), |x| 1.0 / x),
        (Unary::Power(1.0), |x| x),
        (Unary::Power(0.0), |_| 1.0),
        (Unary::Power(0.5), f64::sqrt),
        (Unary::Power(-0.5), |x| 1.0 / x.sqrt()),
        (Unary::Power(1.5), |x| x.powf(1.5)),
        (Unary::Power(-2.0), |x| x.powf(-2.0)),
    ] {
        compare(function, definition, of_result, 2e-6);
    }
    // The error grows with the argument for the periodic functions, and the tangent has poles.
    let small: Vec<f32> = (-700..700).map(|step| step as f32 * 0.01).collect();
    for (function, definition) in
        [(Unary::Sin, f32::sin as fn(f32) -> f32), (Unary::Cos, f32::cos), (Unary::Tan, f32::tan)]
    {
        let expected: Vec<f32> = small.iter().map(|x| definition(*x)).collect();
        check(&format!("{function:?}"), &expected, 1e-6, |context, output| unary(context, function, &small, output));
    }
    let above: Vec<f32> = small.iter().map(|x| x.abs() + 1.0).collect();
    let inside: Vec<f32> = small.iter().map(|x| x / 8.0).collect();
    let expected: Vec<f32> = inside.iter().map(|x| x.atanh()).collect();
    check("Atanh", &expected, 1e-6, |context, output| unary(context, Unary::Atanh, &inside, output));
    let expected: Vec<f32> = small.iter().map(|x| x.asinh()).collect();
    check("Asinh", &expected, 1e-6, |context, output| unary(context, Unary::Asinh, &small, output));
    let expected: Vec<f32> = above.iter().map(|x| x.acosh()).collect();
    check("Acosh", &expected, 1e-6, |context, output| unary(context, Unary::Acosh, &above, output));
}

#[test]
fn functions_with_steps_have_their_values_at_the_steps() {
    let input = [-1.0, -0.5, -0.0, 0.0, 0.5, 1.0, f32::INFINITY, f32::NAN];
    for (function, expected) in [
        (Unary::Not, [0.0, 0.0, 1.0, 1.0, 0.0, 0.0, 0.0, 0.0]),
        (Unary::Sign, [-1.0, -1.0, 0.0, 0.0, 1.0, 1.0, 1.0, f32::NAN]),
        (Unary::Softsign, [-0.5, -1.0 / 3.0, 0.0, 0.0, 1.0 / 3.0, 0.5, f32::NAN, f32::NAN]),
        (Unary::Shrink { lambda: 0.5, bias: 0.25 }, [-0.75, 0.0, 0.0, 0.0, 0.0, 0.75, f32::INFINITY, f32::NAN]),
    ] {
        check(&format!("{function:?}"), &expected, 1e-7, |context, output| unary(context, function, &input, output));
    }
}

#[test]
fn affine_matches_definition() {
    for (rows, width) in [(1, 1), (7, 13), (5, 64), (700, 100), (3, 5000)] {
        let (input, factor, summand) = (values(rows * width, 1), values(width, 2), values(width, 3));
        for function in [None, Some(Unary::Clamp { low: 0.0, high: 0.5 }), Some(Unary::Sigmoid)] {
            let linear = input.iter().enumerate().map(|(i, x)| x * factor[i % width] + summand[i % width]);
            let expected: Vec<f32> = match function {
                None => linear.collect(),
                Some(Unary::Sigmoid) => linear.map(|x| 1.0 / (1.0 + (-x).exp())).collect(),
                Some(_) => linear.map(|x| x.clamp(0.0, 0.5)).collect(),
            };
            check(&format!("{rows} x {width}, {function:?}"), &expected, 1e-6, |context, output| {
                affine(context, &input, &factor, &summand, function, output);
            });
        }
    }
}

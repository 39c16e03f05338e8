use super::*;

const SHAPES: [[&[usize]; 3]; 12] = [
    [&[], &[], &[]],
    [&[7], &[1], &[7]],
    [&[1], &[1], &[1]],
    [&[2, 3, 5], &[2, 3, 5], &[2, 3, 5]],
    [&[2, 3, 5], &[1, 1, 5], &[2, 3, 5]],
    [&[2, 3, 5], &[2, 3, 1], &[2, 3, 5]],
    [&[2, 3, 5], &[2, 1, 5], &[2, 3, 5]],
    [&[4, 1, 6], &[1, 3, 1], &[4, 3, 6]],
    [&[1, 1], &[5, 9], &[5, 9]],
    [&[2, 9, 10, 33], &[2, 1, 1, 33], &[2, 9, 10, 33]],
    [&[3, 4, 70, 70], &[1, 4, 70, 70], &[3, 4, 70, 70]],
    [&[300, 200], &[300, 1], &[300, 200]],
];

fn expected(operation: impl Fn(f32, f32) -> f32, operands: [(&[f32], &[usize]); 2], shape: &[usize]) -> Vec<f32> {
    let count = shape.iter().product();
    let at = |i: usize, (values, own): (&[f32], &[usize])| values[index(&position(i, shape), own)];
    (0..count).map(|i| operation(at(i, operands[0]), at(i, operands[1]))).collect()
}

/// Values with repetitions, zeros and NaN.
fn coarse(count: usize, seed: u32) -> Vec<f32> {
    let value = |x: &f32| if *x > 0.97 { f32::NAN } else { (x * 3.0).round() };
    values(count, seed).iter().map(value).collect()
}

#[test]
fn binary_matches_definition_for_every_operation_and_shape() {
    let truth = |condition: bool| f32::from(u8::from(condition));
    type Definition<'a> = &'a dyn Fn(f32, f32) -> f32;
    let operations: [(Binary, Definition<'_>); 17] = [
        (Binary::Add, &|a, b| a + b),
        (Binary::Sub, &|a, b| a - b),
        (Binary::Mul, &|a, b| a * b),
        (Binary::Div, &|a, b| a / b),
        (Binary::Mod, &|a, b| a % b),
        (Binary::Pow, &|a, b| a.powf(b)),
        (Binary::Min, &|a, b| if a.is_nan() || b.is_nan() { f32::NAN } else { a.min(b) }),
        (Binary::Max, &|a, b| if a.is_nan() || b.is_nan() { f32::NAN } else { a.max(b) }),
        (Binary::PRelu, &|a, b| if a < 0.0 { a * b } else { a }),
        (Binary::Equal, &|a, b| truth(a == b)),
        (Binary::Less, &|a, b| truth(a < b)),
        (Binary::LessOrEqual, &|a, b| truth(a <= b)),
        (Binary::Greater, &|a, b| truth(a > b)),
        (Binary::GreaterOrEqual, &|a, b| truth(a >= b)),
        (Binary::And, &|a, b| truth(a != 0.0 && b != 0.0)),
        (Binary::Or, &|a, b| truth(a != 0.0 || b != 0.0)),
        (Binary::Xor, &|a, b| truth((a != 0.0) != (b != 0.0))),
    ];
    for (operation, definition) in operations {
        for [a_shape, b_shape, shape] in SHAPES {
            let a = coarse(a_shape.iter().product(), 1);
            let b = coarse(b_shape.iter().product(), 2);
            for ([a, b], [a_shape, b_shape]) in [([&a, &b], [a_shape, b_shape]), ([&b, &a], [b_shape, a_shape])] {
                let expected = expected(definition, [(a, a_shape), (b, b_shape)], shape);
                check(&format!("{operation:?} {a_shape:?} {b_shape:?}"), &expected, 1e-6, |context, output| {
                    binary(context, operation, a, a_shape, b, b_shape, output, shape);
                });
            }
        }
    }
}

#[test]
fn empty_tensors_have_no_values() {
    binary(&Context::new(Isa::best(), 2), Binary::Add, &[], &[0, 3], &[1.0; 3], &[1, 3], &mut [], &[0, 3]);
}

#[test]
#[should_panic(expected = "broadcast to [3, 4]")]
fn shapes_that_cannot_be_broadcast_panic() {
    let context = Context::new(Isa::best(), 1);
    binary(&context, Binary::Add, &[0.0; 12], &[3, 4], &[0.0; 8], &[2, 4], &mut [0.0; 12], &[3, 4]);
}

#[test]
fn select_matches_definition() {
    let shape: &[usize] = &[3, 40, 300];
    let small: [&[usize]; 5] = [shape, &[1, 1, 300], &[3, 40, 1], &[1, 1, 1], &[3, 1, 300]];
    for choice in 0..125 {
        let [condition_shape, yes_shape, no_shape] =
            [choice / 25, choice / 5 % 5, choice % 5].map(|shape| small[shape]);
        let [condition, yes, no] = [(condition_shape, 1), (yes_shape, 2), (no_shape, 3)]
            .map(|(shape, seed)| coarse(shape.iter().product(), seed));
        let at = |i: usize, values: &[f32], own: &[usize]| values[index(&position(i, shape), own)];
        let choose = |i: usize| {
            if at(i, &condition, condition_shape) != 0.0 { at(i, &yes, yes_shape) } else { at(i, &no, no_shape) }
        };
        let expected: Vec<f32> = (0..shape.iter().product()).map(choose).collect();
        check(&format!("{condition_shape:?} {yes_shape:?} {no_shape:?}"), &expected, 0.0, |context, output| {
            select(context, (&condition, condition_shape), (&yes, yes_shape), (&no, no_shape), output, shape);
        });
    }
}

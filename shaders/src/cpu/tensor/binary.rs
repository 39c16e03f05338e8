//! Operations on two tensors, and the selection between two by a condition, with broadcasting.

use std::ops::Range;

use kiln_ops::{Binary, Unary};

use super::super::context::Context;
use super::super::isa::SafeKernel;
use super::super::simd::Simd;
use super::broadcast::Broadcast;
use super::functions::unary;
use super::{for_each_rows, math};

/// Calls `pairs` with an operation.
#[inline(always)]
fn visit(operation: Binary, pairs: PairLoop<'_>) {
    /// Returns a condition as a value.
    fn truth(condition: bool) -> f32 {
        if condition { 1.0 } else { 0.0 }
    }
    match operation {
        Binary::Add => pairs.run(|a, b| a + b),
        Binary::Sub => pairs.run(|a, b| a - b),
        Binary::Mul => pairs.run(|a, b| a * b),
        Binary::Div => pairs.run(|a, b| a / b),
        Binary::Mod => pairs.run(|a, b| a % b),
        Binary::Pow => pairs.run(f32::powf),
        Binary::Min => pairs.run(math::min),
        Binary::Max => pairs.run(math::max),
        Binary::PRelu => pairs.run(|a, b| if a < 0.0 { a * b } else { a }),
        Binary::Equal => pairs.run(|a, b| truth(a == b)),
        Binary::Less => pairs.run(|a, b| truth(a < b)),
        Binary::LessOrEqual => pairs.run(|a, b| truth(a <= b)),
        Binary::Greater => pairs.run(|a, b| truth(a > b)),
        Binary::GreaterOrEqual => pairs.run(|a, b| truth(a >= b)),
        Binary::And => pairs.run(|a, b| truth(a != 0.0 && b != 0.0)),
        Binary::Or => pairs.run(|a, b| truth(a != 0.0 || b != 0.0)),
        Binary::Xor => pairs.run(|a, b| truth((a != 0.0) != (b != 0.0))),
    }
}

/// Fills `output` with the operation on each pair of values. Both shapes have the rank of `out_shape`, and each of their axes
/// has the size of the output or 1.
///
/// # Panics
///
/// Panics if a shape cannot be broadcast to `out_shape`, or if a length is not that of its shape.
#[expect(clippy::too_many_arguments, reason = "two operands and an output, each with a shape")]
pub fn binary(
    context: &Context,
    operation: Binary,
    a: &[f32],
    a_shape: &[usize],
    b: &[f32],
    b_shape: &[usize],
    output: &mut [f32],
    out_shape: &[usize],
) {
    let broadcast = Broadcast::new([(a_shape, a.len()), (b_shape, b.len())], (out_shape, output.len()));
    if operation == Binary::Pow && b.len() == 1 && a.len() == output.len() {
        return unary(context, Unary::Power(b[0]), a, output);
    }
    let cost = if matches!(operation, Binary::Pow | Binary::Mod) { 16 } else { 1 };
    for_each_rows(context, output, 1, cost, |range, output| {
        context.isa().run(BinaryKernel {
            operation,
            pairs: PairLoop { broadcast: &broadcast, operands: [a, b], range, output },
        });
    });
}

struct BinaryKernel<'a> {
    operation: Binary,
    pairs: PairLoop<'a>,
}

impl SafeKernel for BinaryKernel<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self) {
        visit(self.operation, self.pairs);
    }
}

/// The loop over the pairs of a range of output values.
struct PairLoop<'a> {
    broadcast: &'a Broadcast<2>,
    operands: [&'a [f32]; 2],
    range: Range<usize>,
    output: &'a mut [f32],
}

impl PairLoop<'_> {
    #[inline(always)]
    fn run(self, operation: impl Fn(f32, f32) -> f32) {
        let Self { broadcast, operands, range, output } = self;
        broadcast.for_each_run(range, |offsets, run| {
            let length = run.len();
            let [a, b] = std::array::from_fn(|i| broadcast.values(i, operands[i], offsets[i], length));
            let output = &mut output[run];
            match broadcast.strides {
                [1, 1] => output.iter_mut().zip(a).zip(b).for_each(|((output, a), b)| *output = operation(*a, *b)),
                [1, _] => {
                    let b = b[0];
                    output.iter_mut().zip(a).for_each(|(output, a)| *output = operation(*a, b));
                }
                [_, 1] => {
                    let a = a[0];
                    output.iter_mut().zip(b).for_each(|(output, b)| *output = operation(a, *b));
                }
                _ => output.fill(operation(a[0], b[0])),
            }
        });
    }
}

/// Fills `output` with the value of `yes` where `condition` is not 0, and of `no` elsewhere (ONNX `Where`). Each operand is a
/// pair of values and shape, with broadcasting as in [`binary`].
///
/// # Panics
///
/// Panics if a shape cannot be broadcast to `out_shape`, or if a length is not that of its shape.
pub fn select(
    context: &Context,
    condition: (&[f32], &[usize]),
    yes: (&[f32], &[usize]),
    no: (&[f32], &[usize]),
    output: &mut [f32],
    out_shape: &[usize],
) {
    let operands = [condition, yes, no];
    let lengths = operands.map(|(values, shape)| (shape, values.len()));
    let broadcast = Broadcast::new(lengths, (out_shape, output.len()));
    for_each_rows(context, output, 1, 1, |range, output| {
        let operands = operands.map(|(values, _)| values);
        context.isa().run(SelectKernel { broadcast: &broadcast, operands, range, output });
    });
}

struct SelectKernel<'a> {
    broadcast: &'a Broadcast<3>,
    operands: [&'a [f32]; 3],
    range: Range<usize>,
    output: &'a mut [f32],
}

impl SafeKernel for SelectKernel<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self) {
        let Self { broadcast, operands, range, output } = self;
        broadcast.for_each_run(range, |offsets, run| {
            let length = run.len();
            let [condition, yes, no] = std::array::from_fn(|i| broadcast.values(i, operands[i], offsets[i], length));
            let output = &mut output[run];
            let choose = |condition: f32, yes: f32, no: f32| if condition != 0.0 { yes } else { no };
            match broadcast.strides {
                [1, 1, 1] => {
                    for (((output, condition), yes), no) in output.iter_mut().zip(condition).zip(yes).zip(no) {
                        *output = choose(*condition, *yes, *no);
                    }
                }
                [1, 1, 0] => {
                    for ((output, condition), yes) in output.iter_mut().zip(condition).zip(yes) {
                        *output = choose(*condition, *yes, no[0]);
                    }
                }
                [1, 0, 1] => {
                    for ((output, condition), no) in output.iter_mut().zip(condition).zip(no) {
                        *output = choose(*condition, yes[0], *no);
                    }
                }
                [1, _, _] => {
                    for (output, condition) in output.iter_mut().zip(condition) {
                        *output = choose(*condition, yes[0], no[0]);
                    }
                }
                [_, yes_stride, no_stride] => {
                    let (values, stride) = if condition[0] != 0.0 { (yes, yes_stride) } else { (no, no_stride) };
                    if stride == 0 { output.fill(values[0]) } else { output.copy_from_slice(values) }
                }
            }
        });
    }
}

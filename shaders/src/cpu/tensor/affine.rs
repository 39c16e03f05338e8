//! A factor and a summand for each channel, such as those of batch normalisation, with a function after it.

use kiln_ops::Unary;

use super::super::context::Context;
use super::super::isa::SafeKernel;
use super::super::simd::Simd;
use super::for_each_rows;
use super::functions::{InPlace, cost, visit};
use super::math::fma;

/// Fills `output` with `function(input * factor + summand)`. `factor` and `summand` have one value for each position of the
/// last axis.
///
/// # Panics
///
/// Panics if `summand` has another length than `factor`, if the input is not a number of such rows, or if the output has
/// another length.
pub fn affine(
    context: &Context,
    input: &[f32],
    factor: &[f32],
    summand: &[f32],
    function: Option<Unary>,
    output: &mut [f32],
) {
    let width = factor.len();
    assert_eq!(summand.len(), width, "summands of an affine function");
    assert_eq!(input.len(), output.len(), "values of an affine function");
    let cost = 1 + function.map_or(0, cost);
    for_each_rows(context, output, width, cost, |rows, output| {
        let input = &input[rows.start * width..rows.end * width];
        context.isa().run(AffineKernel { input, factor, summand, function, output });
    });
}

struct AffineKernel<'a> {
    input: &'a [f32],
    factor: &'a [f32],
    summand: &'a [f32],
    function: Option<Unary>,
    output: &'a mut [f32],
}

/// Values that stay in the first-level cache between the affine function and the one after it.
const BLOCK_VALUES: usize = 4 * 1024;

impl SafeKernel for AffineKernel<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self) {
        let Self { input, factor, summand, function, output } = self;
        let block = (BLOCK_VALUES / factor.len()).max(1) * factor.len();
        for (output, input) in output.chunks_mut(block).zip(input.chunks(block)) {
            for (output, input) in output.chunks_exact_mut(factor.len()).zip(input.chunks_exact(factor.len())) {
                for (((output, input), factor), summand) in output.iter_mut().zip(input).zip(factor).zip(summand) {
                    *output = fma::<S>(*input, *factor, *summand);
                }
            }
            if let Some(function) = function {
                visit::<S>(function, InPlace(output));
            }
        }
    }
}

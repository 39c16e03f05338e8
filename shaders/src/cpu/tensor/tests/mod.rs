//! Compares every tensor operation, on every instruction set of this machine and for one and two threads, with a direct
//! implementation of its definition.

mod binary;
mod functions;
mod matmul;
mod movement;
mod rows;
mod speed;

use super::super::context::Context;
use super::super::isa::Isa;
use super::*;

/// Returns pseudo-random values in -1..1.
fn values(count: usize, seed: u32) -> Vec<f32> {
    let mut state = seed.wrapping_mul(2_654_435_761).wrapping_add(12_345);
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / (1 << 23) as f32 - 1.0
    };
    (0..count).map(|_| next()).collect()
}

/// Runs `fill` in a context of each instruction set and number of threads, and compares the output with `expected`. The
/// tolerance is relative for values above 1, and absolute below.
fn check(what: &str, expected: &[f32], tolerance: f32, fill: impl Fn(&Context, &mut [f32])) {
    for isa in Isa::available() {
        for threads in [1, 2] {
            // Every value of the output must be written.
            let mut output = vec![77.0; expected.len()];
            fill(&Context::new(isa, threads), &mut output);
            for (index, (ours, expected)) in output.iter().zip(expected).enumerate() {
                let equal = ours == expected || ours.is_nan() && expected.is_nan();
                let close = (ours - expected).abs() <= tolerance * expected.abs().max(1.0);
                assert!(equal || close, "{what}, {isa}, {threads} threads: value {index} is {ours}, not {expected}");
            }
        }
    }
}

/// Returns the positions along each axis of value `index` of a tensor.
fn position(mut index: usize, shape: &[usize]) -> Vec<usize> {
    let mut position: Vec<usize> = shape
        .iter()
        .rev()
        .map(|size| {
            let here = index % size;
            index /= size;
            here
        })
        .collect();
    position.reverse();
    position
}

/// Returns the index of the value at a position. Axes of size 1 are broadcast.
fn index(position: &[usize], shape: &[usize]) -> usize {
    position.iter().zip(shape).fold(0, |index, (at, size)| index * size + if *size == 1 { 0 } else { *at })
}

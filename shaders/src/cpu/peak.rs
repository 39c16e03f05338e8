//! The most that a processor core computes: the yardstick of the kernels' speed.

use std::hint::black_box;
use std::time::{Duration, Instant};

use super::isa::{Isa, Kernel};
use super::simd::Simd;

/// Independent sums: enough for two units with a latency of up to six cycles, and few enough for 16 registers. A processor with four
/// units computes more than this program shows.
const CHAINS: usize = 12;
/// Multiply-adds of each sum in a run, some 10 µs.
const ROUNDS: usize = 2_000;
/// How long to look for the fastest run.
const DURATION: Duration = Duration::from_millis(200);

/// Measures the floating-point operations that one core executes in a second with an instruction set: multiply-adds in
/// registers, two operations for each value. Takes 0.2 s.
pub fn peak_flops(isa: Isa) -> f64 {
    let (begun, mut best) = (Instant::now(), f64::INFINITY);
    let mut operations = 0;
    while begun.elapsed() < DURATION {
        let run = Instant::now();
        // SAFETY: the kernel has no contract besides the instruction set.
        operations = unsafe { isa.dispatch(MultiplyAdds { factor: black_box(0.999) }) };
        best = best.min(run.elapsed().as_secs_f64());
    }
    operations as f64 / best
}

struct MultiplyAdds {
    factor: f32,
}

impl Kernel for MultiplyAdds {
    type Output = usize;

    #[inline(always)]
    unsafe fn run<S: Simd>(self) -> usize {
        // SAFETY: the caller guarantees the instruction set, and `lanes` holds a whole vector (the widest has 16 values).
        unsafe {
            let factor = S::splat(self.factor);
            let mut sums = [factor; CHAINS];
            for _ in 0..ROUNDS {
                for chain in 0..CHAINS {
                    sums[chain] = S::mul_add(sums[chain], factor, factor);
                }
            }
            let mut lanes = [0.0_f32; 16];
            for sum in sums {
                S::store(lanes.as_mut_ptr(), sum);
                black_box(&lanes);
            }
        }
        2 * ROUNDS * CHAINS * S::LANES
    }
}

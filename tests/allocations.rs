//! The engine in steady state: what it allocates for a picture is its answer, and nothing of a tensor's size.
#![forbid(unsafe_code)]

use std::alloc::System;

use kiln_image::PreparedImage;
use kiln_inference::{BurnEngine, DeviceChoice, Engine, Options, Sample, device};
use kiln_inference::model::Model;
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// The smallest tensor between two layers of the default model has 49 pixels of 192 channels; most are 20 times as large.
const SMALLEST_TENSOR: usize = 49 * 192 * 4;

#[test]
fn a_batch_allocates_no_tensors() {
    let model = Model::named("efficientnet-lite0").unwrap();
    let device = device::choose(&DeviceChoice::Cpu).unwrap();
    let mut engine = BurnEngine::start(model, &device, &Options::new(32), |_| ()).unwrap();
    let picture = Sample::from(PreparedImage::new(224, 224, vec![127; 224 * 224 * 3].into()));
    for size in [1, 8, 32] {
        let batch = vec![picture.clone(); size];
        let mut allocated = || {
            let region = Region::new(ALLOCATOR);
            drop(engine.run(&batch).unwrap());
            region.change().bytes_allocated / size
        };
        let mut runs: Vec<usize> = std::iter::repeat_with(&mut allocated).take(21).collect();
        runs.sort_unstable();
        println!("batches of {size}: {runs:?} bytes a picture");
        // A thread's scratch memory grows when chance first gives it that part of the work: in a few runs of all.
        assert!(runs[runs.len() / 2] < SMALLEST_TENSOR, "batches of {size}: {runs:?} bytes a picture");
    }
}

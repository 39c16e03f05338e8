//! In steady state the engine allocates only its outputs per image, and no memory of the size of a tensor.

use std::alloc::System;

use kiln_image::PreparedImage;
use kiln_inference::model::Model;
use kiln_inference::{BurnEngine, DeviceChoice, Engine, Options, Sample, device};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

use crate::common::alone;

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Bytes of the smallest tensor between two layers of the default model: 49 pixels of 192 channels in f32. Most tensors are
/// 20 times as large.
const SMALLEST_TENSOR: usize = 49 * 192 * 4;

#[test]
fn batch_allocates_no_tensors() {
    let _alone = alone();
    let model = Model::named("efficientnet-lite0").unwrap();
    let device = device::choose(&DeviceChoice::Cpu).unwrap();
    let mut engine = BurnEngine::start(model, &device, &Options::new(32), |_| ()).unwrap();
    let image = Sample::from(PreparedImage::new(224, 224, vec![127; 224 * 224 * 3].into()));
    for size in [1, 8, 32] {
        let batch = vec![image.clone(); size];
        let mut allocated = || {
            let region = Region::new(ALLOCATOR);
            drop(engine.run(&batch).unwrap());
            region.change().bytes_allocated / size
        };
        let mut runs: Vec<usize> = std::iter::repeat_with(&mut allocated).take(21).collect();
        runs.sort_unstable();
        println!("batches of {size}: {runs:?} bytes per image");
        // A thread allocates scratch memory when it first runs a part of the work, so a few runs allocate more than the median.
        assert!(runs[runs.len() / 2] < SMALLEST_TENSOR, "batches of {size}: {runs:?} bytes per image");
    }
}

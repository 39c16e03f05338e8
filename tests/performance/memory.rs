//! Memory of the engine: a batch allocates only its outputs and no tensors, and the memory does not grow with the number of
//! batches, whatever their sizes.

use std::alloc::System;

use kiln_image::PreprocessedImage;
use kiln_inference::model::Model;
use kiln_inference::{BurnEngine, DeviceChoice, Engine, Options, Sample, device};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

use crate::common::{alone, has_vulkan, is_ci, resident_bytes};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// The largest batch.
const LARGEST: usize = 8;
/// Bytes of the smallest tensor between two layers of the default model: 49 pixels of 192 channels in f32. Most tensors are
/// 20 times as large.
const SMALLEST_TENSOR: usize = 49 * 192 * 4;

/// Returns the resident bytes of this process and the bytes held by the device's allocator.
fn memory_in_use(engine: &BurnEngine) -> [f64; 2] {
    let resident = resident_bytes(std::process::id()).expect("Linux reports it");
    [resident as f64, engine.device_bytes().unwrap_or(0) as f64]
}

/// Returns the slope of the least-squares line through the points: bytes per image.
fn slope(points: &[(f64, f64)]) -> f64 {
    let count = points.len() as f64;
    let mean = |of: fn(&(f64, f64)) -> f64| points.iter().map(of).sum::<f64>() / count;
    let (x, y) = (mean(|point| point.0), mean(|point| point.1));
    let above: f64 = points.iter().map(|point| (point.0 - x) * (point.1 - y)).sum();
    above / points.iter().map(|point| (point.0 - x).powi(2)).sum::<f64>()
}

/// Runs batches of pseudorandom sizes and asserts that memory does not grow after the first tenth of the images.
fn assert_constant_memory(choice: &DeviceChoice, images: usize) {
    let _alone = alone();
    let model = Model::named("efficientnet-lite0").unwrap();
    let device = device::choose(choice).unwrap();
    let mut engine = BurnEngine::start(model, &device, &Options::new(LARGEST), |_| ()).unwrap();
    let image = Sample::from(PreprocessedImage::new(224, 224, vec![127; 224 * 224 * 3].into()));
    let (mut done, mut state) = (0, 1_u32);
    let mut points = [Vec::new(), Vec::new()];
    while done < images {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let size = (state >> 24) as usize % LARGEST + 1;
        let rows = engine.run_top_k(&vec![image.clone(); size], 5).unwrap();
        assert_eq!(rows.len(), size);
        done += size;
        if done > images / 10 {
            for (points, bytes) in points.iter_mut().zip(memory_in_use(&engine)) {
                points.push((done as f64, bytes));
            }
        }
    }
    for (points, what) in points.iter().zip(["resident", "device"]) {
        let growth = slope(points) * images as f64;
        println!("{choice}, {images} images, {what}: {:.1} bytes per image", slope(points));
        // If the tensors of each batch leaked, the growth would be a hundred times as much.
        assert!(growth < f64::from(8 << 20), "{choice}: {what} memory grew by {growth} bytes over {images} images");
    }
}

#[test]
fn batch_allocates_no_tensors() {
    let _alone = alone();
    let model = Model::named("efficientnet-lite0").unwrap();
    let device = device::choose(&DeviceChoice::Cpu).unwrap();
    let mut engine = BurnEngine::start(model, &device, &Options::new(32), |_| ()).unwrap();
    let image = Sample::from(PreprocessedImage::new(224, 224, vec![127; 224 * 224 * 3].into()));
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

#[test]
#[cfg(target_os = "linux")]
fn cpu_engine_memory_is_constant() {
    assert_constant_memory(&DeviceChoice::Cpu, if is_ci() { 20_000 } else { 2_000 });
}

#[test]
#[cfg(target_os = "linux")]
fn vulkan_engine_memory_is_constant() {
    if has_vulkan() {
        assert_constant_memory(&DeviceChoice::Vulkan(None), if is_ci() { 200 } else { 80 });
    }
}

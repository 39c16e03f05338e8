//! Memory stays what it is, however many batches of however many sizes an engine runs.
#![forbid(unsafe_code)]

mod common;

use std::sync::Mutex;

use kiln_image::PreparedImage;
use kiln_inference::{BurnEngine, DeviceChoice, Engine, Options, Sample, device};
use kiln_inference::model::Model;

const LARGEST: usize = 8;

/// Bytes of this process that are in memory, and that the device's allocator holds.
fn held(engine: &BurnEngine) -> [f64; 2] {
    let resident = common::memory::resident(std::process::id()).expect("the system tells");
    [resident as f64, engine.device_bytes().unwrap_or(0) as f64]
}

/// The slope of a line through the points, by least squares: bytes a picture.
fn slope(points: &[(f64, f64)]) -> f64 {
    let count = points.len() as f64;
    let mean = |of: fn(&(f64, f64)) -> f64| points.iter().map(of).sum::<f64>() / count;
    let (x, y) = (mean(|point| point.0), mean(|point| point.1));
    let above: f64 = points.iter().map(|point| (point.0 - x) * (point.1 - y)).sum();
    above / points.iter().map(|point| (point.0 - x).powi(2)).sum::<f64>()
}

/// One at a time: memory is the process's.
static ALONE: Mutex<()> = Mutex::new(());

/// Runs batches of every size in no order; what is held is read from a tenth of the way on.
fn stays_flat(choice: &DeviceChoice, pictures: usize) {
    let _alone = ALONE.lock();
    let model = Model::named("efficientnet-lite0").unwrap();
    let device = device::choose(choice).unwrap();
    let mut engine = BurnEngine::start(model, &device, &Options::new(LARGEST), |_| ()).unwrap();
    let picture = Sample::from(PreparedImage::new(224, 224, vec![127; 224 * 224 * 3].into()));
    let (mut done, mut state) = (0, 1_u32);
    let mut points = [Vec::new(), Vec::new()];
    while done < pictures {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let size = (state >> 24) as usize % LARGEST + 1;
        let rows = engine.run_ranked(&vec![picture.clone(); size], 5).unwrap();
        assert_eq!(rows.len(), size);
        done += size;
        if done > pictures / 10 {
            for (points, held) in points.iter_mut().zip(held(&engine)) {
                points.push((done as f64, held));
            }
        }
    }
    for (points, what) in points.iter().zip(["resident", "device"]) {
        let grown = slope(points) * pictures as f64;
        println!("{choice}, {pictures} pictures, {what}: {:.1} bytes a picture", slope(points));
        // What a leak of one batch's tensors would come to is a hundred times as much.
        assert!(grown < f64::from(8 << 20), "{choice}: {what} memory grew by {grown} bytes over {pictures} pictures");
    }
}

#[test]
#[cfg(target_os = "linux")]
fn the_cpu_engine_holds_no_more_after_many_batches() {
    stays_flat(&DeviceChoice::Cpu, if common::must_run() { 20_000 } else { 2_000 });
}

#[test]
#[cfg(target_os = "linux")]
fn the_vulkan_engine_holds_no_more_after_many_batches() {
    if common::has_vulkan() {
        stays_flat(&DeviceChoice::Vulkan(None), if common::must_run() { 200 } else { 80 });
    }
}

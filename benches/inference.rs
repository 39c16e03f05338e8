//! The engine alone, by batch size: u8 pictures in, logits out.
//!
//! `cargo bench --bench inference` runs on the CPU; `KILN_BENCH_DEVICE=vulkan` and the like choose another device.

mod machine;

use std::sync::{Mutex, MutexGuard, OnceLock};

use divan::Bencher;
use divan::counter::ItemsCount;
use kiln::image::PreparedImage;
use kiln::inference::{BurnEngine, ChosenDevice, DeviceChoice, Engine, device};
use kiln::model::Model;

const LARGEST: usize = 32;

fn main() {
    println!("machine: {}", machine::machine());
    let ChosenDevice { info, reason, .. } = device();
    let driver = info.driver.as_deref().unwrap_or("no driver");
    println!("device: {} ({}, {driver}), {reason}", info.name, info.api);
    println!("model: {}", model().spec().name);
    divan::main();
}

fn choice() -> DeviceChoice {
    let text = std::env::var("KILN_BENCH_DEVICE").unwrap_or_else(|_| "cpu".to_string());
    text.parse().expect("KILN_BENCH_DEVICE is what --device takes")
}

fn model() -> Model {
    Model::all().next().expect("a model was built in")
}

/// A GPU runtime is set up once a process.
fn device() -> &'static ChosenDevice {
    static DEVICE: OnceLock<ChosenDevice> = OnceLock::new();
    DEVICE.get_or_init(|| device::choose(&choice()).expect("the device is there"))
}

/// One engine for every batch size.
fn engine() -> MutexGuard<'static, BurnEngine> {
    static ENGINE: OnceLock<Mutex<BurnEngine>> = OnceLock::new();
    let start = || BurnEngine::start(model(), device(), LARGEST, |_, _| ()).expect("the model runs").into();
    ENGINE.get_or_init(start).lock().expect("no benchmark panicked")
}

#[divan::bench(args = [1, 8, LARGEST], sample_count = 10, sample_size = 1)]
fn run(bencher: Bencher, batch_size: usize) {
    let mut engine = engine();
    let spec = model().spec();
    let bytes = (spec.width * spec.height * 3) as usize;
    let pixels: Box<[u8]> = (0..bytes).map(|i| (i * 7919 % 256) as u8).collect();
    let batch = vec![PreparedImage::new(spec.width, spec.height, pixels); batch_size];
    bencher.counter(ItemsCount::new(batch_size)).bench_local(|| engine.run(&batch).expect("the engine runs"));
}

//! The engine alone, by batch size: u8 pictures in, logits out.
//!
//! `cargo bench --bench inference` runs on the CPU; `KILN_BENCH_DEVICE=vulkan` and the like choose another device.

use divan::Bencher;
use divan::counter::ItemsCount;
use kiln::image::PreparedImage;
use kiln::inference::{BurnEngine, DeviceChoice, Engine, device};
use kiln::model::Model;

const LARGEST: usize = 32;

fn main() {
    let choice = choice();
    println!("device: {choice}");
    divan::main();
}

fn choice() -> DeviceChoice {
    let text = std::env::var("KILN_BENCH_DEVICE").unwrap_or_else(|_| "cpu".to_string());
    text.parse().expect("KILN_BENCH_DEVICE is what --device takes")
}

/// One engine for every batch size: a GPU runtime is set up once a process.
fn engine() -> std::sync::MutexGuard<'static, BurnEngine> {
    static ENGINE: std::sync::OnceLock<std::sync::Mutex<BurnEngine>> = std::sync::OnceLock::new();
    let start = || {
        let model = Model::all().next().expect("a model was built in");
        let device = device::choose(&choice()).expect("the device is there");
        BurnEngine::start(model, &device, LARGEST, |_, _| ()).expect("the model runs").into()
    };
    ENGINE.get_or_init(start).lock().expect("no benchmark panicked")
}

#[divan::bench(args = [1, 8, LARGEST], sample_count = 10, sample_size = 1)]
fn run(bencher: Bencher, batch_size: usize) {
    let mut engine = engine();
    let spec = Model::all().next().expect("a model was built in").spec();
    let bytes = (spec.width * spec.height * 3) as usize;
    let pixels: Box<[u8]> = (0..bytes).map(|i| (i * 7919 % 256) as u8).collect();
    let batch = vec![PreparedImage::new(spec.width, spec.height, pixels); batch_size];
    bencher.counter(ItemsCount::new(batch_size)).bench_local(|| engine.run(&batch).expect("the engine runs"));
}

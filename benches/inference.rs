//! The engine alone, by batch size: u8 pictures in, logits out.
//!
//! `cargo bench --bench inference` runs on the CPU, with one thread and with as many as the server takes.
//! `KILN_BENCH_DEVICE=vulkan`, `KILN_BENCH_THREADS=3`, `KILN_BENCH_PRECISION=bf16` and `KILN_BENCH_KERNELS=stock` choose
//! as the server's flags do.
#![forbid(unsafe_code)]

mod machine;

use std::process::Command;
use std::sync::{Mutex, MutexGuard, OnceLock};

use divan::Bencher;
use divan::counter::ItemsCount;
use kiln_image::PreparedImage;
use kiln_inference::{
    BurnEngine, ChosenDevice, Config, DeviceChoice, Engine, Logits, Options, Precision, ResizeChoice, Sample,
    configure_cpu, default_threads, device,
};
use kiln_inference::model::Model;

const LARGEST: usize = 32;
const THREADS: &str = "KILN_BENCH_THREADS";

fn main() {
    if std::env::var_os(THREADS).is_none() && config().device.all() == [DeviceChoice::Cpu] {
        return by_threads();
    }
    println!("machine: {}", machine::machine());
    let ChosenDevice { info, reason, .. } = device();
    let driver = info.driver.as_deref().unwrap_or("no driver");
    println!("device: {} ({}, {driver}), {reason}", info.name, info.api);
    let Config { threads, precision, .. } = config();
    println!("model: {}; on a CPU: {threads} threads, {precision:?}", model().spec().name);
    divan::main();
}

/// How many threads there are is decided once a process, so there is one for each number.
fn by_threads() {
    let mut numbers = vec![1, default_threads()];
    numbers.dedup();
    for number in numbers {
        let mut again = Command::new(std::env::current_exe().expect("this program is a file"));
        let status = again.args(std::env::args_os().skip(1)).env(THREADS, number.to_string()).status();
        assert!(status.expect("it runs once, so it does again").success(), "with {number} threads");
    }
}

fn config() -> Config {
    let variable = |name: &str, default: &str| std::env::var(name).unwrap_or_else(|_| default.to_string());
    Config {
        device: variable("KILN_BENCH_DEVICE", "cpu").parse().expect("what --device takes"),
        threads: variable(THREADS, &default_threads().to_string()).parse().expect("a number of threads"),
        precision: variable("KILN_BENCH_PRECISION", "f32").parse().expect("what --precision takes"),
        kernels: variable("KILN_BENCH_KERNELS", "auto").parse().expect("what --kernels takes"),
        resize: ResizeChoice::Auto,
        cache: None,
    }
}

fn model() -> Model {
    Model::all().next().expect("a model was built in")
}

/// A GPU runtime is set up once a process.
fn device() -> &'static ChosenDevice {
    static DEVICE: OnceLock<ChosenDevice> = OnceLock::new();
    DEVICE.get_or_init(|| {
        let config = config();
        let device = device::choose(&config.device.all()[0]).expect("the device is there");
        configure_cpu(&config, &device).expect("the processor has the precision");
        device
    })
}

/// One engine for every batch size.
fn engine() -> MutexGuard<'static, BurnEngine> {
    static ENGINE: OnceLock<Mutex<BurnEngine>> = OnceLock::new();
    let Config { precision, kernels, .. } = config();
    let options = Options { precision, kernels, ..Options::new(LARGEST) };
    let start = || BurnEngine::start(model(), device(), &options, |_| ()).expect("the model runs").into();
    ENGINE.get_or_init(start).lock().expect("no benchmark panicked")
}

/// A fast wrong answer is worth nothing: what ONNX Runtime answered for this picture, within what `tests/numerics/onnx_runtime_parity.rs` allows.
fn check(rows: &[Logits]) {
    let text = std::fs::read_to_string(format!("tests/data/logits/{}.json", model().spec().name));
    let Ok(golden) = text.map(|text| serde_json::from_str::<serde_json::Value>(&text).expect("JSON")) else {
        return println!("not checked: there are no golden logits of this model");
    };
    let is_ours = |row: &&serde_json::Value| row["picture"].as_str().is_some_and(|name| name.starts_with("synthetic:"));
    let row =
        golden["rows"].as_array().and_then(|rows| rows.iter().find(is_ours)).expect("the synthetic picture's row");
    let expected =
        row["logits"].as_array().expect("a list").iter().map(|value| value.as_f64().expect("a number") as f32);
    let tolerance = if config().precision == Precision::F32 { 1e-3 } else { 0.2 };
    for ours in rows {
        let differ = ours.iter().zip(expected.clone()).any(|(ours, theirs)| (ours - theirs).abs() > tolerance);
        assert!(!differ, "the engine computes other logits than ONNX Runtime");
    }
}

#[divan::bench(args = [1, 8, LARGEST], sample_count = 10, sample_size = 1)]
fn run(bencher: Bencher, batch_size: usize) {
    let mut engine = engine();
    let spec = model().spec();
    let bytes = (spec.width * spec.height * 3) as usize;
    let pixels: Box<[u8]> = (0..bytes).map(|i| (i * 7919 % 256) as u8).collect();
    let batch = vec![Sample::from(PreparedImage::new(spec.width, spec.height, pixels)); batch_size];
    check(&engine.run(&batch).expect("the engine runs"));
    bencher.counter(ItemsCount::new(batch_size)).bench_local(|| engine.run(&batch).expect("the engine runs"));
}

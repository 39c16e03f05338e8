//! Measures the engine alone by batch size: from u8 images to logits.
//!
//! `cargo bench --bench inference` runs on the CPU, first with one thread and then with the server's default number of threads.
//! `KILN_BENCH_DEVICE=vulkan`, `KILN_BENCH_THREADS=3`, `KILN_BENCH_PRECISION=bf16` and `KILN_BENCH_KERNELS=stock` have the
//! meaning of the server's flags.
#![forbid(unsafe_code)]

mod machine;

use std::process::Command;
use std::sync::{Mutex, MutexGuard, OnceLock};

use divan::Bencher;
use divan::counter::ItemsCount;
use kiln_image::PreprocessedImage;
use kiln_inference::model::Model;
use kiln_inference::{
    BurnEngine, ChosenDevice, Config, DeviceChoice, Engine, Logits, Options, Precision, ResizeChoice, Sample,
    configure_cpu, default_threads, device,
};

const MAX_BATCH_SIZE: usize = 32;
const THREADS_VARIABLE: &str = "KILN_BENCH_THREADS";

fn main() {
    if std::env::var_os(THREADS_VARIABLE).is_none() && config().device.all() == [DeviceChoice::Cpu] {
        return run_per_thread_count();
    }
    println!("machine: {}", machine::machine());
    let ChosenDevice { info, reason, .. } = device();
    let driver = info.driver.as_deref().unwrap_or("no driver");
    println!("device: {} ({}, {driver}), {reason}", info.name, info.api);
    let Config { threads, precision, .. } = config();
    println!("model: {}; CPU: {threads} threads, {precision:?}", model().name());
    divan::main();
}

/// Runs this benchmark in one process per thread count, because a process cannot change its thread count.
fn run_per_thread_count() {
    let mut thread_counts = vec![1, default_threads()];
    thread_counts.dedup();
    for threads in thread_counts {
        let mut process = Command::new(std::env::current_exe().expect("the path of this program"));
        let status = process.args(std::env::args_os().skip(1)).env(THREADS_VARIABLE, threads.to_string()).status();
        assert!(status.expect("the benchmark starts").success(), "the run with {threads} threads failed");
    }
}

fn config() -> Config {
    let variable = |name: &str, default: &str| std::env::var(name).unwrap_or_else(|_| default.to_string());
    Config {
        device: variable("KILN_BENCH_DEVICE", "cpu").parse().expect("a value of --device"),
        threads: variable(THREADS_VARIABLE, &default_threads().to_string()).parse().expect("a number of threads"),
        precision: variable("KILN_BENCH_PRECISION", "f32").parse().expect("a value of --precision"),
        kernels: variable("KILN_BENCH_KERNELS", "auto").parse().expect("a value of --kernels"),
        resize: ResizeChoice::Auto,
        cache: None,
    }
}

fn model() -> Model {
    Model::all().next().expect("a built-in model")
}

/// Returns the device. A GPU runtime can be set up only once per process.
fn device() -> &'static ChosenDevice {
    static DEVICE: OnceLock<ChosenDevice> = OnceLock::new();
    DEVICE.get_or_init(|| {
        let config = config();
        let device = device::choose(&config.device.all()[0]).expect("the device is available");
        configure_cpu(&config, device).expect("the processor supports the precision")
    })
}

/// Returns the engine, which all batch sizes share.
fn engine() -> MutexGuard<'static, BurnEngine> {
    static ENGINE: OnceLock<Mutex<BurnEngine>> = OnceLock::new();
    let Config { precision, kernels, .. } = config();
    let options = Options { precision, kernels, ..Options::new(MAX_BATCH_SIZE) };
    let start = || BurnEngine::start(model(), device(), &options, |_| ()).expect("the model runs").into();
    ENGINE.get_or_init(start).lock().expect("no benchmark panicked")
}

/// Compares the logits with those of ONNX Runtime for the same image, with the tolerances of
/// `tests/numerics/onnx_runtime_parity.rs`. The speed of an engine that computes wrong logits is meaningless.
fn check(rows: &[Logits]) {
    let text = std::fs::read_to_string(format!("tests/data/logits/{}.json", model().name()));
    let Ok(reference) = text.map(|text| serde_json::from_str::<serde_json::Value>(&text).expect("JSON")) else {
        return println!("not checked: no reference logits for this model");
    };
    let is_synthetic =
        |row: &&serde_json::Value| row["picture"].as_str().is_some_and(|name| name.starts_with("synthetic:"));
    let row = reference["rows"]
        .as_array()
        .and_then(|rows| rows.iter().find(is_synthetic))
        .expect("the row of the synthetic image");
    let expected =
        row["logits"].as_array().expect("a list").iter().map(|value| value.as_f64().expect("a number") as f32);
    let tolerance = if config().precision == Precision::F32 { 1e-3 } else { 0.2 };
    for ours in rows {
        let differs = ours.iter().zip(expected.clone()).any(|(ours, theirs)| (ours - theirs).abs() > tolerance);
        assert!(!differs, "the logits differ from those of ONNX Runtime");
    }
}

#[divan::bench(args = [1, 8, MAX_BATCH_SIZE], sample_count = 10, sample_size = 1)]
fn run(bencher: Bencher, batch_size: usize) {
    let mut engine = engine();
    let model = model();
    let spec = model.spec();
    let bytes = (spec.width * spec.height * 3) as usize;
    let pixels: Box<[u8]> = (0..bytes).map(|i| (i * 7919 % 256) as u8).collect();
    let batch = vec![Sample::from(PreprocessedImage::new(spec.width, spec.height, pixels)); batch_size];
    check(&engine.run(&batch).expect("the engine runs"));
    bencher.counter(ItemsCount::new(batch_size)).bench_local(|| engine.run(&batch).expect("the engine runs"));
}

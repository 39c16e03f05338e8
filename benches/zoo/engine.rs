//! Kiln's CPU engine on the networks of `crates/zoo`, and the share of the processor's peak that each of their steps reaches. It is
//! above 100 % where Winograd's algorithm saves multiplications.
//!
//! `cargo bench --bench zoo` prints the shares: for some networks, or for those named as arguments. `compare.py` runs the program
//! as `serve THREADS` and alternates between it and ONNX Runtime. It then answers each command on its standard input with a line
//! of JSON:
//!
//! - `open NAME FOLDER` fills the skeleton of a network, loads it, and writes `FOLDER/model.onnx` and `FOLDER/input.f32`, the rows
//!   of the input. It returns what `compare.py` needs to know of the network.
//! - `logits N` returns the logits of the first N rows.
//! - `run N SECONDS` runs N rows as one batch for that time, and returns the images per second.
#![forbid(unsafe_code)]

#[path = "../machine.rs"]
mod machine;

use std::collections::BTreeMap;
use std::io::BufRead;
use std::path::Path;
use std::time::{Duration, Instant};

use burn::tensor::{Device, Tensor, TensorData};
use kiln_executor::{OnnxModel, ReadOptions, StepTime};
use kiln_kernels::cpu::{Context, Isa, peak_flops};
use kiln_zoo::Answer;
use model_import::Network;
use serde_json::json;

/// The rows of the input; the largest batch.
const ROWS: usize = 8;
/// The networks whose shares are printed without arguments: one of each family.
const FAMILIES: [&str; 8] = [
    "resnet50",
    "mobilenet_v3_large",
    "efficientnet_b0",
    "densenet121",
    "resnext50_32x4d",
    "vit_tiny_patch16_224",
    "swin_t",
    "convnext_tiny",
];
/// The network of `cargo test`, which runs each benchmark once.
const SMALLEST: &str = "act_silu";

/// A network of the zoo on the CPU.
struct Engine {
    network: Box<dyn Network>,
    model: OnnxModel,
    answer: Answer,
    rows: Vec<f32>,
}

impl Engine {
    fn open(name: &str, folder: &Path) -> Self {
        let mut answers = kiln_zoo::answers().into_iter();
        let answer = answers.find(|answer| answer.name == name).unwrap_or_else(|| panic!("the zoo has no '{name}'"));
        let path = folder.join("model.onnx");
        std::fs::write(&path, answer.model()).expect("the folder can be written");
        let model = OnnxModel::open(&path, &ReadOptions::default()).unwrap_or_else(|error| panic!("{error}"));
        let network = model.load(&Device::flex()).unwrap_or_else(|error| panic!("{error}"));
        let rows = (0..ROWS).flat_map(|row| answer.input_row(row)).collect();
        Self { network, model, answer, rows }
    }

    /// The first rows of the input as NHWC images.
    fn images(&self, count: usize) -> Tensor<4> {
        let input = self.model.input();
        let [height, width, channels] = [input.height, input.width, input.channels];
        let values = self.rows[..count * height * width * channels].to_vec();
        let device = Device::flex();
        let values = if input.channels_last { values } else { interleave(&values, height * width, channels) };
        Tensor::from_data(TensorData::new(values, [count, height, width, channels]), &device)
    }

    /// What a comparison needs to know of the network, as JSON.
    fn describe(&self) -> serde_json::Value {
        let output = self.model.output();
        let declared =
            self.answer.outputs.iter().find(|one| one.name == output.name).expect("the output has an answer");
        json!({
            "input": self.model.input().name,
            "dtype": self.answer.input.dtype,
            "shape": self.answer.input.shape,
            "fixed_batch": self.answer.input.declared[0],
            "output": output.name,
            "removed": output.removed,
            "spread": declared.spread,
        })
    }

    fn logits(&self, count: usize) -> Vec<Vec<f32>> {
        let logits = self.network.forward(self.images(count)).into_data().try_into_vec().expect("f32 logits");
        logits.chunks(self.model.output().width).map(<[f32]>::to_vec).collect()
    }

    /// Returns the images per second.
    fn run(&self, count: usize, time: Duration) -> f64 {
        let images = self.images(count);
        let (start, mut runs) = (Instant::now(), 0);
        while start.elapsed() < time {
            self.network.forward(images.clone()).into_data();
            runs += 1;
        }
        (runs * count) as f64 / start.elapsed().as_secs_f64()
    }
}

/// Makes the channels of each pixel adjacent, as the server has them: it decodes images to that order.
fn interleave(values: &[f32], pixels: usize, channels: usize) -> Vec<f32> {
    let image = |image: &[f32]| -> Vec<f32> {
        (0..pixels * channels).map(|index| image[index % channels * pixels + index / channels]).collect()
    };
    values.chunks(pixels * channels).flat_map(image).collect()
}

/// Answers the commands of `compare.py`.
fn serve(context: &Context) {
    let mut opened = None;
    for line in std::io::stdin().lock().lines() {
        let line = line.expect("text");
        let words: Vec<&str> = line.splitn(3, ' ').collect();
        if let ["open", name, folder] = words[..] {
            opened = Some(context.enter(|| Engine::open(name, Path::new(folder))));
        }
        let engine = opened.as_ref().expect("a network is opened first");
        let number = |text: &str| text.parse().expect("a number");
        let answer = context.enter(|| match words[..] {
            ["open", _, folder] => {
                let bytes: Vec<u8> = engine.rows.iter().flat_map(|value| value.to_le_bytes()).collect();
                std::fs::write(Path::new(folder).join("input.f32"), bytes).expect("the folder can be written");
                engine.describe()
            }
            ["logits", count] => json!(engine.logits(number(count))),
            ["run", count, seconds] => {
                let time = Duration::from_secs_f64(seconds.parse().expect("a number of seconds"));
                json!(engine.run(number(count), time))
            }
            _ => panic!("'{line}' is no command"),
        });
        println!("{answer}");
    }
}

/// Prints the steps of a network, the slowest first, and their share of the peak.
fn print_profile(name: &str, peak: f64) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let engine = Engine::open(name, folder.path());
    let times = engine.model.profile(engine.images(1), 20).unwrap_or_else(|error| panic!("{error}"));
    let mut steps: BTreeMap<&str, (usize, Duration, u64)> = BTreeMap::new();
    for StepTime { step, time, operations } in &times {
        let sum = steps.entry(step).or_default();
        *sum = (sum.0 + 1, sum.1 + *time, sum.2 + operations);
    }
    let mut steps: Vec<_> = steps.into_iter().collect();
    steps.sort_by_key(|(_, (_, time, _))| std::cmp::Reverse(*time));
    let all: Duration = steps.iter().map(|(_, (_, time, _))| *time).sum();
    let operations: u64 = steps.iter().map(|(_, (_, _, operations))| operations).sum();
    let share = |operations: u64, time: Duration| match operations {
        0 => "     -".to_string(),
        _ => format!("{:>4.0} %", 100.0 * operations as f64 / time.as_secs_f64() / peak),
    };
    let milliseconds = |time: Duration| time.as_secs_f64() * 1e3;
    println!("\n{name}: {:.2} ms, {} of the peak", milliseconds(all), share(operations, all).trim());
    println!("     ms   time  peak  count  step");
    let shown = steps.iter().take_while(|(_, (_, time, _))| time.as_secs_f64() > 0.01 * all.as_secs_f64());
    for (step, (count, time, operations)) in shown {
        let part = 100.0 * time.as_secs_f64() / all.as_secs_f64();
        println!("{:>7.2} {part:>4.0} % {} {count:>6}  {step}", milliseconds(*time), share(*operations, *time));
    }
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [command, threads] = &arguments[..]
        && command == "serve"
    {
        return serve(&Context::new(Isa::best(), threads.parse().expect("a number of threads")));
    }
    // Cargo passes `--bench`, unless it tests.
    let is_bench = arguments.iter().any(|argument| argument == "--bench");
    let named: Vec<&str> = arguments.iter().map(String::as_str).filter(|name| !name.starts_with("--")).collect();
    let names = match (is_bench, named.is_empty()) {
        (false, _) => &[SMALLEST][..],
        (true, true) => &FAMILIES,
        (true, false) => &named,
    };
    let isa = Isa::best();
    let peak = peak_flops(isa);
    println!("machine: {}", machine::machine());
    println!("peak of one core: {:.1} GFLOP/s with {isa}; one thread, one image", peak / 1e9);
    Context::new(isa, 1).enter(|| names.iter().for_each(|name| print_profile(name, peak)));
}

//! The imported model against ONNX Runtime: the same prepared pictures, the same logits, from every variant of the kernels.
#![forbid(unsafe_code)]

mod common;

use std::sync::Mutex;

use image::ImageReader;
use kiln_image::PreparedImage;
use kiln_inference::adapters::{self, Api};
use kiln_inference::{BurnEngine, DeviceChoice, Engine, KernelChoice, Options, Precision, Sample, device, rank};
use kiln_inference::model::Model;
use kiln_kernels::cpu::Isa;
use serde_json::Value;

/// The largest difference between two logits of a picture that is put down to another order of additions.
const TOLERANCE: f32 = 1e-3;
/// The same for sums of bfloat16 products; 0.101 was measured.
const REDUCED_TOLERANCE: f32 = 0.2;
/// The same for tensors of f16: 0.036 was measured where sums are f32, and 0.083 with Burn's kernels, which sum in f16.
const HALF_TOLERANCES: [(KernelChoice, f32); 2] = [(KernelChoice::Fused, 0.06), (KernelChoice::Stock, 0.2)];
/// Pictures in each batch. Not a power of two, so that devices with warmed sizes have to pad.
const BATCH: usize = 3;

/// Every prepared picture that ONNX Runtime answered, with its answer.
fn golden() -> Vec<(String, Sample, Vec<f32>)> {
    let file: Value = serde_json::from_slice(&common::bytes("logits/efficientnet-lite0.json")).unwrap();
    let model = Model::all().find(|model| model.spec().name == "efficientnet-lite0").unwrap();
    assert_eq!(file["model_sha256"], model.spec().sha256, "the golden logits are of another file");
    let rows = file["rows"].as_array().unwrap();
    rows.iter()
        .map(|row| {
            let name = row["picture"].as_str().unwrap().to_string();
            let logits = row["logits"].as_array().unwrap().iter().map(|value| value.as_f64().unwrap() as f32);
            (name.clone(), picture(&name), logits.collect())
        })
        .collect()
}

fn picture(name: &str) -> Sample {
    let pixels = if name.starts_with("synthetic:") {
        (0..224 * 224 * 3).map(|i| (i * 7919 % 256) as u8).collect()
    } else {
        ImageReader::open(common::data(name)).unwrap().decode().unwrap().into_rgb8().into_raw()
    };
    PreparedImage::new(224, 224, pixels.into()).into()
}

fn classes(logits: &[f32], top: usize) -> Vec<usize> {
    rank(logits, top).iter().map(|ranked| ranked.class_id).collect()
}

/// How an engine is asked to compute, and how far its logits may be off.
struct Case {
    precision: Precision,
    kernels: KernelChoice,
    tolerance: f32,
    /// How many of the most probable classes must be the same, in order.
    top: usize,
}

const EXACT: Case = Case { precision: Precision::F32, kernels: KernelChoice::Auto, tolerance: TOLERANCE, top: 5 };

fn compare(what: &str, choice: &DeviceChoice, pictures: usize, case: &Case) {
    let model = Model::all().find(|model| model.spec().name == "efficientnet-lite0").unwrap();
    let device = device::choose(choice).unwrap();
    let Case { precision, kernels, tolerance, top } = *case;
    let options = Options { precision, kernels, ..Options::new(4) };
    let mut engine = BurnEngine::start(model, &device, &options, |_| ()).unwrap();
    let golden: Vec<_> = golden().into_iter().take(pictures).collect();
    assert!(golden.len() > 5, "too few golden pictures");
    let mut largest = 0.0_f32;
    for some in golden.chunks(BATCH) {
        let batch: Vec<_> = some.iter().map(|(_, picture, _)| picture.clone()).collect();
        let answers = engine.run(&batch).unwrap();
        assert_eq!(answers.len(), batch.len());
        for ((name, _, expected), answer) in some.iter().zip(answers) {
            let difference = answer.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            largest = largest.max(difference);
            assert!(difference < tolerance, "{what}, {name}: logits differ by {difference}");
            assert_eq!(classes(&answer, top), classes(expected, top), "{what}, {name}");
        }
    }
    println!("{what}: {} pictures, largest difference {largest:e}", golden.len());
}

#[test]
fn engines_that_run_at_the_same_time_answer_as_one_alone() {
    let _decided = DECIDED.lock();
    let model = Model::named("efficientnet-lite0").unwrap();
    let device = device::choose(&DeviceChoice::Cpu).unwrap();
    let mut alone = BurnEngine::start(model, &device, &Options::new(4), |_| ()).unwrap();
    let pictures: Vec<_> = golden().into_iter().map(|(_, picture, _)| picture).take(6).collect();
    let expected = alone.run(&pictures).unwrap();
    std::thread::scope(|scope| {
        for engine in 0..4 {
            let (mut engine, first) = (alone.clone(), engine);
            let (pictures, expected) = (&pictures, &expected);
            scope.spawn(move || {
                for size in [1, 6, 2, 5, 1, 3] {
                    let (batch, expected) = (&pictures[first..][..size.min(6 - first)], &expected[first..]);
                    for (answer, expected) in engine.run(batch).unwrap().iter().zip(expected) {
                        assert!(answer.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-4), "{size} from {first}");
                    }
                }
            });
        }
    });
}

/// Which instruction set is used is decided for the whole process.
static DECIDED: Mutex<()> = Mutex::new(());

#[test]
fn the_cpu_computes_what_onnx_runtime_computes_with_every_instruction_set() {
    let _decided = DECIDED.lock();
    for isa in Isa::available() {
        isa.choose();
        compare(isa.name(), &DeviceChoice::Cpu, usize::MAX, &EXACT);
    }
}

#[test]
fn bfloat16_finds_the_same_classes_with_logits_close_by() {
    let _decided = DECIDED.lock();
    let Some(isa) = Isa::reduced() else {
        eprintln!("SKIPPED: this processor has no AVX-512 BF16");
        return;
    };
    isa.choose();
    let reduced = Case { precision: Precision::Bf16, tolerance: REDUCED_TOLERANCE, ..EXACT };
    compare(isa.name(), &DeviceChoice::Cpu, usize::MAX, &reduced);
    Isa::available()[0].choose();
}

#[test]
fn a_vulkan_adapter_computes_what_onnx_runtime_computes() {
    if !common::has_vulkan() {
        return;
    }
    let vulkan = DeviceChoice::Vulkan(None);
    compare("vulkan, stock", &vulkan, 6, &Case { kernels: KernelChoice::Stock, ..EXACT });
    if cfg!(any(feature = "vulkan", feature = "metal")) {
        return;
    }
    compare("vulkan, fused", &vulkan, usize::MAX, &Case { kernels: KernelChoice::Fused, ..EXACT });
    let has_f16 = adapters::enumerate().iter().any(|adapter| adapter.api == Api::Vulkan && adapter.has_f16);
    if !has_f16 {
        eprintln!("SKIPPED: no Vulkan adapter of this machine has f16");
        return;
    }
    for (kernels, tolerance) in HALF_TOLERANCES {
        // Sums of f16 are too coarse to tell one cat from another on one of the photos.
        let top = usize::from(kernels == KernelChoice::Fused);
        let half = Case { precision: Precision::F16, kernels, tolerance, top };
        let pictures = if kernels == KernelChoice::Fused { usize::MAX } else { 6 };
        compare(&format!("vulkan, f16, {kernels:?}"), &vulkan, pictures, &half);
    }
}

//! Compares the logits of the default model with ONNX Runtime, for every kernel variant and device.

use image::ImageReader;
use kiln_image::PreprocessedImage;
use kiln_inference::adapters::{self, Api};
use kiln_inference::model::Model;
use kiln_inference::{
    BurnEngine, ChosenDevice, DeviceChoice, Engine, KernelChoice, Options, Precision, Sample, device, softmax_top_k,
};
use kiln_kernels::cpu::{Context, Isa, default_threads};
use serde_json::Value;

use crate::common;

/// The maximum difference between two logits of an image; it allows for another order of additions.
const TOLERANCE: f32 = 1e-3;
/// The tolerance for sums of bfloat16 products; 0.101 was measured.
const REDUCED_TOLERANCE: f32 = 0.2;
/// The tolerances for tensors of f16: 0.036 was measured with sums in f32, and 0.083 with Burn's kernels, which sum in f16.
const HALF_TOLERANCES: [(KernelChoice, f32); 2] = [(KernelChoice::Fused, 0.06), (KernelChoice::Stock, 0.2)];
/// Images per batch. Not a power of two, so that devices with fixed batch sizes must pad.
const BATCH: usize = 3;

/// Returns each preprocessed image with the logits of ONNX Runtime.
fn reference() -> Vec<(String, Sample, Vec<f32>)> {
    let file: Value = serde_json::from_slice(&common::bytes("logits/efficientnet-lite0.json")).unwrap();
    let model = Model::all().find(|model| model.name() == "efficientnet-lite0").unwrap();
    assert_eq!(file["model_sha256"], model.spec().sha256, "the reference logits belong to another model file");
    let rows = file["rows"].as_array().unwrap();
    rows.iter()
        .map(|row| {
            let name = row["picture"].as_str().unwrap().to_string();
            let logits = row["logits"].as_array().unwrap().iter().map(|value| value.as_f64().unwrap() as f32);
            (name.clone(), image(&name), logits.collect())
        })
        .collect()
}

fn image(name: &str) -> Sample {
    let pixels = if name.starts_with("synthetic:") {
        (0..224 * 224 * 3).map(|i| (i * 7919 % 256) as u8).collect()
    } else {
        ImageReader::open(common::data(name)).unwrap().decode().unwrap().into_rgb8().into_raw()
    };
    PreprocessedImage::new(224, 224, pixels.into()).into()
}

fn classes(logits: &[f32], top: usize) -> Vec<usize> {
    softmax_top_k(logits, top).iter().map(|ranked| ranked.class_id).collect()
}

/// The configuration of an engine, and the allowed difference.
struct Case {
    precision: Precision,
    kernels: KernelChoice,
    tolerance: f32,
    /// How many of the most probable classes must match in order.
    top: usize,
}

const EXACT: Case = Case { precision: Precision::F32, kernels: KernelChoice::Auto, tolerance: TOLERANCE, top: 5 };

/// Returns the CPU with this instruction set and number of threads.
fn cpu(isa: Isa, threads: usize) -> ChosenDevice {
    device::choose(&DeviceChoice::Cpu).unwrap().with_cpu_context(Context::new(isa, threads))
}

/// Runs images through an engine and compares logits and top classes with ONNX Runtime.
fn compare(what: &str, device: &ChosenDevice, images: usize, case: &Case) {
    let model = Model::all().find(|model| model.name() == "efficientnet-lite0").unwrap();
    let Case { precision, kernels, tolerance, top } = *case;
    let options = Options { precision, kernels, ..Options::new(4) };
    let mut engine = BurnEngine::start(model, device, &options, |_| ()).unwrap();
    let reference: Vec<_> = reference().into_iter().take(images).collect();
    assert!(reference.len() > 5, "too few reference images");
    let mut largest = 0.0_f32;
    for chunk in reference.chunks(BATCH) {
        let batch: Vec<_> = chunk.iter().map(|(_, image, _)| image.clone()).collect();
        let answers = engine.run(&batch).unwrap();
        assert_eq!(answers.len(), batch.len());
        for ((name, _, expected), answer) in chunk.iter().zip(answers) {
            let difference = answer.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            largest = largest.max(difference);
            assert!(difference < tolerance, "{what}, {name}: logits differ by {difference}");
            assert_eq!(classes(&answer, top), classes(expected, top), "{what}, {name}");
        }
    }
    println!("{what}: {} images, largest difference {largest:e}", reference.len());
}

#[test]
fn concurrent_engines_give_the_same_logits_as_one_engine() {
    let model = Model::named("efficientnet-lite0").unwrap();
    let device = device::choose(&DeviceChoice::Cpu).unwrap();
    let mut alone = BurnEngine::start(model, &device, &Options::new(4), |_| ()).unwrap();
    let images: Vec<_> = reference().into_iter().map(|(_, image, _)| image).take(6).collect();
    let expected = alone.run(&images).unwrap();
    std::thread::scope(|scope| {
        for engine in 0..4 {
            let (mut engine, first) = (alone.clone(), engine);
            let (images, expected) = (&images, &expected);
            scope.spawn(move || {
                for size in [1, 6, 2, 5, 1, 3] {
                    let (batch, expected) = (&images[first..][..size.min(6 - first)], &expected[first..]);
                    for (answer, expected) in engine.run(batch).unwrap().iter().zip(expected) {
                        assert!(answer.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-4), "{size} from {first}");
                    }
                }
            });
        }
    });
}

#[test]
fn concurrent_engines_have_their_own_threads_and_instruction_sets() {
    let sets = Isa::available();
    std::thread::scope(|scope| {
        for (isa, threads) in [(sets[0], 3), (sets[sets.len() - 1], 1)] {
            scope.spawn(move || {
                let device = cpu(isa, threads);
                let model = Model::named("efficientnet-lite0").unwrap();
                let engine = BurnEngine::start(model, &device, &Options::new(4), |_| ()).unwrap();
                assert_eq!(engine.into_engines().len(), threads, "{isa}");
                compare(isa.name(), &device, 6, &EXACT);
            });
        }
    });
}

#[test]
fn cpu_matches_onnx_runtime_with_every_instruction_set() {
    for isa in Isa::available() {
        compare(isa.name(), &cpu(isa, default_threads()), usize::MAX, &EXACT);
    }
}

#[test]
fn bfloat16_matches_onnx_runtime_within_its_tolerance() {
    let Some(isa) = Isa::bf16() else {
        eprintln!("skipped: this processor has no AVX-512 BF16");
        return;
    };
    let reduced = Case { precision: Precision::Bf16, tolerance: REDUCED_TOLERANCE, ..EXACT };
    compare(isa.name(), &cpu(isa, default_threads()), usize::MAX, &reduced);
}

#[test]
fn vulkan_matches_onnx_runtime() {
    if !common::has_vulkan() {
        return;
    }
    let vulkan = || device::choose(&DeviceChoice::Vulkan(None)).unwrap();
    compare("vulkan, stock", &vulkan(), 6, &Case { kernels: KernelChoice::Stock, ..EXACT });
    if cfg!(any(feature = "vulkan", feature = "metal")) {
        return;
    }
    compare("vulkan, fused", &vulkan(), usize::MAX, &Case { kernels: KernelChoice::Fused, ..EXACT });
    let has_f16 = adapters::enumerate().iter().any(|adapter| adapter.api == Api::Vulkan && adapter.has_f16);
    if !has_f16 {
        eprintln!("skipped: no Vulkan adapter of this machine has f16");
        return;
    }
    for (kernels, tolerance) in HALF_TOLERANCES {
        // Sums in f16 are too coarse to rank the similar cat classes of one photo.
        let top = usize::from(kernels == KernelChoice::Fused);
        let half = Case { precision: Precision::F16, kernels, tolerance, top };
        let images = if kernels == KernelChoice::Fused { usize::MAX } else { 6 };
        compare(&format!("vulkan, f16, {kernels:?}"), &vulkan(), images, &half);
    }
}

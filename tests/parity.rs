//! The imported model against ONNX Runtime: the same prepared pictures, the same logits, from every variant of the kernels.

mod common;

use std::sync::Mutex;

use image::ImageReader;
use kiln::image::PreparedImage;
use kiln::inference::{BurnEngine, DeviceChoice, Engine, Options, Sample, device, rank};
use kiln::model::Model;
use kiln_kernels::cpu::Isa;
use serde_json::Value;

/// The largest difference between two logits of a picture that is put down to another order of additions.
const TOLERANCE: f32 = 1e-3;
/// The same for sums of bfloat16 products; 0.101 was measured.
const REDUCED_TOLERANCE: f32 = 0.2;
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

fn top5(logits: &[f32]) -> Vec<usize> {
    rank(logits, 5).iter().map(|ranked| ranked.class_id).collect()
}

fn compare(what: &str, choice: &DeviceChoice, pictures: usize, tolerance: f32) {
    let model = Model::all().find(|model| model.spec().name == "efficientnet-lite0").unwrap();
    let device = device::choose(choice).unwrap();
    let mut engine = BurnEngine::start(model, &device, &Options::new(4), |_| ()).unwrap();
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
            assert_eq!(top5(&answer), top5(expected), "{what}, {name}");
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
        compare(isa.name(), &DeviceChoice::Cpu, usize::MAX, TOLERANCE);
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
    compare(isa.name(), &DeviceChoice::Cpu, usize::MAX, REDUCED_TOLERANCE);
}

#[test]
fn a_vulkan_adapter_computes_what_onnx_runtime_computes() {
    if !common::has_vulkan() {
        return;
    }
    compare("vulkan", &DeviceChoice::Vulkan(None), 6, TOLERANCE);
}

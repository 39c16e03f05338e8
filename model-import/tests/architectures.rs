//! Small networks of other architectures, through the whole import: the same logits as ONNX Runtime, with the kernels of
//! every instruction set and without them.
#![forbid(unsafe_code)]

#[path = "../../shaders/tests/vulkan/mod.rs"]
mod vulkan;

use burn::tensor::{Device, Tensor, TensorData};
use kiln_kernels::cpu::Isa;
use model_import::{BuiltIn, Layout};

/// What the build script made of `tests/models`.
mod models {
    use model_import::{BuiltIn, Crop, Filter, Layout, ModelSpec, built_in};
    include!(concat!(env!("OUT_DIR"), "/tested_models.rs"));
}

const TOLERANCE: f32 = 1e-4;

fn model(name: &str) -> &'static BuiltIn {
    models::MODELS.iter().find(|model| model.spec.name == name).expect("the model was built")
}

/// The rows that `model-import/export/architectures.py` had from ONNX Runtime.
fn golden(name: &str) -> Vec<Vec<f32>> {
    let text = std::fs::read_to_string(format!("tests/models/{name}/logits.json")).unwrap();
    let (_, rows) = text.split_once("\"logits\": [[").unwrap();
    let rows = rows.trim_end().trim_end_matches("]]}").split("], [");
    rows.map(|row| row.split(", ").map(|value| value.parse().unwrap()).collect()).collect()
}

/// The same pictures as that script's, NHWC.
fn pictures(model: &BuiltIn, batch: usize, device: &Device) -> Tensor<4> {
    let shape = [batch, model.spec.height as usize, model.spec.width as usize, 3];
    let values: Vec<f32> =
        (0..shape.iter().product()).map(|i: usize| ((i * 7919 % 256) as f32 - 127.0) / 128.0).collect();
    Tensor::from_data(TensorData::new(values, shape), device)
}

/// Loads the model anew, runs it and compares.
fn compare(name: &str, device: &Device) {
    let (model, golden) = (model(name), golden(name));
    let network = model.load(device).unwrap();
    let pictures = pictures(model, golden.len(), device);
    let logits = network.forward(match network.layout() {
        Layout::ChannelsLast => pictures,
        Layout::ChannelsFirst => pictures.permute([0, 3, 1, 2]),
    });
    assert_eq!(logits.dims(), [golden.len(), model.spec.labels.len()]);
    let logits = logits.into_data();
    let pairs = logits.as_slice::<f32>().unwrap().iter().zip(golden.iter().flatten());
    let largest = pairs.map(|(ours, theirs)| (ours - theirs).abs()).fold(0.0, f32::max);
    assert!(largest < TOLERANCE, "{name}: logits differ by {largest}");
}

#[test]
fn residual_networks_and_mobile_networks_are_fused_and_right_on_every_instruction_set() {
    for isa in Isa::available() {
        isa.choose();
        for name in ["small-resnet", "small-mobilenet-v3"] {
            assert_eq!(
                model(name).load(&Device::flex()).unwrap().layout(),
                Layout::ChannelsLast,
                "{name} is not fused"
            );
            compare(name, &Device::flex());
        }
    }
}

#[test]
fn the_kernels_twins_are_right_on_a_vulkan_adapter() {
    let Some(device) = vulkan::device() else { return };
    for name in ["small-resnet", "small-mobilenet-v3", "small-unknown"] {
        compare(name, &device);
    }
}

#[test]
fn a_network_with_an_unknown_layer_is_left_as_it_is_and_right() {
    assert_eq!(model("small-unknown").load(&Device::flex()).unwrap().layout(), Layout::ChannelsFirst);
    compare("small-unknown", &Device::flex());
}

//! Small networks of other architectures return the logits of ONNX Runtime after the whole import, with the kernels of every
//! instruction set and with Burn's operations. Kiln's layers and those of `kiln-graph` have the same geometry.
#![forbid(unsafe_code)]

#[path = "../../shaders/tests/vulkan/mod.rs"]
mod vulkan;

use burn::tensor::{Device, Tensor, TensorData};
use kiln_kernels::cpu::{Context, Isa};
use model_import::{BuiltIn, Layout};

/// The models that the build script generated from `tests/models`.
mod models {
    use model_import::{BuiltIn, Crop, Filter, Layout, ModelSpec, built_in};
    include!(concat!(env!("OUT_DIR"), "/tested_models.rs"));
}

const TOLERANCE: f32 = 1e-4;

fn model(name: &str) -> &'static BuiltIn {
    models::MODELS.iter().find(|model| model.spec.name == name).expect("the model was built")
}

/// The logits that `model-import/export/small_models.py` computed with ONNX Runtime.
fn reference_logits(name: &str) -> Vec<Vec<f32>> {
    let text = std::fs::read_to_string(format!("tests/models/{name}/logits.json")).unwrap();
    let (_, rows) = text.split_once("\"logits\": [[").unwrap();
    let rows = rows.trim_end().trim_end_matches("]]}").split("], [");
    rows.map(|row| row.split(", ").map(|value| value.parse().unwrap()).collect()).collect()
}

/// The images of that script, NHWC.
fn images(model: &BuiltIn, batch: usize, device: &Device) -> Tensor<4> {
    let shape = [batch, model.spec.height as usize, model.spec.width as usize, 3];
    let values: Vec<f32> =
        (0..shape.iter().product()).map(|i: usize| ((i * 7919 % 256) as f32 - 127.0) / 128.0).collect();
    Tensor::from_data(TensorData::new(values, shape), device)
}

/// Loads the model, runs it and compares its logits.
fn compare(name: &str, device: &Device) {
    let (model, reference) = (model(name), reference_logits(name));
    let network = model.load(device).unwrap();
    let images = images(model, reference.len(), device);
    let logits = network.forward(match network.layout() {
        Layout::ChannelsLast => images,
        Layout::ChannelsFirst => images.permute([0, 3, 1, 2]),
    });
    assert_eq!(logits.dims(), [reference.len(), model.spec.labels.len()]);
    let logits = logits.into_data();
    let pairs = logits.as_slice::<f32>().unwrap().iter().zip(reference.iter().flatten());
    let largest = pairs.map(|(ours, theirs)| (ours - theirs).abs()).fold(0.0, f32::max);
    assert!(largest < TOLERANCE, "{name}: logits differ by {largest}");
}

#[test]
fn resnet_and_mobilenet_are_fused_and_match_on_every_instruction_set() {
    for isa in Isa::available() {
        for name in ["small-resnet", "small-mobilenet-v3"] {
            assert_eq!(
                model(name).load(&Device::flex()).unwrap().layout(),
                Layout::ChannelsLast,
                "{name} is not fused"
            );
            Context::new(isa, 2).enter(|| compare(name, &Device::flex()));
        }
    }
}

#[test]
fn small_models_match_on_vulkan() {
    let Some(device) = vulkan::device() else { return };
    for name in ["small-resnet", "small-mobilenet-v3", "small-unknown"] {
        compare(name, &device);
    }
}

#[test]
fn network_with_unsupported_layer_is_unfused_and_matches() {
    assert_eq!(model("small-unknown").load(&Device::flex()).unwrap().layout(), Layout::ChannelsFirst);
    compare("small-unknown", &Device::flex());
}

#[test]
fn graph_and_kernels_agree_on_depthwise_convolutions() {
    use kiln_kernels::layers::{Activation, ConvSpec, Geometry};
    for (kernel, stride, before, after) in (1..9).flat_map(|kernel| {
        (1..4).flat_map(move |stride| (0..3).map(move |pad| ([kernel; 2], [stride, stride.min(2)], [pad, 1], [1, pad])))
    }) {
        let (geometry, activation) = (Geometry { kernel, stride, before, after }, Activation::Identity);
        let (inputs, outputs, groups, dilation) = (8, 8, 8, [1, 1]);
        let (weight, bias) = (Vec::new(), Vec::new());
        let graph = kiln_graph::Conv { inputs, outputs, geometry, groups, dilation, activation, weight, bias };
        let kernels = ConvSpec { inputs, outputs, geometry, depthwise: true, activation };
        assert_eq!(graph.is_depthwise(), kernels.is_supported(), "{geometry:?}");
    }
}

//! An ONNX file: any bytes are a network or an error, and an accepted network is consistent.
//!
//! Each layer reads values that exist, its parameters have the lengths that its shape needs, and messages are short.
#![forbid(unsafe_code)]
#![no_main]

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::LazyLock;

use kiln_fuzz::graph::{Classifier, Conv, LayerKind, Network, ReadOptions, TensorOp};
use libfuzzer_sys::fuzz_target;

/// Maximum length of a message for the user.
const MAX_MESSAGE: usize = 6000;

/// The input as a file: large tensors are read from there.
static PATH: LazyLock<PathBuf> = LazyLock::new(|| {
    let folder = std::env::temp_dir().join(format!("kiln-fuzz-onnx-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("the temporary folder is writable");
    folder.join("model.onnx")
});

fuzz_target!(|input: &[u8]| {
    std::fs::write(&*PATH, input).expect("the temporary folder is writable");
    match Classifier::open(&PATH, &ReadOptions::default()) {
        Ok(classifier) => {
            assert_eq!(classifier.network.classes, classifier.output.width);
            check(&classifier.network);
        }
        Err(error) => assert!(error.to_string().len() <= MAX_MESSAGE, "{error}"),
    }
});

fn check(network: &Network) {
    let mut known = HashSet::from([network.input]);
    for layer in &network.layers {
        assert!(layer.inputs.iter().all(|input| known.contains(input)), "{layer:?}");
        assert!(known.insert(layer.output), "{layer:?}");
        let inputs = layer.inputs.len();
        match &layer.kind {
            LayerKind::Conv(conv) => {
                check_conv(conv);
                assert!((1..=2).contains(&inputs));
            }
            LayerKind::InvertedBottleneck(convs) => {
                convs.iter().for_each(check_conv);
                assert!((1..=2).contains(&inputs));
            }
            LayerKind::ExpandedDepthwise(convs) => {
                convs.iter().for_each(check_conv);
                assert_eq!(inputs, 1);
            }
            LayerKind::Affine { factor, summand } => assert!(!factor.is_empty() && factor.len() == summand.len()),
            LayerKind::Constant(array) => {
                assert!(!array.data.is_empty() && inputs == 0);
                assert_eq!(array.shape.iter().product::<usize>(), array.data.len());
            }
            LayerKind::Add | LayerKind::Scale => assert_eq!(inputs, 2),
            LayerKind::Tensor(op) => check_op(op, inputs),
            LayerKind::Pool(..) | LayerKind::GlobalAveragePool | LayerKind::Activation(_) | LayerKind::Pad(_) => {
                assert_eq!(inputs, 1);
            }
        }
    }
    assert!(known.contains(&network.output));
}

fn check_conv(conv: &Conv) {
    assert!(conv.groups > 0 && conv.outputs > 0 && conv.outputs % conv.groups == 0 && conv.inputs % conv.groups == 0);
    let [height, width] = conv.geometry.kernel;
    assert_eq!(conv.weight.len(), conv.outputs * (conv.inputs / conv.groups) * height * width);
    assert_eq!(conv.bias.len(), conv.outputs);
}

fn check_op(op: &TensorOp, inputs: usize) {
    match op {
        TensorOp::Permute(perm) => {
            let mut sorted = perm.clone();
            sorted.sort_unstable();
            assert!(sorted.iter().enumerate().all(|(axis, from)| axis == *from), "{perm:?}");
        }
        TensorOp::Reshape(dims) | TensorOp::Expand(dims) => assert!(dims.iter().all(|dim| dim.size > 0)),
        TensorOp::Slice { start, end, step, .. } => assert!(start < end && *step > 0),
        TensorOp::Reduce { axes, rank, .. } => {
            assert!(axes.iter().all(|axis| axis < rank) && axes.is_sorted_by(|a, b| a < b));
        }
        TensorOp::LayerNorm { scale, bias, .. } => assert!(!scale.is_empty() && scale.len() == bias.len()),
        TensorOp::ConvTranspose(conv) => {
            let taps = conv.kernel[0] * conv.kernel[1];
            assert!(conv.groups > 0 && conv.outputs % conv.groups == 0 && conv.inputs % conv.groups == 0);
            assert_eq!(conv.weight.len(), conv.inputs * (conv.outputs / conv.groups) * taps);
            assert_eq!(conv.bias.len(), conv.outputs);
        }
        TensorOp::Binary(_) | TensorOp::MatMul => assert_eq!(inputs, 2),
        TensorOp::Where => assert_eq!(inputs, 3),
        _ => assert!(inputs >= 1),
    }
}

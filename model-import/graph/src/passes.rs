//! The graph passes: layers that the kernels support only inside a convolution move into one, and two or three convolutions in
//! a row become one layer.
//!
//! A pass looks at every candidate layer and either fuses it or says why not. The passes of a stage repeat until none of them
//! changes the network.

use kiln_ops::Activation;

use crate::functions::{
    find_gated, find_hard_sigmoid, find_layer_norm, find_scaled_product, is_affine, is_product, is_quotient,
    merge_affine,
};
use crate::network::{Conv, LayerKind, Network, Value};
use crate::network_editor::NetworkEditor;
use crate::report::{PassReport, Reason, SkippedLayer, Unfusable};
use crate::tensor_op::TensorOp;

/// The maximum number of times that the passes of a stage repeat. Networks need two or three.
const MAX_SWEEPS: usize = 50;

/// A rewrite of single layers.
struct Pass {
    name: &'static str,
    is_candidate: fn(&NetworkEditor<'_>, usize) -> bool,
    /// Whether the last layers come first, because a layer is fused with one behind it.
    is_backward: bool,
    /// Fuses the candidate, or returns why it stays.
    apply: fn(&mut NetworkEditor<'_>, usize) -> Result<(), Reason>,
}

/// The passes, in the order of their stages.
const STAGES: [&[Pass]; 6] = [
    &[
        Pass { name: "find-hard-sigmoids", is_candidate: is_affine, is_backward: false, apply: find_hard_sigmoid },
        Pass { name: "find-gates", is_candidate: is_product, is_backward: false, apply: find_gated },
        Pass { name: "find-scaled-products", is_candidate: is_affine, is_backward: false, apply: find_scaled_product },
        Pass { name: "find-layer-norms", is_candidate: is_quotient, is_backward: false, apply: find_layer_norm },
    ],
    &[Pass { name: "merge-affine-steps", is_candidate: is_affine, is_backward: false, apply: merge_affine }],
    &[Pass { name: "fold-padding", is_candidate: is_pad, is_backward: true, apply: fold_padding }],
    &[Pass { name: "fold-batch-norms", is_candidate: is_affine, is_backward: false, apply: fold_batch_norm }],
    &[
        Pass { name: "merge-residuals", is_candidate: is_add, is_backward: false, apply: merge_residual },
        Pass { name: "merge-activations", is_candidate: is_activation, is_backward: false, apply: merge_activation },
    ],
    &[Pass {
        name: "fuse-inverted-bottlenecks",
        is_candidate: is_projection,
        is_backward: false,
        apply: fuse_inverted_bottleneck,
    }],
];

/// Converts a graph into a network of fused layers.
///
/// # Errors
///
/// The first part of the graph that the fused kernels do not support.
#[cfg(feature = "import")]
pub fn fuse(graph: &crate::graph::Graph, image_size: [usize; 2]) -> Result<Network, Unfusable> {
    let mut network = crate::lower::lower(graph, image_size)?;
    let reports = run_passes(&mut network);
    first_unfused(&network, &reports).map_or(Ok(network), Err)
}

/// Runs all passes and returns their reports. Layers that cannot be fused stay in the network.
pub fn run_passes(network: &mut Network) -> Vec<PassReport> {
    let mut editor = NetworkEditor::new(network);
    let mut reports = vec![remove_dead_layers(&mut editor)];
    for stage in STAGES {
        let first = reports.len();
        reports.extend(stage.iter().map(|pass| PassReport { pass: pass.name, fused: 0, skipped: Vec::new() }));
        for _ in 0..MAX_SWEEPS {
            let mut has_changed = false;
            for (pass, report) in stage.iter().zip(&mut reports[first..]) {
                let (fused, skipped) = sweep(pass, &mut editor);
                has_changed |= fused > 0;
                report.fused += fused;
                report.skipped = skipped;
            }
            if !has_changed {
                break;
            }
        }
        // Pieces of functions that were recognised would count as consumers.
        reports[0].fused += remove_dead_layers(&mut editor).fused;
    }
    editor.finish();
    reports
}

/// Joins each dense convolution with the depthwise one behind it, where no inverted bottleneck has them: squeeze-and-excitation
/// needs the whole output of the depthwise one. The generator of embedded networks has no such layer.
pub(crate) fn fuse_expanded_depthwise(network: &mut Network) -> PassReport {
    let pass = Pass {
        name: "fuse-expanded-depthwise",
        is_candidate: is_depthwise,
        is_backward: false,
        apply: join_dense_and_depthwise,
    };
    let mut editor = NetworkEditor::new(network);
    let (fused, skipped) = sweep(&pass, &mut editor);
    editor.finish();
    PassReport { pass: pass.name, fused, skipped }
}

/// The first layer without a fused kernel, with the reason of the pass that skipped it.
pub fn first_unfused(network: &Network, reports: &[PassReport]) -> Option<Unfusable> {
    let layer = network.layers.iter().find(|layer| !layer.kind.has_fused_kernel())?;
    let mut skipped = reports.iter().flat_map(|report| &report.skipped);
    Some(match skipped.find(|skipped| skipped.output == layer.output) {
        Some(skipped) => Unfusable::Layer { node: layer.node.clone(), reason: skipped.reason },
        None => Unfusable::Node(layer.node.clone()),
    })
}

/// Applies a pass once to each candidate; returns the number of fused layers, and the skipped ones.
fn sweep(pass: &Pass, editor: &mut NetworkEditor<'_>) -> (usize, Vec<SkippedLayer>) {
    let (mut fused, mut skipped) = (0, Vec::new());
    let count = editor.indices().len();
    for position in 0..count {
        let index = if pass.is_backward { count - 1 - position } else { position };
        if editor.layer(index).is_none() || !(pass.is_candidate)(editor, index) {
            continue;
        }
        match (pass.apply)(editor, index) {
            Ok(()) => fused += 1,
            // Most candidates for a function are none.
            Err(Reason::NoFunction) => {}
            Err(reason) => skipped.extend(editor.layer(index).map(|layer| SkippedLayer::new(layer, reason))),
        }
    }
    (fused, skipped)
}

/// Removes layers whose results nothing reads, such as the gate of a HardSwish that was written as a product.
fn remove_dead_layers(editor: &mut NetworkEditor<'_>) -> PassReport {
    let mut removed = 0;
    // Backwards, since a removed layer may have been the only consumer of an earlier one.
    for index in editor.indices().rev() {
        if editor.layer(index).is_some_and(|layer| editor.consumer_count(layer.output) == 0) {
            editor.remove(index);
            removed += 1;
        }
    }
    PassReport { pass: "remove-dead-layers", fused: removed, skipped: Vec::new() }
}

fn is_pad(editor: &NetworkEditor<'_>, index: usize) -> bool {
    editor.layer(index).is_some_and(|layer| matches!(layer.kind, LayerKind::Pad(_)))
}

/// Zeros around a convolution's input become its own padding.
fn fold_padding(editor: &mut NetworkEditor<'_>, index: usize) -> Result<(), Reason> {
    let Some((source, output, [top, left, bottom, right])) = editor.layer(index).and_then(|layer| match layer.kind {
        LayerKind::Pad(sides) => Some((layer.inputs[0], layer.output, sides)),
        _ => None,
    }) else {
        return Err(Reason::NoConvolutionFollows);
    };
    let consumers = editor.consumers(output);
    let Some(conv) = consumers.iter().copied().find(|consumer| reads_first(editor, *consumer, output)) else {
        return Err(Reason::NoConvolutionFollows);
    };
    if editor.consumer_count(output) != 1 {
        return Err(Reason::SharedValue);
    }
    let inputs = editor.layer(conv).map(|layer| layer.inputs.clone()).unwrap_or_default();
    if let Some(conv) = editor.conv_mut(conv) {
        let geometry = &mut conv.geometry;
        geometry.before = [geometry.before[0] + top, geometry.before[1] + left];
        geometry.after = [geometry.after[0] + bottom, geometry.after[1] + right];
    }
    editor.set_inputs(conv, [source].into_iter().chain(inputs.into_iter().skip(1)).collect());
    editor.remove(index);
    Ok(())
}

/// Whether a layer is a convolution of `value`, which is not its residual.
fn reads_first(editor: &NetworkEditor<'_>, index: usize, value: Value) -> bool {
    editor.conv(index).is_some() && editor.layer(index).is_some_and(|layer| layer.inputs[0] == value)
}

/// A batch norm after a convolution moves into its weights: `f * (w x + b) + s = (f w) x + (f b + s)`.
fn fold_batch_norm(editor: &mut NetworkEditor<'_>, index: usize) -> Result<(), Reason> {
    let (before, layer) = conv_before(editor, index)?;
    let LayerKind::Affine { factor, summand } = layer else { return Err(Reason::NoConvolution) };
    if let Some(conv) = editor.conv_mut(before) {
        let depth = conv.weight.len() / conv.outputs;
        for (channel, weights) in conv.weight.chunks_exact_mut(depth).enumerate() {
            weights.iter_mut().for_each(|weight| *weight *= factor[channel]);
            conv.bias[channel] = conv.bias[channel] * factor[channel] + summand[channel];
        }
    }
    absorb(editor, before, index);
    Ok(())
}

/// The convolution whose result only the layer at `index` reads, as its first input, and that layer's operation.
fn conv_before(editor: &NetworkEditor<'_>, index: usize) -> Result<(usize, LayerKind), Reason> {
    let layer = editor.layer(index).ok_or(Reason::NoConvolution)?;
    Ok((sole_conv(editor, layer.inputs[0])?, layer.kind.clone()))
}

/// The convolution that produces `value`, if that value has a single consumer.
fn sole_conv(editor: &NetworkEditor<'_>, value: Value) -> Result<usize, Reason> {
    let producer = editor.producer(value).filter(|producer| editor.conv(*producer).is_some());
    producer.ok_or(Reason::NoConvolution)?;
    editor.sole_producer(value).ok_or(Reason::SharedValue)
}

/// Removes the layer at `index`, and makes the convolution at `conv` produce its output.
fn absorb(editor: &mut NetworkEditor<'_>, conv: usize, index: usize) {
    if let Some(layer) = editor.remove(index) {
        editor.set_output(conv, layer.output);
    }
}

fn is_add(editor: &NetworkEditor<'_>, index: usize) -> bool {
    editor.layer(index).is_some_and(|layer| matches!(layer.kind, LayerKind::Add))
}

/// A sum becomes the residual of the convolution that produces the later of its operands.
fn merge_residual(editor: &mut NetworkEditor<'_>, index: usize) -> Result<(), Reason> {
    let Some(&[left, right]) = editor.layer(index).map(|layer| layer.inputs.as_slice()) else {
        return Err(Reason::NoConvolution);
    };
    if left == right {
        return Err(Reason::SameOperands);
    }
    // The later one, so that the other operand exists when the convolution runs.
    let is_left_later = editor.producer(left) > editor.producer(right);
    let (own, residual) = if is_left_later { (left, right) } else { (right, left) };
    let before = sole_conv(editor, own)?;
    let inputs = editor.layer(before).map(|layer| layer.inputs.clone()).unwrap_or_default();
    let conv = editor.conv(before).ok_or(Reason::NoConvolution)?;
    if !conv.is_dense() {
        return Err(Reason::Depthwise);
    }
    if conv.activation != Activation::Identity {
        return Err(Reason::HasActivation);
    }
    if inputs.len() != 1 {
        return Err(Reason::HasResidual);
    }
    absorb(editor, before, index);
    editor.set_inputs(before, vec![inputs[0], residual]);
    Ok(())
}

fn is_activation(editor: &NetworkEditor<'_>, index: usize) -> bool {
    editor.layer(index).is_some_and(|layer| activation_of(&layer.kind).is_some())
}

/// The activation that a layer applies, if a convolution can apply it.
fn activation_of(kind: &LayerKind) -> Option<Activation> {
    match kind {
        LayerKind::Activation(activation) => Some(*activation),
        LayerKind::Tensor(TensorOp::Unary(function)) => Activation::of(*function),
        _ => None,
    }
}

/// An activation becomes part of the convolution before it.
fn merge_activation(editor: &mut NetworkEditor<'_>, index: usize) -> Result<(), Reason> {
    let (before, layer) = conv_before(editor, index)?;
    let activation = activation_of(&layer).ok_or(Reason::NoConvolution)?;
    let conv = editor.conv_mut(before).ok_or(Reason::NoConvolution)?;
    if conv.activation != Activation::Identity {
        return Err(Reason::HasActivation);
    }
    conv.activation = activation;
    absorb(editor, before, index);
    Ok(())
}

/// Whether a layer is a pointwise convolution after a depthwise one.
fn is_projection(editor: &NetworkEditor<'_>, index: usize) -> bool {
    let Some(layer) = editor.layer(index) else { return false };
    let is_pointwise = layer.kind.as_conv().is_some_and(|conv| conv.is_dense() && conv.geometry.is_pointwise());
    let before = layer.inputs.first().and_then(|input| editor.conv(editor.producer(*input)?));
    is_pointwise && before.is_some_and(Conv::is_depthwise)
}

/// Dense, depthwise and pointwise convolution become one layer, so that the wide values between them never leave the cache.
fn fuse_inverted_bottleneck(editor: &mut NetworkEditor<'_>, index: usize) -> Result<(), Reason> {
    let mut inputs = editor.layer(index).map(|layer| layer.inputs.clone()).unwrap_or_default();
    let middle = sole_conv(editor, inputs[0])?;
    let (first, input) = dense_before(editor, middle)?;
    let convs = [first, middle, index].map(|index| editor.conv(index).cloned());
    let [Some(dense), Some(depthwise), Some(pointwise)] = convs else { return Err(Reason::NoConvolution) };
    inputs[0] = input;
    editor.remove(middle);
    editor.remove(first);
    editor.replace(index, inputs, LayerKind::InvertedBottleneck(Box::new([dense, depthwise, pointwise])));
    Ok(())
}

fn is_depthwise(editor: &NetworkEditor<'_>, index: usize) -> bool {
    editor.conv(index).is_some_and(Conv::is_depthwise)
}

/// Dense and depthwise convolution become one layer.
fn join_dense_and_depthwise(editor: &mut NetworkEditor<'_>, index: usize) -> Result<(), Reason> {
    let (first, input) = dense_before(editor, index)?;
    let convs = [first, index].map(|index| editor.conv(index).cloned());
    let [Some(dense), Some(depthwise)] = convs else { return Err(Reason::NoConvolution) };
    editor.remove(first);
    editor.replace(index, vec![input], LayerKind::ExpandedDepthwise(Box::new([dense, depthwise])));
    Ok(())
}

/// The dense convolution whose result only the convolution at `index` reads, and its input. It has no residual.
fn dense_before(editor: &NetworkEditor<'_>, index: usize) -> Result<(usize, Value), Reason> {
    let layer = editor.layer(index).ok_or(Reason::NoConvolution)?;
    let first = sole_conv(editor, layer.inputs[0])?;
    let Some(&[input]) = editor.layer(first).map(|layer| layer.inputs.as_slice()) else {
        return Err(Reason::HasResidual);
    };
    if editor.conv(first).is_some_and(Conv::is_dense) { Ok((first, input)) } else { Err(Reason::NoConvolution) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::{Conv, Layer};
    use kiln_ops::Geometry;

    const RELU: LayerKind = LayerKind::Activation(Activation::Clamp { low: 0.0, high: f32::INFINITY });

    /// A convolution of one channel whose only weight is 2 and whose bias is 1.
    fn conv(geometry: Geometry, depthwise: bool) -> LayerKind {
        let weight = vec![2.0; geometry.kernel[0] * geometry.kernel[1]];
        let activation = Activation::Identity;
        // A depthwise convolution has several groups.
        let channels = if depthwise { 2 } else { 1 };
        let (weight, bias) = (weight.repeat(channels), vec![1.0; channels]);
        let (inputs, outputs, groups) = (channels, channels, channels);
        LayerKind::Conv(Conv { inputs, outputs, groups, dilation: [1, 1], geometry, activation, weight, bias })
    }

    fn pointwise() -> LayerKind {
        conv(Geometry::POINTWISE, false)
    }

    /// A network in which value 0 is the input, layer i produces value i + 1, and the last value is the output.
    fn network(layers: Vec<(&[Value], LayerKind)>) -> Network {
        let output = layers.len();
        let layers = layers.into_iter().enumerate().map(|(index, (inputs, kind))| Layer {
            node: format!("layer {index}"),
            output: index + 1,
            inputs: inputs.to_vec(),
            kind,
        });
        Network { layers: layers.collect(), image_size: [8, 8], input: 0, output, classes: 1 }
    }

    fn report<'a>(reports: &'a [PassReport], pass: &str) -> &'a PassReport {
        reports.iter().find(|report| report.pass == pass).unwrap()
    }

    #[test]
    fn padding_batch_norm_residual_and_activation_become_one_convolution() {
        let affine = LayerKind::Affine { factor: vec![3.0], summand: vec![-1.0] };
        let mut network = network(vec![
            (&[0], pointwise()),
            (&[1], LayerKind::Pad([1, 0, 0, 2])),
            (&[2], LayerKind::Pad([1, 1, 1, 1])),
            (&[3], conv(Geometry { kernel: [3, 3], ..Geometry::POINTWISE }, false)),
            (&[4], affine),
            (&[1, 5], LayerKind::Add),
            (&[6], RELU),
        ]);
        let reports = run_passes(&mut network);
        assert_eq!(first_unfused(&network, &reports), None);
        assert_eq!(report(&reports, "fold-padding").fused, 2);
        assert!(reports.iter().all(|report| report.skipped.is_empty()), "{reports:?}");
        let [_, layer] = &network.layers[..] else { panic!("{network:?}") };
        let conv = layer.kind.as_conv().unwrap();
        assert_eq!((conv.geometry.before, conv.geometry.after), ([2, 1], [1, 3]));
        assert_eq!((conv.weight[0], conv.bias[0]), (6.0, 2.0));
        assert_eq!(conv.activation, Activation::Clamp { low: 0.0, high: f32::INFINITY });
        assert_eq!((&layer.inputs[..], layer.output, network.output), (&[1, 1][..], 7, 7));
    }

    #[test]
    fn residual_is_merged_into_the_later_convolution_after_its_other_operand_is_activated() {
        // The sum's operands: a convolution at index 2, and an activation at index 3 that belongs to the convolution at 1.
        let mut network = network(vec![
            (&[0], pointwise()),
            (&[1], pointwise()),
            (&[1], pointwise()),
            (&[2], RELU),
            (&[3, 4], LayerKind::Add),
        ]);
        let reports = run_passes(&mut network);
        assert_eq!(first_unfused(&network, &reports), None, "{reports:?}");
        assert_eq!(
            network.layers.iter().map(|layer| layer.inputs.clone()).collect::<Vec<_>>(),
            [vec![0], vec![1], vec![1, 4]]
        );
    }

    #[test]
    fn expand_depthwise_project_becomes_one_layer_with_its_residual() {
        let depthwise = conv(Geometry { kernel: [3, 3], before: [1, 1], after: [1, 1], ..Geometry::POINTWISE }, true);
        let mut network = network(vec![
            (&[0], pointwise()),
            (&[1], pointwise()),
            (&[2], RELU),
            (&[3], depthwise),
            (&[4], pointwise()),
            (&[5, 1], LayerKind::Add),
        ]);
        let reports = run_passes(&mut network);
        assert_eq!(report(&reports, "fuse-inverted-bottlenecks").fused, 1);
        let [_, block] = &network.layers[..] else { panic!("{network:?}") };
        assert!(
            matches!(block.kind, LayerKind::InvertedBottleneck(_)) && block.inputs == [1, 1] && block.output == 6,
            "{block:?}"
        );
    }

    #[test]
    fn skipped_layers_are_reported_with_the_reason() {
        let affine = || LayerKind::Affine { factor: vec![1.0], summand: vec![0.0] };
        for (layers, reason) in [
            (vec![(&[0][..], affine())], Reason::NoConvolution),
            (vec![(&[0], pointwise()), (&[1], affine()), (&[1, 2], LayerKind::Scale)], Reason::SharedValue),
            (vec![(&[0], pointwise()), (&[1], RELU), (&[2], RELU)], Reason::HasActivation),
            (vec![(&[0], pointwise()), (&[1, 1], LayerKind::Add)], Reason::SameOperands),
            (vec![(&[0], LayerKind::Pad([1; 4]))], Reason::NoConvolutionFollows),
            (
                vec![
                    (&[0], pointwise()),
                    (
                        &[1],
                        conv(Geometry { kernel: [3, 3], before: [1, 1], after: [1, 1], ..Geometry::POINTWISE }, true),
                    ),
                    (&[1, 2], LayerKind::Add),
                ],
                Reason::Depthwise,
            ),
        ] {
            let mut network = network(layers);
            let reports = run_passes(&mut network);
            let unfusable = first_unfused(&network, &reports);
            assert!(
                matches!(&unfusable, Some(Unfusable::Layer { reason: found, .. }) if *found == reason),
                "{unfusable:?}"
            );
        }
    }

    #[test]
    fn layers_that_nothing_reads_are_removed() {
        let mut network = network(vec![(&[0], RELU), (&[1], RELU), (&[0], pointwise())]);
        let reports = run_passes(&mut network);
        assert_eq!((network.layers.len(), report(&reports, "remove-dead-layers").fused), (1, 2));
    }
}

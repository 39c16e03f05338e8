//! What a convolution can do along the way: padding before it, and a factor and summand for each channel behind it.

use super::layer::{Kind, Network};

/// Zeros around a convolution's input become its own padding.
pub fn padding(network: &mut Network) {
    for index in (0..network.layers.len()).rev() {
        let Kind::Conv(_) = network.layers[index].kind else { continue };
        let Some(maker) = network.own_maker(network.layers[index].inputs[0], index) else { continue };
        let Kind::Pad([top, left, bottom, right]) = network.layers[maker].kind else { continue };
        let source = network.layers[maker].inputs[0];
        let layer = &mut network.layers[index];
        layer.inputs[0] = source;
        if let Kind::Conv(conv) = &mut layer.kind {
            let geometry = &mut conv.geometry;
            geometry.before = [geometry.before[0] + top, geometry.before[1] + left];
            geometry.after = [geometry.after[0] + bottom, geometry.after[1] + right];
        }
        network.layers.remove(maker);
        return padding(network);
    }
}

/// A batch norm behind a convolution goes into its weights: `f * (w x + b) + s = (f w) x + (f b + s)`.
pub fn batch_norms(network: &mut Network) {
    for index in 0..network.layers.len() {
        let Kind::Affine { factor, summand } = network.layers[index].kind.clone() else { continue };
        let Some(maker) = network.own_maker(network.layers[index].inputs[0], index) else { continue };
        let output = network.layers[index].output;
        let Kind::Conv(conv) = &mut network.layers[maker].kind else { continue };
        let depth = conv.weight.len() / conv.outputs;
        for (channel, weights) in conv.weight.chunks_exact_mut(depth).enumerate() {
            weights.iter_mut().for_each(|weight| *weight *= factor[channel]);
            conv.bias[channel] = conv.bias[channel] * factor[channel] + summand[channel];
        }
        network.layers[maker].output = output;
        network.layers.remove(index);
        return batch_norms(network);
    }
}

//! What follows a convolution becomes part of it: a residual that is added, then an activation.

use super::layer::{Activation, Kind, Network};

/// Merges until nothing more can be.
pub fn residuals_and_activations(network: &mut Network) {
    while drop_unread(network) || residual(network) || activation(network) {}
}

/// Layers whose results nobody reads.
fn drop_unread(network: &mut Network) -> bool {
    let unread = network.layers.iter().position(|layer| network.readers(layer.output) == 0);
    unread.map(|index| network.layers.remove(index)).is_some()
}

fn residual(network: &mut Network) -> bool {
    for index in 0..network.layers.len() {
        let layer = &network.layers[index];
        if !matches!(layer.kind, Kind::Add) || layer.inputs[0] == layer.inputs[1] {
            continue;
        }
        let (output, inputs) = (layer.output, layer.inputs.clone());
        let place = |value| network.maker(value);
        // The later of the two, so that the other one is there when it runs.
        let (conv, other) =
            if place(inputs[0]) > place(inputs[1]) { (inputs[0], inputs[1]) } else { (inputs[1], inputs[0]) };
        let Some(maker) = network.own_maker(conv, index) else { continue };
        let takes = |kind: &Kind| matches!(kind, Kind::Conv(conv) if !conv.depthwise && conv.activation == Activation::Identity);
        if takes(&network.layers[maker].kind) && network.layers[maker].inputs.len() == 1 {
            network.layers[maker].inputs.push(other);
            network.layers[maker].output = output;
            network.layers.remove(index);
            return true;
        }
    }
    false
}

fn activation(network: &mut Network) -> bool {
    for index in 0..network.layers.len() {
        let Kind::Activation(activation) = network.layers[index].kind else { continue };
        let Some(maker) = network.own_maker(network.layers[index].inputs[0], index) else { continue };
        let output = network.layers[index].output;
        let Kind::Conv(conv) = &mut network.layers[maker].kind else { continue };
        // After a merged one this would be its second.
        if conv.activation != Activation::Identity {
            continue;
        }
        conv.activation = activation;
        network.layers[maker].output = output;
        network.layers.remove(index);
        return true;
    }
    false
}

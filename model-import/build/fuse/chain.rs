//! Dense -> depthwise -> pointwise becomes one layer, so that the wide values between never leave the cache.

use super::layer::{Conv, Kind, Layer, Network};

/// Joins all chains.
pub fn chains(network: &mut Network) {
    let mut index = 0;
    while index < network.layers.len() {
        match chain_that_ends(network, index) {
            Some([first, middle]) => {
                join(network, first, middle, index);
                // Two layers before it are gone.
                index -= 1;
            }
            None => index += 1,
        }
    }
}

/// The first and the middle convolution of the chain whose last one is at `index`.
fn chain_that_ends(network: &Network, index: usize) -> Option<[usize; 2]> {
    let conv = |index: usize| match &network.layers[index].kind {
        Kind::Conv(conv) => Some(conv),
        _ => None,
    };
    let dense_and_pointwise = |conv: &Conv| !conv.depthwise && conv.geometry.is_pointwise();
    conv(index).filter(|conv| dense_and_pointwise(conv))?;
    let middle = network.own_maker(network.layers[index].inputs[0], index)?;
    conv(middle).filter(|conv| conv.depthwise)?;
    let first = network.own_maker(network.layers[middle].inputs[0], middle)?;
    let alone = network.layers[first].inputs.len() == 1;
    conv(first).filter(|conv| !conv.depthwise && alone)?;
    Some([first, middle])
}

fn join(network: &mut Network, first: usize, middle: usize, last: usize) {
    let inputs: Vec<_> =
        [network.layers[first].inputs[0]].into_iter().chain(network.layers[last].inputs[1..].iter().copied()).collect();
    let output = network.layers[last].output;
    let convs = [first, middle, last].map(|index| match &network.layers[index].kind {
        Kind::Conv(conv) => conv.clone(),
        other => unreachable!("{other:?} in a chain"),
    });
    network.layers[last] = Layer { output, inputs, kind: Kind::Chain(Box::new(convs)) };
    network.layers.remove(middle.max(first));
    network.layers.remove(middle.min(first));
}

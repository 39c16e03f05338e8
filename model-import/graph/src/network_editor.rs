//! A network that passes rewrite, with maps from each value to its producer and its consumers.

use crate::network::{Conv, Layer, LayerKind, Network, Value};

/// Holds the layers in slots, so that an index stays valid when other layers are removed, and keeps the maps in step with
/// every change.
pub(crate) struct NetworkEditor<'a> {
    network: &'a mut Network,
    layers: Vec<Option<Layer>>,
    /// By value: the layer that produces it; `None` for the input and for values that are gone.
    producers: Vec<Option<usize>>,
    /// By value: the layers that read it, once for each input.
    consumers: Vec<Vec<usize>>,
}

impl<'a> NetworkEditor<'a> {
    /// Takes the layers out of `network`. [`NetworkEditor::finish`] puts them back.
    pub(crate) fn new(network: &'a mut Network) -> Self {
        let layers: Vec<Option<Layer>> = std::mem::take(&mut network.layers).into_iter().map(Some).collect();
        let values = layers.iter().flatten().flat_map(|layer| layer.inputs.iter().chain([&layer.output]));
        let count = values.chain([&network.input, &network.output]).max().map_or(0, |largest| largest + 1);
        let mut editor = Self { network, layers, producers: vec![None; count], consumers: vec![Vec::new(); count] };
        for index in editor.indices() {
            let Some(layer) = &editor.layers[index] else { continue };
            editor.producers[layer.output] = Some(index);
            for input in &layer.inputs {
                editor.consumers[*input].push(index);
            }
        }
        editor
    }

    /// Puts the layers that are left back into the network, in their order.
    pub(crate) fn finish(self) {
        self.network.layers = self.layers.into_iter().flatten().collect();
    }

    /// The indices of all slots, some of which may be empty.
    pub(crate) fn indices(&self) -> std::ops::Range<usize> {
        0..self.layers.len()
    }

    /// The layer in a slot.
    pub(crate) fn layer(&self, index: usize) -> Option<&Layer> {
        self.layers.get(index)?.as_ref()
    }

    /// The convolution in a slot, if there is one.
    pub(crate) fn conv(&self, index: usize) -> Option<&Conv> {
        self.layer(index)?.kind.as_conv()
    }

    /// The same, to change it.
    pub(crate) fn conv_mut(&mut self, index: usize) -> Option<&mut Conv> {
        match &mut self.layers.get_mut(index)?.as_mut()?.kind {
            LayerKind::Conv(conv) => Some(conv),
            _ => None,
        }
    }

    /// The layer that produces a value.
    pub(crate) fn producer(&self, value: Value) -> Option<usize> {
        self.producers[value]
    }

    /// The number of consumers of a value. The network's output counts as one more.
    pub(crate) fn consumer_count(&self, value: Value) -> usize {
        self.consumers[value].len() + usize::from(self.network.output == value)
    }

    /// The layer that produces a value, if that value has exactly one consumer.
    pub(crate) fn sole_producer(&self, value: Value) -> Option<usize> {
        self.producer(value).filter(|_| self.consumer_count(value) == 1)
    }

    /// The layers that read a value.
    pub(crate) fn consumers(&self, value: Value) -> &[usize] {
        &self.consumers[value]
    }

    /// Removes a layer.
    pub(crate) fn remove(&mut self, index: usize) -> Option<Layer> {
        let layer = self.layers[index].take()?;
        self.forget_inputs(index, &layer.inputs);
        if self.producers[layer.output] == Some(index) {
            self.producers[layer.output] = None;
        }
        Some(layer)
    }

    /// Replaces the inputs and the operation of a layer.
    pub(crate) fn replace(&mut self, index: usize, inputs: Vec<Value>, kind: LayerKind) {
        let Some(layer) = &mut self.layers[index] else { return };
        layer.kind = kind;
        self.set_inputs(index, inputs);
    }

    /// Replaces the inputs of a layer.
    pub(crate) fn set_inputs(&mut self, index: usize, inputs: Vec<Value>) {
        let Some(layer) = &mut self.layers[index] else { return };
        for input in &inputs {
            self.consumers[*input].push(index);
        }
        let old = std::mem::replace(&mut layer.inputs, inputs);
        self.forget_inputs(index, &old);
    }

    /// Makes a layer produce `value` instead of its own output.
    pub(crate) fn set_output(&mut self, index: usize, value: Value) {
        let Some(layer) = &mut self.layers[index] else { return };
        self.producers[layer.output] = None;
        layer.output = value;
        self.producers[value] = Some(index);
    }

    fn forget_inputs(&mut self, index: usize, inputs: &[Value]) {
        for input in inputs {
            let consumers = &mut self.consumers[*input];
            // Layers are mostly removed from the last one on, and a value may have thousands of consumers.
            if let Some(position) = consumers.iter().rposition(|consumer| *consumer == index) {
                consumers.swap_remove(position);
            }
        }
    }
}

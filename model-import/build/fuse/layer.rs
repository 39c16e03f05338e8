//! What a network is made of while it is being fused. A value is a number; each layer makes one.

pub use super::geometry::Geometry;

/// The number of a value: what a layer makes, or the network's input.
pub type Value = usize;

/// A network in the order in which it runs.
#[derive(Clone, Debug)]
pub struct Network {
    pub layers: Vec<Layer>,
    /// Height and width of the input picture; it has three channels.
    pub size: [usize; 2],
    pub input: Value,
    pub output: Value,
    /// Classes.
    pub outputs: usize,
}

/// One step of a network.
#[derive(Clone, Debug)]
pub struct Layer {
    pub output: Value,
    pub inputs: Vec<Value>,
    pub kind: Kind,
}

/// What a layer does. The last four are gone once everything is fused.
#[derive(Clone, Debug)]
pub enum Kind {
    /// One input, and perhaps a residual as the second.
    Conv(Conv),
    /// The same; three convolutions in a row.
    Chain(Box<[Conv; 3]>),
    Pool(Pooling, Geometry),
    GlobalAveragePool,
    /// Each channel of the first input times its value of the second.
    Scale,
    Activation(Activation),
    Add,
    /// Zeros above, on the left, below, on the right.
    Pad([usize; 4]),
    /// A factor and a summand for each channel.
    Affine {
        factor: Vec<f32>,
        summand: Vec<f32>,
    },
}

/// A convolution with its weights, `[outputs, inputs / groups, height, width]`, and its bias.
#[derive(Clone, Debug)]
pub struct Conv {
    pub inputs: usize,
    pub outputs: usize,
    pub geometry: Geometry,
    pub depthwise: bool,
    pub activation: Activation,
    pub weight: Vec<f32>,
    pub bias: Vec<f32>,
}

/// As in `kiln_kernels::layers::Pooling`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pooling {
    Max,
    Average,
    AverageWithPadding,
}

/// As in `kiln_kernels::layers::Activation`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Activation {
    Identity,
    Clamp { low: f32, high: f32 },
    HardSigmoid { alpha: f32, beta: f32 },
    HardSwish,
}

impl Network {
    /// The layer that makes a value.
    pub fn maker(&self, value: Value) -> Option<usize> {
        self.layers.iter().position(|layer| layer.output == value)
    }

    /// The layers that read a value; the network's output counts as one more reader.
    pub fn readers(&self, value: Value) -> usize {
        let reads = self.layers.iter().flat_map(|layer| &layer.inputs).filter(|input| **input == value).count();
        reads + usize::from(self.output == value)
    }

    /// The one layer that makes `value`, if nobody but `reader` reads it.
    pub fn own_maker(&self, value: Value, reader: usize) -> Option<usize> {
        let only = self.readers(value) == 1 && self.layers[reader].inputs.contains(&value);
        if only { self.maker(value) } else { None }
    }

    /// What is left that has no layer of its own.
    pub fn unfused(&self) -> Option<&Layer> {
        let fused = |layer: &Layer| {
            matches!(
                layer.kind,
                Kind::Conv(_) | Kind::Chain(_) | Kind::Pool(..) | Kind::GlobalAveragePool | Kind::Scale
            )
        };
        self.layers.iter().find(|layer| !fused(layer))
    }
}

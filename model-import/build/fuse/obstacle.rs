//! What keeps a network from being fused, in words for the person who exported it.

use std::fmt;

use onnx_ir::Node;

use super::layer::Kind;

/// The first thing in a graph that there is no layer for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Obstacle(String);

impl Obstacle {
    /// A node that there is no layer for, at least not with these attributes.
    pub fn at(node: &Node) -> Self {
        Self(format!("its {} '{}'", node.node_type(), node.name()))
    }

    /// A layer that would be part of a convolution, if there were one before it.
    pub fn left(kind: &Kind) -> Self {
        let what = match kind {
            Kind::Activation(_) => "an activation",
            Kind::Add => "a sum",
            Kind::Pad(_) => "padding",
            Kind::Affine { .. } => "a batch norm",
            _ => "a layer",
        };
        Self(format!("{what} that no convolution of its own comes before"))
    }

    /// The graph's result is not one row a picture.
    pub fn result() -> Self {
        Self("its result, which is not one row of numbers a picture".to_string())
    }
}

impl fmt::Display for Obstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

//! The graph pass: an ONNX classifier becomes a network of a few large layers in NHWC. `../domain` hands it to burn-onnx.
//!
//! | step | where |
//! |---|---|
//! | ONNX nodes -> layers, constants read | `lower.rs`, `parameters.rs` |
//! | padding and batch norm into convolutions | `fold.rs` |
//! | residual and activation into convolutions | `merge.rs` |
//! | dense -> depthwise -> pointwise into one layer | `chain.rs` |
//! | what keeps a network from all that | `obstacle.rs` |
//!
//! It takes any network that it knows every node of, and leaves the others alone: they go to burn-onnx as they are.

mod chain;
mod fold;
// Nothing but a window and its arithmetic; the crate itself would bring Burn into the build script.
#[path = "../../../shaders/src/cpu/geometry.rs"]
#[allow(dead_code, reason = "the kernels use what the build script does not")]
mod geometry;
pub mod layer;
mod lower;
mod merge;
mod obstacle;
mod parameters;

use onnx_ir::OnnxGraph;

pub use layer::Network;
pub use obstacle::Obstacle;

/// The fused network, or the first thing in the graph that there is no layer for.
pub fn fuse(graph: &OnnxGraph, input: [usize; 2]) -> Result<Network, Obstacle> {
    let mut network = lower::lower(graph, input)?;
    fold::padding(&mut network);
    fold::batch_norms(&mut network);
    merge::residuals_and_activations(&mut network);
    chain::chains(&mut network);
    match network.unfused() {
        Some(layer) => Err(Obstacle::left(&layer.kind)),
        None => Ok(network),
    }
}

impl Network {
    /// Refuses a network that computes another number of classes than the file says, or the labels do.
    pub fn check_classes(&self, classes: usize) -> Result<(), String> {
        if self.outputs == classes {
            return Ok(());
        }
        Err(format!(
            "its last layer gives {} numbers, but there are said to be {classes} classes. Correct the axis of its output, or the \
             labels, whichever is wrong.",
            self.outputs
        ))
    }
}

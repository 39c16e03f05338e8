//! What a graph ends in. Kiln makes probabilities of logits by itself, and what is none any more would be squeezed twice, which
//! no shape tells.

use onnx_ir::{Node, OnnxGraph};

/// Why what makes `output` gives no logits, if it does not; seen through nodes that only rename or reshape.
pub fn no_logits(graph: &OnnxGraph, output: &str) -> Option<&'static str> {
    match maker(graph, output)? {
        Node::Softmax(_) | Node::LogSoftmax(_) => Some("it ends in a softmax, which Kiln applies itself"),
        Node::Sigmoid(_) => {
            Some("it ends in a sigmoid, which is for classes that do not exclude each other; Kiln applies a softmax")
        }
        Node::Div(division) => {
            let above = maker(graph, &division.inputs.first()?.name)?;
            matches!(above, Node::Exp(_))
                .then_some("it ends in a softmax, written as Exp and Div, which Kiln applies itself")
        }
        _ => None,
    }
}

/// The node that makes a value, behind those that only rename or reshape it.
fn maker<'a>(graph: &'a OnnxGraph, value: &str) -> Option<&'a Node> {
    let mut value = value;
    // Each step goes one node back, so there are no more than there are nodes.
    for _ in &graph.nodes {
        let maker = graph.nodes.iter().find(|node| node.outputs().iter().any(|made| made.name == value))?;
        match maker {
            Node::Identity(_) | Node::Flatten(_) | Node::Reshape(_) | Node::Squeeze(_) => {
                value = &maker.inputs().first()?.name;
            }
            _ => return Some(maker),
        }
    }
    None
}

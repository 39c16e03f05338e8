//! Numbers of an ONNX file that no exporter writes, and that the parser, or what follows it, would take at its word.

use onnx_ir::{GraphProto, ModelProto, NodeProto};

/// The most operators of a network. The largest classifiers have a tenth of that, and the parser takes time that grows with
/// the square of it.
const MOST_OPERATORS: usize = 10_000;
/// The most pixels of a window, of its steps and of padding, and the most groups of a convolution.
const MOST: i64 = 1 << 16;

/// The first such number, in words, if there is any.
pub fn oddity(model: &ModelProto) -> Option<String> {
    let operators = count(&model.graph);
    if operators > MOST_OPERATORS {
        return Some(format!(
            "it has {operators} operators, but no more than {MOST_OPERATORS} are taken. Fold its constants \
             (onnx-simplifier does), or export one classifier alone."
        ));
    }
    in_graph(&model.graph)
}

fn count(graph: &GraphProto) -> usize {
    let inner = graph.node.iter().flat_map(|node| &node.attribute);
    graph.node.len() + inner.flat_map(|attribute| attribute.g.iter().chain(&attribute.graphs)).map(count).sum::<usize>()
}

fn in_graph(graph: &GraphProto) -> Option<String> {
    graph.node.iter().find_map(|node| {
        let mut inner = node.attribute.iter().flat_map(|attribute| attribute.g.iter().chain(&attribute.graphs));
        in_node(node).or_else(|| inner.find_map(in_graph))
    })
}

fn in_node(node: &NodeProto) -> Option<String> {
    let has_window = node.op_type.contains("Conv") || node.op_type.ends_with("Pool");
    let attributes = node.attribute.iter().filter(|_| has_window);
    attributes.flat_map(|attribute| {
        let least = match attribute.name.as_str() {
            "strides" | "dilations" | "kernel_shape" | "group" => 1,
            "pads" => 0,
            _ => return None,
        };
        let one = (attribute.name == "group").then_some(attribute.i);
        let odd = attribute.ints.iter().copied().chain(one).find(|number| !(least..=MOST).contains(number))?;
        Some(format!(
            "its {} '{}' has {odd} in '{}', but from {least} to {MOST} are possible. The file is damaged, or was not written by \
             an exporter.",
            node.op_type, node.name, attribute.name
        ))
    })
    .next()
}

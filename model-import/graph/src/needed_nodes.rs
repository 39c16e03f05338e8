//! The operators that the outputs of a file depend on, in an order in which they can run.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, HashSet};

use crate::onnx::{GraphProto, NodeProto};

/// Returns the nodes that compute `outputs`, each behind the nodes whose results it reads. Exporters write this order; an edited
/// file may lack it. Nodes of a cycle, and those that depend on them, come last.
pub(crate) fn needed_nodes<'a>(graph: &'a GraphProto, outputs: &[String]) -> Vec<&'a NodeProto> {
    let producers = producers(graph.node.iter());
    let mut is_needed = vec![false; graph.node.len()];
    let mut pending: Vec<&str> = outputs.iter().map(String::as_str).collect();
    while let Some(value) = pending.pop() {
        let Some(index) = producers.get(value).copied() else { continue };
        if !std::mem::replace(&mut is_needed[index], true) {
            add_inputs(&graph.node[index], &mut pending);
        }
    }
    let needed = graph.node.iter().zip(is_needed).filter(|(_, is_needed)| *is_needed);
    in_order(needed.map(|(node, _)| node).collect())
}

/// Returns the values that a node reads, those of its branches included.
pub(crate) fn inputs(node: &NodeProto) -> Vec<&str> {
    let mut inputs = Vec::new();
    add_inputs(node, &mut inputs);
    inputs
}

/// Returns the first node that computes a value which an earlier node computes, or which is the input or a tensor of the file, and
/// the value.
pub(crate) fn first_duplicate<'a>(graph: &'a GraphProto, input: &str) -> Option<(&'a NodeProto, &'a str)> {
    let mut known: HashSet<&str> = graph.initializer.iter().map(|tensor| tensor.name.as_str()).chain([input]).collect();
    let mut values = graph.node.iter().flat_map(|node| node.output.iter().map(move |output| (node, output.as_str())));
    values.find(|(_, output)| !output.is_empty() && !known.insert(*output))
}

fn add_inputs<'a>(node: &'a NodeProto, inputs: &mut Vec<&'a str>) {
    inputs.extend(node.input.iter().map(String::as_str));
    for branch in node.attribute.iter().filter_map(|attribute| attribute.g.as_ref()) {
        branch.node.iter().for_each(|inner| add_inputs(inner, inputs));
        inputs.extend(branch.output.iter().map(|output| output.name.as_str()));
    }
}

/// The index of the node that computes each value.
fn producers<'a>(nodes: impl Iterator<Item = &'a NodeProto>) -> HashMap<&'a str, usize> {
    let values = nodes.enumerate().flat_map(|(index, node)| node.output.iter().map(move |output| (output, index)));
    values.filter(|(output, _)| !output.is_empty()).map(|(output, index)| (output.as_str(), index)).collect()
}

/// Sorts nodes so that each is behind those whose results it reads, and otherwise keeps their order.
fn in_order(nodes: Vec<&NodeProto>) -> Vec<&NodeProto> {
    let producers = producers(nodes.iter().copied());
    let reads = |node: &NodeProto| -> Vec<usize> {
        inputs(node).into_iter().filter_map(|value| producers.get(value).copied()).collect()
    };
    let reads: Vec<Vec<usize>> = nodes.iter().map(|node| reads(node)).collect();
    if reads.iter().enumerate().all(|(index, reads)| reads.iter().all(|read| *read < index)) {
        return nodes;
    }
    let mut readers = vec![Vec::new(); nodes.len()];
    for (index, reads) in reads.iter().enumerate() {
        reads.iter().for_each(|read| readers[*read].push(index));
    }
    let mut waits_for: Vec<usize> = reads.iter().map(Vec::len).collect();
    let first = (0..nodes.len()).filter(|index| waits_for[*index] == 0);
    let mut ready: BinaryHeap<Reverse<usize>> = first.map(Reverse).collect();
    let mut order = Vec::with_capacity(nodes.len());
    while let Some(Reverse(index)) = ready.pop() {
        order.push(nodes[index]);
        for reader in &readers[index] {
            waits_for[*reader] -= 1;
            if waits_for[*reader] == 0 {
                ready.push(Reverse(*reader));
            }
        }
    }
    let rest = nodes.iter().zip(&waits_for).filter(|(_, count)| **count > 0);
    order.extend(rest.map(|(node, _)| *node));
    order
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::onnx::TensorProto;

    fn node(inputs: &[&str], output: &str) -> NodeProto {
        let input = inputs.iter().map(|input| (*input).to_string()).collect();
        NodeProto { input, output: vec![output.to_string()], ..NodeProto::default() }
    }

    fn order(nodes: &[NodeProto], output: &str) -> Vec<String> {
        let graph = GraphProto { node: nodes.to_vec(), ..GraphProto::default() };
        needed_nodes(&graph, &[output.to_string()]).into_iter().map(|node| node.output[0].clone()).collect()
    }

    #[test]
    fn needed_nodes_keep_the_order_of_the_file_where_it_is_possible() {
        let nodes = [node(&["x"], "a"), node(&["x"], "b"), node(&["a"], "unused"), node(&["b", "a", "a"], "y")];
        assert_eq!(order(&nodes, "y"), ["a", "b", "y"]);
        let reversed: Vec<NodeProto> = nodes.into_iter().rev().collect();
        assert_eq!(order(&reversed, "y"), ["b", "a", "y"]);
    }

    #[test]
    fn nodes_of_a_cycle_come_last() {
        let nodes = [node(&["x", "b"], "a"), node(&["a"], "b"), node(&["x"], "c"), node(&["a", "c"], "y")];
        assert_eq!(order(&nodes, "y"), ["c", "a", "b", "y"]);
        assert_eq!(order(&[node(&["y"], "y")], "y"), ["y"]);
    }

    #[test]
    fn value_with_two_producers_is_found() {
        let graph = |nodes: &[NodeProto]| GraphProto { node: nodes.to_vec(), ..GraphProto::default() };
        let duplicate = |nodes: &[NodeProto]| {
            first_duplicate(&graph(nodes), "x").map(|(node, value)| (node.input[0].clone(), value.to_string()))
        };
        assert_eq!(duplicate(&[node(&["x"], "a"), node(&["a"], ""), node(&["b"], "")]), None);
        assert_eq!(duplicate(&[node(&["x"], "a"), node(&["b"], "a")]), Some(("b".to_string(), "a".to_string())));
        assert_eq!(duplicate(&[node(&["a"], "x")]), Some(("a".to_string(), "x".to_string())));
        let tensor = TensorProto { name: "w".to_string(), ..TensorProto::default() };
        let graph = GraphProto { initializer: vec![tensor], ..graph(&[node(&["x", "w"], "a"), node(&["a"], "w")]) };
        assert_eq!(first_duplicate(&graph, "x").map(|(_, value)| value), Some("w"));
    }
}

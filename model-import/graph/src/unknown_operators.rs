//! Names all operators of a file that Kiln does not know, and what to do about them.

use std::collections::{BTreeMap, HashSet};

use crate::classifier_error::{ClassifierError, MAX_NAMES};
use crate::lowering::{importer, shorten};
use crate::needed_nodes::inputs;
use crate::onnx::{ModelProto, NodeProto};

/// Checks that all operators are known. Branches are checked when one of them is chosen.
///
/// # Errors
///
/// All operators that are not, each with its first node.
pub(crate) fn check_operators(message: &ModelProto, nodes: &[&NodeProto]) -> Result<(), ClassifierError> {
    let (known, unknown): (Vec<&NodeProto>, Vec<&NodeProto>) = nodes.iter().copied().partition(|node| is_known(node));
    let mut operators: BTreeMap<String, (usize, &NodeProto)> = BTreeMap::new();
    for node in unknown.iter().copied() {
        let operator = match node.domain.as_str() {
            "" | "ai.onnx" => shorten(&node.op_type),
            domain => format!("{}::{}", shorten(domain), shorten(&node.op_type)),
        };
        operators.entry(operator).or_insert((0, node)).0 += 1;
    }
    if operators.is_empty() {
        return Ok(());
    }
    let next_step = next_step(message, &known, &unknown);
    let show = |(operator, (count, node)): (String, (usize, &NodeProto))| match (count, first_name(node)) {
        (1, name) => format!("{operator} ({name})"),
        (count, name) => format!("{operator} ({count} times, first {name})"),
    };
    let others = operators.len().saturating_sub(MAX_NAMES);
    let mut operators: Vec<String> = operators.into_iter().take(MAX_NAMES).map(show).collect();
    if others > 0 {
        operators.push(format!("{others} others"));
    }
    Err(ClassifierError::UnknownOperators { operators, next_step })
}

fn is_known(node: &NodeProto) -> bool {
    let is_branch = matches!(node.domain.as_str(), "" | "ai.onnx") && node.op_type == "If";
    is_branch || importer(&node.domain, &node.op_type).is_some()
}

/// The name of a node, or the value that it computes.
fn first_name(node: &NodeProto) -> String {
    match (node.name.as_str(), node.output.first()) {
        ("", Some(output)) => format!("computes '{}'", shorten(output)),
        (name, _) => format!("'{}'", shorten(name)),
    }
}

/// The sentence with the next step.
fn next_step(message: &ModelProto, known: &[&NodeProto], unknown: &[&NodeProto]) -> String {
    let functions: HashSet<&str> = message.functions.iter().map(|function| function.name.as_str()).collect();
    if unknown.iter().any(|node| functions.contains(node.op_type.as_str())) {
        return "The file defines some of them as functions. Inline these and save the model again: \
                onnx.inliner.inline_local_functions(model)."
            .to_string();
    }
    if let Some(value) = value_before_end(known, unknown) {
        return format!(
            "They are at the end of the file. If the logits are computed before, select them: --output '{value}'."
        );
    }
    if unknown.iter().all(|node| matches!(node.domain.as_str(), "" | "ai.onnx")) {
        return "If they compute shapes alone, simplify the file (onnx-simplifier); otherwise export the model without them."
            .to_string();
    }
    "Export the model with standard ONNX operators (PyTorch: torch.onnx.export with opset_version=17).".to_string()
}

/// If no known operator reads a result of the unknown ones: the value that the first of them reads from a known one.
fn value_before_end(known: &[&NodeProto], unknown: &[&NodeProto]) -> Option<String> {
    let results: HashSet<&str> = unknown.iter().flat_map(|node| &node.output).map(String::as_str).collect();
    if known.iter().flat_map(|node| inputs(node)).any(|input| results.contains(input)) {
        return None;
    }
    let computed: HashSet<&str> = known.iter().flat_map(|node| &node.output).map(String::as_str).collect();
    let read = unknown.first()?.input.iter().find(|input| !input.is_empty() && computed.contains(input.as_str()))?;
    Some(shorten(read))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::onnx::GraphProto;

    fn node(operator: &str, name: &str, input: &str, output: &str) -> NodeProto {
        let (domain, op_type) = operator.split_once("::").unwrap_or(("", operator));
        NodeProto {
            input: vec![input.to_string()],
            output: vec![output.to_string()],
            name: name.to_string(),
            op_type: op_type.to_string(),
            domain: domain.to_string(),
            ..NodeProto::default()
        }
    }

    fn error(nodes: &[NodeProto]) -> String {
        let message = ModelProto { graph: Some(GraphProto::default()), ..ModelProto::default() };
        check_operators(&message, &nodes.iter().collect::<Vec<_>>()).unwrap_err().to_string()
    }

    #[test]
    fn unknown_operators_are_named_as_in_the_file() {
        let text = error(&[
            node("Foo", "backbone/foo", "x", "a"),
            node("my.domain::Bar", "", "a", "b"),
            node("Foo", "other", "b", "c"),
            node("Relu", "relu", "c", "y"),
        ]);
        let expected =
            "Kiln does not know the operator(s) Foo (2 times, first 'backbone/foo'), my.domain::Bar (computes 'b'). ";
        assert!(text.starts_with(expected) && text.contains("standard ONNX operators"), "{text}");
    }

    #[test]
    fn operators_behind_the_logits_lead_to_another_output() {
        let text = error(&[node("Relu", "", "x", "logits"), node("ArgMax", "top", "logits", "y")]);
        assert!(text.contains("ArgMax ('top')") && text.ends_with("--output 'logits'."), "{text}");
        let text = error(&[node("Relu", "", "x", "a"), node("ArgMax", "", "a", "b"), node("Relu", "", "b", "y")]);
        assert!(!text.contains("--output") && text.contains("onnx-simplifier"), "{text}");
    }
}

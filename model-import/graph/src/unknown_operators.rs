//! Names all operators of a file that Kiln does not know, and what to do about them.

use std::collections::{BTreeMap, HashSet};

use crate::classifier_error::ClassifierError;
use crate::lowering::importer;
use crate::message_text::{MAX_NAMES, shorten};
use crate::needed_nodes::{inputs, needed_nodes};
use crate::onnx::{GraphProto, ModelProto, NodeProto};

/// Checks that all operators among `nodes` are known. Branches are checked when one of them is chosen. `input` is the name of the
/// image.
///
/// # Errors
///
/// All operators that are not, each with its first node.
pub(crate) fn check_operators(
    message: &ModelProto,
    graph: &GraphProto,
    input: &str,
    nodes: &[&NodeProto],
) -> Result<(), ClassifierError> {
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
    let next_step = next_step(message, &Alternatives { graph, input }, &known, &unknown);
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
fn next_step(
    message: &ModelProto,
    alternatives: &Alternatives<'_>,
    known: &[&NodeProto],
    unknown: &[&NodeProto],
) -> String {
    let functions: HashSet<&str> = message.functions.iter().map(|function| function.name.as_str()).collect();
    if unknown.iter().any(|node| functions.contains(node.op_type.as_str())) {
        return "The file defines some of them as functions. Inline these and save the model again: \
                onnx.inliner.inline_local_functions(model)."
            .to_string();
    }
    if let Some(output) = alternatives.output() {
        return format!("Another output does not need them. If it has the logits, select it: --output '{output}'.");
    }
    if let Some(value) = alternatives.value_before_end(known, unknown) {
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

/// Finds values that can be the output in place of one that unknown operators compute.
struct Alternatives<'a> {
    graph: &'a GraphProto,
    /// The name of the image.
    input: &'a str,
}

impl<'a> Alternatives<'a> {
    /// The first output of the file that no unknown operator contributes to. Only a few are tried, because each takes a pass over
    /// the graph.
    fn output(&self) -> Option<&'a str> {
        let outputs = self.graph.output.iter().take(MAX_NAMES).map(|output| output.name.as_str());
        outputs.into_iter().find(|output| self.is_possible(output))
    }

    /// If no known operator reads a result of the unknown ones: a value that the first of them reads from a known one.
    fn value_before_end(&self, known: &[&NodeProto], unknown: &[&'a NodeProto]) -> Option<&'a str> {
        let results: HashSet<&str> = unknown.iter().flat_map(|node| &node.output).map(String::as_str).collect();
        if known.iter().flat_map(|node| inputs(node)).any(|input| results.contains(input)) {
            return None;
        }
        let computed: HashSet<&str> = known.iter().flat_map(|node| &node.output).map(String::as_str).collect();
        let read = unknown.first()?.input.iter().map(String::as_str);
        read.filter(|value| !value.is_empty() && computed.contains(value))
            .take(MAX_NAMES)
            .find(|value| self.is_possible(value))
    }

    /// Whether known operators alone compute a value from the image, and its name can be typed as it is shown.
    fn is_possible(&self, value: &str) -> bool {
        let needed = needed_nodes(self.graph, &[value.to_string()]);
        let reads_image = needed.iter().any(|node| inputs(node).contains(&self.input));
        let is_plain = shorten(value) == value && !value.contains('\'');
        is_plain && reads_image && needed.iter().all(|node| is_known(node))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::onnx::ValueInfoProto;

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

    fn error(nodes: &[NodeProto], outputs: &[&str]) -> String {
        let output = |name: &&str| ValueInfoProto { name: (*name).to_string(), ..ValueInfoProto::default() };
        let output = outputs.iter().map(output).collect();
        let graph = GraphProto { node: nodes.to_vec(), output, ..GraphProto::default() };
        let nodes: Vec<&NodeProto> = nodes.iter().collect();
        check_operators(&ModelProto::default(), &graph, "x", &nodes).unwrap_err().to_string()
    }

    #[test]
    fn unknown_operators_are_named_as_in_the_file() {
        let nodes = [
            node("Foo", "backbone/foo", "x", "a"),
            node("my.domain::Bar", "", "a", "b"),
            node("Foo", "other", "b", "c"),
            node("Relu", "relu", "c", "y"),
        ];
        let text = error(&nodes, &["y"]);
        let expected =
            "Kiln does not know the operator(s) Foo (2 times, first 'backbone/foo'), my.domain::Bar (computes 'b'). ";
        assert!(text.starts_with(expected) && text.contains("standard ONNX operators"), "{text}");
    }

    #[test]
    fn operators_behind_the_logits_lead_to_another_output() {
        let text = error(&[node("Relu", "", "x", "logits"), node("ArgMax", "top", "logits", "y")], &["y"]);
        assert!(text.contains("ArgMax ('top')") && text.ends_with("--output 'logits'."), "{text}");
        let nodes = [node("Relu", "", "x", "a"), node("ArgMax", "", "a", "b"), node("Relu", "", "b", "y")];
        let text = error(&nodes, &["y"]);
        assert!(!text.contains("--output") && text.contains("onnx-simplifier"), "{text}");
    }

    #[test]
    fn output_that_known_operators_compute_is_suggested_first() {
        let nodes = [
            node("Relu", "", "x", "feature_map"),
            node("Foo", "", "feature_map", "boxes"),
            node("Relu", "", "feature_map", "logits"),
        ];
        let text = error(&nodes, &["boxes", "logits"]);
        assert!(text.ends_with("--output 'logits'."), "{text}");
    }

    #[test]
    fn value_that_cannot_be_selected_is_not_suggested() {
        let long = "z".repeat(300);
        let constant = |name: &str| NodeProto { input: Vec::new(), ..node("Constant", "", "", name) };
        for nodes in [
            vec![node("Relu", "", "x", &long), node("Foo", "", &long, "y")],
            vec![node("Relu", "", "x", "it's"), node("Foo", "", "it's", "y")],
            vec![constant("c"), node("Foo", "", "c", "y")],
        ] {
            let text = error(&nodes, &["y"]);
            assert!(!text.contains("--output"), "{text}");
        }
    }
}

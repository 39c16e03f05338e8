//! Why an ONNX file cannot be used as a classifier.

use crate::lowering::{describe, shorten};
use crate::onnx::{NodeProto, ReadError};

/// The maximum number of names in a message.
pub(crate) const MAX_NAMES: usize = 10;
/// The maximum length of a reason in a message, in characters.
const MAX_REASON: usize = 1000;
/// The next step where an operator's reason does not name one.
const NEXT_STEP: &str = "Check the file with onnx.checker.check_model(FILE, full_check=True). If it is valid, simplify it \
                         (onnx-simplifier), or export it again for inference with operator set 17.";

/// Why a file cannot be used as a classifier. The texts are full sentences for the user.
#[derive(Debug, thiserror::Error)]
pub enum ClassifierError {
    /// The file cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The file has operators that Kiln does not know.
    #[error("Kiln does not know the operator(s) {}. {next_step}", truncated(operators.join(", ")))]
    UnknownOperators {
        /// The operators, each with the name of a node and the number of occurrences.
        operators: Vec<String>,
        /// A sentence.
        next_step: String,
    },
    /// Input or output are not those of a classifier.
    #[error("{0}")]
    Interface(String),
    /// Operators have parameters that Kiln does not support, or that contradict the rest of the file.
    #[error("{}", show(.0))]
    Operators(Vec<Obstacle>),
}

/// An operator that Kiln cannot run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Obstacle {
    /// Operator and name of the node.
    pub node: String,
    /// Why. A clause; if it ends in a full stop, it names the next step.
    pub reason: String,
}

impl Obstacle {
    pub(crate) fn new(node: &NodeProto, reason: String) -> Self {
        Self { node: describe(node), reason: truncated(reason) }
    }

    /// The node and the reason without the next step.
    fn clause(&self) -> String {
        format!("{}: {}", self.node, self.parts().0)
    }

    fn next_step(&self) -> &str {
        self.parts().1.unwrap_or(NEXT_STEP)
    }

    /// The reason, and the next step if the reason has one.
    fn parts(&self) -> (&str, Option<&str>) {
        match self.reason.split_once(". ") {
            Some((clause, step)) if step.ends_with('.') && !step.ends_with("...") => (clause, Some(step)),
            _ => (self.reason.as_str(), None),
        }
    }

    /// A node that computes a value which exists already.
    pub(crate) fn duplicate(node: &NodeProto, value: &str) -> Self {
        let reason = format!(
            "its output '{}' is defined twice. Check the file with onnx.checker.check_model, and export the model again.",
            shorten(value)
        );
        Self::new(node, reason)
    }
}

impl From<Obstacle> for ClassifierError {
    fn from(obstacle: Obstacle) -> Self {
        Self::Operators(vec![obstacle])
    }
}

impl ClassifierError {
    /// The text without the next step and the full stop.
    pub(crate) fn reason(&self) -> String {
        match self {
            Self::Operators(obstacles) => obstacles.first().map(Obstacle::clause).unwrap_or_default(),
            other => other.to_string().trim_end_matches('.').to_string(),
        }
    }

    /// Whether the reason may be that the batch is dynamic.
    pub(crate) fn concerns_batch(&self) -> bool {
        matches!(self, Self::Operators(obstacles) if obstacles.iter().any(|obstacle| obstacle.reason.contains("batch")))
    }
}

/// The text of obstacles, with the next step: that of the obstacles if it is the same for all of them.
fn show(obstacles: &[Obstacle]) -> String {
    let mut steps = obstacles.iter().map(Obstacle::next_step);
    let first = steps.next().unwrap_or(NEXT_STEP);
    let step = if steps.all(|step| step == first) { first } else { NEXT_STEP };
    let mut shown: Vec<String> = obstacles.iter().take(MAX_NAMES).map(Obstacle::clause).collect();
    if obstacles.len() > MAX_NAMES {
        shown.push("and others".to_string());
    }
    let what = if obstacles.len() == 1 { "Kiln cannot run" } else { "Kiln cannot run these operators:" };
    format!("{what} {}. {step}", truncated(shown.join("; ")))
}

/// Names of the file for a message.
pub(crate) fn listed<'a>(names: impl ExactSizeIterator<Item = &'a str>) -> String {
    let others = names.len().saturating_sub(MAX_NAMES);
    let mut listed: Vec<String> = names.take(MAX_NAMES).map(shorten).collect();
    if others > 0 {
        listed.push(format!("{others} others"));
    }
    listed.join(", ")
}

/// A message that may have numbers and names of the file in it: its beginning, if it is long.
pub(crate) fn truncated(mut text: String) -> String {
    if let Some((end, _)) = text.char_indices().nth(MAX_REASON) {
        text.truncate(end);
        text.push_str("...");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn obstacle(node: &str, reason: &str) -> Obstacle {
        Obstacle { node: node.to_string(), reason: reason.to_string() }
    }

    #[test]
    fn all_obstacles_are_listed_with_one_next_step() {
        let obstacles = vec![obstacle("Conv 'a'", "it lacks input 1"), obstacle("MaxPool 'b'", "its 'pads' are [-1]")];
        let text = ClassifierError::Operators(obstacles).to_string();
        let expected =
            "Kiln cannot run these operators: Conv 'a': it lacks input 1; MaxPool 'b': its 'pads' are [-1]. Check";
        assert!(text.starts_with(expected), "{text}");
        assert_eq!(text.matches("onnx.checker").count(), 1, "{text}");
        let many = vec![obstacle("Conv 'a'", "it lacks input 1"); MAX_NAMES + 1];
        assert!(ClassifierError::Operators(many).to_string().contains("; and others. Check"));
        let same = vec![obstacle("Gemm 'a'", "it is short. Copy it."), obstacle("Gemm 'b'", "it is long. Copy it.")];
        let text = ClassifierError::Operators(same).to_string();
        assert_eq!(text, "Kiln cannot run these operators: Gemm 'a': it is short; Gemm 'b': it is long. Copy it.");
    }

    #[test]
    fn next_step_of_an_operator_replaces_the_general_one() {
        let text = ClassifierError::from(obstacle("Gemm 'fc'", "its values are missing. Copy them.")).to_string();
        assert_eq!(text, "Kiln cannot run Gemm 'fc': its values are missing. Copy them.");
    }
}

//! Why an ONNX file cannot be used as a classifier.

use crate::lowering::{CHECK_AGAIN, Problem, describe};
use crate::message_text::{MAX_NAMES, shorten, truncated};
use crate::onnx::{NodeProto, ReadError};

/// The next step where an operator's reason does not name one.
const NEXT_STEP: &str = "Check the file with onnx.checker.check_model(FILE, full_check=True). If it is valid, simplify it \
                         (onnx-simplifier), or export it again for inference with operator set 17.";

/// Why a file cannot be used as a classifier. The texts are full sentences for the user.
#[derive(Debug, thiserror::Error)]
pub enum ClassifierError {
    /// The file cannot be read.
    #[error("{}", truncated(.0.to_string()))]
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
    /// Why: a clause.
    pub reason: String,
    /// A sentence with the next step, if there is one for this reason.
    pub next_step: Option<&'static str>,
}

impl Obstacle {
    pub(crate) fn new(node: &NodeProto, problem: Problem) -> Self {
        Self { node: describe(node), reason: truncated(problem.reason), next_step: problem.next_step }
    }

    /// The node and the reason.
    fn clause(&self) -> String {
        format!("{}: {}", self.node, self.reason)
    }

    /// A node that computes a value which exists already.
    pub(crate) fn duplicate(node: &NodeProto, value: &str) -> Self {
        let reason = format!("its output '{}' is defined twice", shorten(value));
        Self::new(node, Problem::with_next_step(reason, CHECK_AGAIN))
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

/// The text of obstacles, with their next steps. Only if none of them has one, it is the general one.
fn show(obstacles: &[Obstacle]) -> String {
    let mut steps: Vec<&str> = Vec::new();
    for step in obstacles.iter().filter_map(|obstacle| obstacle.next_step) {
        if !steps.contains(&step) {
            steps.push(step);
        }
    }
    if steps.is_empty() {
        steps.push(NEXT_STEP);
    }
    let mut shown: Vec<String> = obstacles.iter().take(MAX_NAMES).map(Obstacle::clause).collect();
    if obstacles.len() > MAX_NAMES {
        shown.push("and others".to_string());
    }
    let what = if obstacles.len() == 1 { "Kiln cannot run" } else { "Kiln cannot run these operators:" };
    format!("{what} {}. {}", truncated(shown.join("; ")), steps.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn obstacle(node: &str, reason: &str, next_step: Option<&'static str>) -> Obstacle {
        Obstacle { node: node.to_string(), reason: reason.to_string(), next_step }
    }

    #[test]
    fn all_obstacles_are_listed_with_one_next_step() {
        let obstacles =
            vec![obstacle("Conv 'a'", "it lacks input 1", None), obstacle("MaxPool 'b'", "its 'pads' are [-1]", None)];
        let text = ClassifierError::Operators(obstacles).to_string();
        let expected =
            "Kiln cannot run these operators: Conv 'a': it lacks input 1; MaxPool 'b': its 'pads' are [-1]. Check";
        assert!(text.starts_with(expected), "{text}");
        assert_eq!(text.matches("onnx.checker").count(), 1, "{text}");
        let many = vec![obstacle("Conv 'a'", "it lacks input 1", None); MAX_NAMES + 1];
        assert!(ClassifierError::Operators(many).to_string().contains("; and others. Check"));
        let same = vec![
            obstacle("Gemm 'a'", "it is short", Some("Copy it.")),
            obstacle("Gemm 'b'", "it is long", Some("Copy it.")),
        ];
        let text = ClassifierError::Operators(same).to_string();
        assert_eq!(text, "Kiln cannot run these operators: Gemm 'a': it is short; Gemm 'b': it is long. Copy it.");
        let different = vec![
            obstacle("Gemm 'a'", "it is short", Some("Copy it.")),
            obstacle("Gemm 'b'", "it is odd", None),
            obstacle("Gemm 'c'", "it is float8", Some("Export it again.")),
        ];
        let text = ClassifierError::Operators(different).to_string();
        assert!(text.ends_with("Gemm 'c': it is float8. Copy it. Export it again."), "{text}");
    }

    #[test]
    fn next_step_of_an_operator_replaces_the_general_one() {
        let reason = "tensor 'a. Say so.' lacks values";
        let text = ClassifierError::from(obstacle("Gemm 'fc'", reason, Some("Copy them."))).to_string();
        assert_eq!(text, "Kiln cannot run Gemm 'fc': tensor 'a. Say so.' lacks values. Copy them.");
    }
}

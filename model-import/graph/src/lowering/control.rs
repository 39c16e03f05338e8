//! `If` with a condition that is known when the file is read, as exporters write it for questions about shapes.

use crate::message_text::shorten;
use crate::onnx::NodeProto;

use super::operator::OPEN_CONDITION;
use super::{Fact, FactKind, Lowering, Problem};

/// The maximum depth of branches inside branches.
const MAX_DEPTH: usize = 8;

impl<'a> Lowering<'a> {
    /// Converts the branch that the condition selects.
    pub(super) fn branch(&mut self, node: &'a NodeProto, opset: i64) -> Result<(), Problem> {
        let condition = node
            .input
            .first()
            .and_then(|name| self.get(name))
            .cloned()
            .ok_or("its condition is not computed before it")?;
        let condition = self
            .known_linear(&condition)
            .map_err(|_| "its condition depends on the image, so that its branches cannot be chosen")?;
        let is_true = match condition.data.first() {
            Some(value) => value.truth().ok_or(OPEN_CONDITION)?,
            None => false,
        };
        let name = if is_true { "then_branch" } else { "else_branch" };
        let branch =
            node.attribute.iter().find(|attribute| attribute.name == name).and_then(|attribute| attribute.g.as_ref());
        let branch = branch.ok_or_else(|| format!("it has no '{name}'"))?;
        if self.depth >= MAX_DEPTH {
            return Err("its branches are nested too deeply".into());
        }
        for tensor in &branch.initializer {
            let fact: Fact = self.attribute_tensor(tensor)?;
            if let FactKind::Host(host) = &fact.kind {
                self.hold_value(host);
            }
            self.set(&tensor.name, fact);
        }
        self.depth += 1;
        let converted = branch.node.iter().try_for_each(|inner| {
            let inside = |Problem { reason, next_step }| {
                let reason = format!("{} inside it: {reason}", super::describe(inner));
                Problem { reason, next_step }
            };
            self.node(inner, opset).map_err(inside)
        });
        self.depth -= 1;
        converted?;
        for (outer, inner) in node.output.iter().zip(&branch.output) {
            let fact = self
                .get(&inner.name)
                .cloned()
                .ok_or_else(|| format!("its branch does not compute '{}'", shorten(&inner.name)))?;
            self.set(outer, fact);
        }
        Ok(())
    }
}

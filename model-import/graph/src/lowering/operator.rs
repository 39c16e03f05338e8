//! One operator of the file: its inputs and attributes.

use crate::host::{Array, Host, Linear};
use crate::onnx::{AttributeProto, NodeProto};

use super::{Fact, FactKind, Lowering, Problem, Var};

/// Why an operator that needs a truth value has none.
pub(super) const OPEN_CONDITION: &str = "its condition depends on the batch size";

/// An operator with what is known about its inputs.
pub(crate) struct Operator<'a> {
    pub(crate) node: &'a NodeProto,
    pub(crate) inputs: Vec<Option<Fact>>,
    /// The version of ONNX's operators in the file.
    pub(crate) opset: i64,
}

impl Operator<'_> {
    pub(crate) fn op_type(&self) -> &str {
        &self.node.op_type
    }

    /// An input that may be left out.
    pub(crate) fn optional(&self, index: usize) -> Option<&Fact> {
        self.inputs.get(index)?.as_ref()
    }

    /// An input that must be there.
    pub(crate) fn input(&self, index: usize) -> Result<&Fact, Problem> {
        self.optional(index).ok_or_else(|| Problem::from(format!("it lacks input {index}")))
    }

    /// An input that is computed for each batch. Known values become a layer.
    pub(crate) fn var(&self, lowering: &mut Lowering<'_>, index: usize) -> Result<Var, Problem> {
        lowering.to_var(self.input(index)?)
    }

    pub(crate) fn attribute(&self, name: &str) -> Option<&AttributeProto> {
        self.node.attribute.iter().find(|attribute| attribute.name == name)
    }

    pub(crate) fn int(&self, name: &str, default: i64) -> i64 {
        self.attribute(name).map_or(default, |attribute| attribute.i)
    }

    pub(crate) fn flag(&self, name: &str, default: bool) -> bool {
        self.int(name, i64::from(default)) != 0
    }

    pub(crate) fn float(&self, name: &str, default: f32) -> f32 {
        self.attribute(name).map_or(default, |attribute| attribute.f)
    }

    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.attribute(name).and_then(|attribute| std::str::from_utf8(&attribute.s).ok())
    }

    pub(crate) fn ints(&self, name: &str) -> Option<&[i64]> {
        self.attribute(name).map(|attribute| attribute.ints.as_slice())
    }

    /// Sizes from an attribute: all between 1 and 65536.
    pub(crate) fn sizes(&self, name: &str) -> Result<Option<Vec<usize>>, Problem> {
        let Some(values) = self.ints(name) else { return Ok(None) };
        let size = |value: &i64| usize::try_from(*value).ok().filter(|size| (1..=1 << 16).contains(size));
        let sizes: Option<Vec<usize>> = values.iter().map(size).collect();
        sizes
            .map(Some)
            .ok_or_else(|| format!("its '{name}' is {values:?}, but sizes from 1 to 65536 are possible").into())
    }

    /// Integers from an attribute of old operator sets or from an input of new ones; `None` if both are missing.
    pub(crate) fn ints_or_input(
        &self,
        lowering: &mut Lowering<'_>,
        name: &str,
        index: usize,
    ) -> Result<Option<Vec<i64>>, Problem> {
        if let Some(values) = self.ints(name) {
            return Ok(Some(values.to_vec()));
        }
        match self.optional(index) {
            Some(fact) => lowering.known_ints(fact).map(Some),
            None => Ok(None),
        }
    }
}

/// An axis as a position: negative axes count from the end.
pub(crate) fn axis_at(value: i64, rank: usize) -> Result<usize, Problem> {
    let wrapped = if value < 0 { value.checked_add(rank as i64) } else { Some(value) };
    let position = wrapped.and_then(|value| usize::try_from(value).ok()).filter(|axis| *axis < rank);
    position.ok_or_else(|| format!("its axis {value} is outside an input of {rank} axes").into())
}

impl Lowering<'_> {
    /// A fact as a value that is computed for each batch. Known values become a layer.
    // It adds a layer where the values are known.
    #[allow(clippy::wrong_self_convention)]
    pub(crate) fn to_var(&mut self, fact: &Fact) -> Result<Var, Problem> {
        if let Some(var) = fact.as_var() {
            return Ok(var.clone());
        }
        let array = self.host_float(fact)?.ok_or("a value that depends on the batch size is used as a number")?;
        if array.data.is_empty() {
            return Err("one of its inputs is empty".into());
        }
        Ok(self.constant(array))
    }

    /// Known floats; an error if they are computed for each batch.
    pub(crate) fn known_floats(&mut self, fact: &Fact) -> Result<Array<f32>, Problem> {
        let array = self.host_float(fact)?;
        array.ok_or_else(|| "one of its parameters is computed from the image; Kiln needs it as a constant".into())
    }

    /// Known integers that may depend on the batch size.
    pub(crate) fn known_linear(&mut self, fact: &Fact) -> Result<Array<Linear>, Problem> {
        let host = self.host(fact)?;
        let host = host.ok_or("one of its parameters is computed from the image; Kiln needs it as a constant")?;
        if matches!(host, Host::Float(_)) {
            self.reserve_integers(host.shape())?;
        }
        Ok(host.to_int())
    }

    /// Known integers that do not depend on the batch size.
    pub(crate) fn known_ints(&mut self, fact: &Fact) -> Result<Vec<i64>, Problem> {
        let array = self.known_linear(fact)?;
        let values: Option<Vec<i64>> = array.data.iter().map(|value| value.as_constant()).collect();
        values.ok_or_else(|| "one of its parameters depends on the batch size".into())
    }

    /// One known float.
    pub(crate) fn known_scalar(&mut self, fact: &Fact) -> Result<f32, Problem> {
        let array = self.known_floats(fact)?;
        array.uniform().ok_or_else(|| "one of its parameters has several values where one is possible".into())
    }

    /// Whether a fact is known when the file is read.
    pub(crate) fn is_known(fact: &Fact) -> bool {
        !matches!(fact.kind, FactKind::Computed(_))
    }
}

//! Converts the nodes of an ONNX graph into layers.
//!
//! Values that depend on weights and shapes alone are computed at once ([`Host`]). The batch size stays open: shapes are linear
//! functions of it. Everything else becomes layers. A value knows its axes as the file orders them, and the order in which they lie
//! in memory; a transpose only changes the first of these, so that convolutions run in NHWC without copies around them.

mod attention;
mod control;
mod convolution;
mod elementwise;
mod movement;
mod normalization;
mod operator;
mod product;
mod quantization;
mod reduction;
mod resize;
mod shape;
mod table;
mod view;

use std::collections::HashMap;

use crate::host::{Array, Host};
use crate::network::{Layer, LayerKind, Value};
use crate::onnx::{ElementType, NodeProto, OnnxSource, TensorProto};
use crate::tensor_op::Dim;

pub(crate) use operator::Operator;
pub(crate) use table::importer;
pub(crate) use view::{Var, show};

/// The maximum number of elements that the file's constants may have together after folding, beyond the size of the file.
const FOLDING_BUDGET: usize = 1 << 27;
/// The maximum number of elements of a value for one image.
const MAX_ELEMENTS: usize = 1 << 28;

/// Why an operator cannot be converted; a clause such as "its axis 3 is outside the input".
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Problem(pub(crate) String);

impl From<String> for Problem {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl From<&str> for Problem {
    fn from(text: &str) -> Self {
        Self(text.to_string())
    }
}

/// The result of converting one operator: its outputs.
pub(crate) type Outputs = Result<Vec<Fact>, Problem>;

/// What is known about a value of the file.
#[derive(Clone, Debug)]
pub(crate) struct Fact {
    pub(crate) element: ElementType,
    pub(crate) kind: FactKind,
}

#[derive(Clone, Debug)]
pub(crate) enum FactKind {
    /// Known values.
    Host(Host),
    /// A tensor of the file, by its index, which is read when it is needed.
    Stored { tensor: usize, shape: Vec<usize> },
    /// Computed for each batch.
    Computed(Var),
}

impl Fact {
    pub(crate) fn host(host: Host) -> Self {
        let element = match &host {
            Host::Float(_) => ElementType::F32,
            Host::Int(_) => ElementType::I64,
        };
        Self { element, kind: FactKind::Host(host) }
    }

    pub(crate) fn float(array: Array<f32>) -> Self {
        Self::host(Host::Float(array))
    }

    pub(crate) fn computed(var: Var) -> Self {
        Self { element: ElementType::F32, kind: FactKind::Computed(var) }
    }

    /// The value that is computed for each batch, if it is one.
    pub(crate) fn as_var(&self) -> Option<&Var> {
        match &self.kind {
            FactKind::Computed(var) => Some(var),
            _ => None,
        }
    }

    /// The size of each axis, in the order of the file.
    pub(crate) fn dims(&self) -> Vec<Dim> {
        let fixed = |shape: &[usize]| shape.iter().map(|size| Dim::fixed(*size)).collect();
        match &self.kind {
            FactKind::Host(host) => fixed(host.shape()),
            FactKind::Stored { shape, .. } => fixed(shape),
            FactKind::Computed(var) => var.dims.clone(),
        }
    }

    pub(crate) fn rank(&self) -> usize {
        match &self.kind {
            FactKind::Host(host) => host.shape().len(),
            FactKind::Stored { shape, .. } => shape.len(),
            FactKind::Computed(var) => var.dims.len(),
        }
    }

    pub(crate) fn with_element(mut self, element: ElementType) -> Self {
        self.element = element;
        self
    }
}

/// The state of the conversion.
pub(crate) struct Lowering<'a> {
    source: &'a OnnxSource,
    tensors: &'a [TensorProto],
    pub(crate) layers: Vec<Layer>,
    values: usize,
    /// By name in the file.
    facts: HashMap<&'a str, Fact>,
    /// Operator and name of the node that is being converted.
    node: String,
    /// The batch that the file fixes, whose axis is made dynamic.
    pub(crate) fixed_batch: Option<usize>,
    /// Elements that folding may still produce.
    budget: usize,
    /// The number of branches around the node that is being converted.
    depth: usize,
}

impl<'a> Lowering<'a> {
    /// Starts with the tensors of the file.
    pub(crate) fn new(source: &'a OnnxSource, fixed_batch: Option<usize>) -> Self {
        let tensors = source.message().graph.as_ref().map_or(&[][..], |graph| &graph.initializer);
        let budget = usize::try_from(source.bytes()).unwrap_or(usize::MAX).saturating_add(FOLDING_BUDGET);
        let mut lowering = Self {
            source,
            tensors,
            layers: Vec::new(),
            values: 0,
            facts: HashMap::new(),
            node: String::new(),
            fixed_batch,
            budget,
            depth: 0,
        };
        for (index, tensor) in tensors.iter().enumerate() {
            let shape = tensor.dims.iter().map(|dim| usize::try_from(*dim)).collect::<Result<Vec<_>, _>>();
            // A tensor of an unknown type or shape is an error where a node reads it.
            if let (Some(element), Ok(shape)) = (ElementType::from_onnx(tensor.data_type), shape) {
                let kind = FactKind::Stored { tensor: index, shape };
                lowering.facts.insert(&tensor.name, Fact { element, kind });
            }
        }
        lowering
    }

    /// Names a value of the file.
    pub(crate) fn set(&mut self, name: &'a str, fact: Fact) {
        self.facts.insert(name, fact);
    }

    /// A value of the file by its name.
    pub(crate) fn get(&self, name: &str) -> Option<&Fact> {
        self.facts.get(name)
    }

    /// Creates the input of the network: `dims` in the order of the file, `perm` as in [`Var`].
    pub(crate) fn input(&mut self, dims: Vec<Dim>, perm: Vec<usize>) -> Var {
        let value = self.new_value();
        Var { value, dims, perm }
    }

    /// Converts a node.
    pub(crate) fn node(&mut self, node: &'a NodeProto, opset: i64) -> Result<(), Problem> {
        self.node = describe(node);
        if matches!(node.domain.as_str(), "" | "ai.onnx") && node.op_type == "If" {
            return self.branch(node, opset);
        }
        let Some(import) = importer(&node.domain, &node.op_type) else {
            return Err("Kiln does not know this operator".into());
        };
        let mut inputs = Vec::with_capacity(node.input.len());
        for name in &node.input {
            inputs.push(match name.as_str() {
                "" => None,
                name => Some(
                    self.get(name).cloned().ok_or_else(|| format!("its input '{name}' is not computed before it"))?,
                ),
            });
        }
        let operator = Operator { node, inputs, opset };
        let outputs = import(self, &operator)?;
        for (name, fact) in node.output.iter().zip(outputs) {
            if fact.as_var().is_some_and(|var| var.dims.iter().any(|dim| dim.size == 0)) {
                return Err("its result is empty".into());
            }
            let elements = fact.dims().iter().try_fold(1_usize, |product, dim| product.checked_mul(dim.size));
            if elements.is_none_or(|elements| elements > MAX_ELEMENTS) {
                return Err(format!("its result has more than {MAX_ELEMENTS} elements for one image").into());
            }
            if !name.is_empty() {
                self.set(name, fact);
            }
        }
        Ok(())
    }

    /// The known values of a fact, which are read from the file if necessary; `None` if they are computed for each batch.
    pub(crate) fn host(&mut self, fact: &Fact) -> Result<Option<Host>, Problem> {
        match &fact.kind {
            FactKind::Computed(_) => Ok(None),
            FactKind::Host(host) => Ok(Some(host.clone())),
            FactKind::Stored { tensor, .. } => {
                let (host, _) = self.source.tensor(&self.tensors[*tensor]).map_err(|error| error.to_string())?;
                Ok(Some(host))
            }
        }
    }

    /// Like [`Self::host`], as floats.
    pub(crate) fn host_float(&mut self, fact: &Fact) -> Result<Option<Array<f32>>, Problem> {
        Ok(match self.host(fact)? {
            Some(host) => host.to_float(),
            None => None,
        })
    }

    /// The values of a tensor inside an attribute.
    pub(crate) fn attribute_tensor(&self, tensor: &TensorProto) -> Result<Fact, Problem> {
        let (host, element) = self.source.tensor(tensor).map_err(|error| error.to_string())?;
        Ok(Fact { element, kind: FactKind::Host(host) })
    }

    /// Takes the elements of a folded tensor from the budget.
    pub(crate) fn fold(&mut self, host: Host) -> Result<Host, Problem> {
        self.reserve(host.shape())?;
        Ok(host)
    }

    /// Checks that a folded tensor of a shape is within the budget, before it is created.
    pub(crate) fn reserve(&mut self, shape: &[usize]) -> Result<(), Problem> {
        let elements = shape.iter().try_fold(1_usize, |product, dim| product.checked_mul(*dim));
        let left = elements.and_then(|elements| self.budget.checked_sub(elements));
        self.budget = left.ok_or("the constants of the file become too large")?;
        Ok(())
    }

    pub(crate) fn new_value(&mut self) -> Value {
        self.values += 1;
        self.values - 1
    }

    /// Adds a layer, and returns the value that it produces.
    pub(crate) fn emit(&mut self, kind: LayerKind, inputs: Vec<Value>) -> Value {
        let output = self.new_value();
        self.layers.push(Layer { node: self.node.clone(), output, inputs, kind });
        output
    }
}

/// Operator and name of a node, as the file has them.
pub(crate) fn describe(node: &NodeProto) -> String {
    let operator = match node.domain.as_str() {
        "" | "ai.onnx" => node.op_type.clone(),
        domain => format!("{domain}::{}", node.op_type),
    };
    match node.name.as_str() {
        "" => match node.output.first() {
            Some(output) => format!("{operator} that computes '{output}'"),
            None => operator,
        },
        name => format!("{operator} '{name}'"),
    }
}

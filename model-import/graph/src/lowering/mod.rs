//! Converts the nodes of an ONNX graph into layers.
//!
//! Values that depend on weights and shapes alone are computed at once ([`Host`]). The batch size stays open: shapes are linear
//! functions of it. Everything else becomes layers. A value knows its axes as the file orders them, and the order in which they lie
//! in memory; a transpose only changes the first of these, so that convolutions run in NHWC without copies around them.

mod attention;
mod attribute_types;
mod budget;
mod control;
mod convolution;
mod elementwise;
mod movement;
mod normalization;
mod operator;
mod operator_table;
mod problem;
mod product;
mod quantization;
mod reduction;
mod resize;
mod shape;
mod view;

use std::collections::HashMap;

use crate::host::{Array, Host, checked_elements};
use crate::message_text::shorten;
use crate::network::{Layer, LayerKind, Value};
use crate::onnx::{ElementType, NodeProto, OnnxSource, TensorProto, type_name};
use crate::tensor_op::Dim;

use attribute_types::check_attribute_types;
use budget::{Budget, MAX_RANK};

pub(crate) use operator::Operator;
pub(crate) use operator_table::importer;
pub(crate) use problem::Problem;
pub(crate) use view::{Var, show};

/// The maximum number of nodes that are converted. The largest classifiers have a tenth of that.
pub(crate) const MAX_NODES: usize = 50_000;
/// The error beyond [`MAX_NODES`].
const TOO_MANY_NODES: &str = "the file has more than 50000 operators";
/// The next step for a file that contradicts itself.
pub(crate) const CHECK_AGAIN: &str = "Check the file with onnx.checker.check_model, and export the model again.";
/// The maximum number of inputs and outputs of a node.
const MAX_VALUES: usize = 4096;

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
    /// What may still be held and computed.
    budget: Budget,
    /// The number of nodes so far.
    nodes: usize,
    /// The number of branches around the node that is being converted.
    depth: usize,
}

impl<'a> Lowering<'a> {
    /// Starts with the tensors of the file.
    pub(crate) fn new(source: &'a OnnxSource, fixed_batch: Option<usize>) -> Self {
        let tensors = source.message().graph.as_ref().map_or(&[][..], |graph| &graph.initializer);
        let mut lowering = Self {
            source,
            tensors,
            layers: Vec::new(),
            values: 0,
            facts: HashMap::new(),
            node: String::new(),
            fixed_batch,
            budget: Budget::new(source, tensors),
            nodes: 0,
            depth: 0,
        };
        for (index, tensor) in tensors.iter().enumerate() {
            let shape = tensor.dims.iter().take(MAX_RANK + 1).map(|dim| usize::try_from(*dim).ok());
            let shape: Option<Vec<usize>> = shape.collect();
            let shape = shape.filter(|shape| shape.len() <= MAX_RANK && checked_elements(shape).is_some());
            // A tensor of an unknown type or shape is an error where a node reads it.
            if let (Some(element), Some(shape)) = (ElementType::from_onnx(tensor.data_type), shape) {
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
        self.nodes += 1;
        if self.nodes > MAX_NODES {
            // Once is enough: the nodes behind this one would give the same error.
            self.refuse(TOO_MANY_NODES);
            return self.check_excess();
        }
        if node.input.len().max(node.output.len()) > MAX_VALUES {
            return Err(format!("it has more than {MAX_VALUES} inputs or outputs").into());
        }
        if matches!(node.domain.as_str(), "" | "ai.onnx") && node.op_type == "If" {
            return self.branch(node, opset);
        }
        let Some(import) = importer(&node.domain, &node.op_type) else {
            return Err("Kiln does not know this operator".into());
        };
        check_attribute_types(node)?;
        let mut inputs = Vec::with_capacity(node.input.len());
        for name in &node.input {
            inputs.push(match name.as_str() {
                "" => None,
                name => Some(self.get(name).cloned().ok_or_else(|| self.missing(name))?),
            });
        }
        for fact in inputs.iter().flatten() {
            if let FactKind::Host(host) = &fact.kind {
                self.count_visit(host.shape().iter().product())?;
            }
        }
        let operator = Operator { node, inputs, opset };
        let outputs = import(self, &operator)?;
        for (name, fact) in node.output.iter().zip(outputs) {
            if fact.as_var().is_some_and(|var| var.dims.iter().any(|dim| dim.size == 0)) {
                return Err("its result is empty".into());
            }
            self.check_dims(&fact.dims());
            let sizes: Vec<usize> = fact.dims().iter().map(|dim| dim.size).collect();
            checked_elements(&sizes).ok_or("its result is too large")?;
            if let FactKind::Host(host) = &fact.kind {
                self.hold_value(host);
            }
            self.check_excess()?;
            if !name.is_empty() {
                self.set(name, fact);
            }
        }
        Ok(())
    }

    /// Why a value that a node reads is not known.
    fn missing(&self, name: &str) -> Problem {
        let shown = shorten(name);
        let Some(tensor) = self.tensors.iter().find(|tensor| tensor.name == name) else {
            return Problem::with_next_step(
                format!("its input '{shown}' is not computed before it, and the file has no tensor of that name"),
                CHECK_AGAIN,
            );
        };
        if ElementType::from_onnx(tensor.data_type).is_none() {
            let name = type_name(tensor.data_type);
            return Problem::with_next_step(
                format!("its input '{shown}' has the element type {name}, which Kiln does not support"),
                "Export the model with weights of float32, float16 or int8.",
            );
        }
        let dims: Vec<i64> = tensor.dims.iter().take(MAX_RANK).copied().collect();
        let reason = format!("its input '{shown}' has the impossible shape {dims:?}");
        Problem::with_next_step(reason, "Export the model again.")
    }

    /// The known values of a fact, which are read from the file if necessary; `None` if they are computed for each batch.
    pub(crate) fn host(&mut self, fact: &Fact) -> Result<Option<Host>, Problem> {
        match &fact.kind {
            FactKind::Computed(_) => Ok(None),
            FactKind::Host(host) => Ok(Some(host.clone())),
            FactKind::Stored { tensor, shape } => {
                self.count_read()?;
                match fact.element.is_index() {
                    true => self.reserve_integers(shape)?,
                    false => self.reserve(shape)?,
                }
                let (host, _) = self.source.tensor(&self.tensors[*tensor])?;
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
    pub(crate) fn attribute_tensor(&mut self, tensor: &TensorProto) -> Result<Fact, Problem> {
        if tensor.dims.len() > MAX_RANK {
            return Err("its value has too many axes".into());
        }
        let shape: Option<Vec<usize>> = tensor.dims.iter().map(|dim| usize::try_from(*dim).ok()).collect();
        self.count_read()?;
        self.reserve(&shape.ok_or("its value has a negative size")?)?;
        let (host, element) = self.source.tensor(tensor)?;
        Ok(Fact { element, kind: FactKind::Host(host) })
    }

    pub(crate) fn new_value(&mut self) -> Value {
        self.values += 1;
        self.values - 1
    }

    /// Adds a layer, and returns the value that it produces.
    pub(crate) fn emit(&mut self, kind: LayerKind, inputs: Vec<Value>) -> Value {
        let output = self.new_value();
        self.hold_layer(&kind);
        self.layers.push(Layer { node: self.node.clone(), output, inputs, kind });
        output
    }
}

/// Operator and name of a node, as the file has them.
pub(crate) fn describe(node: &NodeProto) -> String {
    let op_type = shorten(&node.op_type);
    let operator = match node.domain.as_str() {
        "" | "ai.onnx" => op_type,
        domain => format!("{}::{op_type}", shorten(domain)),
    };
    match node.name.as_str() {
        "" => match node.output.first() {
            Some(output) => format!("{operator} that computes '{}'", shorten(output)),
            None => operator,
        },
        name => format!("{operator} '{}'", shorten(name)),
    }
}

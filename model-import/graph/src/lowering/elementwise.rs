//! Elementwise functions and operations, conditions and casts.

use kiln_ops::{Activation, Binary, Unary};

use crate::host::{Array, Host, Linear};
use crate::network::LayerKind;
use crate::onnx::ElementType;
use crate::tensor_op::{Dim, TensorOp};

use super::operator::{OPEN_CONDITION, axis_at};
use super::view::{permuted_constant, show};
use super::{Fact, FactKind, Lowering, Operator, Outputs, Problem, Var};

/// The binary operation of an ONNX operator; the second part says whether it takes any number of inputs.
fn binary_named(op_type: &str) -> Option<Binary> {
    Some(match op_type {
        "Add" | "Sum" => Binary::Add,
        "Sub" => Binary::Sub,
        "Mul" => Binary::Mul,
        "Div" => Binary::Div,
        "Mod" => Binary::Mod,
        "Pow" => Binary::Pow,
        "Min" => Binary::Min,
        "Max" => Binary::Max,
        "Mean" => Binary::Add,
        "PRelu" => Binary::PRelu,
        "Equal" => Binary::Equal,
        "Less" => Binary::Less,
        "LessOrEqual" => Binary::LessOrEqual,
        "Greater" => Binary::Greater,
        "GreaterOrEqual" => Binary::GreaterOrEqual,
        "And" => Binary::And,
        "Or" => Binary::Or,
        "Xor" => Binary::Xor,
        _ => return None,
    })
}

pub(crate) fn is_binary(op_type: &str) -> bool {
    binary_named(op_type).is_some()
}

/// The names of the functions that [`unary`] converts.
const UNARY: [&str; 42] = [
    "Abs",
    "Acos",
    "Acosh",
    "Asin",
    "Asinh",
    "Atan",
    "Atanh",
    "Ceil",
    "Celu",
    "Clip",
    "Cos",
    "Cosh",
    "Elu",
    "Erf",
    "Exp",
    "Floor",
    "Gelu",
    "HardSigmoid",
    "HardSwish",
    "IsInf",
    "IsNaN",
    "LeakyRelu",
    "Log",
    "Mish",
    "Neg",
    "Not",
    "Reciprocal",
    "Relu",
    "Round",
    "Selu",
    "Shrink",
    "Sigmoid",
    "Sign",
    "Sin",
    "Sinh",
    "Softplus",
    "Softsign",
    "Sqrt",
    "Swish",
    "Tan",
    "Tanh",
    "ThresholdedRelu",
];

pub(crate) fn is_unary(op_type: &str) -> bool {
    UNARY.contains(&op_type)
}

/// A function without parameters by its ONNX name.
fn plain(op_type: &str) -> Option<Unary> {
    Some(match op_type {
        "Abs" => Unary::Abs,
        "Acos" => Unary::Acos,
        "Acosh" => Unary::Acosh,
        "Asin" => Unary::Asin,
        "Asinh" => Unary::Asinh,
        "Atan" => Unary::Atan,
        "Atanh" => Unary::Atanh,
        "Ceil" => Unary::Ceil,
        "Cos" => Unary::Cos,
        "Cosh" => Unary::Cosh,
        "Erf" => Unary::Erf,
        "Exp" => Unary::Exp,
        "Floor" => Unary::Floor,
        "IsInf" => Unary::IsInf,
        "IsNaN" => Unary::IsNan,
        "Log" => Unary::Log,
        "Mish" => Unary::Mish,
        "Neg" => Unary::Neg,
        "Not" => Unary::Not,
        "Reciprocal" => Unary::Reciprocal,
        "Round" => Unary::Round,
        "Sigmoid" => Unary::Sigmoid,
        "Sign" => Unary::Sign,
        "Sin" => Unary::Sin,
        "Sinh" => Unary::Sinh,
        "Softplus" => Unary::Softplus,
        "Softsign" => Unary::Softsign,
        "Sqrt" => Unary::Sqrt,
        "Tan" => Unary::Tan,
        "Tanh" => Unary::Tanh,
        _ => return None,
    })
}

/// A function by the name that ONNX Runtime gives it inside a fused operator; `None` if it does nothing.
pub(crate) fn activation_named(name: &str, parameters: &[f32]) -> Result<Option<Unary>, Problem> {
    let parameter = |index: usize, default: f32| parameters.get(index).copied().unwrap_or(default);
    Ok(Some(match name {
        "" | "Identity" => return Ok(None),
        "Relu" => Unary::Clamp { low: 0.0, high: f32::INFINITY },
        "Clip" => Unary::Clamp { low: parameter(0, f32::MIN), high: parameter(1, f32::MAX) },
        "LeakyRelu" => Unary::LeakyRelu { slope: parameter(0, 0.01) },
        "HardSigmoid" => Unary::HardSigmoid { alpha: parameter(0, 0.2), beta: parameter(1, 0.5) },
        other => plain(other).ok_or_else(|| format!("its activation '{other}' is not known"))?,
    }))
}

/// The operators of one input, parameters in attributes or constants.
pub(crate) fn unary(lowering: &mut Lowering<'_>, operator: &Operator<'_>) -> Outputs {
    let function = match operator.op_type() {
        "Relu" => Unary::Clamp { low: 0.0, high: f32::INFINITY },
        "Clip" => {
            let mut bound = |name: &str, index: usize, default: f32| match operator.optional(index) {
                Some(fact) => lowering.known_scalar(fact),
                None => Ok(operator.float(name, default)),
            };
            Unary::Clamp { low: bound("min", 1, f32::NEG_INFINITY)?, high: bound("max", 2, f32::INFINITY)? }
        }
        "HardSigmoid" => Unary::HardSigmoid { alpha: operator.float("alpha", 0.2), beta: operator.float("beta", 0.5) },
        "HardSwish" => Unary::HardSwish,
        "LeakyRelu" => Unary::LeakyRelu { slope: operator.float("alpha", 0.01) },
        "Elu" => Unary::Elu { alpha: operator.float("alpha", 1.0), gamma: 1.0, scale: 1.0 },
        "Selu" => {
            let (alpha, gamma) = (operator.float("alpha", 1.673_263_2), operator.float("gamma", 1.050_701));
            Unary::Elu { alpha, gamma, scale: 1.0 }
        }
        "Celu" => {
            let alpha = operator.float("alpha", 1.0);
            Unary::Elu { alpha, gamma: 1.0, scale: 1.0 / alpha }
        }
        "Gelu" if operator.text("approximate") == Some("tanh") => Unary::GeluTanh,
        "Gelu" => Unary::Gelu,
        "Swish" => Unary::Swish { alpha: operator.float("alpha", 1.0) },
        "ThresholdedRelu" => Unary::ThresholdedRelu { alpha: operator.float("alpha", 1.0) },
        "Shrink" => Unary::Shrink { lambda: operator.float("lambd", 0.5), bias: operator.float("bias", 0.0) },
        "IsInf" if !(operator.flag("detect_positive", true) && operator.flag("detect_negative", true)) => {
            return Err("it looks for infinities of one sign alone, which is not supported".into());
        }
        other => plain(other).ok_or("Kiln does not know this operator")?,
    };
    let input = operator.input(0)?.clone();
    if let Some(host) = lowering.host(&input)? {
        return Ok(vec![lowering.unary_known(function, host)?.with_element(input.element)]);
    }
    let var = operator.var(lowering, 0)?;
    Ok(vec![Fact::computed(lowering.unary_op(function, &var)).with_element(input.element)])
}

/// `Gelu`, `FastGelu`, `BiasGelu` and `QuickGelu` of ONNX Runtime.
pub(crate) fn microsoft_gelu(lowering: &mut Lowering<'_>, operator: &Operator<'_>) -> Outputs {
    let mut input = operator.input(0)?.clone();
    if let Some(bias) = operator.optional(1).cloned() {
        input = Fact::computed(lowering.binary_op(Binary::Add, &input, &bias)?);
    }
    let function = match operator.op_type() {
        "FastGelu" => Unary::GeluTanh,
        "QuickGelu" => Unary::Swish { alpha: operator.float("alpha", 1.702) },
        _ => Unary::Gelu,
    };
    let var = lowering.to_var(&input)?;
    Ok(vec![Fact::computed(lowering.unary_op(function, &var))])
}

/// `BiasAdd` of ONNX Runtime: value, bias, residual.
pub(crate) fn bias_add(lowering: &mut Lowering<'_>, operator: &Operator<'_>) -> Outputs {
    let (value, bias, residual) = (operator.input(0)?.clone(), operator.input(1)?.clone(), operator.input(2)?.clone());
    let sum = lowering.binary_op(Binary::Add, &value, &bias)?;
    Ok(vec![Fact::computed(lowering.binary_op(Binary::Add, &Fact::computed(sum), &residual)?)])
}

impl Lowering<'_> {
    /// A function of a value that is computed for each batch.
    pub(crate) fn unary_op(&mut self, function: Unary, var: &Var) -> Var {
        let kind = match function {
            Unary::Clamp { low, high } => LayerKind::Activation(Activation::Clamp { low, high }),
            Unary::HardSigmoid { alpha, beta } => LayerKind::Activation(Activation::HardSigmoid { alpha, beta }),
            Unary::HardSwish => LayerKind::Activation(Activation::HardSwish),
            other => LayerKind::Tensor(TensorOp::Unary(other)),
        };
        self.same_axes(kind, var, var.dims.clone())
    }

    fn unary_known(&mut self, function: Unary, host: Host) -> Result<Fact, Problem> {
        self.reserve_like(&host, host.shape())?;
        let host = match (&host, function) {
            (Host::Int(array), Unary::Neg | Unary::Abs | Unary::Not | Unary::Floor | Unary::Ceil | Unary::Round) => {
                let negative = |x: &Linear| x.scale(-1);
                let overflow = "its result overflows";
                Host::Int(match function {
                    Unary::Neg => array.try_map(negative).ok_or(overflow)?,
                    Unary::Abs => array
                        .try_map(|x| x.magnitude())
                        .ok_or("its result overflows, or its sign depends on the batch size")?,
                    Unary::Not => {
                        array.try_map(|x| Some(Linear::constant(i64::from(!x.truth()?)))).ok_or(OPEN_CONDITION)?
                    }
                    _ => array.clone(),
                })
            }
            (host, function) => {
                let array = host.to_float().ok_or("it computes with a number that depends on the batch size")?;
                Host::Float(array.map(|x| function.of(*x)))
            }
        };
        Ok(Fact::host(host))
    }

    /// Multiplies by a number.
    pub(crate) fn multiply(&mut self, var: &Var, factor: f32) -> Result<Var, Problem> {
        self.binary_op(Binary::Mul, &Fact::computed(var.clone()), &Fact::float(Array::scalar(factor)))
    }

    /// Adds a number.
    pub(crate) fn add_number(&mut self, var: &Var, summand: f32) -> Result<Var, Problem> {
        self.binary_op(Binary::Add, &Fact::computed(var.clone()), &Fact::float(Array::scalar(summand)))
    }

    /// An operation of two facts, at least one of which is computed for each batch.
    pub(crate) fn binary_op(&mut self, op: Binary, left: &Fact, right: &Fact) -> Result<Var, Problem> {
        match (left.as_var(), right.as_var()) {
            (Some(left), Some(right)) => self.binary_vars(op, left, right),
            (Some(var), None) => {
                let array = self.known_floats(right)?;
                self.binary_constant(op, var, &array, false)
            }
            (None, Some(var)) => {
                let array = self.known_floats(left)?;
                self.binary_constant(op, var, &array, true)
            }
            (None, None) => {
                let var = self.to_var(left)?;
                let right = right.clone();
                self.binary_op(op, &Fact::computed(var), &right)
            }
        }
    }

    fn binary_vars(&mut self, op: Binary, left: &Var, right: &Var) -> Result<Var, Problem> {
        let rank = left.rank().max(right.rank());
        let (left, right) = (self.with_rank(left, rank)?, self.with_rank(right, rank)?);
        let dims = broadcast(&left.dims, &right.dims)
            .ok_or_else(|| format!("the shapes {} and {} do not fit", show(&left.dims), show(&right.dims)))?;
        self.check_dims(&dims);
        // The larger operand stays where it is.
        let is_left_larger = elements(&left.dims) >= elements(&right.dims);
        let perm = if is_left_larger { left.perm.clone() } else { right.perm.clone() };
        let (left, right) = (self.in_order(&left, &perm), self.in_order(&right, &perm));
        let kind = if op == Binary::Add && left.dims == right.dims {
            LayerKind::Add
        } else if let (Binary::Mul, Some([image, gate])) = (op, channel_gate(&left, &right)) {
            let inputs = vec![image.value, gate.value];
            return Ok(Var { value: self.emit(LayerKind::Scale, inputs), dims, perm });
        } else {
            LayerKind::Tensor(TensorOp::Binary(op))
        };
        Ok(Var { value: self.emit(kind, vec![left.value, right.value]), dims, perm })
    }

    /// An operation of a value and known numbers. `reversed` says that the numbers are the left operand.
    fn binary_constant(&mut self, op: Binary, var: &Var, array: &Array<f32>, reversed: bool) -> Result<Var, Problem> {
        let rank = var.rank().max(array.shape.len());
        let mut var = self.with_rank(var, rank)?;
        let constant_dims: Vec<Dim> = array.shape.iter().map(|size| Dim::fixed(*size)).collect();
        let missing = rank - constant_dims.len();
        let constant_dims: Vec<Dim> = std::iter::repeat_n(Dim::fixed(1), missing).chain(constant_dims).collect();
        let dims = broadcast(&var.dims, &constant_dims)
            .ok_or_else(|| format!("the shapes {} and {} do not fit", show(&var.dims), show(&constant_dims)))?;
        if op == Binary::Pow
            && !reversed
            && let Some(exponent) = array.uniform()
            && dims == var.dims
        {
            return Ok(match exponent {
                1.0 => var,
                0.5 => self.unary_op(Unary::Sqrt, &var),
                exponent => self.unary_op(Unary::Power(exponent), &var),
            });
        }
        if let (true, Some(number)) = (dims == var.dims, array.uniform()) {
            // Bounds of a ReLU that is written as a maximum.
            match op {
                Binary::Max => return Ok(self.unary_op(Unary::Clamp { low: number, high: f32::INFINITY }, &var)),
                Binary::Min => return Ok(self.unary_op(Unary::Clamp { low: f32::NEG_INFINITY, high: number }, &var)),
                Binary::PRelu if !reversed => return Ok(self.unary_op(Unary::LeakyRelu { slope: number }, &var)),
                Binary::Div if reversed => {
                    let inverse = self.unary_op(Unary::Reciprocal, &var);
                    return self.multiply(&inverse, number);
                }
                _ => {}
            }
        }
        let unsupported = || Problem::from("its shapes do not fit");
        if dims == var.dims
            && let Some((axis, values)) = per_channel(&var, array)
            && let Some((factor, summand)) = affine(op, &values, reversed)
            && let Some(channels) = var.dims[axis].as_fixed()
        {
            // One number for each element of one axis: a scale and an offset, if that axis is the last one in memory.
            let is_last = var.perm.last() == Some(&axis);
            if is_last || values.len() == 1 {
                let last = var.perm.last().map_or(1, |last| var.dims[*last].as_fixed().unwrap_or(0));
                let wide = |values: Vec<f32>| if values.len() == 1 { vec![values[0]; last] } else { values };
                if last > 0 && (is_last && last == channels || values.len() == 1) {
                    self.reserve(&[last, 2])?;
                    let kind = LayerKind::Affine { factor: wide(factor), summand: wide(summand) };
                    return Ok(self.same_axes(kind, &var, dims));
                }
            }
        }
        self.reserve(&array.shape)?;
        let constant = permuted_constant(array, &var.perm).ok_or_else(unsupported)?;
        self.check_dims(&dims);
        let perm = var.perm.clone();
        let constant = self.emit(LayerKind::Constant(constant), Vec::new());
        // The operation broadcasts the value, if it must.
        var.dims = dims;
        let inputs = if reversed { vec![constant, var.value] } else { vec![var.value, constant] };
        let value = self.emit(LayerKind::Tensor(TensorOp::Binary(op)), inputs);
        Ok(Var { value, dims: var.dims, perm })
    }
}

/// The axis of the file along which a constant changes, and its values along that axis. A single number counts as any axis.
fn per_channel(var: &Var, array: &Array<f32>) -> Option<(usize, Vec<f32>)> {
    if var.rank() == 0 {
        return None;
    }
    if let Some(number) = array.uniform() {
        return Some((*var.perm.last()?, vec![number]));
    }
    let missing = var.rank() - array.shape.len();
    let mut large = (0..array.shape.len()).filter(|axis| array.shape[*axis] != 1);
    let axis = large.next()?;
    large.next().is_none().then(|| (axis + missing, array.data.to_vec()))
}

/// An operation with known numbers as `factor * x + summand`.
fn affine(op: Binary, values: &[f32], reversed: bool) -> Option<(Vec<f32>, Vec<f32>)> {
    let count = values.len();
    Some(match (op, reversed) {
        (Binary::Add, _) => (vec![1.0; count], values.to_vec()),
        (Binary::Sub, false) => (vec![1.0; count], values.iter().map(|value| -value).collect()),
        (Binary::Sub, true) => (vec![-1.0; count], values.to_vec()),
        (Binary::Mul, _) => (values.to_vec(), vec![0.0; count]),
        (Binary::Div, false) => (values.iter().map(|value| 1.0 / value).collect(), vec![0.0; count]),
        _ => return None,
    })
}

/// An image and its gate: one value for each channel, which is last in memory.
fn channel_gate<'a>(left: &'a Var, right: &'a Var) -> Option<[&'a Var; 2]> {
    let is_gate = |gate: &Var, image: &Var| {
        let (gate, image) = (gate.physical(), image.physical());
        matches!((&gate[..], &image[..]), ([b, h, w, c], [batch, _, _, channels])
            if h.is_one() && w.is_one() && b == batch && c == channels && b.batched)
    };
    if left.dims == right.dims {
        return None;
    }
    if is_gate(right, left) {
        return Some([left, right]);
    }
    is_gate(left, right).then_some([right, left])
}

fn elements(dims: &[Dim]) -> (usize, usize) {
    let batches = dims.iter().filter(|dim| dim.batched).count();
    (batches, dims.iter().fold(1, |product: usize, dim| product.saturating_mul(dim.size)))
}

/// The sizes of two operands of equal rank after broadcasting.
pub(crate) fn broadcast(left: &[Dim], right: &[Dim]) -> Option<Vec<Dim>> {
    let one = |(a, b): (&Dim, &Dim)| match () {
        () if a == b => Some(*a),
        () if a.is_one() => Some(*b),
        () if b.is_one() => Some(*a),
        () => None,
    };
    left.iter().zip(right).map(one).collect()
}

/// The operators of two inputs, and those that combine any number.
pub(crate) fn binary(lowering: &mut Lowering<'_>, operator: &Operator<'_>) -> Outputs {
    let op = binary_named(operator.op_type()).ok_or("Kiln does not know this operator")?;
    let is_condition = matches!(
        op,
        Binary::Equal
            | Binary::Less
            | Binary::LessOrEqual
            | Binary::Greater
            | Binary::GreaterOrEqual
            | Binary::And
            | Binary::Or
            | Binary::Xor
    );
    let mut result = operator.input(0)?.clone();
    let mut right_inputs: Vec<Fact> = operator.inputs.iter().skip(1).flatten().cloned().collect();
    // Operator sets before 7 aligned the second operand with an axis.
    if let (Some(axis), [right]) = (operator.attribute("axis"), &mut right_inputs[..])
        && operator.opset < 7
    {
        *right = lowering.align(right, result.rank(), axis.i)?;
    }
    if op == Binary::PRelu
        && let [slope] = &mut right_inputs[..]
        && slope.rank() == 1
        && result.rank() > 2
        && operator.opset < 7
    {
        *slope = lowering.align(slope, result.rank(), 1)?;
    }
    let is_whole = !operator.input(0)?.element.is_float();
    if op == Binary::Mod && is_whole && !operator.flag("fmod", false) && result.as_var().is_some() {
        return Err("Kiln computes Mod of images with 'fmod' alone".into());
    }
    for right in &right_inputs {
        result = lowering.combine(op, &result, right)?;
        // Integers that are held as floats divide as integers do.
        let is_float = !matches!(&result.kind, FactKind::Host(Host::Int(_)));
        if op == Binary::Div && is_whole && is_float {
            result = lowering.function(Unary::Trunc, &result)?;
        }
    }
    if operator.op_type() == "Mean" {
        let count = Fact::float(Array::scalar(1.0 / operator.inputs.len().max(1) as f32));
        result = lowering.combine(Binary::Mul, &result, &count)?;
    }
    let element = if is_condition { ElementType::Bool } else { operator.input(0)?.element };
    Ok(vec![result.with_element(element)])
}

impl Lowering<'_> {
    /// Adds axes of size 1 behind a known operand, so that its first axis is `axis` of the other one.
    fn align(&mut self, fact: &Fact, rank: usize, axis: i64) -> Result<Fact, Problem> {
        let axis = axis_at(axis, rank)?;
        let array = self.known_floats(fact)?;
        let behind = rank.saturating_sub(axis + array.shape.len());
        let shape = array.shape.iter().copied().chain(std::iter::repeat_n(1, behind)).collect();
        Ok(Fact::float(array.reshape(shape).ok_or("its shapes do not fit")?))
    }

    /// An operation of two facts.
    pub(crate) fn combine(&mut self, op: Binary, left: &Fact, right: &Fact) -> Result<Fact, Problem> {
        let (Some(a), Some(b)) = (self.host(left)?, self.host(right)?) else {
            return Ok(Fact::computed(self.binary_op(op, left, right)?));
        };
        let misfit = || format!("its operands {:?} and {:?} have no result", a.shape(), b.shape());
        let shape = crate::host::broadcast_shape(a.shape(), b.shape()).ok_or_else(misfit)?;
        match (&a, &b) {
            (Host::Int(_), Host::Int(_)) => self.reserve_integers(&shape)?,
            _ => self.reserve(&shape)?,
        }
        let host = match (&a, &b) {
            (Host::Int(a), Host::Int(b)) => Host::Int(a.zip(b, |a, b| a.binary(op, *b)).ok_or_else(misfit)?),
            _ => {
                let (a, b) = (a.to_float().ok_or_else(misfit)?, b.to_float().ok_or_else(misfit)?);
                Host::Float(a.zip(&b, |a, b| Some(op.of(*a, *b))).ok_or_else(misfit)?)
            }
        };
        Ok(Fact::host(host))
    }
}

/// `Where`.
pub(crate) fn select(lowering: &mut Lowering<'_>, operator: &Operator<'_>) -> Outputs {
    let [condition, yes, no] = [operator.input(0)?.clone(), operator.input(1)?.clone(), operator.input(2)?.clone()];
    let known = [lowering.host(&condition)?, lowering.host(&yes)?, lowering.host(&no)?];
    if let [Some(condition), Some(yes), Some(no)] = known {
        let misfit = || Problem::from("its operands do not fit");
        lowering.reserve_integers(condition.shape())?;
        let condition = condition.to_int().try_map(|value| value.truth()).ok_or(OPEN_CONDITION)?;
        let shape = crate::host::broadcast_shape(yes.shape(), no.shape())
            .and_then(|shape| crate::host::broadcast_shape(&shape, &condition.shape))
            .ok_or_else(misfit)?;
        // The condition and both operands are expanded.
        lowering.reserve_integers(&shape)?;
        let condition = condition.expand(&shape).ok_or_else(misfit)?;
        let host = match (yes, no) {
            (Host::Int(yes), Host::Int(no)) => {
                let (yes, no) = (yes.expand(&shape).ok_or_else(misfit)?, no.expand(&shape).ok_or_else(misfit)?);
                let values = condition.data.iter().zip(yes.data.iter().zip(no.data.iter()));
                Host::int(shape, values.map(|(is_set, (yes, no))| if *is_set { *yes } else { *no }).collect())
            }
            (yes, no) => {
                let (yes, no) = (yes.to_float().ok_or_else(misfit)?, no.to_float().ok_or_else(misfit)?);
                let (yes, no) = (yes.expand(&shape).ok_or_else(misfit)?, no.expand(&shape).ok_or_else(misfit)?);
                let values = condition.data.iter().zip(yes.data.iter().zip(no.data.iter()));
                Host::float(shape, values.map(|(is_set, (yes, no))| if *is_set { *yes } else { *no }).collect())
            }
        };
        return Ok(vec![Fact::host(host)]);
    }
    let vars = [lowering.to_var(&condition)?, lowering.to_var(&yes)?, lowering.to_var(&no)?];
    let rank = vars.iter().map(Var::rank).max().unwrap_or(0);
    let mut aligned = Vec::new();
    for var in &vars {
        aligned.push(lowering.with_rank(var, rank)?);
    }
    let misfit = "the shapes of its operands do not fit";
    let dims = broadcast(&aligned[0].dims, &aligned[1].dims)
        .and_then(|dims| broadcast(&dims, &aligned[2].dims))
        .ok_or(misfit)?;
    let largest = aligned.iter().max_by_key(|var| elements(&var.dims)).map(|var| var.perm.clone()).unwrap_or_default();
    let mut inputs = Vec::new();
    for var in &aligned {
        inputs.push(lowering.in_order(var, &largest).value);
    }
    let value = lowering.emit(LayerKind::Tensor(TensorOp::Where), inputs);
    Ok(vec![Fact::computed(Var { value, dims, perm: largest })])
}

/// `Cast` and `CastLike`. All floating-point types are computed as `f32`.
pub(crate) fn cast(lowering: &mut Lowering<'_>, operator: &Operator<'_>) -> Outputs {
    let input = operator.input(0)?.clone();
    let target = match operator.optional(1) {
        Some(like) => Some(like.element),
        None => ElementType::from_onnx(i32::try_from(operator.int("to", 1)).unwrap_or(0)),
    };
    let target = target.ok_or("it casts to a type that no classifier uses")?;
    if let FactKind::Computed(var) = &input.kind {
        let function = match target {
            ElementType::Bool => {
                let is_zero = lowering.unary_op(Unary::Not, var);
                return Ok(vec![Fact::computed(lowering.unary_op(Unary::Not, &is_zero)).with_element(target)]);
            }
            element if element.is_float() || input.element == element || !input.element.is_float() => None,
            _ => Some(Unary::Trunc),
        };
        let var = function.map_or(var.clone(), |function| lowering.unary_op(function, var));
        return Ok(vec![Fact::computed(var).with_element(target)]);
    }
    let host = lowering.host(&input)?.ok_or("its input is not known")?;
    match target.is_index() {
        true => lowering.reserve_integers(host.shape())?,
        false => lowering.reserve(host.shape())?,
    }
    let host = if target == ElementType::Bool {
        match host {
            Host::Int(array) => {
                let truth = array.try_map(|value| Some(Linear::constant(i64::from(value.truth()?))));
                Host::Int(truth.ok_or(OPEN_CONDITION)?)
            }
            Host::Float(array) => {
                let values = array.data.iter().map(|value| Linear::constant(i64::from(*value != 0.0))).collect();
                Host::int(array.shape.clone(), values)
            }
        }
    } else if target.is_index() {
        Host::Int(host.to_int())
    } else {
        match host.to_float() {
            Some(array) if target.is_float() => Host::Float(array),
            Some(array) => Host::Float(array.map(|value| value.trunc())),
            // A size as a float, as in the scales of a resize, stays an integer.
            None => host,
        }
    };
    Ok(vec![Fact { element: target, kind: FactKind::Host(host) }])
}

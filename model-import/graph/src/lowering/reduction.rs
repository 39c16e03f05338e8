//! Reductions, softmax and cumulative sums.

use std::collections::BTreeSet;

use kiln_ops::{Binary, Reduction, Unary};

use crate::host::{Array, Host, Linear};
use crate::network::LayerKind;
use crate::tensor_op::{Dim, TensorOp};

use super::convolution::pointwise;
use super::operator::axis_at;
use super::{Fact, Lowering, Operator, Outputs, Problem, Var};

/// `Softmax` and `LogSoftmax`.
pub(crate) fn softmax(lowering: &mut Lowering<'_>, operator: &Operator<'_>) -> Outputs {
    let var = operator.var(lowering, 0)?;
    let is_log = operator.op_type() == "LogSoftmax";
    let is_old = operator.opset < 13;
    let axis = axis_at(operator.int("axis", if is_old { 1 } else { -1 }), var.rank())?;
    // Until operator set 13, the axes from `axis` count as one.
    if is_old && var.dims[axis + 1..].iter().any(|dim| !dim.is_one()) {
        let count = var.dims[axis..].iter().try_fold(1_usize, |product, dim| product.checked_mul(dim.as_fixed()?));
        let joined = Dim::fixed(count.ok_or("it normalises the batch")?);
        let flat: Vec<Dim> = var.dims[..axis].iter().copied().chain([joined]).collect();
        let flat = lowering.reshape(&var, &flat)?;
        let result = lowering.softmax_op(&flat, axis, is_log)?;
        return Ok(vec![Fact::computed(lowering.reshape(&result, &var.dims)?)]);
    }
    Ok(vec![Fact::computed(lowering.softmax_op(&var, axis, is_log)?)])
}

/// The reductions. They differ in what they do before and after the sum or the maximum.
pub(crate) fn reduce(lowering: &mut Lowering<'_>, operator: &Operator<'_>) -> Outputs {
    let input = operator.input(0)?.clone();
    let rank = input.rank();
    let axes = operator.ints_or_input(lowering, "axes", 1)?.unwrap_or_default();
    let axes: BTreeSet<usize> = axes.iter().map(|value| axis_at(*value, rank)).collect::<Result<_, _>>()?;
    let axes = match axes.is_empty() {
        true if operator.flag("noop_with_empty_axes", false) => return Ok(vec![input]),
        true => (0..rank).collect::<Vec<_>>(),
        false => axes.into_iter().collect(),
    };
    let kept: Vec<Dim> = input
        .dims()
        .iter()
        .enumerate()
        .filter_map(|(axis, dim)| match (axes.contains(&axis), operator.flag("keepdims", true)) {
            (false, _) => Some(*dim),
            (true, true) => Some(Dim::fixed(1)),
            (true, false) => None,
        })
        .collect();
    if let Some(host) = lowering.host(&input)? {
        lowering.reserve(host.shape())?;
        let reduced = reduce_known(operator.op_type(), &host, &axes)?;
        return Ok(vec![lowering.reshape_fact(&Fact::host(reduced), &kept)?]);
    }
    let var = lowering.to_var(&input)?;
    if axes.iter().any(|axis| var.dims[*axis].batched) {
        return Err("it reduces over the images of a batch, so that they would influence each other".into());
    }
    let reduced = match operator.op_type() {
        "ReduceMean" => lowering.reduce_op(Reduction::Mean, &var, &axes),
        "ReduceMax" => lowering.reduce_op(Reduction::Max, &var, &axes),
        "ReduceMin" => lowering.reduce_op(Reduction::Min, &var, &axes),
        "ReduceProd" => lowering.reduce_op(Reduction::Product, &var, &axes),
        "ReduceLogSumExp" => {
            // The maximum is taken out, so that the exponentials do not overflow.
            let largest = lowering.reduce_op(Reduction::Max, &var, &axes);
            let shifted = lowering.binary_op(Binary::Sub, &Fact::computed(var), &Fact::computed(largest.clone()))?;
            let powers = lowering.unary_op(Unary::Exp, &shifted);
            let sum = lowering.reduce_op(Reduction::Sum, &powers, &axes);
            let log = lowering.unary_op(Unary::Log, &sum);
            lowering.binary_op(Binary::Add, &Fact::computed(log), &Fact::computed(largest))?
        }
        other => {
            let before = match other {
                "ReduceL1" => Some(Unary::Abs),
                "ReduceL2" | "ReduceSumSquare" => Some(Unary::Power(2.0)),
                _ => None,
            };
            let terms = before.map_or(var.clone(), |function| lowering.unary_op(function, &var));
            let sum = lowering.reduce_op(Reduction::Sum, &terms, &axes);
            match other {
                "ReduceL2" => lowering.unary_op(Unary::Sqrt, &sum),
                "ReduceLogSum" => lowering.unary_op(Unary::Log, &sum),
                _ => sum,
            }
        }
    };
    Ok(vec![Fact::computed(lowering.reshape(&reduced, &kept)?)])
}

fn reduce_known(op_type: &str, host: &Host, axes: &[usize]) -> Result<Host, Problem> {
    // A product of sizes that has the batch in it.
    if let (Host::Int(array), "ReduceProd" | "ReduceSum") = (host, op_type)
        && axes.len() == array.shape.len()
    {
        let op = if op_type == "ReduceProd" { Binary::Mul } else { Binary::Add };
        let start = Linear::constant(i64::from(op_type == "ReduceProd"));
        let total = array.data.iter().try_fold(start, |total, value| total.binary(op, *value));
        let total = total.ok_or("its result is not linear in the batch size")?;
        return Ok(Host::int(vec![1; array.shape.len()], vec![total]));
    }
    let array = host.to_float().ok_or("its input depends on the batch size")?;
    let count: usize = axes.iter().map(|axis| array.shape[*axis]).product();
    let sum = |array: &Array<f32>| array.reduce(axes, 0.0, |a, b| a + b);
    let result = match op_type {
        "ReduceSum" => sum(&array),
        "ReduceMean" => sum(&array).map(|x| x / count as f32),
        "ReduceMax" => array.reduce(axes, f32::NEG_INFINITY, f32::max),
        "ReduceMin" => array.reduce(axes, f32::INFINITY, f32::min),
        "ReduceProd" => array.reduce(axes, 1.0, |a, b| a * b),
        "ReduceL1" => sum(&array.map(|x| x.abs())),
        "ReduceL2" => sum(&array.map(|x| x * x)).map(|x| x.sqrt()),
        "ReduceSumSquare" => sum(&array.map(|x| x * x)),
        "ReduceLogSum" => sum(&array).map(|x| x.ln()),
        _ => sum(&array.map(|x| x.exp())).map(|x| x.ln()),
    };
    Ok(match host {
        Host::Int(_) => Host::Int(Host::Float(result).to_int()),
        Host::Float(_) => Host::Float(result),
    })
}

/// `CumSum` over a known axis: a product with a triangular matrix.
pub(crate) fn cumulative_sum(lowering: &mut Lowering<'_>, operator: &Operator<'_>) -> Outputs {
    let input = operator.input(0)?.clone();
    let axis = lowering.known_ints(operator.input(1)?)?.first().copied().unwrap_or(0);
    let axis = axis_at(axis, input.rank())?;
    let size = input.dims()[axis].as_fixed().ok_or("it sums over the batch")?;
    let (exclusive, reverse) = (operator.flag("exclusive", false), operator.flag("reverse", false));
    let counts = |output: usize, input: usize| {
        let (earlier, later) = if reverse { (output, input) } else { (input, output) };
        earlier < later || earlier == later && !exclusive
    };
    if let Some(host) = lowering.host(&input)? {
        let moved = host.to_float().ok_or("its input depends on the batch size")?;
        let inner: usize = moved.shape[axis + 1..].iter().product();
        lowering.reserve(&moved.shape)?;
        let mut data = vec![0.0; moved.data.len()];
        for row in 0..moved.data.len().checked_div(size).unwrap_or(0) {
            // A row is an element of the axes before and behind.
            let first = row / inner * inner * size + row % inner;
            let mut sum = 0.0;
            for step in 0..size {
                let index = first + inner * if reverse { size - 1 - step } else { step };
                let with_own = sum + moved.data[index];
                data[index] = if exclusive { sum } else { with_own };
                sum = with_own;
            }
        }
        let result = Host::float(moved.shape.clone(), data);
        let result = if matches!(host, Host::Int(_)) { Host::Int(result.to_int()) } else { result };
        return Ok(vec![Fact::host(result).with_element(input.element)]);
    }
    lowering.reserve(&[size, size])?;
    let weight = (0..size * size).map(|index| f32::from(u8::from(counts(index / size, index % size)))).collect();
    let var = lowering.to_var(&input)?;
    let var = lowering.with_last(&var, axis);
    Ok(vec![Fact::computed(lowering.same_axes(pointwise(size, size, weight, vec![0.0; size]), &var, var.dims.clone()))])
}

impl Lowering<'_> {
    /// A softmax over an axis of the file.
    pub(crate) fn softmax_op(&mut self, var: &Var, axis: usize, is_log: bool) -> Result<Var, Problem> {
        if var.dims[axis].batched {
            return Err("it normalises over the images of a batch, so that they would influence each other".into());
        }
        let op = TensorOp::Softmax { axis: var.position(axis), size: var.dims[axis].size, is_log };
        Ok(self.same_axes(LayerKind::Tensor(op), var, var.dims.clone()))
    }

    /// Reduces axes of the file, which keep size 1.
    pub(crate) fn reduce_op(&mut self, reduction: Reduction, var: &Var, axes: &[usize]) -> Var {
        let mut dims = var.dims.clone();
        if axes.iter().any(|axis| dims[*axis].batched) {
            self.refuse("it reduces over the images of a batch, so that they would influence each other");
        }
        axes.iter().for_each(|axis| dims[*axis] = Dim::fixed(1));
        let mut positions: Vec<usize> = axes.iter().map(|axis| var.position(*axis)).collect();
        positions.sort_unstable();
        positions.dedup();
        let is_image = var.rank() == 4 && var.dims[var.perm[0]].batched && positions == [1, 2];
        let kind = if is_image && reduction == Reduction::Mean {
            LayerKind::GlobalAveragePool
        } else {
            LayerKind::Tensor(TensorOp::Reduce { reduction, axes: positions, rank: var.rank() })
        };
        self.same_axes(kind, var, dims)
    }
}

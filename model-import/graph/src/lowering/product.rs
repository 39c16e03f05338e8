//! Matrix products. A product with known weights is a pointwise convolution over the last axis in memory.

use kiln_ops::{Binary, Reduction};

use crate::host::Array;
use crate::network::LayerKind;
use crate::tensor_op::{Dim, TensorOp};

use super::convolution::pointwise;
use super::elementwise::{activation_named, broadcast};
use super::view::show;
use super::{Fact, Lowering, Operator, Outputs, Problem, Var};

/// `Gemm`, and `FusedGemm` of ONNX Runtime: `alpha * a * b + beta * c`.
pub(crate) fn gemm(lowering: &mut Lowering<'_>, operator: &Operator<'_>) -> Outputs {
    let (a, b) = (operator.input(0)?.clone(), operator.input(1)?.clone());
    let turn = |lowering: &mut Lowering<'_>, fact: &Fact, name: &str| match (operator.flag(name, false), fact.rank()) {
        (false, 2) => Ok(fact.clone()),
        (true, 2) => lowering.transpose_fact(fact, &[1, 0]),
        // Operator sets before 7 flattened the first operand.
        _ => Err(Problem::from("its operands must be matrices")),
    };
    let a = turn(lowering, &a, "transA")?;
    let mut product = match a.as_var() {
        // Weights that are stored as they are packed.
        Some(var) if operator.flag("transB", false) && b.rank() == 2 && Lowering::is_known(&b) => {
            let weight = lowering.known_floats(&b)?;
            lowering.product_with_rows(var, weight)?
        }
        _ => {
            let b = turn(lowering, &b, "transB")?;
            lowering.matrix_product(&a, &b)?
        }
    };
    let alpha = operator.float("alpha", 1.0);
    if alpha != 1.0 {
        product = lowering.multiply(&product, alpha)?;
    }
    let mut result = Fact::computed(product);
    if let Some(summand) = operator.optional(2) {
        let beta = Fact::float(Array::scalar(operator.float("beta", 1.0)));
        let scaled = lowering.combine(Binary::Mul, summand, &beta)?;
        result = lowering.combine(Binary::Add, &result, &scaled)?;
    }
    let parameters: Vec<f32> = ["activation_alpha", "activation_beta"]
        .iter()
        .filter_map(|name| operator.attribute(name))
        .map(|a| a.f)
        .collect();
    if let Some(name) = operator.text("activation")
        && let Some(function) = activation_named(name, &parameters)?
    {
        let var = lowering.to_var(&result)?;
        result = Fact::computed(lowering.unary_op(function, &var));
    }
    Ok(vec![result])
}

/// `MatMul`.
pub(crate) fn matmul(lowering: &mut Lowering<'_>, operator: &Operator<'_>) -> Outputs {
    let (a, b) = (operator.input(0)?.clone(), operator.input(1)?.clone());
    Ok(vec![Fact::computed(lowering.matrix_product(&a, &b)?)])
}

/// `FusedMatMul` of ONNX Runtime: operands are transposed, and the product is scaled.
pub(crate) fn fused_matmul(lowering: &mut Lowering<'_>, operator: &Operator<'_>) -> Outputs {
    if operator.flag("transBatchA", false) || operator.flag("transBatchB", false) {
        return Err("it transposes batch axes, which is not supported".into());
    }
    let turn = |lowering: &mut Lowering<'_>, fact: &Fact, name: &str| {
        let rank = fact.rank();
        if !operator.flag(name, false) || rank < 2 {
            return Ok(fact.clone());
        }
        let perm: Vec<usize> = (0..rank - 2).chain([rank - 1, rank - 2]).collect();
        lowering.transpose_fact(fact, &perm)
    };
    let (a, b) = (operator.input(0)?.clone(), operator.input(1)?.clone());
    let (a, b) = (turn(lowering, &a, "transA")?, turn(lowering, &b, "transB")?);
    let product = lowering.matrix_product(&a, &b)?;
    Ok(vec![Fact::computed(lowering.multiply(&product, operator.float("alpha", 1.0))?)])
}

impl Lowering<'_> {
    /// The product of the last two axes, as NumPy's `matmul`.
    pub(crate) fn matrix_product(&mut self, a: &Fact, b: &Fact) -> Result<Var, Problem> {
        let (rank_a, rank_b) = (a.rank(), b.rank());
        if rank_a == 0 || rank_b == 0 {
            return Err("its operands must have axes".into());
        }
        // A vector is a row on the left and a column on the right; the axis of size 1 goes away again.
        if rank_a == 1 {
            let row: Vec<Dim> = [Dim::fixed(1)].into_iter().chain(a.dims()).collect();
            let a = self.reshape_fact(a, &row)?;
            let product = self.matrix_product(&a, b)?;
            let axis = product.rank() - if rank_b == 1 { 1 } else { 2 };
            let mut dims = product.dims.clone();
            dims.remove(axis);
            return self.reshape(&product, &dims);
        }
        if rank_b == 1 {
            let column: Vec<Dim> = b.dims().into_iter().chain([Dim::fixed(1)]).collect();
            let b = self.reshape_fact(b, &column)?;
            let product = self.matrix_product(a, &b)?;
            return self.reshape(&product, &product.dims[..rank_a - 1]);
        }
        let (dims_a, dims_b) = (a.dims(), b.dims());
        if dims_a[rank_a - 1] != dims_b[rank_b - 2] {
            return Err(format!("the shapes {} and {} have no product", show(&dims_a), show(&dims_b)).into());
        }
        if let Some(var) = a.as_var()
            && rank_b == 2
            && Self::is_known(b)
        {
            let weight = self.known_floats(b)?;
            return self.product_with(var, &weight);
        }
        if let Some(var) = b.as_var()
            && rank_a == 2
            && Self::is_known(a)
        {
            // The transposed product of the transposed operands.
            let swap = |rank: usize| -> Vec<usize> { (0..rank - 2).chain([rank - 1, rank - 2]).collect() };
            let weight = self.known_floats(a)?.transpose(&[1, 0]);
            let product = self.product_with(&var.transpose(&swap(rank_b)), &weight)?;
            return Ok(product.transpose(&swap(rank_b)));
        }
        let (a, b) = (self.to_var(a)?, self.to_var(b)?);
        self.batched_product(&a, &b)
    }

    /// The product of the last axis with known weights `[inputs, outputs]`.
    pub(crate) fn product_with(&mut self, var: &Var, weight: &Array<f32>) -> Result<Var, Problem> {
        if weight.shape.len() != 2 {
            return Err("its weights are no matrix".into());
        }
        self.product_with_rows(var, weight.transpose(&[1, 0]))
    }

    /// The product of the last axis with known weights `[outputs, inputs]`.
    fn product_with_rows(&mut self, var: &Var, weight: Array<f32>) -> Result<Var, Problem> {
        let &[outputs, inputs] = weight.shape.as_slice() else { return Err("its weights are no matrix".into()) };
        let axis = var.rank().checked_sub(1).ok_or("its input has no axes")?;
        if var.dims[axis].as_fixed() != Some(inputs) {
            return Err(format!("the shapes {} and [{inputs}, {outputs}] have no product", show(&var.dims)).into());
        }
        let var = self.with_last(var, axis);
        let mut dims = var.dims.clone();
        dims[axis] = Dim::fixed(outputs);
        Ok(self.same_axes(pointwise(inputs, outputs, weight.into_values(), vec![0.0; outputs]), &var, dims))
    }

    /// The product of two values over their last two axes.
    pub(crate) fn batched_product(&mut self, a: &Var, b: &Var) -> Result<Var, Problem> {
        let rank = a.rank().max(b.rank()).max(2);
        let (a, b) = (self.with_rank(a, rank)?, self.with_rank(b, rank)?);
        let misfit = || Problem::from(format!("the shapes {} and {} have no product", show(&a.dims), show(&b.dims)));
        let mut dims = broadcast(&a.dims[..rank - 2], &b.dims[..rank - 2]).ok_or_else(misfit)?;
        if a.dims[rank - 1] != b.dims[rank - 2] {
            return Err(misfit());
        }
        if a.dims[rank - 1].batched {
            return Err("it sums over the images of a batch, so that they would influence each other".into());
        }
        dims.extend([a.dims[rank - 2], b.dims[rank - 1]]);
        self.check_dims(&dims);
        let (a, b) = (self.in_file_order(&a), self.in_file_order(&b));
        let value = self.emit(LayerKind::Tensor(TensorOp::MatMul), vec![a.value, b.value]);
        Ok(Var { value, dims, perm: (0..rank).collect() })
    }
}

/// `Einsum` of one or two operands.
pub(crate) fn einsum(lowering: &mut Lowering<'_>, operator: &Operator<'_>) -> Outputs {
    let equation: String =
        operator.text("equation").unwrap_or_default().chars().filter(|c| !c.is_whitespace()).collect();
    let operands: Vec<Fact> = operator.inputs.iter().flatten().cloned().collect();
    let (terms, output) = parse_equation(&equation, &operands)?;
    let mut vars = Vec::new();
    for (fact, labels) in operands.iter().zip(&terms) {
        let var = lowering.to_var(fact)?;
        let others: Vec<char> = terms.iter().filter(|term| !std::ptr::eq(*term, labels)).flatten().copied().collect();
        // Labels that stand in one operand alone are summed at once.
        let summed: Vec<usize> = (0..labels.len())
            .filter(|axis| !output.contains(&labels[*axis]) && !others.contains(&labels[*axis]))
            .collect();
        if summed.is_empty() {
            vars.push((var, labels.clone()));
            continue;
        }
        let reduced = lowering.reduce_op(Reduction::Sum, &var, &summed);
        let kept: Vec<usize> = (0..labels.len()).filter(|axis| !summed.contains(axis)).collect();
        let dims: Vec<Dim> = kept.iter().map(|axis| var.dims[*axis]).collect();
        vars.push((lowering.reshape(&reduced, &dims)?, kept.iter().map(|axis| labels[*axis]).collect()));
    }
    let (result, labels) = match vars.as_slice() {
        [(var, labels)] => (var.clone(), labels.clone()),
        [a, b] => {
            let is_known = operands.get(1).is_some_and(Lowering::is_known);
            lowering.contract(a, b, &output, operands.get(1).filter(|_| is_known))?
        }
        _ => return Err(format!("it has {} operands, but Kiln computes one or two", vars.len()).into()),
    };
    let order: Option<Vec<usize>> = output.iter().map(|label| labels.iter().position(|other| other == label)).collect();
    Ok(vec![Fact::computed(result.transpose(&order.ok_or("its result has an axis that no operand has")?))])
}

/// The maximum length of an equation, in bytes.
const MAX_EQUATION: usize = 256;

/// The labels of each operand and of the result. An ellipsis becomes labels of its own.
fn parse_equation(equation: &str, operands: &[Fact]) -> Result<(Vec<Vec<char>>, Vec<char>), Problem> {
    let (left, right) = match equation.split_once("->") {
        Some((left, right)) => (left, Some(right)),
        None => (equation, None),
    };
    if equation.len() > MAX_EQUATION {
        return Err("its equation is too long".into());
    }
    let parts: Vec<&str> = left.split(',').collect();
    if parts.len() != operands.len() {
        return Err(
            format!("its equation '{equation}' has {} operands, but it has {}", parts.len(), operands.len()).into()
        );
    }
    // Labels for the axes of an ellipsis, from the last one.
    let hidden = |count: usize| (0..count).rev().filter_map(|index| char::from_u32(0xE000 + index as u32));
    let expand = |part: &str, rank: Option<usize>, widest: usize| -> Result<Vec<char>, Problem> {
        let named = part.replace("...", "").chars().count();
        let Some((before, after)) = part.split_once("...") else { return Ok(part.chars().collect()) };
        let count = match rank {
            Some(rank) => rank.checked_sub(named).ok_or("its equation has more labels than its operand axes")?,
            None => widest,
        };
        Ok(before.chars().chain(hidden(count)).chain(after.chars()).collect())
    };
    let widest = parts.iter().zip(operands).filter(|(part, _)| part.contains("..."));
    let widest = widest
        .map(|(part, fact)| fact.rank().saturating_sub(part.replace("...", "").chars().count()))
        .max()
        .unwrap_or(0);
    let terms: Vec<Vec<char>> = parts
        .iter()
        .zip(operands)
        .map(|(part, fact)| expand(part, Some(fact.rank()), widest))
        .collect::<Result<_, _>>()?;
    for (labels, fact) in terms.iter().zip(operands) {
        let repeats = labels.iter().enumerate().any(|(index, label)| labels[..index].contains(label));
        if labels.len() != fact.rank() || repeats {
            return Err(format!("its equation '{equation}' does not fit an operand of {} axes", fact.rank()).into());
        }
    }
    let output = match right {
        Some(right) => expand(right, None, widest)?,
        None => {
            let all: Vec<char> = terms.iter().flatten().copied().collect();
            let mut once: Vec<char> =
                all.iter().copied().filter(|c| all.iter().filter(|other| *other == c).count() == 1).collect();
            once.sort_unstable();
            hidden(widest).chain(once.into_iter().filter(|c| (*c as u32) < 0xE000)).collect()
        }
    };
    if output.iter().enumerate().any(|(index, label)| output[..index].contains(label)) {
        return Err(format!("its equation '{equation}' repeats an axis of the result").into());
    }
    Ok((terms, output))
}

type Labelled = (Var, Vec<char>);

impl Lowering<'_> {
    /// The product of two labelled values: `[batch, left, summed] * [batch, summed, right]`.
    fn contract(
        &mut self,
        a: &Labelled,
        b: &Labelled,
        output: &[char],
        known: Option<&Fact>,
    ) -> Result<Labelled, Problem> {
        let in_both: Vec<char> = a.1.iter().copied().filter(|label| b.1.contains(label)).collect();
        let (batch, summed): (Vec<char>, Vec<char>) = in_both.iter().partition(|label| output.contains(label));
        let only =
            |labels: &[char]| labels.iter().copied().filter(|label| !in_both.contains(label)).collect::<Vec<_>>();
        let (left, right) = (only(&a.1), only(&b.1));
        let sizes = |(var, labels): &Labelled, wanted: &[char]| -> Vec<Dim> {
            wanted.iter().filter_map(|label| Some(var.dims[labels.iter().position(|other| other == label)?])).collect()
        };
        let misfit = || Problem::from("the sizes of its operands do not fit");
        if sizes(a, &summed) != sizes(b, &summed) {
            return Err(misfit());
        }
        let joined = |dims: &[Dim]| -> Result<Dim, Problem> {
            let batches = dims.iter().filter(|dim| dim.batched).count();
            let size =
                dims.iter().try_fold(1_usize, |product, dim| product.checked_mul(dim.size)).ok_or_else(misfit)?;
            if batches > 1 { Err(misfit()) } else { Ok(Dim { size, batched: batches == 1 }) }
        };
        let mut ordered = |operand: &Labelled, groups: [&[char]; 3]| -> Result<Var, Problem> {
            let order: Option<Vec<usize>> = groups
                .iter()
                .copied()
                .flatten()
                .map(|label| operand.1.iter().position(|other| other == label))
                .collect();
            let var = operand.0.transpose(&order.ok_or_else(misfit)?);
            let rest: Vec<Dim> =
                groups[1..].iter().map(|group| joined(&sizes(operand, group))).collect::<Result<_, _>>()?;
            let dims: Vec<Dim> = sizes(operand, groups[0]).into_iter().chain(rest).collect();
            self.reshape(&var, &dims)
        };
        let rows = ordered(a, [&batch, &left, &summed])?;
        let columns = ordered(b, [&batch, &summed, &right])?;
        let product = match known {
            // Known weights without a batch of their own are packed.
            Some(fact) if batch.is_empty() => {
                let order: Option<Vec<usize>> =
                    summed.iter().chain(&right).map(|label| b.1.iter().position(|other| other == label)).collect();
                let shape = [joined(&sizes(b, &summed))?.size, joined(&sizes(b, &right))?.size];
                let weight = self.known_floats(fact)?.transpose(&order.ok_or_else(misfit)?).reshape(shape.to_vec());
                self.product_with(&rows, &weight.ok_or_else(misfit)?)?
            }
            _ => self.batched_product(&rows, &columns)?,
        };
        let batch_dims = &product.dims[..batch.len()];
        let dims: Vec<Dim> = batch_dims.iter().copied().chain(sizes(a, &left)).chain(sizes(b, &right)).collect();
        let labels = batch.iter().chain(&left).chain(&right).copied().collect();
        Ok((self.reshape(&product, &dims)?, labels))
    }
}

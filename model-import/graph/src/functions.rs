//! Recognises functions that exporters write in pieces: HardSigmoid, HardSwish, SiLU, GELU, Mish, layer normalisation.

use kiln_ops::{Activation, Binary, Reduction, Unary};

use crate::network::{LayerKind, Value};
use crate::network_editor::NetworkEditor;
use crate::report::Reason;
use crate::tensor_op::TensorOp;

/// The maximum number of channels of a step with equal numbers.
const MAX_UNIFORM: usize = 1 << 16;

/// The operation that produces a value, and its first input.
fn step<'a>(editor: &'a NetworkEditor<'_>, value: Value) -> Option<(&'a LayerKind, Value)> {
    let layer = editor.layer(editor.producer(value)?)?;
    Some((&layer.kind, *layer.inputs.first()?))
}

/// Factor and summand of an affine step that has the same numbers for all channels, and its input.
fn uniform_affine(editor: &NetworkEditor<'_>, value: Value) -> Option<(f32, f32, Value)> {
    let (LayerKind::Affine { factor, summand }, input) = step(editor, value)? else { return None };
    // Many layers may read the same long step.
    let same = |values: &[f32]| {
        let is_short = values.len() <= MAX_UNIFORM;
        (is_short && values.iter().all(|other| *other == values[0])).then(|| values.first().copied()).flatten()
    };
    Some((same(factor)?, same(summand)?, input))
}

/// The input of a function, if that function produces the value.
fn input_of(editor: &NetworkEditor<'_>, value: Value, function: Unary) -> Option<Value> {
    match step(editor, value)? {
        (LayerKind::Tensor(TensorOp::Unary(other)), input) if *other == function => Some(input),
        _ => None,
    }
}

fn is_near(a: f32, b: f32) -> bool {
    (a - b).abs() <= 1e-4 * b.abs()
}

pub(crate) fn is_affine(editor: &NetworkEditor<'_>, index: usize) -> bool {
    editor.layer(index).is_some_and(|layer| matches!(layer.kind, LayerKind::Affine { .. }))
}

pub(crate) fn is_product(editor: &NetworkEditor<'_>, index: usize) -> bool {
    editor.layer(index).is_some_and(|layer| {
        matches!(layer.kind, LayerKind::Tensor(TensorOp::Binary(Binary::Mul))) || matches!(layer.kind, LayerKind::Scale)
    })
}

pub(crate) fn is_quotient(editor: &NetworkEditor<'_>, index: usize) -> bool {
    editor.layer(index).is_some_and(|layer| matches!(layer.kind, LayerKind::Tensor(TensorOp::Binary(Binary::Div))))
}

/// `clamp(x + 3, 0, 6) / 6` and its relatives become a HardSigmoid.
pub(crate) fn find_hard_sigmoid(editor: &mut NetworkEditor<'_>, index: usize) -> Result<(), Reason> {
    let found = || -> Option<(Value, Activation)> {
        let layer = editor.layer(index)?;
        let (scale, 0.0, clamped) = uniform_affine(editor, layer.output)? else { return None };
        let (LayerKind::Activation(Activation::Clamp { low: 0.0, high }), line) = step(editor, clamped)? else {
            return None;
        };
        if !is_near(high * scale, 1.0) {
            return None;
        }
        let (alpha, beta, x) = uniform_affine(editor, line).unwrap_or((1.0, 0.0, line));
        Some((x, Activation::HardSigmoid { alpha: alpha * scale, beta: beta * scale }))
    };
    let (x, activation) = found().ok_or(Reason::NoFunction)?;
    editor.replace(index, vec![x], LayerKind::Activation(activation));
    Ok(())
}

/// A product of a value and a function of it becomes SiLU, HardSwish, Mish or a part of GELU.
pub(crate) fn find_gated(editor: &mut NetworkEditor<'_>, index: usize) -> Result<(), Reason> {
    let found = || -> Option<(Value, LayerKind)> {
        let layer = editor.layer(index)?;
        let &[a, b] = layer.inputs.as_slice() else { return None };
        [(a, b), (b, a)].into_iter().find_map(|(x, gate)| Some((x, gated(editor, x, gate)?)))
    };
    if let Some((x, kind)) = found() {
        editor.replace(index, vec![x], kind);
        return Ok(());
    }
    let gelu = || -> Option<Value> {
        let layer = editor.layer(index)?;
        let &[a, b] = layer.inputs.as_slice() else { return None };
        [(a, b), (b, a)].into_iter().find_map(|(half, bent)| {
            let (factor, 0.0, x) = uniform_affine(editor, half)? else { return None };
            (is_near(factor, 0.5) && erf_plus_one(editor, bent, x) == Some(1.0)).then_some(x)
        })
    };
    let x = gelu().ok_or(Reason::NoFunction)?;
    editor.replace(index, vec![x], LayerKind::Tensor(TensorOp::Unary(Unary::Gelu)));
    Ok(())
}

/// The function that `x * gate` is.
fn gated(editor: &NetworkEditor<'_>, x: Value, gate: Value) -> Option<LayerKind> {
    let unary = |function: Unary| Some(LayerKind::Tensor(TensorOp::Unary(function)));
    if let Some(inner) = input_of(editor, gate, Unary::Sigmoid) {
        if inner == x {
            return unary(Unary::Swish { alpha: 1.0 });
        }
        let (alpha, 0.0, input) = uniform_affine(editor, inner)? else { return None };
        return if input == x { unary(Unary::Swish { alpha }) } else { None };
    }
    if let Some(inner) = input_of(editor, gate, Unary::Tanh) {
        return if input_of(editor, inner, Unary::Softplus) == Some(x) { unary(Unary::Mish) } else { None };
    }
    if let (LayerKind::Activation(Activation::HardSigmoid { alpha, beta }), input) = step(editor, gate)? {
        let is_swish = input == x && is_near(*alpha, 1.0 / 6.0) && is_near(*beta, 0.5);
        return is_swish.then_some(LayerKind::Activation(Activation::HardSwish));
    }
    // x * (0.5 + 0.5 * erf(x / sqrt(2)))
    (erf_plus_one(editor, gate, x) == Some(0.5)).then_some(LayerKind::Tensor(TensorOp::Unary(Unary::Gelu)))
}

/// The factor `f` of `f * (1 + erf(x / sqrt(2)))`.
fn erf_plus_one(editor: &NetworkEditor<'_>, value: Value, x: Value) -> Option<f32> {
    let (factor, summand, bent) = uniform_affine(editor, value)?;
    let (scale, 0.0, input) = uniform_affine(editor, input_of(editor, bent, Unary::Erf)?)? else { return None };
    (is_near(factor, summand) && is_near(scale, std::f32::consts::FRAC_1_SQRT_2) && input == x).then_some(factor)
}

/// `0.5 * (x * (1 + erf(x / sqrt(2))))` becomes GELU, and `x * clamp(x + 3, 0, 6) / 6` HardSwish.
pub(crate) fn find_scaled_product(editor: &mut NetworkEditor<'_>, index: usize) -> Result<(), Reason> {
    let found = || -> Option<(Value, LayerKind)> {
        let layer = editor.layer(index)?;
        let (factor, 0.0, product) = uniform_affine(editor, layer.output)? else { return None };
        let producer = editor.layer(editor.sole_producer(product)?)?;
        let (LayerKind::Tensor(TensorOp::Binary(Binary::Mul)), &[a, b]) = (&producer.kind, producer.inputs.as_slice())
        else {
            return None;
        };
        [(a, b), (b, a)].into_iter().find_map(|(x, gate)| {
            if is_near(factor, 0.5) && erf_plus_one(editor, gate, x) == Some(1.0) {
                return Some((x, LayerKind::Tensor(TensorOp::Unary(Unary::Gelu))));
            }
            let (LayerKind::Activation(Activation::Clamp { low: 0.0, high }), line) = step(editor, gate)? else {
                return None;
            };
            let (alpha, beta, input) = uniform_affine(editor, line)?;
            let is_swish = input == x
                && is_near(high * factor, 1.0)
                && is_near(alpha * factor, 1.0 / 6.0)
                && is_near(beta * factor, 0.5);
            is_swish.then_some((x, LayerKind::Activation(Activation::HardSwish)))
        })
    };
    let (x, kind) = found().ok_or(Reason::NoFunction)?;
    editor.replace(index, vec![x], kind);
    Ok(())
}

/// Mean, deviation and quotient become a layer normalisation, whose scale is that of the affine step behind it.
pub(crate) fn find_layer_norm(editor: &mut NetworkEditor<'_>, index: usize) -> Result<(), Reason> {
    let found = || -> Option<(Value, usize, TensorOp)> {
        let layer = editor.layer(index)?;
        let &[centred, root] = layer.inputs.as_slice() else { return None };
        let difference = editor.layer(editor.producer(centred)?)?;
        let (LayerKind::Tensor(TensorOp::Binary(Binary::Sub)), &[x, mean]) =
            (&difference.kind, difference.inputs.as_slice())
        else {
            return None;
        };
        let (LayerKind::Tensor(TensorOp::Reduce { reduction: Reduction::Mean, axes, rank }), source) =
            step(editor, mean)?
        else {
            return None;
        };
        let (1.0, epsilon, variance) = uniform_affine(editor, input_of(editor, root, Unary::Sqrt)?)? else {
            return None;
        };
        let (LayerKind::Tensor(TensorOp::Reduce { reduction: Reduction::Mean, axes: other_axes, .. }), square) =
            step(editor, variance)?
        else {
            return None;
        };
        if source != x || axes != other_axes || input_of(editor, square, Unary::Power(2.0)) != Some(centred) {
            return None;
        }
        // The scale is over the last axis in memory, so the normalised axis must be that one.
        let &[next] = editor.consumers(layer.output) else { return None };
        let LayerKind::Affine { factor, summand } = &editor.layer(next)?.kind else { return None };
        let is_last = axes.as_slice() == [rank - 1];
        is_last.then(|| (x, next, TensorOp::LayerNorm { epsilon, scale: factor.clone(), bias: summand.clone() }))
    };
    let (x, next, norm) = found().ok_or(Reason::NoFunction)?;
    editor.replace(next, vec![x], LayerKind::Tensor(norm));
    editor.remove(index);
    Ok(())
}

/// An affine step behind another one, or behind a layer normalisation, becomes part of it.
pub(crate) fn merge_affine(editor: &mut NetworkEditor<'_>, index: usize) -> Result<(), Reason> {
    let found = || -> Option<(usize, Value, LayerKind)> {
        let layer = editor.layer(index)?;
        let LayerKind::Affine { factor, summand } = &layer.kind else { return None };
        let before = editor.sole_producer(layer.inputs[0])?;
        let combined = |first: &[f32], second: &[f32]| {
            let scale: Vec<f32> = first.iter().zip(factor).map(|(a, b)| a * b).collect();
            let bias: Vec<f32> = second.iter().zip(factor).zip(summand).map(|((a, b), c)| a * b + c).collect();
            (scale.len() == factor.len()).then_some((scale, bias))
        };
        let producer = editor.layer(before)?;
        let kind = match &producer.kind {
            LayerKind::Affine { factor: f, summand: s } if f.len() == factor.len() => {
                let (factor, summand) = combined(f, s)?;
                LayerKind::Affine { factor, summand }
            }
            LayerKind::Tensor(TensorOp::LayerNorm { epsilon, scale, bias }) if scale.len() == factor.len() => {
                let (scale, bias) = combined(scale, bias)?;
                LayerKind::Tensor(TensorOp::LayerNorm { epsilon: *epsilon, scale, bias })
            }
            _ => return None,
        };
        Some((before, *producer.inputs.first()?, kind))
    };
    let (before, input, kind) = found().ok_or(Reason::NoFunction)?;
    editor.replace(index, vec![input], kind);
    editor.remove(before);
    Ok(())
}

//! Attention: the operator of ONNX, and those of ONNX Runtime.

use kiln_ops::{Binary, Unary};

use crate::host::Array;
use crate::tensor_op::Dim;

use super::{Fact, Lowering, Operator, Outputs, Problem, Var};

/// How the scores of attention are computed.
struct Scores {
    scale: f32,
    is_causal: bool,
    /// Scores are bent to `cap * tanh(score / cap)`, if it is not 0.
    cap: f32,
}

/// `Attention` of ONNX (operator set 23): query, key, value, mask.
pub(crate) fn attention(lowering: &mut Lowering<'_>, operator: &Operator<'_>) -> Outputs {
    if operator.optional(4).is_some() || operator.optional(5).is_some() {
        return Err("it reads past keys and values, which no classifier has".into());
    }
    let is_packed = operator.input(0)?.rank() == 3;
    let mut heads = Vec::with_capacity(3);
    for (index, name) in [(0, "q_num_heads"), (1, "kv_num_heads"), (2, "kv_num_heads")] {
        let var = operator.var(lowering, index)?;
        heads.push(match is_packed {
            true => lowering.split_heads(&var, usize::try_from(operator.int(name, 0)).unwrap_or(0))?,
            false => var,
        });
    }
    let [query, mut key, mut value] = <[Var; 3]>::try_from(heads).map_err(|_| "it lacks inputs")?;
    // Groups of query heads may share a key.
    if query.dims.len() != 4 || key.dims.len() != 4 {
        return Err("its inputs must have three or four axes".into());
    }
    let (many, few) = (query.dims[1].size, key.dims[1].size);
    if many != few {
        key = lowering.repeat_heads(&key, many, few)?;
        value = lowering.repeat_heads(&value, many, few)?;
    }
    let width = query.dims[3].size as f32;
    let scores = Scores {
        scale: operator.attribute("scale").map_or(1.0 / width.sqrt(), |attribute| attribute.f),
        is_causal: operator.flag("is_causal", false),
        cap: operator.float("softcap", 0.0),
    };
    let bias = match operator.optional(3).cloned() {
        Some(mask) if mask.element == crate::onnx::ElementType::Bool => Some(lowering.mask_to_bias(&mask)?),
        other => other,
    };
    let result = lowering.attend(&query, &key, &value, bias.as_ref(), &scores)?;
    let result = if is_packed { lowering.join_heads(&result)? } else { result };
    Ok(vec![Fact::computed(result)])
}

/// `Attention` of ONNX Runtime: one product makes query, key and value.
pub(crate) fn packed_attention(lowering: &mut Lowering<'_>, operator: &Operator<'_>) -> Outputs {
    if operator.optional(3).is_some() || operator.optional(4).is_some() {
        return Err("it has a mask of lengths or past keys, which no classifier has".into());
    }
    let heads = usize::try_from(operator.int("num_heads", 0)).unwrap_or(0);
    let input = operator.var(lowering, 0)?;
    let weight = lowering.known_floats(operator.input(1)?)?;
    let total = weight.shape.get(1).copied().unwrap_or(0);
    let sizes = match operator.sizes("qkv_hidden_sizes")? {
        Some(sizes) if sizes.len() == 3 && sizes.iter().sum::<usize>() == total => sizes,
        _ => vec![total / 3; 3],
    };
    if heads == 0 || sizes.iter().any(|size| *size == 0 || size % heads != 0) || sizes.iter().sum::<usize>() != total {
        return Err(format!("its weights {:?} do not divide into {heads} heads", weight.shape).into());
    }
    let mut product = Fact::computed(lowering.product_with(&input, &weight)?);
    if let Some(bias) = operator.optional(2).cloned() {
        product = lowering.combine(Binary::Add, &product, &bias)?;
    }
    let (mut parts, mut start) = (Vec::with_capacity(3), 0);
    lowering.reserve_positions(total)?;
    for size in &sizes {
        let indices: Vec<usize> = (start..start + size).collect();
        let part = lowering.select_fact(&product, 2, &indices)?;
        let part = lowering.to_var(&part)?;
        parts.push(lowering.split_heads(&part, heads)?);
        start += size;
    }
    let scores = operator.scores(sizes[0] / heads);
    let bias = operator.optional(5).cloned();
    let result = lowering.attend(&parts[0], &parts[1], &parts[2], bias.as_ref(), &scores)?;
    Ok(vec![Fact::computed(lowering.join_heads(&result)?)])
}

/// `MultiHeadAttention` of ONNX Runtime: query, key, value, bias, -, bias of the scores.
pub(crate) fn multi_head_attention(lowering: &mut Lowering<'_>, operator: &Operator<'_>) -> Outputs {
    if operator.optional(4).is_some() || operator.optional(6).is_some() || operator.optional(7).is_some() {
        return Err("it has a mask of keys or past keys, which no classifier has".into());
    }
    let heads = usize::try_from(operator.int("num_heads", 0)).unwrap_or(0);
    let inputs = [operator.input(0)?.clone(), operator.input(1)?.clone(), operator.input(2)?.clone()];
    let bias = match operator.optional(3) {
        Some(fact) => Some(lowering.known_floats(fact)?),
        None => None,
    };
    let (mut parts, mut start) = (Vec::with_capacity(3), 0);
    for input in &inputs {
        let mut part = input.clone();
        if part.rank() == 3 {
            let size = part.dims()[2].as_fixed().ok_or("its width depends on the batch")?;
            if let Some(bias) = &bias {
                if start + size > bias.data.len() {
                    return Err("its bias is too short".into());
                }
                let indices: Vec<usize> = (start..start + size).collect();
                let own = bias.select(0, &indices).ok_or("its bias is too short")?;
                part = lowering.combine(Binary::Add, &part, &Fact::float(own))?;
            }
            start += size;
            let var = lowering.to_var(&part)?;
            parts.push(lowering.split_heads(&var, heads)?);
        } else {
            parts.push(lowering.to_var(&part)?);
        }
    }
    let width = parts[0].dims.last().map_or(1, |dim| dim.size);
    let scores = operator.scores(width);
    let result = lowering.attend(&parts[0], &parts[1], &parts[2], operator.optional(5), &scores)?;
    Ok(vec![Fact::computed(lowering.join_heads(&result)?)])
}

impl Operator<'_> {
    fn scores(&self, width: usize) -> Scores {
        let scale = self.float("scale", 0.0);
        Scores {
            scale: if scale == 0.0 { 1.0 / (width as f32).sqrt() } else { scale },
            is_causal: self.flag("unidirectional", false),
            cap: 0.0,
        }
    }
}

impl Lowering<'_> {
    /// `[batch, tokens, heads * width]` to `[batch, heads, tokens, width]`.
    fn split_heads(&mut self, var: &Var, heads: usize) -> Result<Var, Problem> {
        let [batch, tokens, width] = var.dims[..] else { return Err("its inputs must have three axes".into()) };
        let per_head = width.as_fixed().filter(|width| heads > 0 && width % heads == 0);
        let per_head = per_head.ok_or_else(|| format!("its width does not divide into {heads} heads"))? / heads;
        let split = self.reshape(var, &[batch, tokens, Dim::fixed(heads), Dim::fixed(per_head)])?;
        Ok(split.transpose(&[0, 2, 1, 3]))
    }

    /// `[batch, heads, tokens, width]` to `[batch, tokens, heads * width]`.
    fn join_heads(&mut self, var: &Var) -> Result<Var, Problem> {
        let [batch, heads, tokens, width] = var.dims[..] else { return Err("its inputs must have four axes".into()) };
        let dims = [batch, tokens, Dim { size: heads.size * width.size, batched: false }];
        self.reshape(&var.transpose(&[0, 2, 1, 3]), &dims)
    }

    fn repeat_heads(&mut self, var: &Var, many: usize, few: usize) -> Result<Var, Problem> {
        if few == 0 || !many.is_multiple_of(few) {
            return Err(format!("its {many} query heads do not share {few} keys evenly").into());
        }
        self.reserve_positions(many)?;
        let indices: Vec<usize> = (0..many).map(|head| head / (many / few)).collect();
        let repeated = self.select_fact(&Fact::computed(var.clone()), 1, &indices)?;
        self.to_var(&repeated)
    }

    /// A condition as a summand of scores: 0 where it holds, else a number that no softmax survives.
    fn mask_to_bias(&mut self, mask: &Fact) -> Result<Fact, Problem> {
        let misses = self.combine(Binary::Sub, mask, &Fact::float(Array::scalar(1.0)))?;
        self.combine(Binary::Mul, &misses, &Fact::float(Array::scalar(1e30)))
    }

    /// `softmax(query * key^T * scale + bias) * value`, all `[batch, heads, tokens, width]`.
    fn attend(
        &mut self,
        query: &Var,
        key: &Var,
        value: &Var,
        bias: Option<&Fact>,
        scores: &Scores,
    ) -> Result<Var, Problem> {
        if [query, key, value].iter().any(|var| var.rank() != 4) {
            return Err("its query, key and value must have three axes, or four with the heads".into());
        }
        let query = self.multiply(query, scores.scale)?;
        let mut products = self.batched_product(&query, &key.transpose(&[0, 1, 3, 2]))?;
        if scores.cap != 0.0 {
            let bent = self.multiply(&products, 1.0 / scores.cap)?;
            let bent = self.unary_op(Unary::Tanh, &bent);
            products = self.multiply(&bent, scores.cap)?;
        }
        if let Some(bias) = bias {
            products = self.binary_op(Binary::Add, &Fact::computed(products), bias)?;
        }
        if scores.is_causal {
            let (rows, columns) = (products.dims[2].size, products.dims[3].size);
            self.reserve(&[rows, columns])?;
            let value = |index: usize| if index % columns > index / columns { -1e30 } else { 0.0 };
            let mask = Array::new(vec![rows, columns], (0..rows * columns).map(value).collect());
            products = self.binary_op(Binary::Add, &Fact::computed(products), &Fact::float(mask))?;
        }
        let weights = self.softmax_op(&products, 3, false)?;
        self.batched_product(&weights, value)
    }
}

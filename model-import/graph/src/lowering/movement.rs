//! Operators that move elements, and the arithmetic of shapes.

use crate::host::{Array, Host, Linear};
use crate::network::{LayerKind, Value};
use crate::tensor_op::{Dim, TensorOp};

use super::operator::axis_at;
use super::view::{permuted_constant, show};
use super::{Fact, FactKind, Lowering, Operator, Outputs, Problem, Var};

/// `Identity` and `Dropout`, which does nothing outside of training.
pub(crate) fn identity(_: &mut Lowering<'_>, operator: &Operator<'_>) -> Outputs {
    Ok(vec![operator.input(0)?.clone()])
}

/// `Constant`.
pub(crate) fn constant(lowering: &mut Lowering<'_>, operator: &Operator<'_>) -> Outputs {
    let attribute = operator.node.attribute.first().ok_or("it has no value")?;
    let float = |values: &[f32], shape: Vec<usize>| Fact::float(Array::new(shape, values.to_vec()));
    let int = |values: &[i64], shape: Vec<usize>| {
        Fact::host(Host::int(shape, values.iter().map(|value| Linear::constant(*value)).collect()))
    };
    let fact = match attribute.name.as_str() {
        "value" => lowering.attribute_tensor(attribute.t.as_ref().ok_or("it has no value")?)?,
        "value_float" => float(&[attribute.f], vec![]),
        "value_int" => int(&[attribute.i], vec![]),
        "value_floats" => float(&attribute.floats, vec![attribute.floats.len()]),
        "value_ints" => int(&attribute.ints, vec![attribute.ints.len()]),
        other => return Err(format!("its value is a '{other}'").into()),
    };
    Ok(vec![fact])
}

/// `ConstantOfShape`.
pub(crate) fn constant_of_shape(lowering: &mut Lowering<'_>, operator: &Operator<'_>) -> Outputs {
    let target = lowering.known_linear(operator.input(0)?)?;
    let value = match operator.attribute("value").and_then(|attribute| attribute.t.as_ref()) {
        Some(tensor) => lowering.attribute_tensor(tensor)?,
        None => Fact::float(Array::scalar(0.0)),
    };
    let dims: Option<Vec<Dim>> = target.data.iter().map(|size| Dim::from_linear(*size)).collect();
    let dims = dims.ok_or_else(|| format!("its shape has sizes that are not possible: {:?}", target.data))?;
    lowering.expand_to(&value, &dims).map(|fact| vec![fact.with_element(value.element)])
}

/// `Range`.
pub(crate) fn range(lowering: &mut Lowering<'_>, operator: &Operator<'_>) -> Outputs {
    let bounds = [operator.input(0)?.clone(), operator.input(1)?.clone(), operator.input(2)?.clone()];
    if bounds.iter().all(|fact| fact.element.is_index()) {
        let mut number =
            |fact: &Fact| lowering.known_ints(fact)?.first().copied().ok_or(Problem::from("it has an empty input"));
        let (start, limit, delta) = (number(&bounds[0])?, number(&bounds[1])?, number(&bounds[2])?);
        if delta == 0 {
            return Err("its step is 0".into());
        }
        let (span, step) = (i128::from(limit) - i128::from(start), i128::from(delta));
        let count = (span / step + i128::from(span % step != 0 && (span > 0) == (delta > 0))).max(0);
        let count = usize::try_from(count).map_err(|_| "its range is too large")?;
        lowering.reserve_integers(&[count])?;
        let values = (0..count as i64).map(|index| Linear::constant(start + index * delta)).collect();
        return Ok(vec![Fact::host(Host::int(vec![count], values))]);
    }
    let (start, limit, delta) =
        (lowering.known_scalar(&bounds[0])?, lowering.known_scalar(&bounds[1])?, lowering.known_scalar(&bounds[2])?);
    let count = ((limit - start) / delta).ceil().max(0.0);
    if count.is_nan() || count >= 1e9 {
        return Err("its range is too large".into());
    }
    lowering.reserve(&[count as usize])?;
    let values = (0..count as usize).map(|index| start + index as f32 * delta).collect();
    Ok(vec![Fact::host(Host::float(vec![count as usize], values))])
}

/// `Shape`.
pub(crate) fn shape(_: &mut Lowering<'_>, operator: &Operator<'_>) -> Outputs {
    let dims = operator.input(0)?.dims();
    let rank = dims.len() as i64;
    let bound = |value: i64| (if value < 0 { value.saturating_add(rank) } else { value }).clamp(0, rank) as usize;
    let (start, end) = (bound(operator.int("start", 0)), bound(operator.int("end", rank)));
    let sizes: Vec<Linear> = dims.get(start..end).unwrap_or_default().iter().map(|dim| dim.to_linear()).collect();
    Ok(vec![Fact::host(Host::int(vec![sizes.len()], sizes))])
}

/// `Size`.
pub(crate) fn size(_: &mut Lowering<'_>, operator: &Operator<'_>) -> Outputs {
    let mut product = Dim::fixed(1);
    for dim in operator.input(0)?.dims() {
        if product.batched && dim.batched {
            return Err("its result is not linear in the batch size".into());
        }
        let size = product.size.checked_mul(dim.size).ok_or("its result is too large")?;
        product = Dim { size, batched: product.batched || dim.batched };
    }
    Ok(vec![Fact::host(Host::int(vec![], vec![product.to_linear()]))])
}

impl Lowering<'_> {
    /// A fact with other axes and the same elements.
    pub(crate) fn reshape_fact(&mut self, fact: &Fact, dims: &[Dim]) -> Result<Fact, Problem> {
        let reshaped = if let FactKind::Computed(var) = &fact.kind {
            Fact::computed(self.reshape(var, dims)?)
        } else {
            let host = self.host(fact)?.ok_or("its input is not known")?;
            let shape: Option<Vec<usize>> = dims.iter().map(|dim| dim.as_fixed()).collect();
            let misfit = || Problem::from(format!("{:?} elements do not fit the shape {}", host.shape(), show(dims)));
            let shape = shape.ok_or_else(misfit)?;
            let host = host.moved(
                |array| array.reshape(shape.clone()).ok_or_else(misfit),
                |array| array.reshape(shape.clone()).ok_or_else(misfit),
            )?;
            Fact { element: fact.element, kind: FactKind::Host(host) }
        };
        Ok(reshaped.with_element(fact.element))
    }

    /// A fact whose axes of size 1 are repeated, with new axes in front.
    pub(crate) fn expand_to(&mut self, fact: &Fact, dims: &[Dim]) -> Result<Fact, Problem> {
        if fact.dims() == dims {
            return Ok(fact.clone());
        }
        let shape: Option<Vec<usize>> = dims.iter().map(|dim| dim.as_fixed()).collect();
        if let (Some(host), Some(shape)) = (self.host(fact)?, shape) {
            self.reserve_like(&host, &shape)?;
            let misfit = || Problem::from(format!("the shape {:?} does not expand to {shape:?}", host.shape()));
            let host = host.moved(
                |array| array.expand(&shape).ok_or_else(misfit),
                |array| array.expand(&shape).ok_or_else(misfit),
            )?;
            return Ok(Fact { element: fact.element, kind: FactKind::Host(host) });
        }
        let var = self.to_var(fact)?;
        let var = self.with_rank(&var, dims.len())?;
        let fits = var.dims.iter().zip(dims).all(|(own, target)| own == target || own.is_one());
        if !fits || var.rank() != dims.len() {
            return Err(format!("the shape {} does not expand to {}", show(&var.dims), show(dims)).into());
        }
        let target = Var { value: var.value, dims: dims.to_vec(), perm: var.perm.clone() };
        let kind = LayerKind::Tensor(TensorOp::Expand(target.physical()));
        Ok(Fact::computed(Var { value: self.emit(kind, vec![var.value]), ..target }).with_element(fact.element))
    }

    /// Some positions of an axis.
    pub(crate) fn select_fact(&mut self, fact: &Fact, axis: usize, indices: &[usize]) -> Result<Fact, Problem> {
        let size = *fact.dims().get(axis).ok_or_else(|| format!("its input has no axis {axis}"))?;
        let outside = || Problem::from(format!("it reads outside axis {axis} of {}", show(&[size])));
        let selected = if let FactKind::Computed(var) = &fact.kind {
            let size = size.as_fixed().ok_or("it selects images of the batch")?;
            if indices.iter().any(|index| *index >= size) {
                return Err(outside());
            }
            let mut dims = var.dims.clone();
            dims[axis] = Dim::fixed(indices.len());
            let position = var.position(axis);
            let step = indices.get(1).map_or(1, |second| second.wrapping_sub(indices[0]));
            let is_slice =
                step > 0 && step <= size && indices.windows(2).all(|pair| pair[1].wrapping_sub(pair[0]) == step);
            let op = match indices {
                [first, .., last] | [first @ last] if is_slice => {
                    if indices.len() == size {
                        return Ok(fact.clone());
                    }
                    TensorOp::Slice { axis: position, start: *first, end: last + 1, step }
                }
                _ => TensorOp::Select { axis: position, indices: indices.to_vec() },
            };
            Fact::computed(self.same_axes(LayerKind::Tensor(op), var, dims))
        } else {
            let host = self.host(fact)?.ok_or("its input is not known")?;
            let mut shape = host.shape().to_vec();
            shape[axis] = indices.len();
            self.reserve_like(&host, &shape)?;
            Fact::host(host.moved(
                |array| array.select(axis, indices).ok_or_else(outside),
                |array| array.select(axis, indices).ok_or_else(outside),
            )?)
        };
        Ok(selected.with_element(fact.element))
    }

    /// A fact with the axes in another order.
    pub(crate) fn transpose_fact(&mut self, fact: &Fact, perm: &[usize]) -> Result<Fact, Problem> {
        if perm.len() != fact.rank() {
            return Err(format!("its input must have {} axes", perm.len()).into());
        }
        let transposed = match self.host(fact)? {
            None => Fact::computed(self.to_var(fact)?.transpose(perm)),
            Some(host) => Fact::host(
                host.moved(|array| Ok::<_, Problem>(array.transpose(perm)), |array| Ok(array.transpose(perm)))?,
            ),
        };
        Ok(transposed.with_element(fact.element))
    }

    /// Facts one after the other along an axis.
    pub(crate) fn concat_facts(&mut self, facts: &[Fact], axis: usize) -> Result<Fact, Problem> {
        let first = facts.first().ok_or("it has no inputs")?;
        let element = first.element;
        if facts.iter().all(Self::is_known) {
            return Ok(self.concat_known(facts, axis)?.with_element(element));
        }
        if let [only] = facts {
            return Ok(only.clone());
        }
        // Constants that belong to each image, such as a class token, are repeated for the batch.
        let computed: Vec<Var> = facts.iter().filter_map(|fact| fact.as_var().cloned()).collect();
        let shape = computed.first().map(|var| var.dims.clone()).unwrap_or_default();
        let largest =
            computed.iter().max_by_key(|var| var.dims.iter().fold(1_usize, |p, dim| p.saturating_mul(dim.size)));
        let perm = largest.map(|var| var.perm.clone()).unwrap_or_default();
        let batched = shape.get(axis).ok_or("its inputs differ in their number of axes")?.batched;
        let mut total = Dim { size: 0, batched };
        if total.batched && self.fixed_batch.is_some() {
            return Err("it joins images along the batch".into());
        }
        let mut inputs: Vec<Value> = Vec::with_capacity(facts.len());
        for fact in facts {
            let own = fact.dims();
            let misfit = || {
                Problem::from(format!(
                    "the shapes {} and {} cannot be joined along axis {axis}",
                    show(&shape),
                    show(&own)
                ))
            };
            if own.len() != shape.len() || own[axis].batched != total.batched {
                return Err(misfit());
            }
            let mut wanted = shape.clone();
            wanted[axis] = own[axis];
            total.size += own[axis].size;
            let fact =
                if own == wanted { fact.clone() } else { self.expand_to(fact, &wanted).map_err(|_| misfit())? };
            let value = match fact.as_var() {
                Some(var) => self.in_order(var, &perm).value,
                None => {
                    let array = self.known_floats(&fact)?;
                    self.reserve(&array.shape)?;
                    let array = permuted_constant(&array, &perm).ok_or_else(misfit)?;
                    self.emit(LayerKind::Constant(array), Vec::new())
                }
            };
            inputs.push(value);
        }
        let mut dims = shape;
        dims[axis] = total;
        let target = Var { value: 0, dims, perm };
        let kind = LayerKind::Tensor(TensorOp::Concat(target.position(axis)));
        Ok(Fact::computed(Var { value: self.emit(kind, inputs), ..target }).with_element(element))
    }

    fn concat_known(&mut self, facts: &[Fact], axis: usize) -> Result<Fact, Problem> {
        let (mut hosts, mut elements) = (Vec::with_capacity(facts.len()), 0_usize);
        for fact in facts {
            let host = self.host(fact)?.ok_or("its input is not known")?;
            self.reserve_like(&host, host.shape())?;
            elements += host.shape().iter().product::<usize>();
            hosts.push(host);
            // The inputs and the result are in memory together.
            self.reserve(&[elements, 2])?;
        }
        let misfit = || Problem::from("the shapes of its inputs do not fit");
        if hosts.iter().all(|host| matches!(host, Host::Int(_))) {
            let parts: Vec<Array<Linear>> = hosts.iter().map(Host::to_int).collect();
            return Ok(Fact::host(Host::Int(Array::concat(&parts, axis).ok_or_else(misfit)?)));
        }
        let parts: Option<Vec<Array<f32>>> = hosts.iter().map(Host::to_float).collect();
        Ok(Fact::float(Array::concat(&parts.ok_or_else(misfit)?, axis).ok_or_else(misfit)?))
    }
}

/// `Reshape`.
pub(crate) fn reshape(lowering: &mut Lowering<'_>, operator: &Operator<'_>) -> Outputs {
    let input = operator.input(0)?.clone();
    let target = match operator.ints("shape") {
        Some(values) => values.iter().map(|value| Linear::constant(*value)).collect(),
        None => lowering.known_linear(operator.input(1)?)?.data.to_vec(),
    };
    let dims = lowering.reshape_target(&input.dims(), &target, operator.flag("allowzero", false))?;
    Ok(vec![lowering.reshape_fact(&input, &dims)?])
}

/// `Flatten`.
pub(crate) fn flatten(lowering: &mut Lowering<'_>, operator: &Operator<'_>) -> Outputs {
    let input = operator.input(0)?.clone();
    let dims = input.dims();
    let split = operator.int("axis", 1);
    let split = if split < 0 { split.saturating_add(dims.len() as i64) } else { split };
    let split =
        usize::try_from(split).ok().filter(|axis| *axis <= dims.len()).ok_or("its axis is outside its input")?;
    let joined = |dims: &[Dim]| -> Result<Dim, Problem> {
        let batches = dims.iter().filter(|dim| dim.batched).count();
        let size = dims.iter().try_fold(1_usize, |product, dim| product.checked_mul(dim.size));
        match (size, batches) {
            (Some(size), 0 | 1) => Ok(Dim { size, batched: batches == 1 }),
            _ => Err("its result is too large".into()),
        }
    };
    let target = [joined(&dims[..split])?, joined(&dims[split..])?];
    Ok(vec![lowering.reshape_fact(&input, &target)?])
}

/// `Squeeze`.
pub(crate) fn squeeze(lowering: &mut Lowering<'_>, operator: &Operator<'_>) -> Outputs {
    let input = operator.input(0)?.clone();
    let dims = input.dims();
    let axes: Vec<usize> = match operator.ints_or_input(lowering, "axes", 1)? {
        Some(axes) => axes.iter().map(|value| axis_at(*value, dims.len())).collect::<Result<_, _>>()?,
        None => (0..dims.len()).filter(|axis| dims[*axis].is_one()).collect(),
    };
    // A fixed batch of one that is removed is not 1 any more once it is dynamic.
    if axes.iter().any(|axis| !dims[*axis].is_one()) {
        return Err(format!("it removes axes {axes:?} of {}, which are not all 1", show(&dims)).into());
    }
    let kept: Vec<Dim> =
        dims.iter().enumerate().filter(|(axis, _)| !axes.contains(axis)).map(|(_, dim)| *dim).collect();
    Ok(vec![lowering.reshape_fact(&input, &kept)?])
}

/// `Unsqueeze`.
pub(crate) fn unsqueeze(lowering: &mut Lowering<'_>, operator: &Operator<'_>) -> Outputs {
    let input = operator.input(0)?.clone();
    let axes = operator.ints_or_input(lowering, "axes", 1)?.ok_or("it has no 'axes'")?;
    let rank = input.rank() + axes.len();
    if rank > 16 {
        return Err("its result has too many axes".into());
    }
    let axes: Vec<usize> = axes.iter().map(|value| axis_at(*value, rank)).collect::<Result<_, _>>()?;
    let mut old = input.dims().into_iter();
    let dims: Option<Vec<Dim>> =
        (0..rank).map(|axis| if axes.contains(&axis) { Some(Dim::fixed(1)) } else { old.next() }).collect();
    let dims = dims.ok_or("it names an axis twice")?;
    Ok(vec![lowering.reshape_fact(&input, &dims)?])
}

/// `Transpose`.
pub(crate) fn transpose(lowering: &mut Lowering<'_>, operator: &Operator<'_>) -> Outputs {
    let input = operator.input(0)?.clone();
    let rank = input.rank();
    let perm: Vec<usize> = match operator.ints("perm") {
        Some(values) => values.iter().map(|value| axis_at(*value, rank)).collect::<Result<_, _>>()?,
        None => (0..rank).rev().collect(),
    };
    if perm.len() != rank || (0..rank).any(|axis| !perm.contains(&axis)) {
        return Err(format!("its 'perm' is {perm:?}, but its input has {rank} axes").into());
    }
    Ok(vec![lowering.transpose_fact(&input, &perm)?])
}

/// `Concat`.
pub(crate) fn concat(lowering: &mut Lowering<'_>, operator: &Operator<'_>) -> Outputs {
    let facts: Vec<Fact> = operator.inputs.iter().flatten().cloned().collect();
    let rank = facts.first().map_or(0, Fact::rank);
    let axis = axis_at(operator.int("axis", 1), rank)?;
    Ok(vec![lowering.concat_facts(&facts, axis)?])
}

/// `Split`.
pub(crate) fn split(lowering: &mut Lowering<'_>, operator: &Operator<'_>) -> Outputs {
    let input = operator.input(0)?.clone();
    let axis = axis_at(operator.int("axis", 0), input.rank())?;
    let size = input.dims()[axis].as_fixed().ok_or("it splits the batch")?;
    let parts = operator.node.output.len();
    let sizes: Vec<usize> = match operator.ints_or_input(lowering, "split", 1)? {
        Some(sizes) => {
            sizes.iter().map(|size| usize::try_from(*size)).collect::<Result<_, _>>().map_err(|_| "negative parts")?
        }
        None if parts > size => return Err(format!("it has {parts} parts of {size} elements").into()),
        None => {
            let part = size.div_ceil(parts.max(1));
            (0..parts).map(|index| part.min(size.saturating_sub(index * part))).collect()
        }
    };
    let sum = sizes.iter().try_fold(0_usize, |sum, part| sum.checked_add(*part));
    if sum != Some(size) || sizes.len() != parts || sizes.contains(&0) {
        return Err(format!("its parts do not add up to {size}").into());
    }
    lowering.reserve_positions(size)?;
    let (mut outputs, mut start) = (Vec::with_capacity(sizes.len()), 0);
    for part in sizes {
        let indices: Vec<usize> = (start..start + part).collect();
        outputs.push(lowering.select_fact(&input, axis, &indices)?);
        start += part;
    }
    Ok(outputs)
}

/// `Slice`.
pub(crate) fn slice(lowering: &mut Lowering<'_>, operator: &Operator<'_>) -> Outputs {
    let mut result = operator.input(0)?.clone();
    let rank = result.rank();
    let linear = |values: &[i64]| values.iter().map(|value| Linear::constant(*value)).collect::<Vec<_>>();
    let mut bounds = |name: &str, index: usize| match operator.ints(name) {
        Some(values) => Ok(linear(values)),
        None => Ok::<_, Problem>(lowering.known_linear(operator.input(index)?)?.data.to_vec()),
    };
    let (starts, ends) = (bounds("starts", 1)?, bounds("ends", 2)?);
    let axes = operator.ints_or_input(lowering, "axes", 3)?.unwrap_or_else(|| (0..starts.len() as i64).collect());
    let steps = match operator.optional(4) {
        Some(fact) => lowering.known_ints(fact)?,
        None => vec![1; starts.len()],
    };
    if starts.len() != ends.len() || axes.len() != starts.len() || steps.len() != starts.len() {
        return Err("its starts, ends, axes and steps differ in number".into());
    }
    if axes.len() > rank {
        return Err("it names an axis twice".into());
    }
    for (((start, end), axis), step) in starts.iter().zip(&ends).zip(&axes).zip(&steps) {
        let axis = axis_at(*axis, rank)?;
        let dim = result.dims()[axis];
        let whole = dim.to_linear();
        // All images: from 0 to the batch size, or to a number that means the end.
        let to_end = *end == whole || end.as_constant().is_some_and(|end| end >= 1 << 30);
        if *start == Linear::constant(0) && to_end && *step == 1 {
            continue;
        }
        let size = dim.as_fixed().ok_or("it takes some images of the batch")? as i64;
        let (Some(start), Some(end)) = (start.as_constant(), end.as_constant()) else {
            return Err("its bounds depend on the batch size".into());
        };
        lowering.reserve_positions(size as usize)?;
        let indices = slice_indices(start, end, *step, size).ok_or("its step is 0")?;
        if indices.is_empty() && !Lowering::is_known(&result) {
            return Err("its result is empty".into());
        }
        result = lowering.select_fact(&result, axis, &indices)?;
    }
    Ok(vec![result])
}

fn slice_indices(start: i64, end: i64, step: i64, size: i64) -> Option<Vec<usize>> {
    let wrap = |value: i64| if value < 0 { value.saturating_add(size) } else { value };
    let (start, end) = (wrap(start), wrap(end));
    Some(match step {
        0 => return None,
        1.. => {
            let (start, end) = (start.clamp(0, size), end.clamp(0, size));
            (start..end).step_by(usize::try_from(step).ok()?).map(|index| index as usize).collect()
        }
        _ => {
            let (start, end) = (start.clamp(-1, size - 1), end.clamp(-1, size - 1));
            let step = usize::try_from(step.unsigned_abs()).ok()?;
            (end + 1..start + 1).rev().step_by(step).map(|index| index as usize).collect()
        }
    })
}

/// `Gather` with known indices.
pub(crate) fn gather(lowering: &mut Lowering<'_>, operator: &Operator<'_>) -> Outputs {
    let input = operator.input(0)?.clone();
    let axis = axis_at(operator.int("axis", 0), input.rank())?;
    let indices = lowering.known_linear(operator.input(1)?)?;
    let size = input.dims()[axis];
    let wrap = |value: &Linear| {
        let value = value.as_constant()?;
        let size = i64::try_from(size.size).ok()?;
        usize::try_from(if value < 0 { value.checked_add(size)? } else { value }).ok()
    };
    lowering.reserve_positions(indices.data.len())?;
    let positions: Option<Vec<usize>> = indices.data.iter().map(wrap).collect();
    let positions = positions.ok_or_else(|| format!("its indices are outside axis {axis}"))?;
    let selected = lowering.select_fact(&input, axis, &positions)?;
    // The axis is replaced by the axes of the indices.
    let dims = selected.dims();
    let inner = indices.shape.iter().map(|size| Dim::fixed(*size));
    let target: Vec<Dim> = dims[..axis].iter().copied().chain(inner).chain(dims[axis + 1..].iter().copied()).collect();
    Ok(vec![lowering.reshape_fact(&selected, &target)?])
}

/// `GatherElements` and `GatherND` of known tensors, as in relative position tables.
pub(crate) fn gather_known(lowering: &mut Lowering<'_>, operator: &Operator<'_>) -> Outputs {
    let table = lowering.known_floats(operator.input(0)?)?;
    let indices = operator.input(1)?.clone();
    let shape = indices.dims().iter().map(|dim| dim.size).collect::<Vec<_>>();
    let indices = lowering.known_ints(&indices)?;
    let rank = table.shape.len();
    let own = crate::host::strides(&table.shape);
    let position = |axis: usize, value: i64| {
        let size = table.shape[axis] as i64;
        let value = if value < 0 { value + size } else { value };
        (0..size).contains(&value).then_some(value as usize * own[axis])
    };
    lowering.reserve(&shape)?;
    let outside = "its indices are outside its input";
    if operator.op_type() == "GatherElements" {
        let along = axis_at(operator.int("axis", 0), rank)?;
        if shape.len() != rank || (0..rank).any(|axis| axis != along && shape[axis] > table.shape[axis]) {
            return Err("the shape of its indices does not fit its input".into());
        }
        let mut strides = own.clone();
        strides[along] = 0;
        let (mut values, mut next) = (Vec::with_capacity(indices.len()), indices.iter());
        crate::host::for_each_position(&shape, &strides, |start| {
            values.push(next.next().and_then(|index| Some(table.data[start + position(along, *index)?])));
        });
        let values: Option<Vec<f32>> = values.into_iter().collect();
        return Ok(vec![Fact::host(Host::float(shape, values.ok_or(outside)?))]);
    }
    let depth = *shape.last().ok_or(outside)?;
    if operator.int("batch_dims", 0) != 0 || depth == 0 || depth > rank {
        return Err("Kiln computes GatherND without batch_dims alone".into());
    }
    let inner: usize = table.shape[depth..].iter().product();
    let mut values = Vec::new();
    for index in indices.chunks_exact(depth) {
        let start = index.iter().enumerate().try_fold(0, |start, (axis, value)| Some(start + position(axis, *value)?));
        let start = start.ok_or(outside)?;
        lowering.reserve(&[inner])?;
        values.extend_from_slice(&table.data[start..start + inner]);
    }
    let target = shape[..shape.len() - 1].iter().chain(&table.shape[depth..]).copied().collect();
    Ok(vec![Fact::host(Host::float(target, values))])
}

/// `ScatterND` into known tensors, as attention masks are written.
pub(crate) fn scatter_known(lowering: &mut Lowering<'_>, operator: &Operator<'_>) -> Outputs {
    if operator.text("reduction").is_some_and(|reduction| reduction != "none") {
        return Err("its 'reduction' is not supported".into());
    }
    let (data, updates) = (operator.input(0)?.clone(), operator.input(2)?.clone());
    let indices = lowering.known_linear(operator.input(1)?)?;
    let element = data.element;
    let known = |host: Option<Host>| {
        host.ok_or("one of its parameters is computed from the image; Kiln needs it as a constant")
    };
    let (data, updates) = (known(lowering.host(&data)?)?, known(lowering.host(&updates)?)?);
    lowering.reserve_like(&data, data.shape())?;
    let host = match (data, updates) {
        (Host::Int(data), Host::Int(updates)) => Host::Int(scatter(&data, &indices, &updates)?),
        (data, updates) => {
            let floats = |host: Host| host.to_float().ok_or(Problem::from("its input depends on the batch size"));
            Host::Float(scatter(&floats(data)?, &indices, &floats(updates)?)?)
        }
    };
    Ok(vec![Fact { element, kind: FactKind::Host(host) }])
}

fn scatter<T: Clone>(data: &Array<T>, indices: &Array<Linear>, updates: &Array<T>) -> Result<Array<T>, Problem> {
    let outside = || Problem::from("its indices do not fit its input");
    let depth = *indices.shape.last().filter(|depth| (1..=data.shape.len()).contains(*depth)).ok_or_else(outside)?;
    let own = crate::host::strides(&data.shape);
    let inner: usize = data.shape[depth..].iter().product();
    if updates.data.len() != indices.data.len() / depth * inner {
        return Err(outside());
    }
    let mut values = data.data.to_vec();
    for (index, update) in indices.data.chunks_exact(depth).zip(updates.data.chunks_exact(inner.max(1))) {
        let start = index.iter().enumerate().try_fold(0, |start, (axis, value)| {
            let (value, size) = (value.as_constant()?, i64::try_from(data.shape[axis]).ok()?);
            let value = if value < 0 { value.checked_add(size)? } else { value };
            (0..size).contains(&value).then(|| start + value as usize * own[axis])
        });
        let start = start.ok_or_else(outside)?;
        values[start..start + inner].clone_from_slice(update);
    }
    Ok(Array::new(data.shape.clone(), values))
}

/// `Expand`.
pub(crate) fn expand(lowering: &mut Lowering<'_>, operator: &Operator<'_>) -> Outputs {
    let input = operator.input(0)?.clone();
    let target = lowering.known_linear(operator.input(1)?)?;
    let own = input.dims();
    let rank = own.len().max(target.data.len());
    if rank > 16 {
        return Err("its result has too many axes".into());
    }
    let mut dims = Vec::with_capacity(rank);
    for axis in 0..rank {
        let of_input = (axis + own.len()).checked_sub(rank).map_or(Dim::fixed(1), |axis| own[axis]);
        let of_target = match (axis + target.data.len()).checked_sub(rank) {
            // -1 is not ONNX, but exporters write it for "as it is".
            Some(axis) if target.data[axis].as_constant() == Some(-1) => Dim::fixed(1),
            Some(axis) => Dim::from_linear(target.data[axis]).ok_or("its shape has a size that is not possible")?,
            None => Dim::fixed(1),
        };
        dims.push(if of_target.is_one() { of_input } else { of_target });
    }
    Ok(vec![lowering.expand_to(&input, &dims)?])
}

/// `Tile`.
pub(crate) fn tile(lowering: &mut Lowering<'_>, operator: &Operator<'_>) -> Outputs {
    let mut result = operator.input(0)?.clone();
    let repeats = lowering.known_linear(operator.input(1)?)?.data;
    if repeats.len() != result.rank() {
        return Err("its repeats do not have one number for each axis".into());
    }
    for (axis, repeat) in repeats.iter().enumerate() {
        if *repeat == Linear::constant(1) {
            continue;
        }
        let mut dims = result.dims();
        if dims[axis].is_one() {
            dims[axis] = Dim::from_linear(*repeat).ok_or("its repeats are not possible")?;
            result = lowering.expand_to(&result, &dims)?;
            continue;
        }
        let (size, count) = (dims[axis].as_fixed(), repeat.as_constant().and_then(|count| usize::try_from(count).ok()));
        let (Some(size), Some(count)) = (size, count) else { return Err("it repeats images of the batch".into()) };
        lowering.reserve(&[size, count, 2])?;
        let indices: Vec<usize> = std::iter::repeat_n(0..size, count).flatten().collect();
        result = lowering.select_fact(&result, axis, &indices)?;
    }
    Ok(vec![result])
}

/// `Pad`.
pub(crate) fn pad(lowering: &mut Lowering<'_>, operator: &Operator<'_>) -> Outputs {
    let input = operator.input(0)?.clone();
    let rank = input.rank();
    let name = if operator.ints("paddings").is_some() { "paddings" } else { "pads" };
    let pads = operator.ints_or_input(lowering, name, 1)?.ok_or("it has no 'pads'")?;
    let value = match operator.optional(2) {
        Some(fact) => lowering.known_scalar(fact)?,
        None => operator.float("value", 0.0),
    };
    let axes: Vec<usize> = match operator.optional(3) {
        Some(fact) => lowering.known_ints(fact)?.iter().map(|value| axis_at(*value, rank)).collect::<Result<_, _>>()?,
        None => (0..rank).collect(),
    };
    if pads.len() != 2 * axes.len() {
        return Err(format!("its 'pads' are {pads:?} for {} axes", axes.len()).into());
    }
    let mut sides = vec![[0_i64; 2]; rank];
    for (index, axis) in axes.iter().enumerate() {
        sides[*axis] = [pads[index], pads[index + axes.len()]];
    }
    if sides.iter().flatten().any(|side| side.unsigned_abs() > 1 << 16) {
        return Err("its 'pads' are larger than any image".into());
    }
    let mode = operator.text("mode").unwrap_or("constant");
    let mut result = input;
    let mut growth = vec![[0_usize; 2]; rank];
    for (axis, [before, after]) in sides.into_iter().enumerate() {
        if [before, after] == [0, 0] {
            continue;
        }
        let size = result.dims()[axis].as_fixed().ok_or("it pads the batch")? as i64;
        let is_constant = mode == "constant";
        let (first, last) = if is_constant { (before.min(0), after.min(0)) } else { (before, after) };
        // Negative sides cut off; the other modes repeat elements.
        if first != 0 || last != 0 {
            if size == 0 {
                return Err("its input is empty".into());
            }
            lowering.reserve_positions((size + first.max(0) + last.max(0)) as usize)?;
            let index = |position: i64| match mode {
                "reflect" if size > 1 => {
                    let period = 2 * (size - 1);
                    let position = position.rem_euclid(period);
                    position.min(period - position)
                }
                "wrap" => position.rem_euclid(size),
                _ => position.clamp(0, size - 1),
            };
            let indices: Vec<usize> = (-first..size + last).map(|position| index(position) as usize).collect();
            if indices.is_empty() {
                return Err("its result is empty".into());
            }
            result = lowering.select_fact(&result, axis, &indices)?;
        }
        if is_constant {
            growth[axis] = [before.max(0) as usize, after.max(0) as usize];
        }
    }
    if !matches!(mode, "constant" | "reflect" | "edge" | "wrap") {
        return Err(format!("its mode is '{mode}'").into());
    }
    if growth.iter().flatten().all(|side| *side == 0) {
        return Ok(vec![result]);
    }
    Ok(vec![lowering.pad_with(&result, &growth, value)?])
}

impl Lowering<'_> {
    fn pad_with(&mut self, fact: &Fact, growth: &[[usize; 2]], value: f32) -> Result<Fact, Problem> {
        if let Some(Host::Int(array)) = self.host(fact)? {
            // Shapes that are padded to a number of axes.
            let &[[before, after]] = growth else { return Err("it pads indices".into()) };
            let filler = |count: usize| std::iter::repeat_n(Linear::constant(value as i64), count);
            let data: Vec<Linear> = filler(before).chain(array.data.iter().copied()).chain(filler(after)).collect();
            return Ok(Fact::host(Host::int(vec![data.len()], data)));
        }
        let var = self.to_var(fact)?;
        let grow = |(dim, [before, after]): (&Dim, &[usize; 2])| Dim { size: dim.size + before + after, ..*dim };
        let dims: Vec<Dim> = var.dims.iter().zip(growth).map(grow).collect();
        if let (4, [[0, 0], [0, 0], rows, columns], true) = (var.rank(), growth, value == 0.0) {
            // Padding of an image, which a convolution can absorb.
            let var = self.in_order(&var, &super::view::channels_last(4));
            let sides = [rows[0], columns[0], rows[1], columns[1]];
            return Ok(Fact::computed(self.same_axes(LayerKind::Pad(sides), &var, dims)));
        }
        let pads = var.perm.iter().map(|axis| growth[*axis]).collect();
        let kind = LayerKind::Tensor(TensorOp::Pad { pads, value });
        Ok(Fact::computed(self.same_axes(kind, &var, dims)))
    }
}

/// `Trilu`: zero where a mask says so.
pub(crate) fn triangle(lowering: &mut Lowering<'_>, operator: &Operator<'_>) -> Outputs {
    let input = operator.input(0)?.clone();
    let offset = match operator.optional(1) {
        Some(fact) => lowering.known_ints(fact)?.first().copied().unwrap_or(0),
        None => 0,
    };
    let upper = operator.flag("upper", true);
    let sizes: Option<Vec<usize>> = input.dims().iter().rev().take(2).map(|dim| dim.as_fixed()).collect();
    let Some([columns, rows]) = sizes.as_deref() else { return Err("its input is no matrix".into()) };
    lowering.reserve(&[*rows, *columns])?;
    let keeps = |index: usize| {
        let (row, column) = ((index / columns) as i64, (index % columns) as i64);
        let distance = (column - row).saturating_sub(offset);
        if upper { distance >= 0 } else { distance <= 0 }
    };
    // Integers would take four times the memory that is reserved.
    let mask = (0..rows * columns).map(|index| f32::from(u8::from(keeps(index)))).collect();
    let mask = Fact::float(Array::new(vec![*rows, *columns], mask));
    // A product would make infinities NaN, and masks of attention hold infinities.
    let zero = match lowering.host(&input)? {
        Some(Host::Int(_)) => Fact::host(Host::int(Vec::new(), vec![Linear::constant(0)])),
        _ => Fact::float(Array::scalar(0.0)),
    };
    let element = input.element;
    let inner =
        Operator { node: operator.node, inputs: vec![Some(mask), Some(input), Some(zero)], opset: operator.opset };
    let outputs = super::elementwise::select(lowering, &inner)?;
    Ok(outputs.into_iter().map(|fact| fact.with_element(element)).collect())
}

/// `DepthToSpace`.
pub(crate) fn depth_to_space(lowering: &mut Lowering<'_>, operator: &Operator<'_>) -> Outputs {
    let var = operator.var(lowering, 0)?;
    let block = operator.sizes_of_block()?;
    let [n, c, h, w] = var.dims[..] else { return Err("its input is no image".into()) };
    let channels =
        c.as_fixed().filter(|c| c % (block * block) == 0).ok_or("its channels are no multiple of the block")?;
    let (b, rest) = (Dim::fixed(block), Dim::fixed(channels / (block * block)));
    let (split, order) = match operator.text("mode").unwrap_or("DCR") {
        "CRD" => (vec![n, rest, b, b, h, w], [0, 1, 4, 2, 5, 3]),
        _ => (vec![n, b, b, rest, h, w], [0, 3, 4, 1, 5, 2]),
    };
    let var = lowering.reshape(&var, &split)?.transpose(&order);
    let larger = |dim: Dim| Dim { size: dim.size * block, ..dim };
    Ok(vec![Fact::computed(lowering.reshape(&var, &[n, rest, larger(h), larger(w)])?)])
}

/// `SpaceToDepth`.
pub(crate) fn space_to_depth(lowering: &mut Lowering<'_>, operator: &Operator<'_>) -> Outputs {
    let var = operator.var(lowering, 0)?;
    let block = operator.sizes_of_block()?;
    let [n, c, h, w] = var.dims[..] else { return Err("its input is no image".into()) };
    let smaller = |dim: Dim| dim.as_fixed().filter(|size| size % block == 0).map(|size| Dim::fixed(size / block));
    let (Some(rows), Some(columns)) = (smaller(h), smaller(w)) else {
        return Err("its image is no multiple of the block".into());
    };
    let b = Dim::fixed(block);
    let var = lowering.reshape(&var, &[n, c, rows, b, columns, b])?.transpose(&[0, 3, 5, 1, 2, 4]);
    let channels = Dim { size: c.size * block * block, ..c };
    Ok(vec![Fact::computed(lowering.reshape(&var, &[n, channels, rows, columns])?)])
}

impl Operator<'_> {
    fn sizes_of_block(&self) -> Result<usize, Problem> {
        let block = usize::try_from(self.int("blocksize", 0)).ok().filter(|block| (1..=256).contains(block));
        block.ok_or_else(|| "its 'blocksize' is not possible".into())
    }
}

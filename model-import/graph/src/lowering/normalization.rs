//! Normalisation layers.

use kiln_ops::{Binary, Reduction, Unary};

use crate::host::Array;
use crate::network::LayerKind;
use crate::tensor_op::{Dim, TensorOp};

use super::convolution::pointwise;
use super::operator::axis_at;
use super::{Fact, Lowering, Operator, Outputs, Problem, Var};

/// `BatchNormalization`. Its statistics are known, so that it is a factor and a summand for each channel.
pub(crate) fn batch_norm(lowering: &mut Lowering<'_>, operator: &Operator<'_>) -> Outputs {
    if operator.flag("training_mode", false) {
        return Err("it normalises over the batch, as in training; export the model in evaluation mode".into());
    }
    let epsilon = operator.float("epsilon", 1e-5);
    let mut parameters = Vec::with_capacity(4);
    for index in 1..5 {
        parameters.push(lowering.known_floats(operator.input(index)?)?.data);
    }
    let [scale, bias, mean, variance] = &parameters[..] else { return Err("it lacks parameters".into()) };
    let count = scale.len();
    if parameters.iter().any(|values| values.len() != count) {
        return Err("its parameters differ in number".into());
    }
    let factor: Vec<f32> =
        scale.iter().zip(variance.iter()).map(|(scale, variance)| scale / (variance + epsilon).sqrt()).collect();
    let summand =
        bias.iter().zip(mean.iter()).zip(&factor).map(|((bias, mean), factor)| bias - mean * factor).collect();
    let input = operator.var(lowering, 0)?;
    Ok(vec![Fact::computed(lowering.scale_channels(&input, factor, summand)?)])
}

/// `LayerNormalization`.
pub(crate) fn layer_norm(lowering: &mut Lowering<'_>, operator: &Operator<'_>) -> Outputs {
    if operator.node.output.iter().skip(1).any(|name| !name.is_empty()) {
        return Err("its second output is not supported".into());
    }
    let input = operator.var(lowering, 0)?;
    let axis = axis_at(operator.int("axis", -1), input.rank())?;
    let scale = lowering.known_floats(operator.input(1)?)?;
    let bias = match operator.optional(2) {
        Some(fact) => Some(lowering.known_floats(fact)?),
        None => None,
    };
    Ok(vec![Fact::computed(lowering.layer_norm(
        &input,
        axis,
        operator.float("epsilon", 1e-5),
        &scale,
        bias.as_ref(),
    )?)])
}

/// `RMSNormalization`, and its older name in ONNX Runtime.
pub(crate) fn rms_norm(lowering: &mut Lowering<'_>, operator: &Operator<'_>) -> Outputs {
    let input = operator.var(lowering, 0)?;
    let axis = axis_at(operator.int("axis", -1), input.rank())?;
    let axes: Vec<usize> = (axis..input.rank()).collect();
    let normal = lowering.divide_by_root(&input, &input, &axes, operator.float("epsilon", 1e-5))?;
    let scale = operator.input(1)?.clone();
    Ok(vec![lowering.combine(Binary::Mul, &Fact::computed(normal), &scale)?])
}

/// `SkipLayerNormalization` of ONNX Runtime: value, skip, scale, bias, bias of the value.
pub(crate) fn skip_layer_norm(lowering: &mut Lowering<'_>, operator: &Operator<'_>) -> Outputs {
    let is_simple = operator.op_type().contains("Simplified");
    let mut sum = lowering.combine(Binary::Add, operator.input(0)?, operator.input(1)?)?;
    if let Some(bias) = operator.optional(if is_simple { 3 } else { 4 }) {
        sum = lowering.combine(Binary::Add, &sum, bias)?;
    }
    let var = lowering.to_var(&sum)?;
    let last = var.rank().checked_sub(1).ok_or("its input has no axes")?;
    // The operator's own default differs from that of LayerNormalization.
    let epsilon = operator.float("epsilon", 1e-12);
    let scale = lowering.known_floats(operator.input(2)?)?;
    let output = if is_simple {
        let normal = lowering.divide_by_root(&var, &var, &[last], epsilon)?;
        lowering.binary_op(Binary::Mul, &Fact::computed(normal), &Fact::float(scale))?
    } else {
        let bias = match operator.optional(3) {
            Some(fact) => Some(lowering.known_floats(fact)?),
            None => None,
        };
        lowering.layer_norm(&var, last, epsilon, &scale, bias.as_ref())?
    };
    let output = Fact::computed(output);
    // Mean and deviation are outputs of training; nothing reads them here.
    Ok(vec![output.clone(), output.clone(), output, sum])
}

/// `GroupNormalization`. Before operator set 21 it has one scale for each group.
pub(crate) fn group_norm(lowering: &mut Lowering<'_>, operator: &Operator<'_>) -> Outputs {
    let input = operator.var(lowering, 0)?;
    let groups = usize::try_from(operator.int("num_groups", 0)).unwrap_or(0);
    let (mut scale, mut bias) = (
        lowering.known_floats(operator.input(1)?)?.data.to_vec(),
        lowering.known_floats(operator.input(2)?)?.data.to_vec(),
    );
    let channels = input.dims.get(1).and_then(|dim| dim.as_fixed()).ok_or("its input has no channels")?;
    if groups == 0 || channels % groups != 0 {
        return Err(format!("its {channels} channels do not divide into {groups} groups").into());
    }
    lowering.reserve(&[channels, 2])?;
    for values in [&mut scale, &mut bias] {
        if values.len() == groups && operator.opset < 21 {
            *values = values.iter().flat_map(|value| std::iter::repeat_n(*value, channels / groups)).collect();
        }
    }
    let output = lowering.group_norm(&input, groups, operator.float("epsilon", 1e-5))?;
    Ok(vec![Fact::computed(lowering.scale_channels(&output, scale, bias)?)])
}

/// `InstanceNormalization`: each channel of each image.
pub(crate) fn instance_norm(lowering: &mut Lowering<'_>, operator: &Operator<'_>) -> Outputs {
    let input = operator.var(lowering, 0)?;
    let scale = lowering.known_floats(operator.input(1)?)?.data.to_vec();
    let bias = lowering.known_floats(operator.input(2)?)?.data.to_vec();
    let axes: Vec<usize> = (2..input.rank()).collect();
    let output = lowering.normalise(&input, &axes, operator.float("epsilon", 1e-5))?;
    Ok(vec![Fact::computed(lowering.scale_channels(&output, scale, bias)?)])
}

/// `MeanVarianceNormalization`.
pub(crate) fn mean_variance_norm(lowering: &mut Lowering<'_>, operator: &Operator<'_>) -> Outputs {
    let input = operator.var(lowering, 0)?;
    let axes = operator.ints("axes").unwrap_or(&[0, 2, 3]).to_vec();
    if axes.len() > input.rank() {
        return Err("it names an axis twice".into());
    }
    let axes: Vec<usize> = axes.iter().map(|axis| axis_at(*axis, input.rank())).collect::<Result<_, _>>()?;
    if axes.iter().any(|axis| input.dims[*axis].batched) {
        return Err("it normalises over the images of a batch, so that they would influence each other".into());
    }
    Ok(vec![Fact::computed(lowering.normalise(&input, &axes, 1e-9)?)])
}

/// `LpNormalization`.
pub(crate) fn lp_norm(lowering: &mut Lowering<'_>, operator: &Operator<'_>) -> Outputs {
    let input = operator.var(lowering, 0)?;
    let axis = axis_at(operator.int("axis", -1), input.rank())?;
    let p = operator.int("p", 2);
    if !matches!(p, 1 | 2) {
        return Err(format!("its 'p' is {p}, but 1 and 2 are possible").into());
    }
    let norm = if p == 1 {
        let magnitude = lowering.unary_op(Unary::Abs, &input);
        lowering.reduce_op(Reduction::Sum, &magnitude, &[axis])
    } else {
        let square = lowering.unary_op(Unary::Power(2.0), &input);
        let sum = lowering.reduce_op(Reduction::Sum, &square, &[axis]);
        lowering.unary_op(Unary::Sqrt, &sum)
    };
    // Zeros stay zeros.
    let norm = lowering.unary_op(Unary::Clamp { low: f32::MIN_POSITIVE, high: f32::INFINITY }, &norm);
    Ok(vec![Fact::computed(lowering.binary_op(Binary::Div, &Fact::computed(input), &Fact::computed(norm))?)])
}

/// `LRN`: `x / (bias + alpha / size * sum of squares of neighbouring channels) ^ beta`. The sum is a product with a band matrix.
pub(crate) fn local_response_norm(lowering: &mut Lowering<'_>, operator: &Operator<'_>) -> Outputs {
    let input = operator.var(lowering, 0)?;
    let channels = input.dims.get(1).and_then(|dim| dim.as_fixed()).ok_or("its input has no channels")?;
    let size = usize::try_from(operator.int("size", 0)).ok().filter(|size| (1..=1 << 16).contains(size));
    let size = size.ok_or("its 'size' is not possible")?;
    let (alpha, beta, bias) =
        (operator.float("alpha", 1e-4), operator.float("beta", 0.75), operator.float("bias", 1.0));
    lowering.reserve(&[channels, channels])?;
    let (before, after) = ((size - 1) / 2, size / 2);
    let weight = |index: usize| {
        let (output, input) = (index / channels, index % channels);
        if input + before >= output && input <= output + after { alpha / size as f32 } else { 0.0 }
    };
    let weight = (0..channels * channels).map(weight).collect();
    let input = lowering.with_last(&input, 1);
    let square = lowering.unary_op(Unary::Power(2.0), &input);
    let sum =
        lowering.same_axes(pointwise(channels, channels, weight, vec![bias; channels]), &square, square.dims.clone());
    let factor = lowering.unary_op(Unary::Power(-beta), &sum);
    Ok(vec![Fact::computed(lowering.binary_op(Binary::Mul, &Fact::computed(input), &Fact::computed(factor))?)])
}

impl Lowering<'_> {
    /// A factor and a summand for each channel, which is axis 1 of the file.
    fn scale_channels(&mut self, var: &Var, factor: Vec<f32>, summand: Vec<f32>) -> Result<Var, Problem> {
        let channels = var.dims.get(1).and_then(|dim| dim.as_fixed());
        if channels != Some(factor.len()) || factor.len() != summand.len() {
            return Err(format!(
                "it has {} values for each channel, but its input is {}",
                factor.len(),
                super::view::show(&var.dims)
            )
            .into());
        }
        let var = self.with_last(var, 1);
        Ok(self.same_axes(LayerKind::Affine { factor, summand }, &var, var.dims.clone()))
    }

    /// Layer normalisation over the axes from `axis`.
    fn layer_norm(
        &mut self,
        var: &Var,
        axis: usize,
        epsilon: f32,
        scale: &Array<f32>,
        bias: Option<&Array<f32>>,
    ) -> Result<Var, Problem> {
        let sizes: Option<Vec<usize>> = var.dims[axis..].iter().map(|dim| dim.as_fixed()).collect();
        let count: usize = sizes
            .and_then(|sizes| sizes.iter().try_fold(1_usize, |a, b| a.checked_mul(*b)))
            .ok_or("it normalises the batch")?;
        self.reserve(&[count, 2])?;
        let expand = |array: &Array<f32>| -> Result<Vec<f32>, Problem> {
            let shape: Vec<usize> = var.dims[axis..].iter().map(|dim| dim.size).collect();
            Ok(array.expand(&shape).ok_or("its scale does not fit its input")?.data.to_vec())
        };
        let scale = expand(scale)?;
        let bias = bias.map_or(Ok(vec![0.0; count]), expand)?;
        let joined: Vec<Dim> = var.dims[..axis].iter().copied().chain([Dim::fixed(count)]).collect();
        let flat = self.reshape(var, &joined)?;
        let flat = self.with_last(&flat, axis);
        let kind = LayerKind::Tensor(TensorOp::LayerNorm { epsilon, scale, bias });
        let normal = self.same_axes(kind, &flat, flat.dims.clone());
        self.reshape(&normal, &var.dims)
    }

    /// Normalises each group of channels of each image.
    fn group_norm(&mut self, var: &Var, groups: usize, epsilon: f32) -> Result<Var, Problem> {
        let count = var.dims[1..].iter().try_fold(1_usize, |product, dim| product.checked_mul(dim.as_fixed()?));
        let count = count.ok_or("it normalises the batch")?;
        let ordered = self.in_file_order(var);
        let flat = self.reshape(&ordered, &[var.dims[0], Dim::fixed(groups), Dim::fixed(count / groups)])?;
        let normal = self.normalise(&flat, &[2], epsilon)?;
        self.reshape(&normal, &var.dims)
    }

    /// `(x - mean) / sqrt(variance + epsilon)` over some axes.
    fn normalise(&mut self, var: &Var, axes: &[usize], epsilon: f32) -> Result<Var, Problem> {
        let mean = self.reduce_op(Reduction::Mean, var, axes);
        let centred = self.binary_op(Binary::Sub, &Fact::computed(var.clone()), &Fact::computed(mean))?;
        self.divide_by_root(&centred, &centred, axes, epsilon)
    }

    /// `x / sqrt(mean of y^2 + epsilon)` over some axes.
    fn divide_by_root(&mut self, x: &Var, y: &Var, axes: &[usize], epsilon: f32) -> Result<Var, Problem> {
        let square = self.unary_op(Unary::Power(2.0), y);
        let mean = self.reduce_op(Reduction::Mean, &square, axes);
        let variance = self.add_number(&mean, epsilon)?;
        let root = self.unary_op(Unary::Sqrt, &variance);
        self.binary_op(Binary::Div, &Fact::computed(x.clone()), &Fact::computed(root))
    }
}

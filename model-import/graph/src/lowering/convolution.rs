//! Convolutions and pooling. Images lie in memory with the channels last.

use kiln_ops::{Activation, Binary, Geometry, Pooling, Reduction, Unary};

use crate::host::Array;
use crate::network::{Conv, LayerKind};
use crate::tensor_op::{ConvTranspose, Dim, TensorOp};

use super::elementwise::activation_named;
use super::shape::Window;
use super::view::channels_last;
use super::{Fact, Lowering, Operator, Outputs, Problem, Var};

/// An image `[batch, channels, height, width]` with the channels last in memory, and its sizes.
pub(crate) struct Image {
    pub(crate) var: Var,
    pub(crate) channels: usize,
    pub(crate) size: [usize; 2],
    /// 1 or 2: the number of axes that the file gives the image.
    pub(crate) axes: usize,
}

impl Lowering<'_> {
    /// A value as an image. One with a single axis after the channels becomes an image of height 1.
    pub(crate) fn image(&mut self, var: &Var) -> Result<Image, Problem> {
        let dims = &var.dims;
        let (var, axes) = match dims.len() {
            3 => (self.reshape(var, &[dims[0], dims[1], Dim::fixed(1), dims[2]])?, 1),
            4 => (var.clone(), 2),
            other => {
                return Err(format!("its input has {other} axes, but Kiln computes images of one or two axes").into());
            }
        };
        let var = self.in_order(&var, &channels_last(4));
        let fixed = |axis: usize| {
            var.dims[axis].as_fixed().ok_or("its channels, height and width must not depend on the batch")
        };
        let (channels, size) = (fixed(1)?, [fixed(2)?, fixed(3)?]);
        Ok(Image { var, channels, size, axes })
    }

    /// The result of a layer on an image, with as many axes as its input had.
    pub(crate) fn image_result(
        &mut self,
        image: &Image,
        kind: LayerKind,
        channels: usize,
        [height, width]: [usize; 2],
    ) -> Result<Var, Problem> {
        let dims = vec![image.var.dims[0], Dim::fixed(channels), Dim::fixed(height), Dim::fixed(width)];
        let var = self.same_axes(kind, &image.var, dims);
        if image.axes == 2 {
            return Ok(var);
        }
        let dims = [var.dims[0], var.dims[1], var.dims[3]];
        self.reshape(&var, &dims)
    }
}

/// `Conv`, and `FusedConv` of ONNX Runtime with its activation and residual.
pub(crate) fn conv(lowering: &mut Lowering<'_>, operator: &Operator<'_>) -> Outputs {
    if operator.op_type().starts_with("Nhwc") {
        return Err(
            "Kiln does not know this operator of ONNX Runtime; export the file without its layout optimisation".into(),
        );
    }
    let weight = lowering.known_floats(operator.input(1)?)?;
    let bias = match operator.optional(2) {
        Some(fact) => Some(lowering.known_floats(fact)?),
        None => None,
    };
    let input = operator.var(lowering, 0)?;
    let mut output = lowering.convolve(operator, &input, weight, bias)?;
    if let Some(residual) = operator.optional(3) {
        let residual = residual.clone();
        output = lowering.binary_op(Binary::Add, &Fact::computed(output), &residual)?;
    }
    if let Some(name) = operator.text("activation") {
        let parameters =
            operator.attribute("activation_params").map(|attribute| attribute.floats.clone()).unwrap_or_default();
        output = match activation_named(name, &parameters)? {
            Some(function) => lowering.unary_op(function, &output),
            None => output,
        };
    }
    Ok(vec![Fact::computed(output)])
}

impl Lowering<'_> {
    /// A convolution with known weights `[outputs, inputs / groups, height, width]`.
    pub(crate) fn convolve(
        &mut self,
        operator: &Operator<'_>,
        input: &Var,
        weight: Array<f32>,
        bias: Option<Array<f32>>,
    ) -> Result<Var, Problem> {
        let image = self.image(input)?;
        let (outputs, per_group, kernel) = match weight.shape[..] {
            [outputs, inputs, width] if image.axes == 1 => (outputs, inputs, [1, width]),
            [outputs, inputs, height, width] if image.axes == 2 => (outputs, inputs, [height, width]),
            _ => return Err(format!("its weights have the shape {:?}", weight.shape).into()),
        };
        let groups = usize::try_from(operator.int("group", 1)).unwrap_or(0);
        let fits = groups > 0 && outputs % groups == 0 && per_group.checked_mul(groups) == Some(image.channels);
        if !fits || kernel.contains(&0) || weight.data.is_empty() {
            return Err(format!(
                "its weights have the shape {:?} in {groups} groups, but its input has {} channels",
                weight.shape, image.channels
            )
            .into());
        }
        let window = Window::read(operator, Some(kernel), image.size, image.axes)?;
        if window.geometry.kernel != kernel {
            return Err("its 'kernel_shape' is not that of its weights".into());
        }
        let size = window.output_size(image.size)?;
        let bias = match bias {
            Some(bias) if bias.data.len() == outputs => bias.data.to_vec(),
            Some(bias) => return Err(format!("its bias has {} values, but {outputs} outputs", bias.data.len()).into()),
            None => vec![0.0; outputs],
        };
        let conv = Conv {
            inputs: image.channels,
            outputs,
            geometry: window.geometry,
            groups,
            dilation: window.dilation,
            activation: Activation::Identity,
            weight: weight.into_values(),
            bias,
        };
        let conv = without_padding_taps(conv, image.size, size);
        self.image_result(&image, LayerKind::Conv(conv), outputs, size)
    }
}

/// Removes the outer rows and columns of a window that lie over padding at every position. Over an image of one pixel, eight of
/// nine weights of a 3x3 window do. Their products are zero, but their weights would be read.
fn without_padding_taps(conv: Conv, input: [usize; 2], output: [usize; 2]) -> Conv {
    // A depthwise convolution has few weights, and its kernels want square windows.
    if conv.dilation != [1, 1] || conv.inputs == conv.groups {
        return conv;
    }
    let Geometry { kernel, stride, before, .. } = conv.geometry;
    let taps = [0, 1].map(|axis| {
        // At its first position behind the padding in front.
        let is_read = |tap: &usize| {
            let position = before[axis].saturating_sub(*tap).div_ceil(stride[axis]);
            position < output[axis] && position * stride[axis] + tap - before[axis] < input[axis]
        };
        let first = (0..kernel[axis]).find(is_read);
        let last = (0..kernel[axis]).rev().find(is_read);
        first.zip(last).map_or(0..kernel[axis], |(first, last)| first..last + 1)
    });
    if [0, 1].iter().all(|axis| taps[*axis].len() == kernel[*axis]) {
        return conv;
    }
    let mut geometry = conv.geometry;
    for axis in 0..2 {
        geometry.kernel[axis] = taps[axis].len();
        geometry.before[axis] -= taps[axis].start;
        let end = (output[axis] - 1) * stride[axis] + geometry.kernel[axis];
        geometry.after[axis] = end.saturating_sub(input[axis] + geometry.before[axis]);
        if output[axis] == 1 && end == input[axis] + geometry.before[axis] + geometry.after[axis] {
            geometry.stride[axis] = 1;
        }
    }
    let rows = conv.weight.chunks_exact(kernel[1]).enumerate();
    let rows = rows.filter(|(index, _)| taps[0].contains(&(index % kernel[0])));
    let weight = rows.flat_map(|(_, row)| row[taps[1].clone()].iter().copied()).collect();
    Conv { geometry, weight, ..conv }
}

/// `ConvTranspose`.
pub(crate) fn conv_transpose(lowering: &mut Lowering<'_>, operator: &Operator<'_>) -> Outputs {
    let input = operator.var(lowering, 0)?;
    let image = lowering.image(&input)?;
    let weight = lowering.known_floats(operator.input(1)?)?;
    let (inputs, per_group, kernel) = match weight.shape[..] {
        [inputs, outputs, width] if image.axes == 1 => (inputs, outputs, [1, width]),
        [inputs, outputs, height, width] if image.axes == 2 => (inputs, outputs, [height, width]),
        _ => return Err(format!("its weights have the shape {:?}", weight.shape).into()),
    };
    let groups = usize::try_from(operator.int("group", 1)).unwrap_or(0);
    if groups == 0 || inputs != image.channels || inputs % groups != 0 || weight.data.is_empty() {
        return Err(format!(
            "its weights have the shape {:?}, but its input has {} channels",
            weight.shape, image.channels
        )
        .into());
    }
    let outputs = per_group.checked_mul(groups).ok_or("it has too many outputs")?;
    let pair = |name: &str, default: usize| -> Result<[usize; 2], Problem> {
        match operator.ints(name) {
            None | Some([]) => Ok([default; 2]),
            Some(values) => {
                let sizes: Option<Vec<usize>> =
                    values.iter().map(|value| usize::try_from(*value).ok().filter(|size| *size <= 1 << 16)).collect();
                match (image.axes, sizes.as_deref()) {
                    (1, Some(&[width])) => Ok([if name == "output_padding" { 0 } else { 1 }, width]),
                    (2, Some(&[height, width])) => Ok([height, width]),
                    _ => Err(format!("its '{name}' is {values:?}").into()),
                }
            }
        }
    };
    let (stride, dilation, extra) = (pair("strides", 1)?, pair("dilations", 1)?, pair("output_padding", 0)?);
    if stride.contains(&0) || dilation.contains(&0) {
        return Err("its strides and dilations must be positive".into());
    }
    let full =
        |axis: usize| (image.size[axis] - 1) * stride[axis] + (kernel[axis] - 1) * dilation[axis] + 1 + extra[axis];
    let (mut before, mut size) = ([0; 2], [full(0), full(1)]);
    let declared = operator.ints("output_shape").filter(|shape| !shape.is_empty());
    let auto = operator.text("auto_pad").unwrap_or("NOTSET");
    if declared.is_some() || auto.starts_with("SAME") {
        let declared: Vec<usize> =
            declared.unwrap_or_default().iter().filter_map(|size| usize::try_from(*size).ok()).collect();
        for axis in 0..2 {
            let from_end = 2 - axis;
            let wanted = match declared.len().checked_sub(from_end) {
                Some(position) => declared[position],
                None if axis == 0 && image.axes == 1 => 1,
                None => image.size[axis] * stride[axis],
            };
            let total = size[axis].checked_sub(wanted).filter(|_| wanted > 0);
            let total = total.ok_or("its 'output_shape' does not fit its input")?;
            before[axis] = if auto == "SAME_UPPER" { total / 2 } else { total - total / 2 };
            size[axis] = wanted;
        }
    } else if auto != "VALID" {
        let pads: Option<Vec<usize>> =
            operator.ints("pads").unwrap_or_default().iter().map(|pad| usize::try_from(*pad).ok()).collect();
        let [top, left, bottom, right] = match pads.as_deref() {
            Some([]) => [0; 4],
            Some(&[left, right]) if image.axes == 1 => [0, left, 0, right],
            Some(&[top, left, bottom, right]) if image.axes == 2 => [top, left, bottom, right],
            _ => return Err("its 'pads' do not fit its input".into()),
        };
        before = [top, left];
        for (axis, cut) in [(0, top.saturating_add(bottom)), (1, left.saturating_add(right))] {
            size[axis] =
                size[axis].checked_sub(cut).filter(|size| *size > 0).ok_or("its 'pads' leave nothing of the result")?;
        }
    }
    let bias = match operator.optional(2) {
        Some(fact) => lowering.known_floats(fact)?.data.to_vec(),
        None => vec![0.0; outputs],
    };
    if bias.len() != outputs {
        return Err("its bias does not have one value for each output".into());
    }
    let weight = weight.into_values();
    let op = ConvTranspose { inputs, outputs, groups, kernel, stride, dilation, before, size, weight, bias };
    let kind = LayerKind::Tensor(TensorOp::ConvTranspose(Box::new(op)));
    Ok(vec![Fact::computed(lowering.image_result(&image, kind, outputs, size)?)])
}

/// `MaxPool`, `AveragePool` and `LpPool`.
pub(crate) fn pool(lowering: &mut Lowering<'_>, operator: &Operator<'_>) -> Outputs {
    if operator.node.output.len() > 1 && operator.node.output.iter().skip(1).any(|name| !name.is_empty()) {
        return Err("its second output, the indices of the maxima, is not supported".into());
    }
    let input = operator.var(lowering, 0)?;
    if input.rank() == 5 {
        return pool_volume(lowering, operator, &input);
    }
    let image = lowering.image(&input)?;
    let window = Window::read(operator, None, image.size, image.axes)?;
    let include_pad = operator.flag("count_include_pad", false);
    let output = match operator.op_type() {
        "MaxPool" => lowering.max_pool(&image, &window)?,
        "AveragePool" => lowering.average_pool(&image, &window, include_pad)?,
        _ => {
            if window.ceil != [0, 0] {
                return Err("its 'ceil_mode' is not supported".into());
            }
            // The p-norm of a window: the mean of powers, times the size of the window, and the root.
            let p = norm_exponent(operator)?;
            let taps = (window.geometry.kernel[0] * window.geometry.kernel[1]) as f32;
            let magnitude = lowering.unary_op(Unary::Abs, &image.var);
            let powers = lowering.unary_op(Unary::Power(p), &magnitude);
            let powers = Image { var: powers, ..image };
            let mean = lowering.average_pool(&powers, &window, true)?;
            let sum = lowering.multiply(&mean, taps)?;
            lowering.unary_op(Unary::Power(1.0 / p), &sum)
        }
    };
    Ok(vec![Fact::computed(output)])
}

/// Pooling of volumes whose window has one row and one column, as PyTorch writes local response normalisation: rows and columns
/// count as one axis.
fn pool_volume(lowering: &mut Lowering<'_>, operator: &Operator<'_>, input: &Var) -> Outputs {
    let is_plain = |name: &str, neutral: i64, ends: &[usize]| {
        operator.ints(name).is_none_or(|values| {
            values.len() == 3 * ends.len() && ends.iter().all(|end| values[end - 2..*end] == [neutral; 2])
        })
    };
    let is_flat = is_plain("kernel_shape", 1, &[3]) && is_plain("strides", 1, &[3]) && is_plain("pads", 0, &[3, 6]);
    if !is_flat || !is_plain("dilations", 1, &[3]) || operator.flag("ceil_mode", false) {
        return Err("its input has 5 axes, but Kiln computes images of one or two axes".into());
    }
    let [batch, channels, depth, height, width] = input.dims[..] else { return Err("its input has no axes".into()) };
    let joined = Dim { size: height.size.saturating_mul(width.size), ..height };
    let flat = lowering.reshape(input, &[batch, channels, depth, joined])?;
    let mut node = operator.node.clone();
    for attribute in &mut node.attribute {
        let ints = &mut attribute.ints;
        match ints.len() {
            3 => ints.truncate(2),
            6 => *ints = vec![ints[0], ints[1], ints[3], ints[4]],
            _ => {}
        }
    }
    let inner = Operator { node: &node, inputs: vec![Some(Fact::computed(flat))], opset: operator.opset };
    let pooled = pool(lowering, &inner)?;
    let pooled = pooled.first().and_then(Fact::as_var).cloned().ok_or("it has no result")?;
    let dims = [batch, channels, pooled.dims[2], height, width];
    Ok(vec![Fact::computed(lowering.reshape(&pooled, &dims)?)])
}

impl Lowering<'_> {
    fn max_pool(&mut self, image: &Image, window: &Window) -> Result<Var, Problem> {
        let (geometry, dilation) = (window.geometry, window.dilation);
        let size = window.output_size(image.size)?;
        let kind = match dilation {
            [1, 1] => LayerKind::Pool(Pooling::Max, geometry),
            _ => LayerKind::Tensor(TensorOp::DilatedMaxPool { geometry, dilation }),
        };
        self.image_result(image, kind, image.channels, size)
    }

    fn average_pool(&mut self, image: &Image, window: &Window, include_pad: bool) -> Result<Var, Problem> {
        let Window { geometry, dilation, ceil } = *window;
        let size = window.output_size(image.size)?;
        let has_padding = geometry.before != [0, 0] || geometry.after != ceil;
        let adds_rows = ceil != [0, 0];
        if dilation == [1, 1] && !(adds_rows && include_pad && has_padding) {
            // Without padding of its own, the rows that `ceil_mode` adds never count.
            let counts_all = !adds_rows && (include_pad || !has_padding);
            let pooling = if counts_all { Pooling::AverageWithPadding } else { Pooling::Average };
            return self.image_result(image, LayerKind::Pool(pooling, geometry), image.channels, size);
        }
        // A depthwise convolution sums each window, and a constant has the number of its elements that count.
        let taps = geometry.kernel[0] * geometry.kernel[1];
        self.reserve(&[image.channels, taps + 1])?;
        self.reserve(&size)?;
        let conv = Conv {
            inputs: image.channels,
            outputs: image.channels,
            geometry,
            groups: image.channels,
            dilation,
            activation: Activation::Identity,
            weight: vec![1.0; image.channels * taps],
            bias: vec![0.0; image.channels],
        };
        let sums =
            self.image_result(&Image { axes: 2, ..image.clone() }, LayerKind::Conv(conv), image.channels, size)?;
        let counts = |axis: usize| -> Vec<usize> {
            let (start, end) = match include_pad {
                true => (0, geometry.before[axis] + image.size[axis] + geometry.after[axis] - ceil[axis]),
                false => (geometry.before[axis], geometry.before[axis] + image.size[axis]),
            };
            let inside = |output: usize| {
                let first = output * geometry.stride[axis];
                let before = |limit: usize| limit.saturating_sub(first).div_ceil(dilation[axis]);
                before(end).min(geometry.kernel[axis]).saturating_sub(before(start))
            };
            (0..size[axis]).map(inside).collect()
        };
        let (rows, columns) = (counts(0), counts(1));
        let factors = rows.iter().flat_map(|row| columns.iter().map(move |column| 1.0 / (row * column).max(1) as f32));
        let factors = Array::new(vec![1, 1, size[0], size[1]], factors.collect());
        let mean = self.binary_op(Binary::Mul, &Fact::computed(sums), &Fact::float(factors))?;
        if image.axes == 2 {
            return Ok(mean);
        }
        let dims = [mean.dims[0], mean.dims[1], mean.dims[3]];
        self.reshape(&mean, &dims)
    }
}

impl Clone for Image {
    fn clone(&self) -> Self {
        Self { var: self.var.clone(), ..*self }
    }
}

/// The exponent of a p-norm: an integer, or a float in operator set 1.
fn norm_exponent(operator: &Operator<'_>) -> Result<f32, Problem> {
    let p = operator.attribute("p").map_or(2.0, |p| if p.i == 0 { p.f } else { p.i as f32 });
    if p > 0.0 && p.is_finite() { Ok(p) } else { Err(format!("its 'p' is {p}, but an exponent is above 0").into()) }
}

/// `GlobalAveragePool`, `GlobalMaxPool` and `GlobalLpPool`.
pub(crate) fn global_pool(lowering: &mut Lowering<'_>, operator: &Operator<'_>) -> Outputs {
    let input = operator.var(lowering, 0)?;
    if input.rank() < 3 {
        return Err(format!("its input has {} axes, but an image has at least three", input.rank()).into());
    }
    let axes: Vec<usize> = (2..input.rank()).collect();
    let output = match operator.op_type() {
        "GlobalAveragePool" => lowering.reduce_op(Reduction::Mean, &input, &axes),
        "GlobalMaxPool" => lowering.reduce_op(Reduction::Max, &input, &axes),
        _ => {
            let p = norm_exponent(operator)?;
            let magnitude = lowering.unary_op(Unary::Abs, &input);
            let powers = lowering.unary_op(Unary::Power(p), &magnitude);
            let sum = lowering.reduce_op(Reduction::Sum, &powers, &axes);
            lowering.unary_op(Unary::Power(1.0 / p), &sum)
        }
    };
    Ok(vec![Fact::computed(output)])
}

/// A pointwise convolution: a matrix product with known weights over the last axis in memory, for a value of any rank.
pub(crate) fn pointwise(inputs: usize, outputs: usize, weight: Vec<f32>, bias: Vec<f32>) -> LayerKind {
    LayerKind::Conv(Conv {
        inputs,
        outputs,
        geometry: Geometry::POINTWISE,
        groups: 1,
        dilation: [1, 1],
        activation: Activation::Identity,
        weight,
        bias,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The outputs of one channel for an image whose pixels are 1, 2, 3, and so on.
    fn outputs(conv: &Conv, [height, width]: [usize; 2]) -> Vec<f32> {
        let Geometry { kernel, stride, before, .. } = conv.geometry;
        let [rows, columns] = conv.geometry.output_size([height, width]);
        let pixel = |y: usize, x: usize| if y < height && x < width { (y * width + x + 1) as f32 } else { 0.0 };
        let sum = |row: usize, column: usize| {
            let tap = |tap: usize| {
                let y = (row * stride[0] + tap / kernel[1]).wrapping_sub(before[0]);
                let x = (column * stride[1] + tap % kernel[1]).wrapping_sub(before[1]);
                conv.weight[tap] * pixel(y, x)
            };
            (0..kernel[0] * kernel[1]).map(tap).sum()
        };
        (0..rows).flat_map(|row| (0..columns).map(move |column| sum(row, column))).collect()
    }

    #[test]
    fn taps_over_padding_alone_are_removed() {
        let window = |kernel, stride, before, after| Geometry { kernel, stride, before, after };
        for (geometry, input, weights) in [
            (window([3, 3], [1, 1], [1, 1], [1, 1]), [1, 1], 1),
            (window([3, 3], [2, 2], [1, 1], [1, 1]), [1, 1], 1),
            (window([3, 3], [2, 2], [1, 1], [1, 1]), [2, 2], 4),
            (window([3, 3], [1, 1], [1, 1], [1, 1]), [1, 5], 3),
            (window([3, 3], [1, 1], [1, 1], [1, 1]), [2, 2], 9),
            (window([7, 5], [2, 3], [3, 2], [3, 2]), [3, 4], 5 * 5),
            (window([5, 5], [3, 3], [0, 4], [1, 3]), [5, 1], 5 * 4),
        ] {
            let LayerKind::Conv(conv) = pointwise(1, 1, vec![], vec![0.0]) else { unreachable!() };
            let weight = (0..geometry.kernel[0] * geometry.kernel[1]).map(|tap| (tap + 1) as f32).collect();
            let conv = Conv { geometry, weight, groups: 1, inputs: 1, ..conv };
            let expected = outputs(&conv, input);
            let size = geometry.output_size(input);
            // One channel counts as depthwise.
            let trimmed = without_padding_taps(Conv { inputs: 2, ..conv }, input, size);
            assert_eq!(outputs(&trimmed, input), expected, "{geometry:?} {input:?}: {:?}", trimmed.geometry);
            assert_eq!(trimmed.weight.len(), weights, "{geometry:?} {input:?}: {:?}", trimmed.geometry);
        }
    }
}

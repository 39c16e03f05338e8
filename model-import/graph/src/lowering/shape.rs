//! Shapes of results: sizes of windows, and the targets of reshapes.

use kiln_ops::Geometry;

use crate::host::Linear;
use crate::tensor_op::Dim;

use super::budget::MAX_RANK;
use super::view::show;
use super::{Lowering, Operator, Problem};

/// The window of a convolution or of pooling, for two axes. An operator of one axis gets a height of 1.
pub(crate) struct Window {
    pub(crate) geometry: Geometry,
    pub(crate) dilation: [usize; 2],
    /// Rows and columns below and on the right that `ceil_mode` adds. They are part of the geometry's padding.
    pub(crate) ceil: [usize; 2],
}

impl Window {
    /// Reads the attributes of an operator. `kernel` is the window if no attribute has it, and `size` the size of the input.
    pub(crate) fn read(
        operator: &Operator<'_>,
        kernel: Option<[usize; 2]>,
        size: [usize; 2],
        axes: usize,
    ) -> Result<Self, Problem> {
        let pair = |name: &str| -> Result<Option<[usize; 2]>, Problem> {
            match operator.sizes(name)?.as_deref() {
                None | Some([]) => Ok(None),
                Some([width]) if axes == 1 => Ok(Some([1, *width])),
                Some([height, width]) if axes == 2 => Ok(Some([*height, *width])),
                Some(other) => Err(format!("its '{name}' is {other:?}, but the image has {axes} axes").into()),
            }
        };
        let kernel = pair("kernel_shape")?.or(kernel).ok_or("it has no 'kernel_shape'")?;
        let stride = pair("strides")?.unwrap_or([1, 1]);
        let dilation = pair("dilations")?.unwrap_or([1, 1]);
        let (mut before, mut after) = ([0, 0], [0, 0]);
        let extent = |axis: usize| (kernel[axis] - 1) * dilation[axis] + 1;
        match operator.text("auto_pad").unwrap_or("NOTSET") {
            "" | "NOTSET" => {
                let pads = operator.ints("pads").unwrap_or_default();
                let pad = |value: &i64| usize::try_from(*value).ok().filter(|pad| *pad <= 1 << 16);
                let pads: Option<Vec<usize>> = pads.iter().map(pad).collect();
                match pads.as_deref() {
                    Some([]) => {}
                    Some(&[left, right]) if axes == 1 => (before, after) = ([0, left], [0, right]),
                    Some(&[top, left, bottom, right]) if axes == 2 => (before, after) = ([top, left], [bottom, right]),
                    _ => return Err(format!("its 'pads' are {:?}", operator.ints("pads").unwrap_or_default()).into()),
                }
            }
            "VALID" => {}
            mode @ ("SAME_UPPER" | "SAME_LOWER") => {
                for axis in 0..2 {
                    let outputs = size[axis].div_ceil(stride[axis]);
                    let total = ((outputs - 1) * stride[axis] + extent(axis)).saturating_sub(size[axis]);
                    let smaller = total / 2;
                    (before[axis], after[axis]) =
                        if mode == "SAME_UPPER" { (smaller, total - smaller) } else { (total - smaller, smaller) };
                }
            }
            other => return Err(format!("its 'auto_pad' is '{other}'").into()),
        }
        let mut ceil = [0, 0];
        if operator.flag("ceil_mode", false) {
            for axis in 0..2 {
                let padded = size[axis] + before[axis] + after[axis];
                let Some(room) = padded.checked_sub(extent(axis)) else { continue };
                let mut outputs = room.div_ceil(stride[axis]);
                // A window that begins in the padding after the image does not count (as in PyTorch, and in ONNX since 1.16).
                if outputs * stride[axis] >= size[axis] + before[axis] {
                    outputs -= 1;
                }
                ceil[axis] = (outputs * stride[axis] + extent(axis)).saturating_sub(padded);
                after[axis] += ceil[axis];
            }
        }
        Ok(Self { geometry: Geometry { kernel, stride, before, after }, dilation, ceil })
    }

    /// The height and width of the result.
    pub(crate) fn output_size(&self, input: [usize; 2]) -> Result<[usize; 2], Problem> {
        let extent = |axis: usize| (self.geometry.kernel[axis] - 1) * self.dilation[axis] + 1;
        let spread = Geometry { kernel: [extent(0), extent(1)], ..self.geometry };
        spread.checked_output_size(input).ok_or_else(|| "its window is larger than its padded input".into())
    }
}

impl Lowering<'_> {
    /// The target of a reshape: 0 keeps a size, -1 takes what is left.
    pub(crate) fn reshape_target(
        &self,
        old: &[Dim],
        target: &[Linear],
        zero_is_zero: bool,
    ) -> Result<Vec<Dim>, Problem> {
        if target.len() > MAX_RANK {
            return Err("its shape has too many axes".into());
        }
        let mut dims: Vec<Option<Dim>> = Vec::with_capacity(target.len());
        for (axis, size) in target.iter().enumerate() {
            dims.push(match size.as_constant() {
                Some(-1) => None,
                Some(0) if !zero_is_zero => Some(
                    *old.get(axis)
                        .ok_or_else(|| format!("axis {axis} of its shape is 0, but its input has no such axis"))?,
                ),
                _ => Some(
                    Dim::from_linear(*size).ok_or_else(|| format!("axis {axis} of its shape has the size {size:?}"))?,
                ),
            });
        }
        if dims.iter().filter(|dim| dim.is_none()).count() > 1 {
            return Err("its shape has several -1".into());
        }
        let product = |dims: &[Dim]| {
            dims.iter().try_fold((1_usize, 0_usize), |(size, power), dim| {
                Some((size.checked_mul(dim.size)?, power + usize::from(dim.batched)))
            })
        };
        let overflow = "its shape is too large";
        let (all, batches) = product(old).ok_or(overflow)?;
        self.free_batch(&mut dims, batches);
        let (known, known_batches) = product(&dims.iter().flatten().copied().collect::<Vec<_>>()).ok_or(overflow)?;
        let mismatch = || {
            let shape: Vec<String> = dims.iter().map(|dim| dim.map_or("-1".to_string(), |dim| show(&[dim]))).collect();
            Problem::from(format!("{} elements do not fit the shape [{}]", show(old), shape.join(", ")))
        };
        let is_complete = dims.iter().all(Option::is_some);
        if is_complete && (known, known_batches) != (all, batches) || known == 0 || all % known != 0 {
            return Err(mismatch());
        }
        let batched = match batches.checked_sub(known_batches) {
            Some(0) => false,
            Some(1) => true,
            _ => return Err(mismatch()),
        };
        let rest = Dim { size: all / known, batched };
        Ok(dims.iter().map(|dim| dim.unwrap_or(rest)).collect())
    }

    /// A file with a fixed batch has it as a number in its shapes. If the first axis of a target is a multiple of it, and the
    /// input has the batch, the axis becomes dynamic.
    fn free_batch(&self, dims: &mut [Option<Dim>], batches: usize) {
        let has_batch = dims.iter().flatten().any(|dim| dim.batched);
        let Some(batch) = self.fixed_batch.or(Some(1)).filter(|_| batches == 1 && !has_batch) else { return };
        let has_rest = dims.iter().any(Option::is_none);
        // Files whose batch is open write 1 only where the batch was folded into a number by mistake.
        if self.fixed_batch.is_none() && has_rest {
            return;
        }
        if let Some(Some(first)) = dims.first_mut()
            && first.size % batch == 0
        {
            *first = Dim { size: first.size / batch, batched: true };
        }
    }
}

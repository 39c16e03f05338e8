//! `Resize` and `Upsample`: each axis by itself, as a selection of elements or as a product with a known matrix.

use crate::tensor_op::Dim;

use super::convolution::pointwise;
use super::operator::axis_at;
use super::{Fact, Lowering, Operator, Outputs, Problem};

/// Both operators: scales or sizes are known, and change any axes but the batch.
pub(crate) fn resize(lowering: &mut Lowering<'_>, operator: &Operator<'_>) -> Outputs {
    let mut result = operator.input(0)?.clone();
    let rank = result.rank();
    // Resize 11 has its region of interest before the scales.
    let scales_index = if operator.op_type() == "Upsample" || operator.opset < 11 { 1 } else { 2 };
    let scales = match (operator.attribute("scales"), operator.optional(scales_index)) {
        (Some(attribute), _) => attribute.floats.clone(),
        (None, Some(fact)) => lowering.known_floats(fact)?.data.to_vec(),
        (None, None) => Vec::new(),
    };
    let sizes = match operator.optional(3) {
        Some(fact) => Some(lowering.known_linear(fact)?.data),
        None => None,
    };
    let axes: Vec<usize> = match operator.ints("axes") {
        Some(axes) => axes.iter().map(|axis| axis_at(*axis, rank)).collect::<Result<_, _>>()?,
        None => (0..rank).collect(),
    };
    if axes.len() > rank {
        return Err("it names an axis twice".into());
    }
    if operator.text("keep_aspect_ratio_policy").is_some_and(|policy| policy != "stretch") {
        return Err("its 'keep_aspect_ratio_policy' is not supported".into());
    }
    let sampling = Sampling::read(operator)?;
    for (index, axis) in axes.iter().enumerate() {
        let dim = result.dims()[*axis];
        let (target, scale) = match (&sizes, scales.get(index)) {
            (Some(sizes), _) if !sizes.is_empty() => {
                let size = sizes.get(index).ok_or("it has too few sizes")?;
                if *size == dim.to_linear() {
                    continue;
                }
                let (size, own) = (Dim::from_linear(*size).and_then(Dim::as_fixed), dim.as_fixed());
                let (Some(size), Some(own)) = (size, own) else { return Err("it resizes the batch".into()) };
                (size, size as f32 / own as f32)
            }
            (_, Some(1.0)) => continue,
            (_, Some(scale)) => {
                let own = dim.as_fixed().ok_or("it resizes the batch")?;
                let size = (own as f32 * scale).floor();
                if !(1.0..=65536.0).contains(&size) {
                    return Err(format!("its scale {scale} is not possible").into());
                }
                (size as usize, *scale)
            }
            (_, None) => return Err("it has neither scales nor sizes".into()),
        };
        let own = dim.as_fixed().ok_or("it resizes the batch")?;
        if own == 0 || target > 1 << 16 {
            return Err("its sizes are not those of an image".into());
        }
        result = sampling.apply(lowering, &result, *axis, [own, target], scale)?;
    }
    Ok(vec![result])
}

/// How an output position becomes a position in the input, and how values there are interpolated.
struct Sampling<'a> {
    mode: &'a str,
    transformation: &'a str,
    nearest: &'a str,
    cubic: f32,
    excludes_outside: bool,
    antialias: bool,
}

impl<'a> Sampling<'a> {
    fn read(operator: &'a Operator<'_>) -> Result<Self, Problem> {
        let is_old = operator.op_type() == "Upsample" || operator.opset < 11;
        let default = if is_old { "asymmetric" } else { "half_pixel" };
        let sampling = Self {
            mode: operator.text("mode").unwrap_or("nearest"),
            transformation: operator.text("coordinate_transformation_mode").unwrap_or(default),
            nearest: operator.text("nearest_mode").unwrap_or(if is_old { "floor" } else { "round_prefer_floor" }),
            cubic: operator.float("cubic_coeff_a", -0.75),
            excludes_outside: operator.flag("exclude_outside", false),
            antialias: operator.flag("antialias", false),
        };
        if sampling.antialias {
            return Err("its 'antialias' is not supported".into());
        }
        if sampling.transformation == "tf_crop_and_resize" {
            return Err("its coordinates are those of tf_crop_and_resize, which is not supported".into());
        }
        Ok(sampling)
    }

    /// The position in the input of an output position.
    fn position(&self, output: usize, [size, target]: [usize; 2], scale: f32) -> Result<f32, Problem> {
        let x = output as f32;
        Ok(match self.transformation {
            "half_pixel" => (x + 0.5) / scale - 0.5,
            "half_pixel_symmetric" => {
                let adjustment = target as f32 / (scale * size as f32);
                let offset = size as f32 / 2.0 * (1.0 - adjustment);
                offset + (x + 0.5) / scale - 0.5
            }
            "pytorch_half_pixel" if target == 1 => 0.0,
            "pytorch_half_pixel" => (x + 0.5) / scale - 0.5,
            "tf_half_pixel_for_nn" => (x + 0.5) / scale,
            "align_corners" if target == 1 => 0.0,
            "align_corners" => x * (size as f32 - 1.0) / (target as f32 - 1.0),
            "asymmetric" => x / scale,
            other => return Err(format!("its coordinates are those of '{other}', which is not supported").into()),
        })
    }

    fn apply(
        &self,
        lowering: &mut Lowering<'_>,
        fact: &Fact,
        axis: usize,
        sizes: [usize; 2],
        scale: f32,
    ) -> Result<Fact, Problem> {
        let [size, target] = sizes;
        let last = size as f32 - 1.0;
        let positions: Vec<f32> =
            (0..target).map(|output| self.position(output, sizes, scale)).collect::<Result<_, _>>()?;
        if self.mode == "nearest" {
            let nearest = |x: f32| match self.nearest {
                "floor" => x.floor(),
                "ceil" => x.ceil(),
                "round_prefer_ceil" => (x + 0.5).floor(),
                _ => (x - 0.5).ceil(),
            };
            let indices: Vec<usize> = positions.iter().map(|x| nearest(*x).clamp(0.0, last) as usize).collect();
            return lowering.select_fact(fact, axis, &indices);
        }
        let (kernel, radius): (Box<dyn Fn(f32) -> f32>, f32) = match self.mode {
            "linear" | "bilinear" => (Box::new(|x: f32| (1.0 - x.abs()).max(0.0)), 1.0),
            "cubic" => (Box::new(|x: f32| cubic(x, self.cubic)), 2.0),
            other => return Err(format!("its mode is '{other}', which is not supported").into()),
        };
        lowering.reserve(&[size, target])?;
        let mut weight = vec![0.0; target * size];
        for (row, x) in weight.chunks_exact_mut(size).zip(positions) {
            let x = if self.mode == "cubic" { x } else { x.clamp(0.0, last) };
            let (first, end) = ((x - radius).floor() as i64, (x + radius).ceil() as i64);
            let taps: Vec<(i64, f32)> = (first..=end).map(|tap| (tap, kernel(tap as f32 - x))).collect();
            let is_inside = |tap: i64| (0..size as i64).contains(&tap);
            let cuts = self.excludes_outside;
            let total: f32 = taps.iter().filter(|(tap, _)| !cuts || is_inside(*tap)).map(|(_, value)| value).sum();
            for (tap, value) in taps {
                if !cuts || is_inside(tap) {
                    row[tap.clamp(0, size as i64 - 1) as usize] += value / total;
                }
            }
        }
        let var = lowering.to_var(fact)?;
        let var = lowering.with_last(&var, axis);
        let mut dims = var.dims.clone();
        dims[axis] = Dim::fixed(target);
        let kind = pointwise(size, target, weight, vec![0.0; target]);
        Ok(Fact::computed(lowering.same_axes(kind, &var, dims)))
    }
}

/// The cubic convolution filter (R. Keys, 1981) with the coefficient `a`.
fn cubic(x: f32, a: f32) -> f32 {
    let x = x.abs();
    if x <= 1.0 {
        ((a + 2.0) * x - (a + 3.0)) * x * x + 1.0
    } else if x < 2.0 {
        ((a * x - 5.0 * a) * x + 8.0 * a) * x - 4.0 * a
    } else {
        0.0
    }
}

//! Operations on tensors of any rank, as calls of Burn's backend functions.

use std::sync::OnceLock;

use burn::backend::ops::{ActivationOps, FloatTensorOps, ModuleOps};
use burn::backend::{Dispatch, DispatchTensor, TensorMetadata};
use burn::tensor::ops::{ConvOptions, ConvTransposeOptions, PadMode};
use burn::tensor::{DType, Device, Shape, Slice, Tensor, TensorData};
use kiln_graph::{Conv, ConvTranspose, TensorOp};
use kiln_ops::{Activation, Binary, Geometry, Reduction, Unary};

/// A tensor of any rank.
type Float = DispatchTensor;

/// Known values on a device, f32, and their copy in the type of the network's values if that is another one.
#[derive(Debug)]
pub(crate) struct Constant {
    value: Float,
    /// Made in the first run. Every run of a network has the same type.
    cast: OnceLock<Float>,
}

impl Constant {
    pub(crate) fn new(values: Vec<f32>, shape: &[usize], device: &Device) -> Self {
        let count = values.len();
        let flat = Tensor::<1>::from_data(TensorData::new(values, [count]), device).into_dispatch();
        Self { value: reshape(flat, if shape.is_empty() { &[1] } else { shape }), cast: OnceLock::new() }
    }

    /// One value for each element of an axis.
    pub(crate) fn row(values: Vec<f32>, device: &Device) -> Self {
        let count = values.len();
        Self::new(values, &[count], device)
    }

    /// The values in the type of the network's values.
    pub(crate) fn in_type(&self, dtype: DType) -> Float {
        if self.value.dtype() == dtype {
            return self.value.clone();
        }
        let cast = self.cast.get_or_init(|| Dispatch::float_cast(self.value.clone(), dtype.into()));
        assert_eq!(cast.dtype(), dtype, "the network ran with another type before");
        cast.clone()
    }
}

pub(crate) fn dtype(tensor: &Float) -> DType {
    tensor.dtype()
}

/// The size of each axis.
pub(crate) fn shape(tensor: &Float) -> Vec<usize> {
    tensor.shape().iter().copied().collect()
}

pub(crate) fn reshape(tensor: Float, to: &[usize]) -> Float {
    if shape(&tensor) == to { tensor } else { Dispatch::float_reshape(tensor, Shape::from(to.to_vec())) }
}

fn permute(tensor: Float, axes: &[usize]) -> Float {
    Dispatch::float_permute(tensor, axes)
}

pub(crate) fn add(left: Float, right: Float) -> Float {
    Dispatch::float_add(left, right)
}

pub(crate) fn pad(tensor: Float, pads: &[[usize; 2]], value: f32) -> Float {
    let pads: Vec<(usize, usize)> = pads.iter().map(|[before, after]| (*before, *after)).collect();
    Dispatch::float_pad(tensor, &pads, PadMode::Constant(value))
}

/// `factor * x + summand` over the last axis.
pub(crate) fn affine(x: Float, factor: Option<&Constant>, summand: Option<&Constant>) -> Float {
    let (rank, dtype) = (x.rank(), x.dtype());
    let last = |constant: &Constant| {
        let row = constant.in_type(dtype);
        let mut to = vec![1; rank - 1];
        to.extend(shape(&row));
        reshape(row, &to)
    };
    let x = match factor {
        Some(factor) => Dispatch::float_mul(x, last(factor)),
        None => x,
    };
    match summand {
        Some(summand) => Dispatch::float_add(x, last(summand)),
        None => x,
    }
}

pub(crate) fn activate(x: Float, activation: Activation) -> Float {
    match activation.function() {
        Some(function) => unary(x, function),
        None => x,
    }
}

/// Runs an elementwise function on the elements as one row, through Burn's typed tensors.
fn on_row(x: Float, work: impl FnOnce(Tensor<1>) -> Tensor<1>) -> Float {
    let own = shape(&x);
    let row = Tensor::<1>::from_dispatch(reshape(x, &[own.iter().product()]));
    reshape(work(row).into_dispatch(), &own)
}

/// An elementwise function.
fn unary(x: Float, function: Unary) -> Float {
    match function {
        Unary::Abs => Dispatch::float_abs(x),
        Unary::Acos => Dispatch::float_acos(x),
        Unary::Acosh => Dispatch::float_acosh(x),
        Unary::Asin => Dispatch::float_asin(x),
        Unary::Asinh => Dispatch::float_asinh(x),
        Unary::Atan => Dispatch::float_atan(x),
        Unary::Atanh => Dispatch::float_atanh(x),
        Unary::Ceil => Dispatch::float_ceil(x),
        Unary::Cos => Dispatch::float_cos(x),
        Unary::Cosh => Dispatch::float_cosh(x),
        Unary::Erf => Dispatch::float_erf(x),
        Unary::Exp => Dispatch::float_exp(x),
        Unary::Floor => Dispatch::float_floor(x),
        Unary::Log => Dispatch::float_log(x),
        Unary::Neg => Dispatch::float_neg(x),
        Unary::Not => on_row(x, |x| x.equal_elem(0.0).float()),
        Unary::Reciprocal => Dispatch::float_recip(x),
        Unary::Round => Dispatch::float_round(x),
        Unary::Sigmoid => Dispatch::sigmoid(x),
        Unary::Sign => Dispatch::float_sign(x),
        Unary::Sin => Dispatch::float_sin(x),
        Unary::Sinh => Dispatch::float_sinh(x),
        // max(x, 0) + log(1 + exp(-|x|)), which does not overflow.
        Unary::Softplus => {
            let tail = Dispatch::float_exp(Dispatch::float_neg(Dispatch::float_abs(x.clone())));
            Dispatch::float_add(Dispatch::relu(x), Dispatch::float_log1p(tail))
        }
        Unary::Softsign => {
            let divisor = Dispatch::float_add_scalar(Dispatch::float_abs(x.clone()), 1.0.into());
            Dispatch::float_div(x, divisor)
        }
        Unary::Sqrt => Dispatch::float_sqrt(x),
        Unary::Tan => Dispatch::float_tan(x),
        Unary::Tanh => Dispatch::float_tanh(x),
        Unary::Trunc => Dispatch::float_trunc(x),
        Unary::IsNan => on_row(x, |x| x.is_nan().float()),
        Unary::IsInf => on_row(x, |x| x.is_inf().float()),
        Unary::Swish { alpha } => {
            let gate = Dispatch::sigmoid(scaled(x.clone(), alpha));
            Dispatch::float_mul(x, gate)
        }
        Unary::Gelu => {
            let bent = Dispatch::float_erf(scaled(x.clone(), std::f32::consts::FRAC_1_SQRT_2));
            Dispatch::float_mul(scaled(x, 0.5), Dispatch::float_add_scalar(bent, 1.0.into()))
        }
        Unary::GeluTanh => {
            let cube = Dispatch::float_mul(Dispatch::float_mul(x.clone(), x.clone()), scaled(x.clone(), 0.044_715));
            let bent = Dispatch::float_tanh(scaled(Dispatch::float_add(x.clone(), cube), 0.797_884_6));
            Dispatch::float_mul(scaled(x, 0.5), Dispatch::float_add_scalar(bent, 1.0.into()))
        }
        Unary::Mish => {
            let bent = Dispatch::float_tanh(unary(x.clone(), Unary::Softplus));
            Dispatch::float_mul(x, bent)
        }
        Unary::LeakyRelu { slope } => {
            let negative = scaled(Dispatch::float_clamp_max(x.clone(), 0.0.into()), slope);
            Dispatch::float_add(Dispatch::relu(x), negative)
        }
        Unary::Elu { alpha, gamma, scale } => {
            let negative = scaled(Dispatch::float_clamp_max(x.clone(), 0.0.into()), scale);
            let negative = scaled(Dispatch::float_add_scalar(Dispatch::float_exp(negative), (-1.0).into()), alpha);
            scaled(Dispatch::float_add(Dispatch::relu(x), negative), gamma)
        }
        Unary::ThresholdedRelu { alpha } => on_row(x, |x| {
            let keeps = x.clone().greater_elem(alpha);
            x.zeros_like().mask_where(keeps, x)
        }),
        Unary::Shrink { lambda, bias } => on_row(x, |x| {
            let zeros = x.zeros_like().mask_where(x.clone().lower_elem(-lambda), x.clone() + bias);
            zeros.mask_where(x.clone().greater_elem(lambda), x - bias)
        }),
        Unary::Clamp { low, high } => {
            let x = if low > f32::NEG_INFINITY { Dispatch::float_clamp_min(x, low.into()) } else { x };
            if high < f32::INFINITY { Dispatch::float_clamp_max(x, high.into()) } else { x }
        }
        Unary::HardSigmoid { alpha, beta } => {
            let line = Dispatch::float_add_scalar(scaled(x, alpha), beta.into());
            Dispatch::float_clamp(line, 0.0.into(), 1.0.into())
        }
        Unary::HardSwish => {
            let gate = unary(x.clone(), Unary::HardSigmoid { alpha: 1.0 / 6.0, beta: 0.5 });
            Dispatch::float_mul(x, gate)
        }
        Unary::Power(2.0) => Dispatch::float_mul(x.clone(), x),
        Unary::Power(exponent) => Dispatch::float_powf_scalar(x, exponent.into()),
    }
}

fn scaled(x: Float, factor: f32) -> Float {
    if factor == 1.0 { x } else { Dispatch::float_mul_scalar(x, factor.into()) }
}

/// Repeats axes of size 1.
fn expand(x: Float, to: &[usize]) -> Float {
    if shape(&x) == to { x } else { Dispatch::float_expand(x, Shape::from(to.to_vec())) }
}

/// The shape of two tensors of equal rank after broadcasting.
fn common_shape(left: &Float, right: &Float) -> Vec<usize> {
    shape(left).iter().zip(shape(right)).map(|(left, right)| if *left == 1 { right } else { *left }).collect()
}

/// Runs an elementwise operation on the elements as rows.
fn on_rows(left: Float, right: Float, work: impl FnOnce(Tensor<1>, Tensor<1>) -> Tensor<1>) -> Float {
    let common = common_shape(&left, &right);
    let row = |x: Float| Tensor::<1>::from_dispatch(reshape(expand(x, &common), &[common.iter().product()]));
    reshape(work(row(left), row(right)).into_dispatch(), &common)
}

fn binary(op: Binary, left: Float, right: Float) -> Float {
    let is_set = |x: Tensor<1>| x.not_equal_elem(0.0);
    match op {
        Binary::Add => Dispatch::float_add(left, right),
        Binary::Sub => Dispatch::float_sub(left, right),
        Binary::Mul => Dispatch::float_mul(left, right),
        Binary::Div => Dispatch::float_div(left, right),
        // The remainder with the sign of the dividend, as C's `fmod`.
        Binary::Mod => {
            let quotient = Dispatch::float_trunc(Dispatch::float_div(left.clone(), right.clone()));
            Dispatch::float_sub(left, Dispatch::float_mul(quotient, right))
        }
        Binary::Pow => on_rows(left, right, |left, right| left.powf(right)),
        Binary::Min => on_rows(left, right, Tensor::min_pair),
        Binary::Max => on_rows(left, right, Tensor::max_pair),
        Binary::PRelu => {
            let negative = Dispatch::float_mul(Dispatch::float_clamp_max(left.clone(), 0.0.into()), right);
            Dispatch::float_add(Dispatch::relu(left), negative)
        }
        Binary::Equal => on_rows(left, right, |left, right| left.equal(right).float()),
        Binary::Less => on_rows(left, right, |left, right| left.lower(right).float()),
        Binary::LessOrEqual => on_rows(left, right, |left, right| left.lower_equal(right).float()),
        Binary::Greater => on_rows(left, right, |left, right| left.greater(right).float()),
        Binary::GreaterOrEqual => on_rows(left, right, |left, right| left.greater_equal(right).float()),
        Binary::And => on_rows(left, right, |left, right| is_set(left).bool_and(is_set(right)).float()),
        Binary::Or => on_rows(left, right, |left, right| is_set(left).bool_or(is_set(right)).float()),
        Binary::Xor => on_rows(left, right, |left, right| is_set(left).bool_xor(is_set(right)).float()),
    }
}

fn select_where(condition: Float, yes: Float, no: Float) -> Float {
    let values = common_shape(&yes, &no);
    let common: Vec<usize> = values.iter().zip(shape(&condition)).map(|(a, b)| if *a == 1 { b } else { *a }).collect();
    let row = |x: Float| Tensor::<1>::from_dispatch(reshape(expand(x, &common), &[common.iter().product()]));
    let (condition, yes, no) = (row(condition), row(yes), row(no));
    reshape(no.mask_where(condition.not_equal_elem(0.0), yes).into_dispatch(), &common)
}

/// An operation with its constants on the device.
#[derive(Debug)]
pub(crate) enum PreparedOp {
    /// An operation without constants.
    Plain(TensorOp),
    LayerNorm {
        epsilon: f32,
        scale: Constant,
        bias: Constant,
    },
    Select {
        axis: usize,
        indices: Tensor<1, burn::tensor::Int>,
    },
    ConvTranspose {
        op: Box<ConvTranspose>,
        weight: Constant,
        bias: Constant,
    },
}

impl PreparedOp {
    pub(crate) fn new(op: TensorOp, device: &Device) -> Self {
        match op {
            TensorOp::LayerNorm { epsilon, scale, bias } => {
                Self::LayerNorm { epsilon, scale: Constant::row(scale, device), bias: Constant::row(bias, device) }
            }
            TensorOp::Select { axis, indices } => {
                let indices: Vec<i64> = indices.iter().map(|index| *index as i64).collect();
                let count = indices.len();
                Self::Select { axis, indices: Tensor::from_data(TensorData::new(indices, [count]), device) }
            }
            TensorOp::ConvTranspose(mut op) => {
                let [height, width] = op.kernel;
                let to = [op.inputs, op.outputs / op.groups, height, width];
                let weight = Constant::new(std::mem::take(&mut op.weight), &to, device);
                let bias = Constant::row(std::mem::take(&mut op.bias), device);
                Self::ConvTranspose { op, weight, bias }
            }
            op => Self::Plain(op),
        }
    }

    /// Runs the operation on a batch of `images`.
    pub(crate) fn run(&self, inputs: Vec<Float>, images: usize) -> Float {
        let mut inputs = inputs.into_iter();
        let mut next = || inputs.next().expect("an operation has all its inputs");
        let op = match self {
            Self::LayerNorm { epsilon, scale, bias } => {
                let x = next();
                let dtype = x.dtype();
                return Dispatch::layer_norm(x, scale.in_type(dtype), Some(bias.in_type(dtype)), f64::from(*epsilon));
            }
            Self::Select { axis, indices } => {
                return Dispatch::float_select(next(), *axis, indices.clone().into_dispatch());
            }
            Self::ConvTranspose { op, weight, bias } => return conv_transpose(next(), op, weight, bias),
            Self::Plain(op) => op,
        };
        match op {
            TensorOp::Reshape(dims) => {
                let to: Vec<usize> = dims.iter().map(|dim| dim.at(images)).collect();
                reshape(next(), &to)
            }
            TensorOp::Permute(axes) => permute(next(), axes),
            TensorOp::Slice { axis, start, end, step } => {
                let x = next();
                let mut slices = vec![Slice::full(); x.rank()];
                slices[*axis] = Slice::new(*start as isize, Some(*end as isize), *step as isize);
                let slices: Vec<Slice> = slices
                    .into_iter()
                    .zip(shape(&x))
                    .map(|(slice, size)| Slice { end: slice.end.or(Some(size as isize)), ..slice })
                    .collect();
                Dispatch::float_slice(x, &slices)
            }
            TensorOp::Expand(dims) => {
                let to: Vec<usize> = dims.iter().map(|dim| dim.at(images)).collect();
                expand(next(), &to)
            }
            TensorOp::Concat(axis) => Dispatch::float_cat(inputs.collect(), *axis),
            TensorOp::Pad { pads, value } => pad(next(), pads, *value),
            TensorOp::Unary(function) => unary(next(), *function),
            TensorOp::Binary(op) => {
                let left = next();
                binary(*op, left, next())
            }
            TensorOp::Where => {
                let (condition, yes) = (next(), next());
                select_where(condition, yes, next())
            }
            TensorOp::Reduce { reduction, axes, .. } => axes.iter().fold(next(), |x, axis| match reduction {
                Reduction::Sum => Dispatch::float_sum_dim(x, *axis),
                Reduction::Mean => Dispatch::float_mean_dim(x, *axis),
                Reduction::Max => Dispatch::float_max_dim(x, *axis),
                Reduction::Min => Dispatch::float_min_dim(x, *axis),
                Reduction::Product => Dispatch::float_prod_dim(x, *axis),
            }),
            TensorOp::Softmax { axis, is_log: false, .. } => Dispatch::softmax(next(), *axis),
            TensorOp::Softmax { axis, is_log: true, .. } => Dispatch::log_softmax(next(), *axis),
            TensorOp::MatMul => {
                let left = next();
                Dispatch::float_matmul(left, next())
            }
            TensorOp::DilatedMaxPool { geometry, dilation } => dilated_max_pool(next(), geometry, *dilation),
            TensorOp::LayerNorm { .. } | TensorOp::Select { .. } | TensorOp::ConvTranspose(_) => {
                unreachable!("these operations are prepared")
            }
        }
    }
}

const TO_CHANNELS_FIRST: [usize; 4] = [0, 3, 1, 2];
const TO_CHANNELS_LAST: [usize; 4] = [0, 2, 3, 1];

fn dilated_max_pool(x: Float, geometry: &Geometry, dilation: [usize; 2]) -> Float {
    let Geometry { kernel, stride, before, after } = *geometry;
    let pads = [[0, 0], [before[0], after[0]], [before[1], after[1]], [0, 0]];
    let x = permute(pad(x, &pads, f32::NEG_INFINITY), &TO_CHANNELS_FIRST);
    permute(Dispatch::max_pool2d(x, kernel, stride, [0, 0], dilation, false), &TO_CHANNELS_LAST)
}

fn conv_transpose(x: Float, op: &ConvTranspose, weight: &Constant, bias: &Constant) -> Float {
    let (weight, bias) = (weight.in_type(x.dtype()), bias.in_type(x.dtype()));
    let x = permute(x, &TO_CHANNELS_FIRST);
    let options = ConvTransposeOptions::new(op.stride, [0, 0], [0, 0], op.dilation, op.groups);
    let full = Dispatch::conv_transpose2d(x, weight, Some(bias.clone()), options);
    // Rows and columns after the last window, which `output_padding` adds, have the bias alone.
    let mut full_size = shape(&full);
    let missing: Vec<usize> =
        (0..2).map(|axis| (op.before[axis] + op.size[axis]).saturating_sub(full_size[2 + axis])).collect();
    let mut full = full;
    for (axis, count) in missing.into_iter().enumerate() {
        if count > 0 {
            let mut to = full_size.clone();
            to[2 + axis] = count;
            let rest = expand(reshape(bias.clone(), &[1, op.outputs, 1, 1]), &to);
            full = Dispatch::float_cat(vec![full, rest], 2 + axis);
            full_size[2 + axis] += count;
        }
    }
    let slice = |start: usize, size: usize| Slice::new(start as isize, Some((start + size) as isize), 1);
    let whole = |axis: usize| slice(0, full_size[axis]);
    let cut = [whole(0), whole(1), slice(op.before[0], op.size[0]), slice(op.before[1], op.size[1])];
    permute(Dispatch::float_slice(full, &cut), &TO_CHANNELS_LAST)
}

/// A convolution without a fused kernel: groups, dilation, or a depthwise window of another size.
#[derive(Debug)]
pub(crate) struct GeneralConv {
    conv: Conv,
    weight: Constant,
    bias: Constant,
}

impl GeneralConv {
    pub(crate) fn new(mut conv: Conv, device: &Device) -> Self {
        let [height, width] = conv.geometry.kernel;
        let to = [conv.outputs, conv.inputs / conv.groups, height, width];
        let weight = Constant::new(std::mem::take(&mut conv.weight), &to, device);
        let bias = Constant::row(std::mem::take(&mut conv.bias), device);
        Self { conv, weight, bias }
    }

    pub(crate) fn run(&self, x: Float, residual: Option<Float>) -> Float {
        let Geometry { kernel: _, stride, before, after } = self.conv.geometry;
        let pads = [[0, 0], [before[0], after[0]], [before[1], after[1]], [0, 0]];
        let x = if before == [0, 0] && after == [0, 0] { x } else { pad(x, &pads, 0.0) };
        let (weight, bias) = (self.weight.in_type(x.dtype()), self.bias.in_type(x.dtype()));
        let options = ConvOptions::new(stride, [0, 0], self.conv.dilation, self.conv.groups);
        let output = Dispatch::conv2d(permute(x, &TO_CHANNELS_FIRST), weight, Some(bias), options);
        let output = permute(output, &TO_CHANNELS_LAST);
        let output = match residual {
            Some(residual) => Dispatch::float_add(output, residual),
            None => output,
        };
        activate(output, self.conv.activation)
    }
}

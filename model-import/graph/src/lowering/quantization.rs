//! Quantised files, computed in floating point. A quantised value is a float that holds an integer.

use kiln_ops::{Binary, Reduction, Unary};

use crate::host::{Array, Host};
use crate::onnx::ElementType;

use super::convolution::{conv, pool};
use super::operator::axis_at;
use super::{Fact, FactKind, Lowering, Operator, Outputs, Problem, Var};

/// Scale and zero point of a quantised tensor: one number each, or one for each element of an axis.
#[derive(Clone)]
struct Quantizer {
    scale: Fact,
    zero: Option<Fact>,
    /// The axis of scales, if there are several.
    axis: i64,
    element: ElementType,
}

impl Quantizer {
    /// Scale and zero point from two inputs.
    fn read(operator: &Operator<'_>, first: usize, default: ElementType) -> Result<Self, Problem> {
        let zero = operator.optional(first + 1).cloned();
        let element = zero.as_ref().map_or(default, |zero| zero.element);
        Ok(Self { scale: operator.input(first)?.clone(), zero, axis: operator.int("axis", 1), element })
    }

    /// The parameters with axes of size 1 behind theirs, so that they fit a tensor of `rank` axes.
    fn aligned(&self, lowering: &mut Lowering<'_>, rank: usize) -> Result<(Fact, Option<Fact>), Problem> {
        let mut align = |fact: &Fact| -> Result<Fact, Problem> {
            if !Lowering::is_known(fact) || fact.rank() != 1 || fact.dims()[0].is_one() {
                return match lowering.host_float(fact)? {
                    Some(array) if array.data.len() == 1 => Ok(Fact::float(Array::scalar(array.data[0]))),
                    _ => Ok(fact.clone()),
                };
            }
            let axis = axis_at(self.axis, rank)?;
            let array = lowering.known_floats(fact)?;
            let mut shape = vec![1; rank];
            shape[axis] = array.data.len();
            Ok(Fact::float(array.reshape(shape).ok_or("its scales do not fit")?))
        };
        let scale = align(&self.scale)?;
        let zero = self.zero.as_ref().map(&mut align).transpose()?;
        Ok((scale, zero))
    }
}

impl Lowering<'_> {
    fn dequantized(&mut self, fact: &Fact, by: &Quantizer) -> Result<Fact, Problem> {
        let (scale, zero) = by.aligned(self, fact.rank())?;
        let shifted = match zero {
            Some(zero) => self.combine(Binary::Sub, &self.as_float(fact), &self.as_float(&zero))?,
            None => self.as_float(fact),
        };
        Ok(self.combine(Binary::Mul, &shifted, &scale)?.with_element(ElementType::F32))
    }

    /// Integers of 32 bits as floats.
    fn as_float(&self, fact: &Fact) -> Fact {
        match &fact.kind {
            FactKind::Host(host @ Host::Int(_)) => host.to_float().map_or_else(|| fact.clone(), Fact::float),
            _ => fact.clone(),
        }
    }

    fn quantized(&mut self, fact: &Fact, by: &Quantizer) -> Result<Fact, Problem> {
        let [low, high] = by.element.range().ok_or("its zero point is no small integer")?;
        let (scale, zero) = by.aligned(self, fact.rank())?;
        let scaled = self.combine(Binary::Div, fact, &scale)?;
        let rounded = self.function(Unary::Round, &scaled)?;
        let shifted = match zero {
            Some(zero) => self.combine(Binary::Add, &rounded, &self.as_float(&zero))?,
            None => rounded,
        };
        Ok(self.function(Unary::Clamp { low, high }, &shifted)?.with_element(by.element))
    }

    /// A function of a fact that is known or not.
    pub(super) fn function(&mut self, function: Unary, fact: &Fact) -> Result<Fact, Problem> {
        if let Some(array) = self.host_float(fact)? {
            self.reserve(&array.shape)?;
            return Ok(Fact::float(array.map(|x| function.of(*x))));
        }
        let var = self.to_var(fact)?;
        Ok(Fact::computed(self.unary_op(function, &var)))
    }

    /// A fact that the file names twice under other names: the operator with other inputs.
    fn with_inputs<'b>(operator: &Operator<'b>, inputs: Vec<Option<Fact>>) -> Operator<'b> {
        Operator { node: operator.node, inputs, opset: operator.opset }
    }
}

/// `QuantizeLinear`.
pub(crate) fn quantize(lowering: &mut Lowering<'_>, operator: &Operator<'_>) -> Outputs {
    let declared = ElementType::from_onnx(i32::try_from(operator.int("output_dtype", 0)).unwrap_or(0));
    let by = Quantizer::read(operator, 1, declared.unwrap_or(ElementType::U8))?;
    if operator.int("block_size", 0) != 0 {
        return Err("it quantises in blocks, which is not supported".into());
    }
    let input = operator.input(0)?.clone();
    Ok(vec![lowering.quantized(&input, &by)?])
}

/// `DequantizeLinear`.
pub(crate) fn dequantize(lowering: &mut Lowering<'_>, operator: &Operator<'_>) -> Outputs {
    if operator.int("block_size", 0) != 0 {
        return Err("it dequantises in blocks, which is not supported".into());
    }
    let input = operator.input(0)?.clone();
    let by = Quantizer::read(operator, 1, input.element)?;
    // Integers that are stored in the file are read here.
    let input = match lowering.host(&input)? {
        Some(host) => Fact { element: input.element, kind: FactKind::Host(host) },
        None => input,
    };
    Ok(vec![lowering.dequantized(&input, &by)?])
}

/// `DynamicQuantizeLinear`: scale and zero point of each image.
pub(crate) fn dynamic_quantize(lowering: &mut Lowering<'_>, operator: &Operator<'_>) -> Outputs {
    let input = operator.var(lowering, 0)?;
    let axes: Vec<usize> = (0..input.rank()).filter(|axis| !input.dims[*axis].batched).collect();
    let largest = lowering.reduce_op(Reduction::Max, &input, &axes);
    let largest = lowering.unary_op(Unary::Clamp { low: 0.0, high: f32::INFINITY }, &largest);
    let smallest = lowering.reduce_op(Reduction::Min, &input, &axes);
    let smallest = lowering.unary_op(Unary::Clamp { low: f32::NEG_INFINITY, high: 0.0 }, &smallest);
    let (largest, smallest) = (Fact::computed(largest), Fact::computed(smallest));
    let span = lowering.binary_op(Binary::Sub, &largest, &smallest)?;
    let scale = lowering.multiply(&span, 1.0 / 255.0)?;
    let scale = Fact::computed(lowering.unary_op(Unary::Clamp { low: f32::MIN_POSITIVE, high: f32::INFINITY }, &scale));
    let ratio = lowering.binary_op(Binary::Div, &smallest, &scale)?;
    let zero = lowering.unary_op(Unary::Neg, &ratio);
    let zero = lowering.unary_op(Unary::Round, &zero);
    let zero =
        Fact::computed(lowering.unary_op(Unary::Clamp { low: 0.0, high: 255.0 }, &zero)).with_element(ElementType::U8);
    let by = Quantizer { scale: scale.clone(), zero: Some(zero.clone()), axis: 1, element: ElementType::U8 };
    let output = lowering.quantized(&Fact::computed(input), &by)?;
    Ok(vec![output, scale, zero])
}

/// `QLinearConv`: value, weights and result with scale and zero point each, then the bias in units of both scales.
pub(crate) fn qlinear_conv(lowering: &mut Lowering<'_>, operator: &Operator<'_>) -> Outputs {
    let input = operator.input(0)?.clone();
    let by_input = Quantizer::read(operator, 1, input.element)?;
    let weight = operator.input(3)?.clone();
    let by_weight = Quantizer { axis: 0, ..Quantizer::read(operator, 4, weight.element)? };
    let by_output = Quantizer::read(operator, 6, ElementType::U8)?;
    let x = lowering.dequantized(&input, &by_input)?;
    let w = lowering.dequantized(&weight, &by_weight)?;
    let bias = match operator.optional(8) {
        Some(bias) => {
            let unit = lowering.combine(Binary::Mul, &by_input.scale, &by_weight.scale)?;
            let bias = Fact::float(lowering.known_floats(bias)?);
            Some(lowering.combine(Binary::Mul, &bias, &unit)?)
        }
        None => None,
    };
    let outputs = conv(lowering, &Lowering::with_inputs(operator, vec![Some(x), Some(w), bias]))?;
    Ok(vec![lowering.quantized(outputs.first().ok_or("it has no result")?, &by_output)?])
}

/// `QLinearMatMul`.
pub(crate) fn qlinear_matmul(lowering: &mut Lowering<'_>, operator: &Operator<'_>) -> Outputs {
    let (a, b) = (operator.input(0)?.clone(), operator.input(3)?.clone());
    let (by_a, by_b) = (Quantizer::read(operator, 1, a.element)?, Quantizer::read(operator, 4, b.element)?);
    // Scales of the second operand belong to its columns.
    let by_b = Quantizer { axis: -1, ..by_b };
    let (a, b) = (lowering.dequantized(&a, &by_a)?, lowering.dequantized(&b, &by_b)?);
    let product = Fact::computed(lowering.matrix_product(&a, &b)?);
    Ok(vec![lowering.quantized(&product, &Quantizer::read(operator, 6, ElementType::U8)?)?])
}

/// `ConvInteger`: value, weights, zero points of both.
pub(crate) fn conv_integer(lowering: &mut Lowering<'_>, operator: &Operator<'_>) -> Outputs {
    let x = lowering.without_zero(operator, 0, 2, 1)?;
    let w = lowering.without_zero(operator, 1, 3, 0)?;
    let outputs = conv(lowering, &Lowering::with_inputs(operator, vec![Some(x), Some(w)]))?;
    Ok(outputs.into_iter().map(|output| output.with_element(ElementType::I32)).collect())
}

/// `MatMulInteger`: both operands, zero points of both.
pub(crate) fn matmul_integer(lowering: &mut Lowering<'_>, operator: &Operator<'_>) -> Outputs {
    let a = lowering.without_zero(operator, 0, 2, -2)?;
    let b = lowering.without_zero(operator, 1, 3, -1)?;
    Ok(vec![Fact::computed(lowering.matrix_product(&a, &b)?).with_element(ElementType::I32)])
}

impl Lowering<'_> {
    fn without_zero(&mut self, operator: &Operator<'_>, input: usize, zero: usize, axis: i64) -> Result<Fact, Problem> {
        let value = operator.input(input)?.clone();
        let Some(zero) = operator.optional(zero).cloned() else { return Ok(value) };
        let one = Fact::float(Array::scalar(1.0));
        let by = Quantizer { scale: one, zero: Some(zero), axis, element: value.element };
        self.dequantized(&value, &by)
    }
}

/// `QLinearAdd` and `QLinearMul` of ONNX Runtime.
pub(crate) fn qlinear_binary(lowering: &mut Lowering<'_>, operator: &Operator<'_>) -> Outputs {
    let (a, b) = (operator.input(0)?.clone(), operator.input(3)?.clone());
    let (by_a, by_b) = (Quantizer::read(operator, 1, a.element)?, Quantizer::read(operator, 4, b.element)?);
    let (a, b) = (lowering.dequantized(&a, &by_a)?, lowering.dequantized(&b, &by_b)?);
    let op = if operator.op_type() == "QLinearAdd" { Binary::Add } else { Binary::Mul };
    let result = lowering.combine(op, &a, &b)?;
    Ok(vec![lowering.quantized(&result, &Quantizer::read(operator, 6, ElementType::U8)?)?])
}

/// `QLinearSigmoid` and `QLinearLeakyRelu` of ONNX Runtime.
pub(crate) fn qlinear_unary(lowering: &mut Lowering<'_>, operator: &Operator<'_>) -> Outputs {
    let input = operator.input(0)?.clone();
    let by = Quantizer::read(operator, 1, input.element)?;
    let value = lowering.dequantized(&input, &by)?;
    let function = match operator.op_type() {
        "QLinearSigmoid" => Unary::Sigmoid,
        _ => Unary::LeakyRelu { slope: operator.float("alpha", 0.01) },
    };
    let result = lowering.function(function, &value)?;
    Ok(vec![lowering.quantized(&result, &Quantizer::read(operator, 3, ElementType::U8)?)?])
}

/// `QLinearAveragePool` and `QLinearGlobalAveragePool` of ONNX Runtime.
pub(crate) fn qlinear_pool(lowering: &mut Lowering<'_>, operator: &Operator<'_>) -> Outputs {
    let input = operator.input(0)?.clone();
    let by = Quantizer::read(operator, 1, input.element)?;
    let mut value = lowering.dequantized(&input, &by)?;
    let is_last = operator.flag("channels_last", false);
    let rank = value.rank();
    if rank < 3 {
        return Err("its input is no image".into());
    }
    if is_last {
        let perm: Vec<usize> = [0, rank - 1].into_iter().chain(1..rank - 1).collect();
        value = lowering.transpose_fact(&value, &perm)?;
    }
    let inner = Lowering::with_inputs(operator, vec![Some(value)]);
    let outputs = match operator.op_type() {
        // The operator's name decides what is computed, and ends as that of the plain one.
        "QLinearGlobalAveragePool" => {
            let axes: Vec<usize> = (2..rank).collect();
            let var = inner.var(lowering, 0)?;
            vec![Fact::computed(lowering.reduce_op(Reduction::Mean, &var, &axes))]
        }
        _ => {
            let node = crate::onnx::NodeProto { op_type: "AveragePool".to_string(), ..operator.node.clone() };
            pool(lowering, &Operator { node: &node, inputs: inner.inputs, opset: operator.opset })?
        }
    };
    let mut result = outputs.into_iter().next().ok_or("it has no result")?;
    if is_last {
        let perm: Vec<usize> = [0].into_iter().chain(2..rank).chain([1]).collect();
        result = lowering.transpose_fact(&result, &perm)?;
    }
    Ok(vec![lowering.quantized(&result, &Quantizer::read(operator, 3, ElementType::U8)?)?])
}

/// `QLinearConcat` of ONNX Runtime: the result's parameters, then each input with its own.
pub(crate) fn qlinear_concat(lowering: &mut Lowering<'_>, operator: &Operator<'_>) -> Outputs {
    let by = Quantizer::read(operator, 0, ElementType::U8)?;
    let mut values = Vec::new();
    for first in (2..operator.inputs.len()).step_by(3) {
        let value = operator.input(first)?.clone();
        let own = Quantizer::read(operator, first + 1, value.element)?;
        values.push(lowering.dequantized(&value, &own)?);
    }
    let axis = axis_at(operator.int("axis", 1), values.first().map_or(0, Fact::rank))?;
    let joined = lowering.concat_facts(&values, axis)?;
    Ok(vec![lowering.quantized(&joined, &by)?])
}

/// `QLinearSoftmax` of ONNX Runtime.
pub(crate) fn qlinear_softmax(lowering: &mut Lowering<'_>, operator: &Operator<'_>) -> Outputs {
    let input = operator.input(0)?.clone();
    let by = Quantizer::read(operator, 1, input.element)?;
    let value = lowering.dequantized(&input, &by)?;
    let var: Var = lowering.to_var(&value)?;
    let axis = axis_at(operator.int("axis", -1), var.rank())?;
    let result = Fact::computed(lowering.softmax_op(&var, axis, false)?);
    Ok(vec![lowering.quantized(&result, &Quantizer::read(operator, 3, ElementType::U8)?)?])
}

/// `QGemm` of ONNX Runtime: both operands with their parameters, the bias, and perhaps the result's parameters.
pub(crate) fn qgemm(lowering: &mut Lowering<'_>, operator: &Operator<'_>) -> Outputs {
    if operator.float("alpha", 1.0) != 1.0 {
        return Err("its 'alpha' is not 1, which is not supported".into());
    }
    let (mut a, mut b) = (operator.input(0)?.clone(), operator.input(3)?.clone());
    let by_a = Quantizer::read(operator, 1, a.element)?;
    let by_b = Quantizer {
        axis: if operator.flag("transB", false) { 0 } else { 1 },
        ..Quantizer::read(operator, 4, b.element)?
    };
    (a, b) = (lowering.dequantized(&a, &by_a)?, lowering.dequantized(&b, &by_b)?);
    if operator.flag("transA", false) {
        a = lowering.transpose_fact(&a, &[1, 0])?;
    }
    if operator.flag("transB", false) {
        b = lowering.transpose_fact(&b, &[1, 0])?;
    }
    let mut product = Fact::computed(lowering.matrix_product(&a, &b)?);
    if let Some(bias) = operator.optional(6) {
        let unit = lowering.combine(Binary::Mul, &by_a.scale, &by_b.scale)?;
        let bias = Fact::float(lowering.known_floats(bias)?);
        let bias = lowering.combine(Binary::Mul, &bias, &unit)?;
        product = lowering.combine(Binary::Add, &product, &bias)?;
    }
    if operator.optional(7).is_none() {
        return Ok(vec![product]);
    }
    Ok(vec![lowering.quantized(&product, &Quantizer::read(operator, 7, ElementType::U8)?)?])
}

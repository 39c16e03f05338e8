//! The values of ONNX tensors as floats or integers.

use super::proto::TensorProto;
use super::read_error::ReadError;
use super::reader::OnnxSource;
use crate::host::{Array, Host, Linear};
use crate::message_text::shorten;

/// The maximum number of elements of an integer tensor of 32 or 64 bits, which holds shapes and indices.
const MAX_INTEGERS: usize = 1 << 24;

/// The element type of an ONNX tensor (`TensorProto.DataType`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum ElementType {
    F32,
    F16,
    Bf16,
    F64,
    U8,
    I8,
    U16,
    I16,
    I32,
    I64,
    U32,
    U64,
    Bool,
    U4,
    I4,
}

impl ElementType {
    /// The type of an ONNX number, if Kiln supports it.
    pub fn from_onnx(number: i32) -> Option<Self> {
        Some(match number {
            1 => Self::F32,
            2 => Self::U8,
            3 => Self::I8,
            4 => Self::U16,
            5 => Self::I16,
            6 => Self::I32,
            7 => Self::I64,
            9 => Self::Bool,
            10 => Self::F16,
            11 => Self::F64,
            12 => Self::U32,
            13 => Self::U64,
            16 => Self::Bf16,
            21 => Self::U4,
            22 => Self::I4,
            _ => return None,
        })
    }

    /// Whether the values are floating-point numbers.
    pub fn is_float(self) -> bool {
        matches!(self, Self::F32 | Self::F16 | Self::Bf16 | Self::F64)
    }

    /// Whether the values are shapes, indices or conditions, which are computed exactly and when the file is read.
    pub fn is_index(self) -> bool {
        matches!(self, Self::I32 | Self::I64 | Self::U32 | Self::U64 | Self::Bool)
    }

    /// The smallest and the largest value of an integer type of at most 16 bits.
    pub fn range(self) -> Option<[f32; 2]> {
        Some(match self {
            Self::U8 => [0.0, 255.0],
            Self::I8 => [-128.0, 127.0],
            Self::U16 => [0.0, 65535.0],
            Self::I16 => [-32768.0, 32767.0],
            Self::U4 => [0.0, 15.0],
            Self::I4 => [-8.0, 7.0],
            _ => return None,
        })
    }

    /// Name as in NumPy.
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "float32",
            Self::F16 => "float16",
            Self::Bf16 => "bfloat16",
            Self::F64 => "float64",
            Self::U8 => "uint8",
            Self::I8 => "int8",
            Self::U16 => "uint16",
            Self::I16 => "int16",
            Self::I32 => "int32",
            Self::I64 => "int64",
            Self::U32 => "uint32",
            Self::U64 => "uint64",
            Self::Bool => "bool",
            Self::U4 => "uint4",
            Self::I4 => "int4",
        }
    }

    /// Size of an element in bits.
    pub(crate) fn bits(self) -> usize {
        match self {
            Self::F64 | Self::I64 | Self::U64 => 64,
            Self::F32 | Self::I32 | Self::U32 => 32,
            Self::F16 | Self::Bf16 | Self::U16 | Self::I16 => 16,
            Self::U8 | Self::I8 | Self::Bool => 8,
            Self::U4 | Self::I4 => 4,
        }
    }
}

/// Why the values of a tensor cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TensorError {
    /// The values cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The tensor contradicts itself, or its type is not supported.
    #[error("tensor '{name}' {reason}")]
    Invalid {
        /// Its name, as a message shows it.
        name: String,
        /// What is wrong.
        reason: String,
    },
}

/// The name of an element type that [`ElementType::from_onnx`] does not know.
pub(crate) fn type_name(number: i32) -> String {
    let name = match number {
        0 => "undefined",
        8 => "string",
        14 => "complex64",
        15 => "complex128",
        17 => "float8e4m3fn",
        18 => "float8e4m3fnuz",
        19 => "float8e5m2",
        20 => "float8e5m2fnuz",
        23 => "float4e2m1",
        24 => "float8e8m0",
        25 => "uint2",
        26 => "int2",
        other => return format!("{other}, which ONNX does not define"),
    };
    name.to_string()
}

impl OnnxSource {
    /// Reads a tensor. Floating-point numbers of all sizes, and integers of at most 16 bits, become `f32`. Other integers
    /// become [`Linear`] numbers.
    pub(crate) fn tensor(&self, tensor: &TensorProto) -> Result<(Host, ElementType), TensorError> {
        let invalid = |reason: String| TensorError::Invalid { name: shorten(&tensor.name), reason };
        let element = ElementType::from_onnx(tensor.data_type).ok_or_else(|| {
            invalid(format!("has the element type {}, which Kiln does not support", type_name(tensor.data_type)))
        })?;
        let shape: Option<Vec<usize>> = tensor.dims.iter().map(|dim| usize::try_from(*dim).ok()).collect();
        let shape = shape.ok_or_else(|| invalid(format!("has the shape {:?}", tensor.dims)))?;
        let count = crate::host::checked_elements(&shape).map(|_| shape.iter().product::<usize>());
        let bytes = count.and_then(|count| count.checked_mul(element.bits())).map(|bits| bits.div_ceil(8));
        let (Some(count), Some(bytes)) = (count, bytes) else {
            return Err(invalid(format!("has the shape {:?}, whose size overflows", tensor.dims)));
        };
        if element.is_index() && count > MAX_INTEGERS {
            return Err(invalid(format!("has {count} integers, but at most {MAX_INTEGERS} are shapes or indices")));
        }
        let wrong_count = |found: usize| invalid(format!("has the shape {shape:?}, but {found} values"));
        if count == 0 {
            let host = if element.is_index() { Host::int(shape, Vec::new()) } else { Host::float(shape, Vec::new()) };
            return Ok((host, element));
        }
        let (mut floating, mut whole) = (Vec::new(), Vec::new());
        let mut reserved = false;
        let is_raw = self.raw_values(tensor, bytes, |raw| {
            // The file has this many bytes, so that a false size takes no memory.
            if !std::mem::replace(&mut reserved, true) {
                if element.is_index() { whole.reserve_exact(count) } else { floating.reserve_exact(count) }
            }
            if element.is_index() {
                integers(raw, element, &mut whole)
            } else {
                floats(raw, element, count, &mut floating)
            }
        })?;
        if is_raw {
            let host = if element.is_index() { Host::int(shape, whole) } else { Host::float(shape, floating) };
            return Ok((host, element));
        }
        if element.is_index() {
            let available = match element {
                ElementType::I64 => tensor.int64_data.len(),
                ElementType::U32 | ElementType::U64 => tensor.uint64_data.len(),
                _ => tensor.int32_data.len(),
            };
            if available != count {
                return Err(wrong_count(available));
            }
            let values: Vec<i64> = match element {
                ElementType::I64 => tensor.int64_data.clone(),
                ElementType::U32 | ElementType::U64 => tensor.uint64_data.iter().map(|value| *value as i64).collect(),
                _ => tensor.int32_data.iter().map(|value| i64::from(*value)).collect(),
            };
            return Ok((Host::int(shape, values.into_iter().map(Linear::constant).collect()), element));
        }
        let values: Vec<f32> = match element {
            ElementType::F32 => tensor.float_data.clone(),
            ElementType::F64 => tensor.double_data.iter().map(|value| *value as f32).collect(),
            ElementType::F16 => tensor.int32_data.iter().map(|bits| f16_to_f32(*bits as u16)).collect(),
            ElementType::Bf16 => tensor.int32_data.iter().map(|bits| f32::from_bits((*bits as u32) << 16)).collect(),
            ElementType::U4 | ElementType::I4 => {
                let raw: Vec<u8> = tensor.int32_data.iter().map(|value| *value as u8).collect();
                if raw.len() != bytes {
                    return Err(wrong_count(raw.len()));
                }
                let mut values = Vec::new();
                floats(&raw, element, count, &mut values);
                values
            }
            _ => tensor.int32_data.iter().map(|value| *value as f32).collect(),
        };
        if values.len() != count {
            return Err(wrong_count(values.len()));
        }
        Ok((Host::Float(Array::new(shape, values)), element))
    }
}

fn extend<const N: usize, T>(values: &mut Vec<T>, raw: &[u8], convert: impl Fn([u8; N]) -> T) {
    values.extend(raw.as_chunks::<N>().0.iter().map(|bytes| convert(*bytes)));
}

fn integers(raw: &[u8], element: ElementType, values: &mut Vec<Linear>) {
    match element {
        ElementType::I32 => extend(values, raw, |bytes| Linear::constant(i64::from(i32::from_le_bytes(bytes)))),
        ElementType::U32 => extend(values, raw, |bytes| Linear::constant(i64::from(u32::from_le_bytes(bytes)))),
        ElementType::Bool => values.extend(raw.iter().map(|byte| Linear::constant(i64::from(*byte != 0)))),
        _ => extend(values, raw, |bytes| Linear::constant(i64::from_le_bytes(bytes))),
    }
}

fn floats(raw: &[u8], element: ElementType, count: usize, values: &mut Vec<f32>) {
    match element {
        ElementType::F32 => extend(values, raw, f32::from_le_bytes),
        ElementType::F64 => extend(values, raw, |bytes| f64::from_le_bytes(bytes) as f32),
        ElementType::F16 => extend(values, raw, |bytes| f16_to_f32(u16::from_le_bytes(bytes))),
        ElementType::Bf16 => extend(values, raw, |bytes| f32::from_bits(u32::from(u16::from_le_bytes(bytes)) << 16)),
        ElementType::U8 => values.extend(raw.iter().map(|byte| f32::from(*byte))),
        ElementType::I8 => values.extend(raw.iter().map(|byte| f32::from(*byte as i8))),
        ElementType::U16 => extend(values, raw, |bytes| f32::from(u16::from_le_bytes(bytes))),
        ElementType::I16 => extend(values, raw, |bytes| f32::from(i16::from_le_bytes(bytes))),
        // Two values in a byte, the first in the lower half.
        ElementType::U4 => values.extend(nibbles(raw, count - values.len()).map(f32::from)),
        ElementType::I4 => {
            values.extend(nibbles(raw, count - values.len()).map(|value| f32::from((value << 4) as i8 >> 4)))
        }
        _ => {}
    }
}

fn nibbles(raw: &[u8], count: usize) -> impl Iterator<Item = u8> {
    raw.iter().flat_map(|byte| [byte & 15, byte >> 4]).take(count)
}

/// Converts IEEE 754 binary16.
pub(crate) fn f16_to_f32(bits: u16) -> f32 {
    half::f16::from_bits(bits).to_f32()
}

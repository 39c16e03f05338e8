//! Tensors: a shape, and values that are either numbers or elements of raw bytes.

use bytes::Bytes;
use half::f16;

use super::{MalformedRequest, truncated};

/// Maximum number of elements in a `BYTES` tensor. The batch limit is checked only later, and an element costs more memory here
/// than on the wire.
const MAX_ELEMENTS: usize = 10_000;

/// A datatype of the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Datatype {
    /// 32-bit floating point.
    Fp32,
    /// 16-bit floating point; only in binary tensors.
    Fp16,
    /// Elements of any length; here they are encoded images.
    Bytes,
}

/// A tensor of a request or a response. The number of values matches the shape.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor {
    /// `[batch, ..]`.
    pub shape: Vec<usize>,
    /// The values, row by row.
    pub data: TensorData,
}

/// The values of a tensor, row by row.
#[derive(Clone, Debug, PartialEq)]
pub enum TensorData {
    /// TensorData of an `FP32` or `FP16` tensor.
    Floats(Vec<f32>),
    /// Elements of a `BYTES` tensor.
    Bytes(Vec<Bytes>),
}

impl Datatype {
    /// Parses a datatype name of the protocol.
    pub(super) fn parse(name: &str) -> Result<Self, MalformedRequest> {
        match name {
            "FP32" => Ok(Self::Fp32),
            "FP16" => Ok(Self::Fp16),
            "BYTES" => Ok(Self::Bytes),
            other => {
                let other = truncated(other, 40);
                Err(MalformedRequest::new(format!("datatype '{other}' is not supported; use FP32, FP16 or BYTES")))
            }
        }
    }
}

impl TensorData {
    /// Returns the number of values.
    pub fn len(&self) -> usize {
        match self {
            Self::Floats(numbers) => numbers.len(),
            Self::Bytes(elements) => elements.len(),
        }
    }

    /// Returns whether there are no values.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Reads a binary tensor: little-endian, row by row, without padding. Each element of `BYTES` follows its length (4 bytes).
    pub(super) fn from_binary(datatype: Datatype, bytes: Bytes) -> Result<Self, MalformedRequest> {
        match datatype {
            Datatype::Fp32 => floats::<4>(&bytes, f32::from_le_bytes),
            Datatype::Fp16 => floats::<2>(&bytes, |pair| f16::from_le_bytes(pair).to_f32()),
            Datatype::Bytes => elements(bytes),
        }
    }
}

fn floats<const SIZE: usize>(bytes: &[u8], number: impl Fn([u8; SIZE]) -> f32) -> Result<TensorData, MalformedRequest> {
    let (whole, rest) = bytes.as_chunks::<SIZE>();
    if !rest.is_empty() {
        return Err(MalformedRequest::new(format!(
            "{} bytes are not a multiple of {SIZE}, the size of one value",
            bytes.len()
        )));
    }
    Ok(TensorData::Floats(whole.iter().map(|chunk| number(*chunk)).collect()))
}

fn elements(mut bytes: Bytes) -> Result<TensorData, MalformedRequest> {
    let mut elements = Vec::new();
    while !bytes.is_empty() {
        if elements.len() == MAX_ELEMENTS {
            return Err(MalformedRequest::new(format!("a BYTES tensor has more than {MAX_ELEMENTS} elements")));
        }
        let Some(length) = bytes.first_chunk::<4>().map(|four| u32::from_le_bytes(*four) as usize) else {
            return Err(MalformedRequest::new("a BYTES tensor ends inside the length of an element"));
        };
        let mut element = bytes.split_off(4);
        if element.len() < length {
            return Err(MalformedRequest::new(format!(
                "an element of {length} bytes has only {} bytes left",
                element.len()
            )));
        }
        bytes = element.split_off(length);
        elements.push(element);
    }
    Ok(TensorData::Bytes(elements))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(datatype: Datatype, bytes: &'static [u8]) -> Result<TensorData, MalformedRequest> {
        TensorData::from_binary(datatype, Bytes::from_static(bytes))
    }

    #[test]
    fn floats_are_little_endian() {
        assert_eq!(read(Datatype::Fp32, &[0, 0, 0x80, 0x3f, 0, 0, 0, 0xc0]), Ok(TensorData::Floats(vec![1.0, -2.0])));
        assert_eq!(read(Datatype::Fp16, &[0, 0x3c, 0, 0xc0]), Ok(TensorData::Floats(vec![1.0, -2.0])));
        assert!(read(Datatype::Fp32, &[0, 0, 0x80]).is_err() && read(Datatype::Fp16, &[0]).is_err());
    }

    #[test]
    fn elements_follow_their_lengths() {
        let two = read(Datatype::Bytes, b"\x03\0\0\0abc\0\0\0\0");
        assert_eq!(two, Ok(TensorData::Bytes(vec![Bytes::from_static(b"abc"), Bytes::new()])));
        for cut in [&b"\x03\0\0"[..], b"\x03\0\0\0ab", b"\xff\xff\xff\xffabc"] {
            assert!(TensorData::from_binary(Datatype::Bytes, Bytes::copy_from_slice(cut)).is_err(), "{cut:?}");
        }
    }
}

//! Datatypes that are served, and values of them: numbers, or elements that are bytes of their own.

use bytes::Bytes;
use half::f16;

use super::{Malformed, short};

/// Elements of one tensor, before anybody has looked at how many rows are taken: each costs more memory than it may bring.
const MOST_ELEMENTS: usize = 10_000;

/// A datatype of the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Datatype {
    /// 32-bit floating point.
    Fp32,
    /// 16-bit floating point; in binary tensors alone.
    Fp16,
    /// Elements of any length, here encoded pictures.
    Bytes,
}

/// What a tensor holds, row by row.
#[derive(Clone, Debug, PartialEq)]
pub enum Values {
    /// Of `FP32` and `FP16` tensors.
    Numbers(Vec<f32>),
    /// Of `BYTES` tensors.
    Elements(Vec<Bytes>),
}

impl Datatype {
    /// By its name in the protocol.
    pub(super) fn named(name: &str) -> Result<Self, Malformed> {
        match name {
            "FP32" => Ok(Self::Fp32),
            "FP16" => Ok(Self::Fp16),
            "BYTES" => Ok(Self::Bytes),
            other => {
                let other = short(other);
                Err(Malformed::new(format!("datatype '{other}' is not served; FP32, FP16 and BYTES are")))
            }
        }
    }
}

impl Values {
    /// How many there are.
    pub fn len(&self) -> usize {
        match self {
            Self::Numbers(numbers) => numbers.len(),
            Self::Elements(elements) => elements.len(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Reads a binary tensor: little-endian, row by row, without padding; each element of `BYTES` behind its length.
    pub(super) fn from_binary(datatype: Datatype, bytes: Bytes) -> Result<Self, Malformed> {
        match datatype {
            Datatype::Fp32 => numbers::<4>(&bytes, f32::from_le_bytes),
            Datatype::Fp16 => numbers::<2>(&bytes, |pair| f16::from_le_bytes(pair).to_f32()),
            Datatype::Bytes => elements(bytes),
        }
    }
}

fn numbers<const SIZE: usize>(bytes: &[u8], number: impl Fn([u8; SIZE]) -> f32) -> Result<Values, Malformed> {
    let (whole, rest) = bytes.as_chunks::<SIZE>();
    if !rest.is_empty() {
        return Err(Malformed::new(format!("{} bytes are no whole number of values of {SIZE}", bytes.len())));
    }
    Ok(Values::Numbers(whole.iter().map(|chunk| number(*chunk)).collect()))
}

fn elements(mut bytes: Bytes) -> Result<Values, Malformed> {
    let mut elements = Vec::new();
    while !bytes.is_empty() {
        if elements.len() == MOST_ELEMENTS {
            return Err(Malformed::new(format!("a BYTES tensor has more than {MOST_ELEMENTS} elements")));
        }
        let Some(length) = bytes.first_chunk::<4>().map(|four| u32::from_le_bytes(*four) as usize) else {
            return Err(Malformed::new("a BYTES tensor ends within the length of an element"));
        };
        let mut element = bytes.split_off(4);
        if element.len() < length {
            return Err(Malformed::new(format!("an element of {length} bytes has {} left to it", element.len())));
        }
        bytes = element.split_off(length);
        elements.push(element);
    }
    Ok(Values::Elements(elements))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(datatype: Datatype, bytes: &'static [u8]) -> Result<Values, Malformed> {
        Values::from_binary(datatype, Bytes::from_static(bytes))
    }

    #[test]
    fn numbers_are_little_endian_of_either_width() {
        assert_eq!(read(Datatype::Fp32, &[0, 0, 0x80, 0x3f, 0, 0, 0, 0xc0]), Ok(Values::Numbers(vec![1.0, -2.0])));
        assert_eq!(read(Datatype::Fp16, &[0, 0x3c, 0, 0xc0]), Ok(Values::Numbers(vec![1.0, -2.0])));
        assert!(read(Datatype::Fp32, &[0, 0, 0x80]).is_err() && read(Datatype::Fp16, &[0]).is_err());
    }

    #[test]
    fn elements_stand_behind_their_lengths() {
        let two = read(Datatype::Bytes, b"\x03\0\0\0abc\0\0\0\0");
        assert_eq!(two, Ok(Values::Elements(vec![Bytes::from_static(b"abc"), Bytes::new()])));
        for cut in [&b"\x03\0\0"[..], b"\x03\0\0\0ab", b"\xff\xff\xff\xffabc"] {
            assert!(Values::from_binary(Datatype::Bytes, Bytes::copy_from_slice(cut)).is_err(), "{cut:?}");
        }
    }
}

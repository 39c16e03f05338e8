//! Walks the protobuf message of an ONNX model and fills its hollow tensors.

use std::fmt;
use std::ops::Range;

use half::f16;

use crate::{mix, normal};

/// Reports a file that is not an ONNX model, or a hollow tensor that cannot be filled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Malformed(&'static str);

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "malformed ONNX file: {}", self.0)
    }
}

impl std::error::Error for Malformed {}

/// Returns a copy of an ONNX file in which each hollow tensor has its values.
///
/// Tensors of graphs (nested ones too), of node attributes and of functions are filled. A filled tensor has lost its documentation
/// string. All other bytes are copied as they are. The values are described in the documentation of this crate.
pub fn fill(skeleton: &[u8]) -> Result<Vec<u8>, Malformed> {
    let mut filled = Vec::with_capacity(skeleton.len());
    rewrite(skeleton, Message::Model, MAX_DEPTH, &mut filled)?;
    Ok(filled)
}

/// The deepest nesting of messages that is followed.
const MAX_DEPTH: usize = 64;

/// Largest tensor in bytes: a protobuf message stays below 2 GiB.
const MAX_TENSOR_BYTES: u64 = i32::MAX as u64;

/// The messages on the way to a tensor.
#[derive(Clone, Copy)]
enum Message {
    Model,
    Graph,
    Function,
    Node,
    Attribute,
    Tensor,
}

impl Message {
    /// Returns the message that a field holds, if it may lead to a tensor. The numbers are those of onnx.proto.
    fn child(self, field: u64) -> Option<Message> {
        match (self, field) {
            (Message::Model, 7) | (Message::Attribute, 6 | 11) => Some(Message::Graph),
            (Message::Model, 25) => Some(Message::Function),
            (Message::Graph, 1) | (Message::Function, 7) => Some(Message::Node),
            (Message::Node, 5) => Some(Message::Attribute),
            (Message::Graph, 5) | (Message::Attribute, 5 | 10) => Some(Message::Tensor),
            _ => None,
        }
    }
}

/// Copies a message to `out`, with its hollow tensors filled.
fn rewrite(bytes: &[u8], message: Message, depth: usize, out: &mut Vec<u8>) -> Result<(), Malformed> {
    if matches!(message, Message::Tensor) {
        return rewrite_tensor(bytes, out);
    }
    let depth = depth.checked_sub(1).ok_or(Malformed("messages are nested too deeply"))?;
    for field in fields(bytes) {
        let field = field?;
        match (message.child(field.number), field.wire) {
            (Some(child), LENGTH_DELIMITED) => {
                put_varint(out, field.number << 3 | LENGTH_DELIMITED);
                let start = out.len();
                rewrite(&bytes[field.payload], child, depth, out)?;
                let mut length = Vec::new();
                put_varint(&mut length, (out.len() - start) as u64);
                out.splice(start..start, length);
            }
            _ => out.extend_from_slice(&bytes[field.whole]),
        }
    }
    Ok(())
}

/// Copies a TensorProto to `out`, filled if it is hollow.
fn rewrite_tensor(bytes: &[u8], out: &mut Vec<u8>) -> Result<(), Malformed> {
    let (mut dims, mut data_type, mut recipe) = (Vec::new(), 0, None);
    for field in fields(bytes) {
        let field = field?;
        let mut payload = &bytes[field.payload.clone()];
        match (field.number, field.wire) {
            (1, VARINT) => dims.push(take_varint(&mut payload)?),
            (1, LENGTH_DELIMITED) => {
                while !payload.is_empty() {
                    dims.push(take_varint(&mut payload)?);
                }
            }
            (2, VARINT) => data_type = take_varint(&mut payload)?,
            (12, LENGTH_DELIMITED) => recipe = payload.strip_prefix(b"fill "),
            _ => {}
        }
    }
    let Some(recipe) = recipe else {
        out.extend_from_slice(bytes);
        return Ok(());
    };
    for field in fields(bytes) {
        let field = field?;
        // Neither data (fields 4 to 7 and 9 to 11) nor the documentation string.
        if !matches!(field.number, 4..=7 | 9..=12) {
            out.extend_from_slice(&bytes[field.whole]);
        }
    }
    let width = match data_type {
        1 => 4,
        10 => 2,
        11 => 8,
        _ => return Err(Malformed("a hollow tensor is neither float32, float16 nor double")),
    };
    let size = dims.iter().try_fold(width, |size: u64, &dim| size.checked_mul(dim));
    let size = size.filter(|&size| size <= MAX_TENSOR_BYTES).ok_or(Malformed("a hollow tensor is too large"))?;
    let recipe = Recipe::parse(recipe).ok_or(Malformed("a fill is not MEAN STD LOW SEED"))?;
    put_varint(out, 9 << 3 | LENGTH_DELIMITED);
    put_varint(out, size);
    out.reserve(size as usize);
    let values = (0..size / width).map(|index| recipe.value(index));
    match data_type {
        1 => values.for_each(|value| out.extend_from_slice(&(value as f32).to_le_bytes())),
        10 => values.for_each(|value| out.extend_from_slice(&f16::from_f32(value as f32).to_le_bytes())),
        _ => values.for_each(|value| out.extend_from_slice(&value.to_le_bytes())),
    }
    Ok(())
}

/// What the documentation string of a hollow tensor says.
struct Recipe {
    mean: f64,
    std: f64,
    /// The smallest magnitude, if the values are to be positive.
    low: Option<f64>,
    /// The mixed seed.
    key: u64,
}

impl Recipe {
    /// Parses `MEAN STD LOW SEED`.
    fn parse(text: &[u8]) -> Option<Self> {
        let mut words = str::from_utf8(text).ok()?.split_ascii_whitespace();
        let mut number = || words.next()?.parse::<f64>().ok();
        let (mean, std, low) = (number()?, number()?, number()?);
        let seed = words.next()?.parse().ok()?;
        let low = (low >= 0.).then(|| low.max(1e-3));
        words.next().is_none().then_some(Self { mean, std, low, key: mix(seed) })
    }

    /// Returns one value, before it is rounded.
    fn value(&self, index: u64) -> f64 {
        let value = self.mean + self.std * normal(self.key, index);
        self.low.map_or(value, |low| value.abs().max(low))
    }
}

const VARINT: u64 = 0;
const LENGTH_DELIMITED: u64 = 2;

/// A field of a message: where its bytes lie.
struct Field {
    number: u64,
    wire: u64,
    /// The key, the length and the payload.
    whole: Range<usize>,
    payload: Range<usize>,
}

/// Returns the fields of a message; ends after the first error.
fn fields(bytes: &[u8]) -> impl Iterator<Item = Result<Field, Malformed>> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let field = take_field(bytes.len(), &mut rest);
        if field.is_err() {
            rest = &[];
        }
        Some(field)
    })
}

/// Takes a field off the front of `rest`, the end of a message of `total` bytes.
fn take_field(total: usize, rest: &mut &[u8]) -> Result<Field, Malformed> {
    let start = total - rest.len();
    let key = take_varint(rest)?;
    let mut begin = total - rest.len();
    let length = match key & 7 {
        VARINT => {
            let mut probe = *rest;
            take_varint(&mut probe)?;
            rest.len() - probe.len()
        }
        1 => 8,
        LENGTH_DELIMITED => {
            let length = take_varint(rest)?;
            begin = total - rest.len();
            usize::try_from(length).map_err(|_| Malformed("a field is too long"))?
        }
        5 => 4,
        _ => return Err(Malformed("an unknown wire type")),
    };
    *rest = rest.get(length..).ok_or(Malformed("a field ends after the file"))?;
    Ok(Field { number: key >> 3, wire: key & 7, whole: start..begin + length, payload: begin..begin + length })
}

/// Takes a varint off the front of `bytes`.
fn take_varint(bytes: &mut &[u8]) -> Result<u64, Malformed> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = bytes.split_first().ok_or(Malformed("a number ends after the file"))?;
        *bytes = rest;
        value |= u64::from(byte & 0x7F) << shift;
        if byte < 0x80 {
            return Ok(value);
        }
    }
    Err(Malformed("a number is too long"))
}

/// Appends a varint.
fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns a length-delimited field.
    fn field(number: u64, payload: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        put_varint(&mut bytes, number << 3 | LENGTH_DELIMITED);
        put_varint(&mut bytes, payload.len() as u64);
        bytes.extend_from_slice(payload);
        bytes
    }

    /// Returns a tensor named `w` without data. `dims` has one byte each.
    fn hollow(dims: &[u8], data_type: u8, doc_string: &str) -> Vec<u8> {
        [
            dims.iter().flat_map(|&dim| [1 << 3, dim]).collect(),
            vec![2 << 3, data_type],
            field(8, b"w"),
            field(12, doc_string.as_bytes()),
        ]
        .concat()
    }

    /// Returns the tensor as [`fill`] is to write it.
    fn filled(dims: &[u8], data_type: u8, data: &[u8]) -> Vec<u8> {
        [dims.iter().flat_map(|&dim| [1 << 3, dim]).collect(), vec![2 << 3, data_type], field(8, b"w"), field(9, data)]
            .concat()
    }

    /// Returns a model with an initializer and some other fields.
    fn model(tensor: &[u8]) -> Vec<u8> {
        let graph = [field(5, tensor), field(2, b"graph")].concat();
        [vec![1 << 3, 8], field(7, &graph), field(2, b"producer")].concat()
    }

    #[test]
    fn float32_values_are_those_of_the_python_side() {
        let bits = [1062573681u32, 1078357023, 3219551825, 1044087512, 3197707412, 3227209104];
        let data: Vec<u8> = bits.iter().flat_map(|bits| bits.to_le_bytes()).collect();
        let skeleton = model(&hollow(&[2, 3], 1, "fill 0.5 2.0 -1.0 7"));
        assert_eq!(fill(&skeleton), Ok(model(&filled(&[2, 3], 1, &data))));
    }

    #[test]
    fn float16_values_are_those_of_the_python_side() {
        let data: Vec<u8> = [15021u16, 16947, 48948, 12764].iter().flat_map(|bits| bits.to_le_bytes()).collect();
        let skeleton = model(&hollow(&[4], 10, "fill 0.5 2.0 -1.0 7"));
        assert_eq!(fill(&skeleton), Ok(model(&filled(&[4], 10, &data))));
    }

    #[test]
    fn double_values_with_a_lower_bound_are_those_of_the_python_side() {
        let bits = [4605690167489957856u64, 4614163784338089751, 4610787485878013592, 4604930618986332160];
        let data: Vec<u8> = bits.iter().flat_map(|bits| bits.to_le_bytes()).collect();
        let skeleton = model(&hollow(&[4], 11, "fill 0.5 2.0 0.75 7"));
        assert_eq!(fill(&skeleton), Ok(model(&filled(&[4], 11, &data))));
    }

    #[test]
    fn a_tensor_of_a_nested_graph_is_filled() {
        let nested = |tensor: &[u8]| {
            let constant = field(5, &field(5, tensor)); // node.attribute.t
            let body = field(1, &constant);
            field(7, &field(1, &field(5, &field(6, &body)))) // graph.node.attribute.g
        };
        let skeleton = nested(&hollow(&[2], 1, "fill 0.0 0.0 0.0 7"));
        let data = [0.001f32.to_le_bytes(), 0.001f32.to_le_bytes()].concat();
        assert_eq!(fill(&skeleton), Ok(nested(&filled(&[2], 1, &data))));
    }

    #[test]
    fn other_tensors_are_copied() {
        let file = model(&hollow(&[2], 1, "a note"));
        assert_eq!(fill(&file), Ok(file));
    }

    #[test]
    fn a_truncated_file_is_an_error() {
        let skeleton = model(&hollow(&[2, 3], 1, "fill 0.5 2.0 -1.0 7"));
        // A file that ends between two fields of the model is a smaller file.
        let whole = [0, 2, skeleton.len() - field(2, b"producer").len(), skeleton.len()];
        for length in 0..=skeleton.len() {
            assert_eq!(fill(&skeleton[..length]).is_ok(), whole.contains(&length), "{length} bytes");
        }
    }

    #[test]
    fn a_tensor_that_cannot_be_filled_is_an_error() {
        for tensor in [
            hollow(&[2], 7, "fill 0.5 2.0 -1.0 7"),
            hollow(&[2], 1, "fill 0.5 2.0 -1.0"),
            hollow(&[2], 1, "fill 0.5 2.0 -1.0 7 8"),
            hollow(&[2], 1, "fill 0.5 2.0 -1.0 x"),
            hollow(&[127; 8], 1, "fill 0.5 2.0 -1.0 7"),
        ] {
            assert!(fill(&model(&tensor)).is_err());
        }
    }

    #[test]
    fn a_file_nested_without_end_is_an_error() {
        let mut graph = Vec::new();
        for _ in 0..1000 {
            graph = field(1, &field(5, &field(6, &graph)));
        }
        assert!(fill(&field(7, &graph)).is_err());
    }
}

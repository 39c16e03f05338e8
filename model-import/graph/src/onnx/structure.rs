//! Reads the structure of an ONNX file: its message without the raw values of large tensors, whose places it notes.

use std::fs::File;
use std::io::{self, BufReader, Read};

use super::proto::{AttributeProto, FunctionProto, GraphProto, ModelProto, NodeProto, TensorProto};

/// Raw values of at most this many bytes are read with the structure.
const INLINE_BYTES: u64 = 1024;
/// The maximum size of the structure, in bytes. The structure of the largest classifiers has a few MB.
const MAX_STRUCTURE_BYTES: usize = 64 << 20;
/// The maximum size of the decoded structure, in bytes. An empty message has two bytes in the file and hundreds in memory.
const MAX_DECODED_BYTES: usize = 384 << 20;
/// The size of a decoded field of varying length, beyond its contents.
const FIELD_BYTES: u64 = 96;
/// The maximum number of messages inside one message: nodes, initializers or attributes.
const MAX_REPEATED: usize = 200_000;
/// The maximum depth of messages inside messages. A branch inside a branch has three more levels.
const MAX_DEPTH: usize = 40;

/// Returns the structure of a file of this many bytes, as a message.
pub(super) fn read_structure(file: File, bytes: u64) -> Result<Vec<u8>, Malformed> {
    let file = BufReader::with_capacity(1 << 16, file);
    Walker { file, position: 0, written: 0, decoded: 0, typed_values: 0 }.message(bytes, &MODEL, MAX_DEPTH)
}

/// A message that may contain tensors.
struct Descent {
    /// Field numbers of inner messages, and the descents into them.
    fields: &'static [(u64, &'static Descent)],
    /// The other fields that are read. All others are skipped.
    kept: &'static [u64],
    /// The size of the decoded message in bytes, without its contents.
    bytes: usize,
    is_tensor: bool,
}

const fn message<T>(fields: &'static [(u64, &'static Descent)], kept: &'static [u64]) -> Descent {
    Descent { fields, kept, bytes: size_of::<T>(), is_tensor: false }
}

static TENSOR: Descent =
    Descent { is_tensor: true, ..message::<TensorProto>(&[], &[1, 2, 4, 5, 7, 8, RAW_DATA, 10, 11, 13, 14]) };
static ATTRIBUTE: Descent = message::<AttributeProto>(&[(5, &TENSOR), (6, &GRAPH)], &[1, 2, 3, 4, 7, 8, 9, 20]);
static NODE: Descent = message::<NodeProto>(&[(5, &ATTRIBUTE)], &[1, 2, 3, 4, 7]);
static GRAPH: Descent = message::<GraphProto>(&[(1, &NODE), (5, &TENSOR)], &[11, 12]);
static FUNCTION: Descent = message::<FunctionProto>(&[], &[1]);
static MODEL: Descent = message::<ModelProto>(&[(7, &GRAPH), (25, &FUNCTION)], &[2, 3, 8, 14]);

/// Numbers of the fields of a tensor with values of one type: floats, int32, int64, doubles and uint64.
const TYPED_VALUES: [u64; 5] = [4, 5, 7, 10, 11];
/// Number of the field `raw_data` of a tensor.
const RAW_DATA: u64 = 9;
/// Numbers of the fields that hold the place of raw values.
const STORED_AT: u64 = 100_001;
const STORED_BYTES: u64 = 100_002;

/// Why the structure cannot be read.
pub(super) enum Malformed {
    /// The operating system reports an error.
    Io(io::Error),
    /// The bytes are no ONNX model: a clause.
    Structure(&'static str),
    /// A limit is exceeded: a clause, and a sentence with the next step.
    TooLarge { reason: &'static str, next_step: &'static str },
}

impl Malformed {
    /// The error of a network that is larger than any classifier.
    fn too_large(reason: &'static str) -> Self {
        Self::TooLarge { reason, next_step: "Simplify the file (onnx-simplifier), or export one classifier alone." }
    }
}

impl From<io::Error> for Malformed {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::UnexpectedEof => Self::Structure("it ends in the middle of a field"),
            _ => Self::Io(error),
        }
    }
}

/// Copies a message without the raw values of its tensors, whose places it notes.
struct Walker {
    file: BufReader<File>,
    position: u64,
    /// Bytes of structure so far.
    written: usize,
    /// The size of the structure so far once it is decoded, in bytes.
    decoded: usize,
    /// The part of that size that is values of tensors in typed fields such as `float_data`.
    typed_values: u64,
}

impl Walker {
    /// Copies the message that ends at `end`. It may have `depth` levels of messages inside it.
    fn message(&mut self, end: u64, descent: &Descent, depth: usize) -> Result<Vec<u8>, Malformed> {
        let mut output = Vec::new();
        let mut repeated = 0;
        let depth = depth.checked_sub(1).ok_or_else(|| Malformed::too_large("its branches are nested too deeply"))?;
        self.count_decoded(descent.bytes as u64)?;
        while self.position < end {
            let key = self.varint(end)?;
            let (field, wire_type) = (key >> 3, key & 7);
            let keep = descent.kept.contains(&field);
            let start = output.len();
            match wire_type {
                0 => {
                    let value = self.varint(end)?;
                    if keep {
                        self.count_field(descent, field, 8)?;
                        push_varint(&mut output, key);
                        push_varint(&mut output, value);
                    }
                }
                1 | 5 => {
                    let mut bytes = [0; 8];
                    let bytes = &mut bytes[..if wire_type == 1 { 8 } else { 4 }];
                    self.read(bytes, end)?;
                    if keep {
                        self.count_field(descent, field, 8)?;
                        push_varint(&mut output, key);
                        output.extend_from_slice(bytes);
                    }
                }
                2 => {
                    let length = self.varint(end)?;
                    let inner_end = self.position.checked_add(length).filter(|inner| *inner <= end);
                    let inner_end = inner_end.ok_or(Malformed::Structure("a field is longer than the file"))?;
                    if let Some((_, inner)) = descent.fields.iter().find(|(number, _)| *number == field) {
                        repeated += 1;
                        if repeated > MAX_REPEATED {
                            return Err(Malformed::too_large("it has more nodes or tensors than any network"));
                        }
                        let message = self.message(inner_end, inner, depth)?;
                        push_varint(&mut output, key);
                        push_varint(&mut output, message.len() as u64);
                        output.extend_from_slice(&message);
                        // The inner message has counted its bytes.
                        self.written -= message.len();
                    } else if descent.is_tensor && field == RAW_DATA && length > INLINE_BYTES {
                        push_varint(&mut output, STORED_AT << 3);
                        push_varint(&mut output, self.position);
                        push_varint(&mut output, STORED_BYTES << 3);
                        push_varint(&mut output, length);
                        self.skip(length)?;
                    } else if keep {
                        // A number of one byte has up to eight bytes in memory.
                        let decoded = length.saturating_mul(8).saturating_add(FIELD_BYTES);
                        self.count_field(descent, field, decoded)?;
                        self.count(length)?;
                        push_varint(&mut output, key);
                        push_varint(&mut output, length);
                        let from = output.len();
                        output.resize(from + length as usize, 0);
                        self.read(&mut output[from..], inner_end)?;
                        self.written -= length as usize;
                    } else {
                        self.skip(length)?;
                    }
                }
                _ => return Err(Malformed::Structure("it has a field of an unknown kind")),
            }
            let added = (output.len() - start) as u64;
            self.count(added)?;
        }
        Ok(output)
    }

    /// Adds to the size of the structure, and checks it.
    fn count(&mut self, bytes: u64) -> Result<(), Malformed> {
        let total = usize::try_from(bytes).ok().and_then(|bytes| self.written.checked_add(bytes));
        match total.filter(|total| *total <= MAX_STRUCTURE_BYTES) {
            Some(total) => {
                self.written = total;
                Ok(())
            }
            None => Err(self.excess("its structure without weights is larger than 64 MiB")),
        }
    }

    /// Adds a field to the size of the decoded structure, and checks it.
    fn count_field(&mut self, descent: &Descent, field: u64, decoded: u64) -> Result<(), Malformed> {
        if descent.is_tensor && TYPED_VALUES.contains(&field) {
            self.typed_values = self.typed_values.saturating_add(decoded);
        }
        self.count_decoded(decoded)
    }

    /// Adds to the size of the decoded structure, and checks it.
    fn count_decoded(&mut self, bytes: u64) -> Result<(), Malformed> {
        let total = usize::try_from(bytes).ok().and_then(|bytes| self.decoded.checked_add(bytes));
        let total = total.filter(|total| *total <= MAX_DECODED_BYTES);
        self.decoded = total.ok_or_else(|| self.excess("its structure without weights takes too much memory"))?;
        Ok(())
    }

    /// The error of a structure that is too large for `reason`, unless weights are what makes it large.
    fn excess(&self, reason: &'static str) -> Malformed {
        match self.typed_values > MAX_DECODED_BYTES as u64 / 2 {
            true => Malformed::TooLarge {
                // An eighth of the limit, because each byte counts as eight.
                reason: "its weights are in fields such as float_data, of which Kiln reads 48 MiB at most",
                next_step: "Save them as raw_data: for t in model.graph.initializer: \
                            t.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(t), t.name)).",
            },
            false => Malformed::too_large(reason),
        }
    }

    fn read(&mut self, bytes: &mut [u8], end: u64) -> Result<(), Malformed> {
        if self.position + bytes.len() as u64 > end {
            return Err(Malformed::Structure("it ends in the middle of a field"));
        }
        self.file.read_exact(bytes)?;
        self.position += bytes.len() as u64;
        Ok(())
    }

    fn skip(&mut self, bytes: u64) -> Result<(), Malformed> {
        let offset = i64::try_from(bytes).map_err(|_| Malformed::Structure("a field is longer than the file"))?;
        self.file.seek_relative(offset)?;
        self.position += bytes;
        Ok(())
    }

    fn varint(&mut self, end: u64) -> Result<u64, Malformed> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let mut byte = [0];
            self.read(&mut byte, end)?;
            value |= u64::from(byte[0] & 0x7f) << shift;
            if byte[0] < 0x80 {
                return Ok(value);
            }
        }
        Err(Malformed::Structure("it has a number of more than 64 bits"))
    }
}

fn push_varint(output: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        output.push(value as u8 | 0x80);
        value >>= 7;
    }
    output.push(value as u8);
}

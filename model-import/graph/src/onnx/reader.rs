//! An ONNX file that is read in two steps: the structure at once, the large tensors one by one. The file is never in memory as a
//! whole, so that loading needs little more memory than the network that comes out.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;
use std::fs::{self, File};
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::path::{Component, Path, PathBuf};

use prost::Message;

use crate::digest::{sha256_hex, sha256_of};
use crate::message_text::shorten;

use super::file_format::{COPY_AGAIN, MAX_MAGIC, explain_malformed};
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

/// The next step if the values of a tensor are in a file that is missing or elsewhere.
pub(crate) const PUT_BESIDE: &str = "Put that file beside the .onnx file.";

/// The maximum number of files with external values.
const MAX_EXTERNAL_FILES: usize = 10_000;

/// An ONNX file, open for reading.
#[derive(Debug)]
pub struct OnnxSource {
    path: PathBuf,
    message: ModelProto,
    bytes: u64,
}

/// Why a file cannot be read. The texts follow the path of the ONNX file and a colon.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The operating system reports an error.
    Io {
        /// The file.
        path: PathBuf,
        /// The error.
        source: io::Error,
    },
    /// The bytes are no ONNX model. The text has the next step.
    NotOnnx(String),
    /// The file is larger than those that Kiln reads.
    TooLarge {
        /// A clause.
        reason: &'static str,
        /// A sentence.
        next_step: &'static str,
    },
    /// The values of a tensor are not at the place that the file gives.
    Values {
        /// The tensor.
        tensor: String,
        /// What is wrong.
        reason: String,
        /// A sentence.
        next_step: &'static str,
    },
    /// A tensor's values are outside the folder of the file.
    Outside {
        /// The tensor.
        tensor: String,
        /// The path in the file.
        location: String,
    },
    /// The values of the tensors are in more files than any network has.
    TooManyFiles,
}

impl ReadError {
    /// What is wrong, without the next step if that is known apart from it.
    pub(crate) fn reason(&self) -> String {
        match self {
            Self::Io { path, source } => format!("{}: {source}", path.display()),
            Self::NotOnnx(reason) => format!("this is not an ONNX model: {reason}"),
            Self::TooLarge { reason, .. } => (*reason).to_string(),
            Self::Values { tensor, reason, .. } => {
                format!("the values of tensor '{}' cannot be read: {reason}", shorten(tensor))
            }
            Self::Outside { tensor, location } => format!(
                "the values of tensor '{}' are in '{}', which is not a file below the model's folder",
                shorten(tensor),
                shorten(location)
            ),
            Self::TooManyFiles => format!("the values of its tensors are in more than {MAX_EXTERNAL_FILES} files"),
        }
    }

    /// The sentence with the next step.
    pub(crate) fn next_step(&self) -> Option<&'static str> {
        match self {
            Self::TooLarge { next_step, .. } | Self::Values { next_step, .. } => Some(*next_step),
            Self::Outside { .. } => Some(PUT_BESIDE),
            Self::TooManyFiles => {
                Some("Save the tensors as one file: onnx.save_model(model, FILE, save_as_external_data=True).")
            }
            Self::Io { .. } | Self::NotOnnx(_) => None,
        }
    }
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason())?;
        self.next_step().map_or(Ok(()), |step| write!(f, ". {step}"))
    }
}

impl OnnxSource {
    /// Reads the structure of the file at `path`.
    ///
    /// # Errors
    ///
    /// The file cannot be read, is not an ONNX model, or its structure is larger than any network's.
    pub fn open(path: &Path) -> Result<Self, ReadError> {
        let io = |source| ReadError::Io { path: path.to_path_buf(), source };
        let not_onnx = |reason: &str| ReadError::NotOnnx(explain_malformed(&beginning(path), reason));
        let (file, bytes) = open_file(path).map_err(io)?;
        let file = BufReader::with_capacity(1 << 16, file);
        let mut walker = Walker { file, position: 0, written: 0, decoded: 0, typed_values: 0 };
        let structure = match walker.message(bytes, &MODEL, MAX_DEPTH) {
            Ok(structure) => structure,
            Err(Malformed::Io(source)) => return Err(io(source)),
            Err(Malformed::Structure(reason)) => return Err(not_onnx(reason)),
            Err(Malformed::TooLarge { reason, next_step }) => return Err(ReadError::TooLarge { reason, next_step }),
        };
        let message = ModelProto::decode(structure.as_slice()).map_err(|error| not_onnx(&error.to_string()))?;
        // Protobuf accepts nearly any bytes as a message with unknown fields.
        match &message.graph {
            None => return Err(not_onnx("it has no graph")),
            Some(graph) if graph.node.is_empty() => return Err(not_onnx("its graph has no operators")),
            Some(_) => {}
        }
        Ok(Self { path: path.to_path_buf(), message, bytes })
    }

    /// The structure.
    pub fn message(&self) -> &ModelProto {
        &self.message
    }

    /// The path of the file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The size of the file in bytes, without external data.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// SHA-256 of the file, in lower-case hex. If values of its tensors are in other files, it is the digest of the digests of all
    /// these files. Reads all of them.
    ///
    /// # Errors
    ///
    /// A file cannot be read, or is outside the folder, or there are more files than any network has.
    pub fn sha256(&self) -> Result<String, ReadError> {
        let own = file_sha256(&self.path)?;
        let mut external = BTreeMap::new();
        self.message.graph.iter().for_each(|graph| add_external(graph, &mut external));
        if external.is_empty() {
            return Ok(own);
        }
        if external.len() > MAX_EXTERNAL_FILES {
            return Err(ReadError::TooManyFiles);
        }
        let (mut all, mut digests) = (own, HashMap::new());
        for (location, tensor) in external {
            // Many locations may lead to one file, which is hashed once.
            let digest = match digests.entry(self.external_path(tensor)?) {
                Entry::Occupied(known) => known.into_mut(),
                Entry::Vacant(file) => {
                    let digest = file_sha256(file.key())?;
                    file.insert(digest)
                }
            };
            all += location;
            all += digest.as_str();
        }
        Ok(sha256_hex(all.as_bytes()))
    }

    /// Calls `take` with the raw little-endian values of a tensor that is stored as bytes, in pieces whose lengths are multiples
    /// of 8 but for the last: in the message, further on in the file, or in a file beside it. Returns `false` if the tensor has
    /// its values in a typed field. `needed` is the number of bytes that its shape and type require; nothing larger is read.
    ///
    /// # Errors
    ///
    /// The values are not there, or are outside the folder of the file.
    pub(crate) fn raw_values(
        &self,
        tensor: &TensorProto,
        needed: usize,
        mut take: impl FnMut(&[u8]),
    ) -> Result<bool, ReadError> {
        if tensor.data_location == 1 {
            let (path, offset, length) = self.external_values(tensor, needed)?;
            Self::read_range(tensor, &path, [offset, length], needed, take)?;
            return Ok(true);
        }
        if let Some(offset) = tensor.stored_at {
            Self::read_range(tensor, &self.path, [offset, tensor.stored_bytes], needed, take)?;
            return Ok(true);
        }
        if tensor.raw_data.is_empty() {
            return Ok(false);
        }
        if tensor.raw_data.len() != needed {
            return Err(short(tensor, needed, tensor.raw_data.len() as u64));
        }
        take(&tensor.raw_data);
        Ok(true)
    }

    /// The size in bytes of all files that hold values of tensors, as far as they can be read.
    pub(crate) fn external_bytes(&self) -> u64 {
        let tensors = self.message.graph.iter().flat_map(|graph| &graph.initializer);
        let external: HashMap<&str, &TensorProto> = tensors
            .filter(|tensor| tensor.data_location == 1)
            .map(|tensor| (tensor.external("location").unwrap_or_default(), tensor))
            .collect();
        let files = external.values().take(MAX_EXTERNAL_FILES);
        let paths: HashSet<PathBuf> = files.filter_map(|tensor| self.external_path(tensor).ok()).collect();
        paths.iter().filter_map(|path| fs::metadata(path).ok()).fold(0, |sum, file| sum.saturating_add(file.len()))
    }

    /// The file that holds the values of a tensor.
    fn external_path(&self, tensor: &TensorProto) -> Result<PathBuf, ReadError> {
        let location = tensor.external("location").unwrap_or_default();
        let outside = || ReadError::Outside { tensor: tensor.name.clone(), location: location.to_string() };
        let relative = Path::new(location);
        let is_below = relative.components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
        if location.is_empty() || !is_below {
            return Err(outside());
        }
        let folder =
            self.path.parent().map(|folder| if folder.as_os_str().is_empty() { Path::new(".") } else { folder });
        let folder = folder.ok_or_else(outside)?;
        // A symbolic link may point out of the folder as well as a path may. Repositories link single files into one folder, so
        // the folder of the resolved ONNX file counts, too.
        let io = |path: &Path| {
            let path = path.to_path_buf();
            move |source| ReadError::Io { path, source }
        };
        let path = folder.join(relative);
        let resolved = path.canonicalize().map_err(io(&path))?;
        let own = self.path.canonicalize().map_err(io(&self.path))?;
        let folders = [folder.canonicalize().ok(), own.parent().map(Path::to_path_buf)];
        if !folders.iter().flatten().any(|folder| resolved.starts_with(folder)) {
            return Err(outside());
        }
        Ok(resolved)
    }

    /// The file, offset and length of values in another file.
    fn external_values(&self, tensor: &TensorProto, needed: usize) -> Result<(PathBuf, u64, u64), ReadError> {
        let location = tensor.external("location").unwrap_or_default();
        let resolved = self.external_path(tensor)?;
        let number = |key: &str| tensor.external(key).map(|text| text.parse::<u64>());
        let malformed = || ReadError::Values {
            tensor: tensor.name.clone(),
            reason: format!("their place in '{}' is not a number", shorten(location)),
            next_step: "Export the model again.",
        };
        let offset = number("offset").unwrap_or(Ok(0)).map_err(|_| malformed())?;
        let length = number("length").unwrap_or(Ok(needed as u64)).map_err(|_| malformed())?;
        Ok((resolved, offset, length))
    }

    /// Reads the values of a tensor from `path`, at an offset and of a length.
    fn read_range(
        tensor: &TensorProto,
        path: &Path,
        [offset, length]: [u64; 2],
        needed: usize,
        mut take: impl FnMut(&[u8]),
    ) -> Result<(), ReadError> {
        let io = |source| ReadError::Io { path: path.to_path_buf(), source };
        if length != needed as u64 {
            return Err(short(tensor, needed, length));
        }
        let (mut file, size) = open_file(path).map_err(io)?;
        if offset.checked_add(length).is_none_or(|end| end > size) {
            return Err(short(tensor, needed, size.saturating_sub(offset)));
        }
        file.seek(SeekFrom::Start(offset)).map_err(io)?;
        let mut buffer = vec![0; needed.min(1 << 18)];
        let mut left = needed;
        while left > 0 {
            let piece = &mut buffer[..left.min(1 << 18)];
            file.read_exact(piece).map_err(io)?;
            take(piece);
            left -= piece.len();
        }
        Ok(())
    }
}

impl TensorProto {
    /// An entry of the place of external values.
    fn external(&self, key: &str) -> Option<&str> {
        self.external_data.iter().find(|entry| entry.key == key).map(|entry| entry.value.as_str())
    }
}

/// Adds the tensors of a graph and of its branches whose values are in other files: one tensor for each location.
fn add_external<'a>(graph: &'a GraphProto, external: &mut BTreeMap<&'a str, &'a TensorProto>) {
    let attributes = || graph.node.iter().flat_map(|node| &node.attribute);
    let tensors = graph.initializer.iter().chain(attributes().filter_map(|attribute| attribute.t.as_ref()));
    external.extend(
        tensors
            .filter(|tensor| tensor.data_location == 1)
            .map(|tensor| (tensor.external("location").unwrap_or_default(), tensor)),
    );
    attributes().filter_map(|attribute| attribute.g.as_ref()).for_each(|branch| add_external(branch, external));
}

/// The error of a tensor with too few or too many values.
fn short(tensor: &TensorProto, needed: usize, available: u64) -> ReadError {
    let place = match tensor.external("location") {
        Some(location) if tensor.data_location == 1 => format!("'{}'", shorten(location)),
        _ => "the ONNX file".to_string(),
    };
    let reason = format!("its shape needs {needed} bytes, but {place} has {available} bytes for it");
    ReadError::Values { tensor: tensor.name.clone(), reason, next_step: COPY_AGAIN }
}

/// The first bytes of a file, as far as they can be read.
fn beginning(path: &Path) -> Vec<u8> {
    let mut bytes = Vec::new();
    // Without them, the format of the file stays unknown.
    let _ = open_file(path).and_then(|(file, _)| file.take(MAX_MAGIC).read_to_end(&mut bytes));
    bytes
}

/// Opens a regular file, and returns its size in bytes.
fn open_file(path: &Path) -> io::Result<(File, u64)> {
    let regular = |metadata: fs::Metadata| {
        let error = || io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file");
        metadata.is_file().then_some(metadata.len()).ok_or_else(error)
    };
    // Opening a named pipe blocks until somebody writes to it.
    regular(fs::metadata(path)?)?;
    let file = File::open(path)?;
    let bytes = regular(file.metadata()?)?;
    Ok((file, bytes))
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

enum Malformed {
    Io(io::Error),
    Structure(&'static str),
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
    fn count_field(&mut self, message: &Descent, field: u64, decoded: u64) -> Result<(), Malformed> {
        if message.is_tensor && TYPED_VALUES.contains(&field) {
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

/// SHA-256 of a file, in lower-case hex.
fn file_sha256(path: &Path) -> Result<String, ReadError> {
    let io = |source| ReadError::Io { path: path.to_path_buf(), source };
    let (file, _) = open_file(path).map_err(io)?;
    sha256_of(file).map_err(io)
}

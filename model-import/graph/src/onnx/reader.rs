//! An ONNX file that is read in two steps: the structure at once, the large tensors one by one. The file is never in memory as a
//! whole, so that loading needs little more memory than the network that comes out.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Component, Path, PathBuf};

use prost::Message;

use crate::digest::{sha256_hex, sha256_of};
use crate::message_text::shorten;

use super::explain_malformed;
use super::file_format::{COPY_AGAIN, MAX_MAGIC};
use super::proto::{GraphProto, ModelProto, TensorProto};
use super::read_error::ReadError;
use super::structure::{Malformed, read_structure};

/// The maximum number of files with external values.
const MAX_EXTERNAL_FILES: usize = 10_000;

/// An ONNX file, open for reading.
#[derive(Debug)]
pub struct OnnxSource {
    path: PathBuf,
    message: ModelProto,
    bytes: u64,
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
        let structure = match read_structure(file, bytes) {
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
            return Err(ReadError::TooManyFiles { max: MAX_EXTERNAL_FILES });
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

/// SHA-256 of a file, in lower-case hex.
fn file_sha256(path: &Path) -> Result<String, ReadError> {
    let io = |source| ReadError::Io { path: path.to_path_buf(), source };
    let (file, _) = open_file(path).map_err(io)?;
    sha256_of(file).map_err(io)
}

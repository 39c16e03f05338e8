//! The part of `kiln import` that reads ONNX and writes a model's folder.
//!
//! [`inspect`] checks an ONNX file as the build does and returns what it found. With labels and preprocessing it becomes a
//! [`Draft`], from which [`write()`] makes the folder that the build reads. The checks and their messages are those of the build,
//! because both come from `kiln-graph`.

mod draft;
mod error;
mod inspect;
mod model_folder;
mod preset;
mod untrusted_input;

pub use draft::Draft;
pub use error::ImportError;
pub use inspect::{InspectedModel, inspect};
pub use kiln_graph::{InvalidValue, Preprocess, check_name, check_version, sha256_hex, sha256_of, shorten};
pub use model_folder::write;
pub use preset::{PRESETS, Preset};
pub use untrusted_input::{ReadFileError, read_file, shell_path, terminal_line, terminal_text};

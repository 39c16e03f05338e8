//! What `kiln import` needs of ONNX: is a file a classifier that Kiln can serve, and the folder that the build takes it from.
//!
//! It refuses what the build would refuse, by the build script's own files and with their sentences, only earlier.
//!
//! | file | responsibility |
//! |---|---|
//! | `inspect.rs` | what an ONNX file is |
//! | `preset.rs` | how pictures are prepared by well-known training code |
//! | `words.rs` | filters and crops as they are typed |
//! | `draft.rs` | all that goes into a model's folder |
//! | `manifest_text.rs` | its model.toml, with comments |
//! | `folder.rs` | writing it, all or nothing |
//! | `hidden.rs` | folders that are being written, and those that a killed import left |
//! | `replaceable.rs` | what may be written over |
//! | `plain.rs` | names out of files, for a terminal |
//! | `read_file.rs` | files of a bounded length |
//! | `import_error.rs` | what is refused |

mod draft;
mod folder;
mod hidden;
mod import_error;
mod inspect;
mod manifest_text;
mod plain;
mod preset;
mod read_file;
mod replaceable;
mod words;

// The build script's own, so that nothing is checked in two ways.
#[path = "../../build/ending.rs"]
mod ending;
#[path = "../../build/error.rs"]
mod error;
#[path = "../../build/fuse/mod.rs"]
#[allow(dead_code, reason = "only whether there is a fused network is of interest here")]
mod fuse;
#[path = "../../build/graph.rs"]
mod graph;
#[path = "../../build/manifest/mod.rs"]
#[allow(dead_code, reason = "the build script reads what is only checked here")]
mod manifest;
#[path = "../../build/proto.rs"]
mod proto;
#[path = "../../build/sanity.rs"]
mod sanity;

pub use draft::Draft;
pub use folder::write;
pub use import_error::ImportError;
pub use inspect::{Network, inspect};
pub use manifest::{check_name, check_version};
pub use plain::plain;
pub use preset::{PRESETS, Preprocess, Preset};
pub use read_file::{ReadFileError, read_file};
pub use words::UnknownWord;

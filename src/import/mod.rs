//! The parts of `kiln import` that need no ONNX: the request, the prompts on a terminal, the files of class names and
//! logits, and the target folder. They write nothing; `model_import::import` reads the network and writes the folder.

mod checkout;
mod plan;
mod request;
mod text_files;

pub use checkout::{ModelFolder, NoCheckout, model_folder};
pub use plan::{PlanError, Prompt, name, plan};
pub use request::{ImportRequest, LabelSource, parse_channels, parse_deviations, parse_size};
pub use text_files::{TextFileError, read_logits};

//! The composition root: names concrete types and joins the rooms for each command. It holds no logic of its own.

mod bench;
mod check;
mod connection;
mod devices;
mod feedback;
mod finetune;
mod healthcheck;
mod import;
mod keygen;
mod load;
mod local;
mod models;
mod predict;
mod progress;
mod serve;
mod updates;

pub use bench::{BenchError, bench};
pub use check::{CheckError, check};
pub use connection::{Answered, Connection, post};
pub use devices::devices;
pub use feedback::{ExportError, ReportError, export, report};
pub use finetune::{FinetuneFailure, finetune};
pub use healthcheck::{Unhealthy, healthcheck};
pub use import::{ImportFailure, import};
pub use keygen::keygen;
pub use load::keep_caches;
pub use local::Local;
pub use model_import::import::terminal_text;
pub use models::{ModelsError, models};
pub use predict::{PredictError, predict};
pub use serve::{ServeError, serve};

//! The composition root: every command of the program. Each one builds the concrete types of the crates below and
//! connects them.

mod background_tasks;
mod bench;
mod check;
mod doctor;
mod error_output;
mod feedback;
mod finetune;
mod http_connection;
mod import;
mod inspect;
mod load;
mod loopback_server;
mod model_reload;
mod model_repository;
mod models;
mod predict;
mod progress;
mod serve;
mod served_models;
mod start;
mod tools;

pub use bench::{BenchError, bench};
pub use check::{CheckError, check};
pub use doctor::{DoctorReport, doctor};
pub use error_output::print_error;
pub use feedback::{ExportError, ReportError, export_feedback, report_feedback};
pub use finetune::{FinetuneFailure, finetune};
pub use http_connection::{HttpConnection, Response, post_request};
pub use import::{ImportFailure, import};
pub use inspect::inspect;
pub use load::keep_caches;
pub use loopback_server::LoopbackServer;
pub use model_import::import::terminal_text;
pub use models::{ModelsError, models};
pub use predict::{PredictError, predict};
pub use serve::{ServeError, serve};
pub use start::check_thread_limit;
pub use tools::{HealthcheckError, devices, healthcheck, keygen};

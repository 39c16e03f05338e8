//! The composition root: names concrete types and joins the rooms for each command. It holds no logic of its own.

mod bench;
mod connection;
mod devices;
mod feedback;
mod keygen;
mod load;
mod local;
mod predict;
mod serve;

pub use bench::{BenchError, bench};
pub use connection::{Answered, Connection, post};
pub use devices::devices;
pub use feedback::{ExportError, ReportError, export, report};
pub use keygen::keygen;
pub use load::keep_caches;
pub use local::Local;
pub use predict::{PredictError, predict};
pub use serve::{ServeError, serve};

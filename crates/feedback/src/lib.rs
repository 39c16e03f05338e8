//! What was answered, and what people said of it: predictions, feedback, and pictures that may be kept, in one folder.
//!
//! Nothing here waits for a disk on an async thread. A thread of its own writes, and takes whatever waits into one
//! transaction; a prediction is recorded without anybody waiting for it, feedback is acknowledged after its commit.
//!
//! | file | responsibility |
//! |---|---|
//! | `config.rs` | the room's settings |
//! | `record.rs` | predictions, feedback and receipts: plain data |
//! | `store.rs` | the handle: what the rest of the server does with it |
//! | `recorder.rs` | takes down one model's predictions |
//! | `writer/` | the thread, its transactions and what it lets go |
//! | `windows.rs`, `drift.rs` | how the last predictions differ from the first |
//! | `database/` | the file, its schema and its lock |
//! | `choice.rs` | which pictures are kept |
//! | `picture.rs`, `pictures.rs` | a file by its digest; all of them, and which of them stay |
//! | `files.rs`, `private.rs` | their files, and agreement with the rows; files for their owner alone |
//! | `reader.rs`, `judged.rs` | reads without being in the way |
//! | `summary.rs`, `calibration.rs` | how often answers were right, and how sure they were |
//! | `page/` | the report for people |
#![forbid(unsafe_code)]

mod calibration;
mod choice;
mod config;
mod database;
mod drift;
mod files;
mod judged;
mod page;
mod picture;
mod pictures;
mod private;
mod reader;
mod record;
mod recorder;
mod store;
mod summary;
#[cfg(test)]
mod tests;
mod windows;
mod writer;

pub use calibration::{Bin, Calibration};
pub use config::{Config, NotAPercentage, Percentage};
pub use database::OpenError;
pub use judged::Judged;
pub use page::{ModelFeedback, page};
pub use picture::Picture;
pub use reader::{Counted, ReadError, Reader};
pub use record::{Answered, Feedback, FeedbackError, MAX_NOTE, Receipt, Truth, Verdict};
pub use recorder::Recorder;
pub use store::Store;
pub use summary::{ClassCount, Confusion, Summary};

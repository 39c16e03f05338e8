//! The parts of `kiln predict` that need no device: its request, the files to classify, and the results file.

mod earlier_rows;
mod image_files;
mod parquet_file;
mod request;
mod results_error;
mod results_file;
mod row;

pub use earlier_rows::{EarlierFiles, EarlierRows};
pub use image_files::{ImageFile, ImageFiles, ImageSource};
pub use parquet_file::write_parquet;
pub use request::{Existing, Output, PredictRequest, ResultsFile, ResultsFormat, STDIN};
pub use results_error::ResultsError;
pub use results_file::ResultsWriter;
pub use row::{FileOutput, ModelId, OutputValues, Row, RowFormat};

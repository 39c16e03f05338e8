//! Why `kiln predict` fails, and its exit statuses.

use std::io;
use std::path::PathBuf;

use kiln_runtime::shutdown::ShutdownRequest;
use kiln_runtime::telemetry::logging::LoggingError;
use tokio::task::JoinError;

use crate::app::load::LoadError;
use crate::predict::{ImageFiles, Output, ResultsError};

/// Exit status of a shell for a process that a signal ends: 128 and the number of the signal (SIGINT, SIGPIPE, SIGTERM).
const INTERRUPTED: u8 = 130;
const CLOSED_PIPE: u8 = 141;
const TERMINATED: u8 = 143;

/// The error of [`predict`](super::predict()).
#[derive(Debug, thiserror::Error)]
pub enum PredictError {
    /// Logging cannot start.
    #[error(transparent)]
    Logging(#[from] LoggingError),
    /// The model or the device cannot be loaded.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The results file cannot be written or continued.
    #[error(transparent)]
    Results(#[from] ResultsError),
    /// Standard output cannot be written.
    #[error("cannot write the predictions: {0}")]
    Output(io::Error),
    /// The program that reads standard output or standard error has ended, such as `head`. It is not reported.
    #[error("standard output is closed")]
    ClosedPipe,
    /// The operating system refuses to report signals.
    #[error("cannot listen for signals: {0}")]
    Signals(io::Error),
    /// The conversion to Parquet panicked.
    #[error("cannot convert the results: {0}")]
    Converting(JoinError),
    /// Listing the files panicked.
    #[error("cannot list the files: {0}")]
    Listing(JoinError),
    /// The device failed and cannot be replaced, or a thread panicked. No further file can be classified.
    #[error(
        "cannot classify the remaining files: {0}. Run the command again; with --output, the rows until then are complete, and \
         --resume continues."
    )]
    Engine(String),
    /// CSV has no columns for the output of the model.
    #[error("{0}")]
    NoColumns(&'static str),
    /// The paths are folders without images.
    #[error("no images in {paths}{hint}")]
    NoImages {
        /// The paths, with commas.
        paths: String,
        /// The next step, after a semicolon.
        hint: &'static str,
    },
    /// Some files have no prediction. Standard error or their rows have the reasons.
    #[error("{failed} of {total} files could not be classified{hint}")]
    Files {
        /// Number of files without a prediction.
        failed: usize,
        /// Number of all files.
        total: usize,
        /// Where the reasons are, after a semicolon.
        hint: String,
    },
    /// A signal stopped the run. The rows until then are complete.
    #[error("stopped before the end; continue {} with --resume", path.display())]
    Stopped {
        /// The signal.
        signal: ShutdownRequest,
        /// The results file.
        path: PathBuf,
    },
}

impl PredictError {
    pub(super) fn no_images(files: &ImageFiles) -> Self {
        let paths: Vec<String> = files.paths.iter().map(|path| path.display().to_string()).collect();
        let hint = if files.recursive { "" } else { "; --recursive searches the subfolders too" };
        Self::NoImages { paths: paths.join(", "), hint }
    }

    pub(super) fn files(failed: usize, total: usize, output: &Output) -> Self {
        let hint = match output {
            Output::File(results) => format!("; the column 'error' of {} has the reasons", results.path.display()),
            Output::Text | Output::JsonLines => String::new(),
        };
        Self::Files { failed, total, hint }
    }

    /// Returns the exit status of the process: 2 if the arguments have to change, 1 for other failures, and for signals and a
    /// closed pipe the number that a shell reports for other programs.
    pub fn exit_status(&self) -> u8 {
        match self {
            Self::Stopped { signal: ShutdownRequest::Interrupt, .. } => INTERRUPTED,
            Self::Stopped { signal: ShutdownRequest::Terminate, .. } => TERMINATED,
            Self::ClosedPipe => CLOSED_PIPE,
            Self::NoColumns(_)
            | Self::Results(
                ResultsError::Exists(_)
                | ResultsError::NoRows { .. }
                | ResultsError::Columns { .. }
                | ResultsError::Model { .. },
            ) => 2,
            _ => 1,
        }
    }
}

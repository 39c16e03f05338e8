//! What one `kiln bench` is to measure, as plain data.

use std::path::PathBuf;
use std::time::Duration;

/// What `kiln bench` is to measure, apart from the settings that a server takes too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Pictures in a batch, each size by itself.
    pub batch_sizes: Vec<usize>,
    /// Connections at once, each number by itself; none leaves the server out.
    pub concurrencies: Vec<usize>,
    /// How long each measurement takes.
    pub time: Duration,
    /// A folder of pictures; a photo that is built in where there is none.
    pub images: Option<PathBuf>,
    /// Where the report goes.
    pub out: PathBuf,
}

//! Files to what an engine takes, on several threads.

use std::num::NonZeroUsize;
use std::path::Path;

use model_import::import::read_file;

use kiln_image::{self as image, Limits, PreparedImage, Recipe};

/// A picture of the network's size, or why it is none.
pub type Prepared = Result<PreparedImage, String>;

/// Reads, decodes and resizes files, in their order. A file that is no picture costs nobody else anything.
pub fn prepare(files: &[&Path], recipe: &Recipe, limits: &Limits, threads: NonZeroUsize) -> Vec<Prepared> {
    let part = files.len().div_ceil(threads.get()).max(1);
    let one = |file: &&Path| {
        let bytes = read_file(file, limits.decoded.most()).map_err(|e| e.to_string())?;
        image::prepare(&bytes, recipe, limits).map(|decoded| decoded.image).map_err(|e| e.to_string())
    };
    std::thread::scope(|scope| {
        let parts: Vec<_> =
            files.chunks(part).map(|some| scope.spawn(|| some.iter().map(one).collect::<Vec<Prepared>>())).collect();
        parts.into_iter().flat_map(|part| part.join().expect("decoding returns errors")).collect()
    })
}

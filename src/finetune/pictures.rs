//! Files to what an engine takes, on several threads.

use std::num::NonZeroUsize;
use std::path::Path;

use crate::image::{self, Limits, Recipe};
use crate::inference::Sample;

/// A picture that is ready, or why it is not.
pub type Prepared = Result<Sample, String>;

/// Reads, decodes and resizes files, in their order. A file that is no picture costs nobody else anything.
pub fn prepare(files: &[&Path], recipe: &Recipe, limits: &Limits, threads: NonZeroUsize) -> Vec<Prepared> {
    let part = files.len().div_ceil(threads.get()).max(1);
    std::thread::scope(|scope| {
        let parts: Vec<_> = files
            .chunks(part)
            .map(|some| scope.spawn(|| some.iter().map(|file| one(file, recipe, limits)).collect::<Vec<Prepared>>()))
            .collect();
        parts.into_iter().flat_map(|part| part.join().expect("decoding returns errors")).collect()
    })
}

fn one(file: &Path, recipe: &Recipe, limits: &Limits) -> Prepared {
    let bytes = std::fs::read(file).map_err(|e| e.to_string())?;
    image::prepare(&bytes, recipe, limits).map(|decoded| decoded.image.into()).map_err(|e| e.to_string())
}

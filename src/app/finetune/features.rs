//! The features of a folder's pictures, of which there may be more than fit in memory: a thousand are decoded at a time.

use std::num::NonZeroUsize;
use std::path::Path;

use super::super::{load, progress};
use super::{FinetuneFailure, tell};
use crate::classifier;
use crate::config::Config;
use crate::finetune::{self, Extractor, Features};
use crate::image::Recipe;
use crate::inference::ChosenDevice;
use crate::model::Model;

/// Pictures that are held in memory at once, 150 KB each for a network of 224x224.
const AT_ONCE: usize = 1024;
/// Broken pictures that are named.
const NAMED: usize = 5;

/// Features of the files that are pictures, and which those are. The others are named.
pub(super) fn extracted(
    config: &Config,
    model: &Model,
    head: &model_import::Head,
    device: &ChosenDevice,
    files: &[&Path],
) -> Result<(Features, Vec<usize>), FinetuneFailure> {
    let recipe: Recipe = classifier::recipe(model);
    let threads = NonZeroUsize::new(config.decode_threads).unwrap_or(NonZeroUsize::MIN);
    let passes = head.features.div_ceil(head.classes);
    let bar = progress::bar(files.len() * passes, "{bar:40} {percent} % of the features, {eta} left");
    let mut extractor = Extractor::start(model, head, device, load::options(config))?;
    let (mut features, mut good) = (Features { width: head.features, values: Vec::new() }, Vec::new());
    let mut broken = 0;
    for (first, some) in (0..).step_by(AT_ONCE).zip(files.chunks(AT_ONCE)) {
        let mut samples = Vec::with_capacity(some.len());
        for (index, prepared) in (first..).zip(finetune::prepare(some, &recipe, &config.image, threads)) {
            match prepared {
                Ok(sample) => {
                    samples.push(sample);
                    good.push(index);
                }
                Err(reason) => {
                    broken += 1;
                    if broken <= NAMED {
                        bar.suspend(|| eprintln!("{}: {reason}", files[index].display()));
                    }
                }
            }
        }
        features.values.extend(extractor.run(&samples, |done| bar.inc(done as u64))?.values);
    }
    bar.finish_and_clear();
    if broken > 0 {
        tell(&format!("{broken} files are no pictures that can be read, and are left out\n"))?;
    }
    Ok((features, good))
}

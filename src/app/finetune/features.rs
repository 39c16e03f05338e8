//! The features of a folder's pictures, of which there may be more than fit in memory: a thousand are decoded at a time.

use std::num::NonZeroUsize;
use std::path::Path;

use model_import::import::terminal_text;

use super::super::{load, progress};
use super::{FinetuneFailure, tell};
use kiln_classifier as classifier;
use crate::config::Config;
use kiln_finetune::{self as finetune, Deduplicated, FeatureExtractor, Features, FinetuneError, LabelledFile};
use kiln_inference::ChosenDevice;
use kiln_inference::model::Model;

/// Pictures that are held in memory at once, 150 KB each for a network of 224x224.
const AT_ONCE: usize = 1024;
/// Broken pictures that are named.
const NAMED: usize = 5;

/// Features of the pictures that the files show, each picture once, and those pictures. Files that show none are named.
pub(super) fn extracted(
    config: &Config,
    model: &Model,
    head: &model_import::Head,
    device: &ChosenDevice,
    files: &[LabelledFile],
) -> Result<(Features, Deduplicated), FinetuneFailure> {
    let recipe = classifier::recipe(model);
    let threads = NonZeroUsize::new(config.decode_threads).unwrap_or(NonZeroUsize::MIN);
    let passes = head.passes();
    let bar = progress::bar(files.len() * passes, "{bar:40} {percent} % of the features, {eta} left");
    let mut extractor = FeatureExtractor::start(model, head, device, load::options(config))?;
    let (mut features, mut distinct) = (Features { width: head.features, values: Vec::new() }, Deduplicated::default());
    let mut broken = 0;
    for some in files.chunks(AT_ONCE) {
        let mut samples = Vec::with_capacity(some.len());
        let paths: Vec<&Path> = some.iter().map(|file| &*file.path).collect();
        let prepared = finetune::preprocess_files(&paths, &recipe, &config.image, threads);
        for (file, prepared) in some.iter().zip(prepared) {
            match prepared {
                Ok(image) if distinct.insert(&image, file.class) => samples.push(image.into()),
                Ok(_) => {}
                Err(reason) => {
                    broken += 1;
                    if broken <= NAMED {
                        bar.suspend(|| eprintln!("{}", terminal_text(&format!("{}: {reason}", file.path.display()))));
                    }
                }
            }
        }
        bar.inc(((some.len() - samples.len()) * passes) as u64);
        features.values.extend(extractor.run(&samples, |done| bar.inc(done as u64))?.values);
    }
    bar.finish_and_clear();
    if broken > 0 {
        tell(&format!("{broken} files are no pictures that can be read, and are left out\n"))?;
    }
    if distinct.images().is_empty() {
        return Err(FinetuneError::NoImages("none of the files is an image".to_string()).into());
    }
    Ok((features, distinct))
}

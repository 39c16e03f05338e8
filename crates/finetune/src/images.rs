//! Preprocesses image files on several threads, and removes duplicates.
//!
//! An image in the evaluation must not be in the training set too, so each image counts once. Images are compared by the pixels
//! that the network receives: different files may have the same pixels. Two crops of a photo are two images.

use std::collections::HashMap;
use std::fmt;
use std::num::NonZeroUsize;
use std::path::Path;
use std::thread::Builder;

use kiln_image::{self as image, Limits, PreprocessSpec, PreprocessedImage};
use model_import::import::read_file;

/// Reads, decodes and resizes files on `threads` threads. Returns one result per file, in order; an error concerns its file
/// alone.
pub fn preprocess_files(
    files: &[&Path],
    recipe: &PreprocessSpec,
    limits: &Limits,
    threads: NonZeroUsize,
) -> Vec<Result<PreprocessedImage, String>> {
    let files_per_thread = files.len().div_ceil(threads.get()).max(1);
    let preprocess = |file: &&Path| {
        let bytes = read_file(file, limits.decode_budget.capacity()).map_err(|e| e.to_string())?;
        image::preprocess(&bytes, recipe, limits).map(|decoded| decoded.image).map_err(|e| e.to_string())
    };
    let preprocess_all = |chunk: &[&Path]| chunk.iter().map(preprocess).collect::<Vec<_>>();
    let preprocess_all = &preprocess_all;
    std::thread::scope(|scope| {
        // If the operating system refuses a thread, this one does its work.
        let start = |chunk| (chunk, Builder::new().spawn_scoped(scope, move || preprocess_all(chunk)).ok());
        let started: Vec<_> = files.chunks(files_per_thread).map(start).collect();
        let results = started.into_iter().flat_map(|(chunk, thread)| match thread {
            Some(thread) => thread.join().expect("decoding does not panic"),
            None => preprocess_all(chunk),
        });
        results.collect()
    })
}

/// BLAKE3 of the pixels that the network receives.
pub(crate) type Digest = [u8; 32];

/// A distinct image with its true class.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LabelledImage {
    pub(crate) digest: Digest,
    /// Index of the true class.
    pub class: usize,
}

/// Distinct images, in the order of their insertion.
#[derive(Clone, Debug, Default)]
pub struct Deduplicated {
    images: Vec<LabelledImage>,
    /// Indices into `images`.
    indices: HashMap<Digest, usize>,
    duplicates: usize,
    /// Number of duplicates whose class differs from the earlier one.
    contradicted: usize,
}

impl Deduplicated {
    /// Inserts an image and returns whether it is new. The class of a duplicate replaces the earlier class.
    pub fn insert(&mut self, image: &PreprocessedImage, class: usize) -> bool {
        let digest = *blake3::hash(image.pixels()).as_bytes();
        if let Some(index) = self.indices.get(&digest) {
            let earlier = &mut self.images[*index];
            self.duplicates += 1;
            self.contradicted += usize::from(earlier.class != class);
            earlier.class = class;
            return false;
        }
        self.indices.insert(digest, self.images.len());
        self.images.push(LabelledImage { digest, class });
        true
    }

    /// Returns the distinct images, each with its last class.
    pub fn images(&self) -> &[LabelledImage] {
        &self.images
    }
}

impl fmt::Display for Deduplicated {
    /// Writes a line about the duplicates, if there are any.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { duplicates, contradicted, .. } = self;
        if *duplicates > 0 {
            writeln!(
                f,
                "{duplicates} files have the same image as another file and count once; {contradicted} of them have another class \
                 (the last class counts)"
            )?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(value: u8) -> PreprocessedImage {
        PreprocessedImage::new(1, 1, vec![value; 3].into())
    }

    #[test]
    fn images_with_equal_pixels_count_once_with_the_last_class() {
        let mut distinct = Deduplicated::default();
        let new: Vec<bool> =
            [(1, 5), (2, 5), (1, 5), (1, 7)].map(|(value, class)| distinct.insert(&image(value), class)).into();
        assert_eq!(new, [true, true, false, false]);
        assert_eq!(distinct.images().iter().map(|image| image.class).collect::<Vec<_>>(), [7, 5]);
        let text = distinct.to_string();
        assert!(
            text.contains("2 files have the same image") && text.contains("1 of them have another class"),
            "{text}"
        );
        assert_eq!(Deduplicated::default().to_string(), "");
    }
}

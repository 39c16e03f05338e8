//! What was typed behind `kiln finetune`.

use std::path::PathBuf;

/// How to train, and on what.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// The folder that `kiln feedback export` wrote.
    pub feedback: PathBuf,
    /// The most rounds through all pictures.
    pub epochs: usize,
    /// Length of a step, as a part of the longest one that surely leads downhill.
    pub learning_rate: f32,
    /// How strongly weights are pulled back to where they were, in units of the features' mean square norm.
    pub pull: f32,
    /// The part of the pictures that is only judged by.
    pub held_out: f64,
    /// Chooses another such part.
    pub seed: u64,
    /// Write a version even if it is no better, or if that cannot be told.
    pub force: bool,
}

impl Plan {
    /// The defaults, for pictures in `feedback`.
    pub fn new(feedback: PathBuf) -> Self {
        Self { feedback, epochs: 300, learning_rate: 1.0, pull: 1e-3, held_out: 0.2, seed: 0, force: false }
    }
}

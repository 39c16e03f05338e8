//! `kiln finetune`: the last layer of a model is trained on pictures that people have corrected; everything before it stays.
//!
//! With frozen features that is a softmax regression, which is convex and whose gradient is known in closed form, so Burn's
//! plain tensors do and the feature `autodiff`, which would have all of Burn built again, is not needed. It brings no
//! dependency either, so the command is part of every build.
//!
//! | file | responsibility |
//! |---|---|
//! | `feedback.rs` | what `kiln feedback export` wrote: pictures and their right classes |
//! | `distinct.rs` | each picture once |
//! | `split.rs` | which pictures train, which say when to stop, and which judge |
//! | `pictures.rs` | files to what an engine takes, on several threads |
//! | `extractor.rs` | the frozen network on a device |
//! | `features.rs` | what it makes of them |
//! | `set.rs` | features and classes as tensors |
//! | `gradient.rs` | loss and gradient |
//! | `train.rs` | descent |
//! | `judge.rs` | is it better, and can that be told |
//! | `improve.rs` | both |
//! | `plan.rs` | what was typed |
//! | `error.rs` | what can go wrong |
#![forbid(unsafe_code)]

mod distinct;
mod error;
mod extractor;
mod features;
mod feedback;
mod gradient;
mod improve;
mod judge;
mod pictures;
mod plan;
mod set;
mod split;
mod train;

pub use distinct::{Distinct, Picture};
pub use error::FinetuneError;
pub use extractor::Extractor;
pub use features::Features;
pub use feedback::{Corrected, Feedback, Skipped, read};
pub use improve::{Improved, improve};
pub use judge::Verdict;
pub use pictures::{Prepared, prepare};
pub use plan::Plan;
pub use split::{Split, split};
pub use train::Epoch;

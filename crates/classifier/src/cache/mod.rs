//! Answers that are kept for pictures that are asked again, bounded in bytes. It knows neither pictures nor models: a question
//! is a digest, an answer a value that tells its size.
//!
//! | file | responsibility |
//! |---|---|
//! | `flights.rs` | who runs, and who waits for him |
//! | `key.rs` | what makes two questions the same |
//! | `store.rs` | what is kept, and the one run for all who ask the same at once |

mod flights;
mod key;
mod store;

pub use key::{Answerer, Key};
pub use store::{Cache, Found, LookUp, Question, Weighed};
// The word for what came of a look-up, which the metrics have too.
pub use kiln_runtime::telemetry::metrics::CacheOutcome as Outcome;

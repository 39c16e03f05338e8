//! What `kiln import` was told, what it asks, and where models live. It sees no ONNX and writes nothing:
//! `model_import::import` does.
//!
//! | file | responsibility |
//! |---|---|
//! | `order.rs` | what was typed: plain data |
//! | `values.rs` | its words and numbers |
//! | `plan.rs` | an order and answers become a draft |
//! | `question.rs` | somebody who can be asked, or nobody |
//! | `lines.rs` | labels and logits, a line each |
//! | `checkout.rs` | the folder of a model |

mod checkout;
mod lines;
mod order;
mod plan;
mod question;
mod values;

pub use checkout::{NoCheckout, Place, place};
pub use lines::{LinesError, read_logits};
pub use order::{Labels, Order};
pub use plan::{PlanError, name, plan};
pub use question::Asker;
pub use values::{channels, deviations, size};

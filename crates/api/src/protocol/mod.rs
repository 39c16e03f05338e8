//! The Open Inference Protocol v2 over HTTP, with those of Triton's extensions that are served. What the bytes mean is in
//! the room `oip`.
//!
//! | file | responsibility |
//! |---|---|
//! | `server.rs` | health, and what the server is |
//! | `models.rs` | what its models are |
//! | `infer.rs` | inference |
//! | `body.rs`, `encoding.rs` | a request's body, compressed or not |
//! | `rows.rs` | tensors to rows for the classifier, and back |
//! | `answer.rs` | an inference's answer |
//! | `schema.rs`, `config.rs`, `statistics.rs` | JSON over the wire |

mod answer;
mod body;
mod config;
mod encoding;
mod infer;
mod models;
mod rows;
mod schema;
mod server;
mod statistics;

use poem_openapi::Tags;

pub(super) use infer::Inference;
pub(super) use models::ModelOperations;
pub(super) use server::ServerOperations;

#[derive(Tags)]
enum Tag {
    /// The [Open Inference Protocol](https://github.com/kserve/open-inference-protocol) v2, for clients of Triton and
    /// KServe.
    #[oai(rename = "Open Inference Protocol")]
    Protocol,
}

//! Metadata and requests of the protocol. The request is here for the document alone; `oip` reads it without copies.

use poem_openapi::registry::MetaMediaType;
use poem_openapi::types::{Any, Type};
use poem_openapi::{Enum, Object};
use serde_json::Value;

use crate::upload::binary;
use kiln_inference::model::Model;
use kiln_oip::{INPUT, OUTPUT};
use kiln_classifier::registry::Version;

/// Whether the process wants traffic.
#[derive(Debug, Object)]
#[oai(rename = "OipReady")]
pub(super) struct Ready {
    /// True if requests are welcome.
    pub(super) ready: bool,
}

/// What the server is.
#[derive(Debug, Object)]
#[oai(rename = "OipServer")]
pub(super) struct ServerMetadata {
    /// `kiln`.
    pub(super) name: String,
    /// The program's version.
    pub(super) version: String,
    /// Extensions of the protocol that are served.
    pub(super) extensions: Vec<String>,
}

/// Whether a model takes requests.
#[derive(Debug, Object)]
#[oai(rename = "OipModelReady")]
pub(super) struct ModelReady {
    /// The model's name.
    pub(super) name: String,
    /// True if requests are welcome.
    pub(super) ready: bool,
}

/// What a model takes and gives.
#[derive(Debug, Object)]
#[oai(rename = "OipModel")]
pub(super) struct ModelMetadata {
    /// The model's name.
    pub(super) name: String,
    /// Its versions that are loaded, the stable one first.
    pub(super) versions: Vec<String>,
    /// What it was made from.
    pub(super) platform: String,
    /// One input. It takes `BYTES` of shape `[N]` as well: encoded pictures, which the server decodes and prepares.
    pub(super) inputs: Vec<TensorMetadata>,
    /// One output.
    pub(super) outputs: Vec<TensorMetadata>,
}

/// A tensor's name, type and shape.
#[derive(Debug, Object)]
#[oai(rename = "OipTensorMetadata")]
pub(super) struct TensorMetadata {
    /// Name.
    pub(super) name: String,
    /// Datatype.
    pub(super) datatype: String,
    /// Sides; -1 is any.
    pub(super) shape: Vec<i64>,
}

/// A model of the repository.
#[derive(Debug, Object)]
#[oai(rename = "OipRepositoryEntry")]
pub(super) struct RepositoryEntry {
    /// The model's name.
    pub(super) name: String,
    /// Its version.
    pub(super) version: String,
    /// `READY`.
    pub(super) state: String,
    /// Why it is not.
    pub(super) reason: String,
}

/// What the platform field says of every model here.
pub(super) const PLATFORM: &str = "onnx_onnxv1";

impl ModelMetadata {
    pub(super) fn new(model: &Model, versions: &[Version]) -> Self {
        let spec = model.spec();
        let tensor = |name: &str, shape| TensorMetadata { name: name.into(), datatype: "FP32".into(), shape };
        Self {
            name: spec.name.to_string(),
            versions: versions.iter().map(|version| version.classifier.model().version().to_string()).collect(),
            platform: PLATFORM.to_string(),
            inputs: vec![tensor(INPUT, vec![-1, 3, spec.height.into(), spec.width.into()])],
            outputs: vec![tensor(OUTPUT, vec![-1, spec.labels.len() as i64])],
        }
    }
}

/// The bodies of an inference in the document: JSON of that shape, or such JSON with binary tensors behind it.
pub(super) fn json_or_binary<T: Type>() -> Vec<MetaMediaType> {
    vec![
        MetaMediaType { content_type: "application/json", schema: T::schema_ref() },
        MetaMediaType { content_type: "application/octet-stream", schema: binary() },
    ]
}

/// A request. Binary tensors, if any, follow the JSON in the order of the inputs.
#[derive(Debug, Object)]
#[oai(rename = "OipRequest")]
pub(super) struct InferRequest {
    /// The client's own name for the request; it comes back with the answer.
    id: Option<String>,
    /// `priority` (1 goes before others, 3 and more after them), `timeout` (microseconds), `binary_data_output`.
    parameters: Option<Any<Value>>,
    /// The model's only input.
    #[oai(validator(min_items = "1", max_items = "1"))]
    inputs: Vec<InferTensor>,
    /// The model's only output, or nothing. Parameters: `binary_data`, `classification` (that many classes as texts).
    #[oai(validator(max_items = "1"))]
    outputs: Option<Vec<RequestedTensor>>,
}

/// A tensor of a request or an answer.
#[derive(Debug, Object)]
#[oai(rename = "OipTensor")]
pub(super) struct InferTensor {
    /// Name.
    name: String,
    /// `[N, 3, height, width]` of normalised values, or `[N]` pictures.
    shape: Vec<u64>,
    /// `FP32`; or `FP16` or `BYTES`, which are binary alone.
    datatype: Datatype,
    /// `binary_data_size`: the tensor follows the JSON and has that many bytes.
    parameters: Option<Any<Value>>,
    /// Values of `FP32`, nested or flat; absent in a binary tensor.
    data: Option<Vec<Any<Value>>>,
}

/// What a tensor consists of.
#[derive(Debug, Enum)]
#[oai(rename = "OipDatatype", rename_all = "UPPERCASE")]
enum Datatype {
    Fp32,
    Fp16,
    Bytes,
}

/// A tensor that is asked for.
#[derive(Debug, Object)]
#[oai(rename = "OipRequestedTensor")]
struct RequestedTensor {
    /// Name.
    name: String,
    /// `binary_data`, `classification`.
    parameters: Option<Any<Value>>,
}

/// An answer.
#[derive(Debug, Object)]
#[oai(rename = "OipAnswer")]
pub(super) struct InferAnswer {
    /// The model that answered.
    model_name: String,
    /// Its version.
    model_version: String,
    /// As it came.
    id: Option<String>,
    /// The model's only output.
    outputs: Vec<InferTensor>,
}

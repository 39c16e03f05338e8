//! The JSON of the protocol: metadata and configuration of models, and the schemas of inference for the OpenAPI document. The
//! crate `kiln_oip` parses and encodes inference itself, without these types.

use poem_openapi::types::Any;
use poem_openapi::{Enum, Object};
use serde_json::Value;

use kiln_classifier::registry::Version;
use kiln_inference::model::Model;
use kiln_oip::{INPUT, OUTPUT};

/// Whether the server accepts requests.
#[derive(Debug, Object)]
#[oai(rename = "OipReady")]
pub(super) struct Ready {
    /// True if requests are accepted.
    pub(super) ready: bool,
}

/// Name, version and extensions of the server.
#[derive(Debug, Object)]
#[oai(rename = "OipServer")]
pub(super) struct ServerMetadata {
    /// `kiln`.
    pub(super) name: String,
    /// The program's version.
    pub(super) version: String,
    /// Supported extensions of the protocol.
    pub(super) extensions: Vec<String>,
}

/// Whether a model accepts requests.
#[derive(Debug, Object)]
#[oai(rename = "OipModelReady")]
pub(super) struct ModelReady {
    /// The model's name.
    pub(super) name: String,
    /// True if requests are accepted.
    pub(super) ready: bool,
}

/// Versions, inputs and outputs of a model.
#[derive(Debug, Object)]
#[oai(rename = "OipModel")]
pub(super) struct ModelMetadata {
    /// The model's name.
    pub(super) name: String,
    /// The loaded versions, the stable one first.
    pub(super) versions: Vec<String>,
    /// Format of the original model.
    pub(super) platform: String,
    /// One input. It also accepts `BYTES` of shape `[N]`: encoded images, which the server decodes and preprocesses.
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
    /// Shape; -1 stands for any length.
    pub(super) shape: Vec<i64>,
}

/// A model of the repository.
#[derive(Debug, Object)]
#[oai(rename = "OipRepositoryEntry", skip_serializing_if_is_none)]
pub(super) struct RepositoryEntry {
    /// The model's name.
    pub(super) name: String,
    /// Its version; absent if the model's folder has none.
    pub(super) version: Option<String>,
    /// `READY`, `LOADING` or `UNAVAILABLE`.
    pub(super) state: String,
    /// Why the state is not `READY`.
    pub(super) reason: String,
}

/// The `platform` of all models.
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
            outputs: vec![tensor(OUTPUT, vec![-1, spec.outputs as i64])],
        }
    }
}

/// Configuration of a model in the shape of Triton's `ModelConfig` (its `model_config.proto` as JSON): the fields that have a meaning
/// in Kiln.
#[derive(Debug, Object)]
#[oai(rename = "OipConfig")]
pub(super) struct ModelConfig {
    /// The model's name.
    name: String,
    /// Format of the original model.
    platform: String,
    /// The backend.
    backend: String,
    /// Maximum number of rows in one request. The batch size of the engine is independent of it: the batcher splits and joins
    /// requests.
    max_batch_size: u32,
    /// One input.
    input: Vec<InputConfig>,
    /// One output.
    output: Vec<OutputConfig>,
    /// Rows of several requests are batched.
    dynamic_batching: DynamicBatching,
}

/// The input tensor of one row.
#[derive(Debug, Object)]
#[oai(rename = "OipInputConfig")]
struct InputConfig {
    name: String,
    data_type: String,
    format: String,
    dims: Vec<u32>,
}

/// The output tensor of one row.
#[derive(Debug, Object)]
#[oai(rename = "OipOutputConfig")]
struct OutputConfig {
    name: String,
    data_type: String,
    dims: Vec<u32>,
}

/// How rows are batched.
#[derive(Debug, Object)]
#[oai(rename = "OipDynamicBatching")]
struct DynamicBatching {
    priority_levels: u32,
    default_priority_level: u32,
}

impl ModelConfig {
    pub(super) fn new(model: &Model, max_rows: usize) -> Self {
        let spec = model.spec();
        let fp32 = "TYPE_FP32".to_string();
        Self {
            name: spec.name.to_string(),
            platform: PLATFORM.to_string(),
            backend: "burn".to_string(),
            max_batch_size: max_rows as u32,
            input: vec![InputConfig {
                name: INPUT.to_string(),
                data_type: fp32.clone(),
                format: "FORMAT_NCHW".to_string(),
                dims: vec![3, spec.height, spec.width],
            }],
            output: vec![OutputConfig { name: OUTPUT.to_string(), data_type: fp32, dims: vec![spec.outputs as u32] }],
            dynamic_batching: DynamicBatching { priority_levels: 3, default_priority_level: 2 },
        }
    }
}

/// An inference request. Binary tensors, if any, follow the JSON in the order of the inputs.
#[derive(Debug, Object)]
#[oai(rename = "OipRequest")]
pub(super) struct InferRequestSchema {
    /// The client's request id; it is sent back in the response.
    id: Option<String>,
    /// `priority` (1: high, 2: normal, 3 and more: low), `timeout` (microseconds), `binary_data_output`.
    parameters: Option<Any<Value>>,
    /// The model's only input.
    #[oai(validator(min_items = "1", max_items = "1"))]
    inputs: Vec<TensorSchema>,
    /// The model's only output, or nothing. Parameters: `binary_data`, `classification` (number of top classes to return as texts).
    #[oai(validator(max_items = "1"))]
    outputs: Option<Vec<RequestedOutputSchema>>,
}

/// A tensor of a request or a response.
#[derive(Debug, Object)]
#[oai(rename = "OipTensor")]
struct TensorSchema {
    /// Name.
    name: String,
    /// `[N, 3, height, width]` of normalised values, or `[N]` images.
    shape: Vec<u64>,
    /// `FP32`; or `FP16` or `BYTES`, only in binary tensors.
    datatype: Datatype,
    /// `binary_data_size`: the tensor follows the JSON and has this number of bytes.
    parameters: Option<Any<Value>>,
    /// Values of `FP32`, nested or flat; absent in a binary tensor.
    data: Option<Vec<Any<Value>>>,
}

/// Datatype of a tensor.
#[derive(Debug, Enum)]
#[oai(rename = "OipDatatype", rename_all = "UPPERCASE")]
enum Datatype {
    Fp32,
    Fp16,
    Bytes,
}

/// A requested output tensor.
#[derive(Debug, Object)]
#[oai(rename = "OipRequestedTensor")]
struct RequestedOutputSchema {
    /// Name.
    name: String,
    /// `binary_data`, `classification`.
    parameters: Option<Any<Value>>,
}

/// An inference response.
#[derive(Debug, Object)]
#[oai(rename = "OipResponse")]
pub(super) struct InferResponseSchema {
    /// The model that scored the request.
    model_name: String,
    /// Its version.
    model_version: String,
    /// The client's request id.
    id: Option<String>,
    /// The model's only output.
    outputs: Vec<TensorSchema>,
}

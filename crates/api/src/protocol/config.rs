//! A model's configuration in the shape of Triton's `ModelConfig` (its `model_config.proto` as JSON): the fields that
//! mean something here.

use poem_openapi::Object;

use super::schema::PLATFORM;
use kiln_inference::model::Model;
use kiln_oip::{INPUT, OUTPUT};

/// How a model is served.
#[derive(Debug, Object)]
#[oai(rename = "OipConfig")]
pub(super) struct ModelConfig {
    /// The model's name.
    name: String,
    /// What it was made from.
    platform: String,
    /// What runs it.
    backend: String,
    /// The most rows of one request. What the engine runs at once is another number; requests are cut and joined.
    max_batch_size: u32,
    /// One input.
    input: Vec<InputConfig>,
    /// One output.
    output: Vec<OutputConfig>,
    /// Rows of several requests run together.
    dynamic_batching: DynamicBatching,
}

/// The input of one row.
#[derive(Debug, Object)]
#[oai(rename = "OipInputConfig")]
struct InputConfig {
    name: String,
    data_type: String,
    format: String,
    dims: Vec<u32>,
}

/// The output of one row.
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
    pub(super) fn new(model: &Model, most_rows: usize) -> Self {
        let spec = model.spec();
        let single = "TYPE_FP32".to_string();
        Self {
            name: spec.name.to_string(),
            platform: PLATFORM.to_string(),
            backend: "burn".to_string(),
            max_batch_size: most_rows as u32,
            input: vec![InputConfig {
                name: INPUT.to_string(),
                data_type: single.clone(),
                format: "FORMAT_NCHW".to_string(),
                dims: vec![3, spec.height, spec.width],
            }],
            output: vec![OutputConfig {
                name: OUTPUT.to_string(),
                data_type: single,
                dims: vec![spec.labels.len() as u32],
            }],
            dynamic_batching: DynamicBatching { priority_levels: 3, default_priority_level: 2 },
        }
    }
}

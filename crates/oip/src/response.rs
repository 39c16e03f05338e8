//! An inference response: JSON, followed by the tensor if the client requested binary data.

use bytes::{BufMut, Bytes, BytesMut};
use serde_json::{Value, json};

use super::OUTPUT;
use super::tensor::{Tensor, TensorData};

/// The bytes of a response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EncodedResponse {
    /// The JSON, and the binary tensor if there is one.
    pub body: Bytes,
    /// The length of the JSON if a binary tensor follows it: the value of `Inference-Header-Content-Length`.
    pub header_length: Option<usize>,
}

/// Reports an output value that is NaN or infinite, by its index in the tensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "value {0} of the output is not finite and cannot be sent as JSON or as a class; request binary data, or send smaller inputs"
)]
pub struct NonFiniteOutput(pub usize);

/// Encodes a response. If `binary` is set, the tensor follows the JSON as binary data.
///
/// # Errors
///
/// Returns an error if `binary` is not set and a number is not finite.
pub fn encode_response(
    (model, version): (&str, &str),
    id: Option<&str>,
    output: &Tensor,
    binary: bool,
) -> Result<EncodedResponse, NonFiniteOutput> {
    let datatype = match output.data {
        TensorData::Floats(_) => "FP32",
        TensorData::Bytes(_) => "BYTES",
    };
    let mut tensor = json!({"name": OUTPUT, "shape": output.shape, "datatype": datatype});
    let binary_data = if binary { to_binary(&output.data) } else { Bytes::new() };
    if binary {
        tensor["parameters"] = json!({"binary_data_size": binary_data.len()});
    } else {
        tensor["data"] = to_json(&output.data)?;
    }
    let mut response = json!({"model_name": model, "model_version": version, "outputs": [tensor]});
    if let Some(id) = id {
        response["id"] = id.into();
    }
    let header = response.to_string();
    let header_length = binary.then_some(header.len());
    let mut body = BytesMut::from(header.as_bytes());
    body.extend_from_slice(&binary_data);
    Ok(EncodedResponse { body: body.freeze(), header_length })
}

fn to_binary(data: &TensorData) -> Bytes {
    let mut bytes = BytesMut::new();
    match data {
        TensorData::Floats(numbers) => numbers.iter().for_each(|number| bytes.put_f32_le(*number)),
        TensorData::Bytes(elements) => {
            for element in elements {
                bytes.put_u32_le(u32::try_from(element.len()).expect("an element is a number and a label"));
                bytes.extend_from_slice(element);
            }
        }
    }
    bytes.freeze()
}

fn to_json(data: &TensorData) -> Result<Value, NonFiniteOutput> {
    Ok(match data {
        TensorData::Floats(numbers) => {
            if let Some(index) = numbers.iter().position(|number| !number.is_finite()) {
                return Err(NonFiniteOutput(index));
            }
            numbers.iter().copied().collect()
        }
        TensorData::Bytes(elements) => elements.iter().map(|element| String::from_utf8_lossy(element)).collect(),
    })
}

/// Formats a class as Triton's classification extension does: `value:index:label`.
pub fn classification_element(value: f32, index: usize, label: &str) -> Bytes {
    Bytes::from(format!("{value:.6}:{index}:{label}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MODEL: (&str, &str) = ("net", "1");

    fn numbers(values: &[f32]) -> Tensor {
        Tensor { shape: vec![1, values.len()], data: TensorData::Floats(values.to_vec()) }
    }

    #[test]
    fn numbers_are_encoded_as_json_or_as_binary_data() {
        let encoded = encode_response(MODEL, Some("7"), &numbers(&[1.5, -2.0]), false).unwrap();
        assert_eq!(encoded.header_length, None);
        let json: Value = serde_json::from_slice(&encoded.body).unwrap();
        assert_eq!(
            (&json["id"], &json["model_name"], &json["model_version"]),
            (&json!("7"), &json!("net"), &json!("1"))
        );
        let output = json!({"name": "logits", "shape": [1, 2], "datatype": "FP32", "data": [1.5, -2.0]});
        assert_eq!(json["outputs"], json!([output]));
        let encoded = encode_response(MODEL, None, &numbers(&[1.5, -2.0]), true).unwrap();
        let (header, binary) = encoded.body.split_at(encoded.header_length.unwrap());
        let json: Value = serde_json::from_slice(header).unwrap();
        assert_eq!(json["outputs"][0]["parameters"]["binary_data_size"], 8);
        assert!(json.get("id").is_none() && json["outputs"][0].get("data").is_none());
        assert_eq!(binary, [1.5_f32.to_le_bytes(), (-2.0_f32).to_le_bytes()].concat());
    }

    #[test]
    fn non_finite_number_is_an_error_in_json_but_not_in_binary_data() {
        let error = encode_response(MODEL, None, &numbers(&[0.0, f32::INFINITY]), false).unwrap_err();
        assert!(error.to_string().starts_with("value 1 of the output"), "{error}");
        assert!(encode_response(MODEL, None, &numbers(&[0.0, f32::NAN]), true).is_ok());
    }

    #[test]
    fn classes_are_encoded_as_length_prefixed_texts() {
        let element = classification_element(0.5, 285, "Egyptian cat");
        assert_eq!(element, "0.500000:285:Egyptian cat");
        let output = Tensor { shape: vec![1, 1], data: TensorData::Bytes(vec![element]) };
        let encoded = encode_response(MODEL, None, &output, true).unwrap();
        let binary = &encoded.body[encoded.header_length.unwrap()..];
        assert_eq!(&binary[..4], [25, 0, 0, 0]);
        assert_eq!(&binary[4..], b"0.500000:285:Egyptian cat");
    }
}

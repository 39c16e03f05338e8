//! The answer to an inference request: JSON, and behind it the tensors that were asked for in binary.

use bytes::{BufMut, Bytes, BytesMut};
use serde_json::{Value, json};

use super::OUTPUT;
use super::tensor::Values;

/// The tensor that goes out.
#[derive(Clone, Debug, PartialEq)]
pub struct Output {
    /// `[batch, ..]`.
    pub shape: Vec<usize>,
    /// As many as the shape says.
    pub values: Values,
}

/// An answer's bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rendered {
    /// JSON, and what is behind it.
    pub body: Bytes,
    /// The length of the JSON, where something is behind it: `Inference-Header-Content-Length`.
    pub header_length: Option<usize>,
}

/// A number that JSON has no form for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "value {0} of the output is no finite number, which neither JSON nor a class can tell; ask for binary data, or send smaller inputs"
)]
pub struct NotFinite(pub usize);

/// Writes an answer. `binary` puts the tensor behind the JSON.
///
/// # Errors
///
/// A number is not finite and is to go into JSON.
pub fn render(
    (model, version): (&str, &str),
    id: Option<&str>,
    output: &Output,
    binary: bool,
) -> Result<Rendered, NotFinite> {
    let datatype = match output.values {
        Values::Numbers(_) => "FP32",
        Values::Elements(_) => "BYTES",
    };
    let mut tensor = json!({"name": OUTPUT, "shape": output.shape, "datatype": datatype});
    let behind = if binary { in_binary(&output.values) } else { Bytes::new() };
    if binary {
        tensor["parameters"] = json!({"binary_data_size": behind.len()});
    } else {
        tensor["data"] = in_json(&output.values)?;
    }
    let mut answer = json!({"model_name": model, "model_version": version, "outputs": [tensor]});
    if let Some(id) = id {
        answer["id"] = id.into();
    }
    let header = answer.to_string();
    let header_length = binary.then_some(header.len());
    let mut body = BytesMut::from(header.as_bytes());
    body.extend_from_slice(&behind);
    Ok(Rendered { body: body.freeze(), header_length })
}

fn in_binary(values: &Values) -> Bytes {
    let mut bytes = BytesMut::new();
    match values {
        Values::Numbers(numbers) => numbers.iter().for_each(|number| bytes.put_f32_le(*number)),
        Values::Elements(elements) => {
            for element in elements {
                bytes.put_u32_le(element.len() as u32);
                bytes.extend_from_slice(element);
            }
        }
    }
    bytes.freeze()
}

fn in_json(values: &Values) -> Result<Value, NotFinite> {
    Ok(match values {
        Values::Numbers(numbers) => {
            if let Some(place) = numbers.iter().position(|number| !number.is_finite()) {
                return Err(NotFinite(place));
            }
            numbers.iter().copied().collect()
        }
        Values::Elements(elements) => elements.iter().map(|element| String::from_utf8_lossy(element)).collect(),
    })
}

/// A class as Triton's classification extension has it: `value:index:label`.
pub fn classification(value: f32, index: usize, label: &str) -> Bytes {
    Bytes::from(format!("{value:.6}:{index}:{label}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MODEL: (&str, &str) = ("net", "1");

    fn numbers(values: &[f32]) -> Output {
        Output { shape: vec![1, values.len()], values: Values::Numbers(values.to_vec()) }
    }

    #[test]
    fn numbers_go_into_the_json_or_behind_it() {
        let rendered = render(MODEL, Some("7"), &numbers(&[1.5, -2.0]), false).unwrap();
        assert_eq!(rendered.header_length, None);
        let answer: Value = serde_json::from_slice(&rendered.body).unwrap();
        assert_eq!(
            (&answer["id"], &answer["model_name"], &answer["model_version"]),
            (&json!("7"), &json!("net"), &json!("1"))
        );
        let output = json!({"name": "logits", "shape": [1, 2], "datatype": "FP32", "data": [1.5, -2.0]});
        assert_eq!(answer["outputs"], json!([output]));
        let rendered = render(MODEL, None, &numbers(&[1.5, -2.0]), true).unwrap();
        let (header, binary) = rendered.body.split_at(rendered.header_length.unwrap());
        let answer: Value = serde_json::from_slice(header).unwrap();
        assert_eq!(answer["outputs"][0]["parameters"]["binary_data_size"], 8);
        assert!(answer.get("id").is_none() && answer["outputs"][0].get("data").is_none());
        assert_eq!(binary, [1.5_f32.to_le_bytes(), (-2.0_f32).to_le_bytes()].concat());
    }

    #[test]
    fn a_number_that_json_cannot_hold_is_an_error_there_and_goes_out_in_binary() {
        let refused = render(MODEL, None, &numbers(&[0.0, f32::INFINITY]), false).unwrap_err();
        assert!(refused.to_string().starts_with("value 1 of the output"), "{refused}");
        assert!(render(MODEL, None, &numbers(&[0.0, f32::NAN]), true).is_ok());
    }

    #[test]
    fn classes_are_texts() {
        let element = classification(0.5, 285, "Egyptian cat");
        assert_eq!(element, "0.500000:285:Egyptian cat");
        let output = Output { shape: vec![1, 1], values: Values::Elements(vec![element]) };
        let rendered = render(MODEL, None, &output, true).unwrap();
        let binary = &rendered.body[rendered.header_length.unwrap()..];
        assert_eq!(&binary[..4], [25, 0, 0, 0]);
        assert_eq!(&binary[4..], b"0.500000:285:Egyptian cat");
    }
}

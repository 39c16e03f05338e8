//! An inference request: its JSON and the binary tensors behind it, checked against each other and joined.

use std::time::Duration;

use bytes::Bytes;

use super::request_json::{self, BoundedVec, FlatNumbers, InputJson, OutputJson};
use super::tensor::{Datatype, Tensor, TensorData};
use super::{INPUT, MalformedRequest, OUTPUT, truncated};

/// Maximum length of the client's request id in bytes; the id is sent back in the response.
const MAX_ID_BYTES: usize = 1024;

/// A parsed inference request.
#[derive(Clone, Debug, PartialEq)]
pub struct InferRequest {
    /// The client's request id, to be sent back.
    pub id: Option<String>,
    /// The model's only input.
    pub input: Tensor,
    /// How to return the model's only output.
    pub output: RequestedOutput,
    /// Triton's `priority`: 1 is the highest. `None` means the default priority.
    pub priority: Option<u64>,
    /// Request timeout (Triton's `timeout`, microseconds).
    pub timeout: Option<Duration>,
}

/// How to return the output tensor.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RequestedOutput {
    /// Return the tensor as binary data behind the JSON.
    pub binary: bool,
    /// Return this many top classes as texts instead of all scores (Triton's classification extension).
    pub classes: Option<usize>,
}

/// Parses a request.
///
/// `header_length` is the value of `Inference-Header-Content-Length`: the length of the JSON at the start of `body`. If it is
/// absent, the JSON is the whole body. If it is 0, there is no JSON and the body is one encoded image.
///
/// # Errors
///
/// Returns an error if the body violates the protocol or requests something that Kiln does not support.
pub fn parse_request(mut body: Bytes, header_length: Option<usize>) -> Result<InferRequest, MalformedRequest> {
    if header_length == Some(0) {
        let output = RequestedOutput { binary: true, classes: None };
        let input = Tensor { shape: vec![1], data: TensorData::Bytes(vec![body]) };
        return Ok(InferRequest { id: None, input, output, priority: None, timeout: None });
    }
    let length = header_length.unwrap_or(body.len());
    if length > body.len() {
        return Err(MalformedRequest::new(format!(
            "Inference-Header-Content-Length is {length}, but the body has {} bytes",
            body.len()
        )));
    }
    let mut binary = body.split_off(length);
    let json = request_json::parse(&body)?;
    if json.id.as_ref().is_some_and(|id| id.len() > MAX_ID_BYTES) {
        return Err(MalformedRequest::new(format!("the request id is longer than {MAX_ID_BYTES} bytes")));
    }
    let Some(input) = json.inputs.0.into_iter().next() else {
        return Err(MalformedRequest::new(format!("the request has no input; the model has one input, '{INPUT}'")));
    };
    let input = read_input(input, &mut binary)?;
    if !binary.is_empty() {
        return Err(MalformedRequest::new(format!("{} bytes follow the last tensor", binary.len())));
    }
    let parameters = json.parameters.unwrap_or_default();
    let timeout = parameters.timeout.filter(|timeout| *timeout > 0).map(Duration::from_micros);
    let priority = parameters.priority.filter(|priority| *priority > 0);
    let output = json.outputs.and_then(|outputs| outputs.0.into_iter().next());
    let output = read_output(output, parameters.binary_data_output.unwrap_or(false))?;
    Ok(InferRequest { id: json.id, input, output, priority, timeout })
}

/// Takes a tensor's values from its own JSON or from the front of `binary`.
fn read_input(json: InputJson, binary: &mut Bytes) -> Result<Tensor, MalformedRequest> {
    let InputJson { name, shape: BoundedVec(shape), datatype, parameters, data } = json;
    if name != INPUT {
        let name = truncated(&name, 40);
        return Err(MalformedRequest::new(format!("the model has no input '{name}'; its input is '{INPUT}'")));
    }
    let parameters = parameters.unwrap_or_default();
    if parameters.shared_memory_region.is_some() {
        return Err(shared_memory_error());
    }
    let datatype = Datatype::parse(&datatype)?;
    let data = match (data, parameters.binary_data_size) {
        (Some(_), Some(_)) => return Err(MalformedRequest::new("the input has both data and binary_data_size")),
        (None, None) => return Err(MalformedRequest::new("the input has neither data nor binary_data_size")),
        (Some(numbers), None) => tensor_from_json(datatype, numbers)?,
        (None, Some(size)) => {
            let size = usize::try_from(size).ok().filter(|size| *size <= binary.len()).ok_or_else(|| {
                let available = binary.len();
                MalformedRequest::new(format!("binary_data_size is {size}, but only {available} bytes follow"))
            })?;
            TensorData::from_binary(datatype, binary.split_to(size))?
        }
    };
    let expected = shape.iter().try_fold(1_usize, |product, side| product.checked_mul(*side));
    if expected != Some(data.len()) {
        let message = format!("the input has {} values, which does not match its shape {shape:?}", data.len());
        return Err(MalformedRequest::new(message));
    }
    Ok(Tensor { shape, data })
}

fn tensor_from_json(datatype: Datatype, numbers: FlatNumbers) -> Result<TensorData, MalformedRequest> {
    let needs_binary = |name| {
        Err(MalformedRequest::new(format!("{name} tensors cannot be sent as JSON; use the binary tensor extension")))
    };
    match datatype {
        Datatype::Fp32 => Ok(TensorData::Floats(numbers.0)),
        Datatype::Fp16 => needs_binary("FP16"),
        Datatype::Bytes => needs_binary("BYTES"),
    }
}

fn read_output(json: Option<OutputJson>, binary_by_default: bool) -> Result<RequestedOutput, MalformedRequest> {
    let Some(output) = json else {
        return Ok(RequestedOutput { binary: binary_by_default, classes: None });
    };
    if output.name != OUTPUT {
        let name = truncated(&output.name, 40);
        return Err(MalformedRequest::new(format!("the model has no output '{name}'; its output is '{OUTPUT}'")));
    }
    let parameters = output.parameters.unwrap_or_default();
    if parameters.shared_memory_region.is_some() {
        return Err(shared_memory_error());
    }
    let classes = parameters.classification.filter(|classes| *classes > 0);
    Ok(RequestedOutput {
        binary: parameters.binary_data.unwrap_or(binary_by_default),
        classes: classes.map(|classes| usize::try_from(classes).unwrap_or(usize::MAX)),
    })
}

/// Refuses shared memory explicitly. If the field were ignored, the client would read stale data from its region.
fn shared_memory_error() -> MalformedRequest {
    MalformedRequest::new("shared memory is not supported; send and request tensors as JSON or as binary data")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(json: &str, binary: &[u8]) -> (Bytes, Option<usize>) {
        (Bytes::from([json.as_bytes(), binary].concat()), Some(json.len()))
    }

    fn error_message(json: &str, binary: &[u8]) -> String {
        let (body, length) = body(json, binary);
        parse_request(body, length).unwrap_err().to_string()
    }

    #[test]
    fn json_and_binary_tensors_parse_to_the_same_request() {
        let json = r#"{"id":"7","inputs":[{"name":"input","shape":[1,2],"datatype":"FP32","data":[[1,-2]]}]}"#;
        let from_json = parse_request(Bytes::from(json), None).unwrap();
        let header = r#"{"id":"7","inputs":[{"name":"input","shape":[1,2],"datatype":"FP32","parameters":{"binary_data_size":8}}]}"#;
        let (body, length) = body(header, &[0, 0, 0x80, 0x3f, 0, 0, 0, 0xc0]);
        assert_eq!(parse_request(body, length).unwrap(), from_json);
        assert_eq!(from_json.id.as_deref(), Some("7"));
        assert_eq!(from_json.input, Tensor { shape: vec![1, 2], data: TensorData::Floats(vec![1.0, -2.0]) });
        assert_eq!(from_json.output, RequestedOutput::default());
    }

    #[test]
    fn zero_header_length_makes_the_body_one_image() {
        let request = parse_request(Bytes::from_static(b"\xff\xd8\xff"), Some(0)).unwrap();
        assert_eq!(request.input.data, TensorData::Bytes(vec![Bytes::from_static(b"\xff\xd8\xff")]));
        assert!(request.output.binary);
    }

    #[test]
    fn output_parameters_are_parsed() {
        let json = |outputs: &str| {
            format!(r#"{{"inputs":[{{"name":"input","shape":[0],"datatype":"FP32","data":[]}}],{outputs}}}"#)
        };
        let output = |outputs: &str| parse_request(Bytes::from(json(outputs)), None).unwrap().output;
        assert!(output(r#""parameters":{"binary_data_output":true}"#).binary);
        let text = r#""parameters":{"binary_data_output":true},"outputs":[{"name":"logits","parameters":{"binary_data":false,"classification":3}}]"#;
        assert_eq!(output(text), RequestedOutput { binary: false, classes: Some(3) });
    }

    #[test]
    fn inconsistent_requests_are_refused() {
        let input = |rest: &str| format!(r#"{{"inputs":[{{"name":"input",{rest}}}]}}"#);
        for (json, binary, part) in [
            (input(r#""shape":[2],"datatype":"FP32","data":[1]"#), &b""[..], "does not match its shape [2]"),
            (input(r#""shape":[1],"datatype":"FP64","data":[1]"#), b"", "'FP64' is not supported"),
            (input(r#""shape":[1],"datatype":"FP16","data":[1]"#), b"", "FP16 tensors cannot be sent as JSON"),
            (input(r#""shape":[1],"datatype":"FP32","data":["a"]"#), b"", "expected numbers"),
            (input(r#""shape":[1],"datatype":"BYTES","data":[1]"#), b"", "BYTES tensors cannot be sent as JSON"),
            (input(r#""shape":[1],"datatype":"FP32","parameters":{"shared_memory_region":"x"}"#), b"", "shared memory"),
            (input(r#""shape":[1],"datatype":"FP32""#), b"", "neither data nor binary_data_size"),
            (
                input(r#""shape":[1],"datatype":"FP32","data":[1],"parameters":{"binary_data_size":4}"#),
                b"",
                "both data",
            ),
            (input(r#""shape":[1],"datatype":"FP32","parameters":{"binary_data_size":8}"#), b"1234", "only 4 bytes"),
            (input(r#""shape":[1],"datatype":"FP32","parameters":{"binary_data_size":-4}"#), b"1234", "expected u64"),
            (input(r#""shape":[1],"datatype":"FP32","data":[1]"#), b"1234", "4 bytes follow the last tensor"),
            (input(r#""shape":[18446744073709551615,3],"datatype":"FP32","data":[1]"#), b"", "not match its shape"),
            (r#"{"inputs":[]}"#.to_string(), b"", "the request has no input; the model has one input, 'input'"),
            (r#"{"inputs":[{"name":"x","shape":[1],"datatype":"FP32","data":[1]}]}"#.to_string(), b"", "no input 'x'"),
            ("{".to_string(), b"", "invalid JSON in the request body"),
            (
                r#"{"inputs":[{},{}]}"#.replace("{}", r#"{"name":"input","shape":[1],"datatype":"FP32","data":[1]}"#),
                b"",
                "more than 1",
            ),
            (format!(r#"{{"id":"{}","inputs":[]}}"#, "x".repeat(1025)), b"", "longer than 1024"),
        ] {
            let message = error_message(&json, binary);
            assert!(message.contains(part), "{json}: {message}");
        }
        let empty = parse_request(Bytes::new(), None).unwrap_err().to_string();
        assert!(empty.contains("invalid JSON in the request body"), "{empty}");
        let long = error_message(&format!(r#"{{"inputs":"{}"}}"#, "x".repeat(1 << 20)), b"");
        assert!(long.len() < 400, "{}", long.len());
        let past = parse_request(Bytes::from_static(b"{}"), Some(3)).unwrap_err().to_string();
        assert!(past.contains("the body has 2 bytes"), "{past}");
    }
}

//! An inference request: any bytes are a request or an error, and a parsed request can be encoded and parsed again.
//!
//! The first three bytes of the input select the header length and the form of the response. The first line after them is both
//! `Content-Encoding` and `Accept-Encoding`.
#![forbid(unsafe_code)]
#![no_main]

use bytes::Bytes;
use kiln_fuzz::oip::{InferRequest, Tensor, TensorData, encode_response, parse_request};
use kiln_fuzz::{deflate_and_inflate, inflate};
use libfuzzer_sys::fuzz_target;
use poem::http::HeaderValue;
use serde_json::{Value, json};

/// Maximum size of an inflated body in bytes.
const MAX_BYTES: usize = 1 << 20;

fuzz_target!(|input: &[u8]| {
    let Some((&[choice, low, high], input)) = input.split_first_chunk() else { return };
    let Some(end) = input.iter().position(|byte| *byte == b'\n') else { return };
    let Ok(encodings) = HeaderValue::from_bytes(&input[..end]) else { return };
    let length = usize::from(u16::from_le_bytes([low, high]));
    let length = match choice & 3 {
        0 => None,
        1 => Some(usize::MAX - length),
        _ => Some(length),
    };
    let Some(body) = inflate(&encodings, Bytes::copy_from_slice(&input[end + 1..]), MAX_BYTES) else { return };
    assert!(body.len() <= MAX_BYTES);
    let InferRequest { id, input: tensor, .. } = match parse_request(body, length) {
        Ok(request) => request,
        Err(error) => return assert!(error.to_string().len() <= 300),
    };
    assert_eq!(tensor.shape.iter().product::<usize>(), tensor.data.len());

    let binary = choice & 4 != 0;
    let Ok(encoded) = encode_response(("net", "1"), id.as_deref(), &tensor, binary) else {
        let TensorData::Floats(numbers) = &tensor.data else { panic!("elements are always finite") };
        return assert!(!binary && numbers.iter().any(|number| !number.is_finite()));
    };
    let (header, rest) = encoded.body.split_at(encoded.header_length.unwrap_or(encoded.body.len()));
    let header: Value = serde_json::from_slice(header).expect("the header of a response is JSON");
    assert_eq!(header["id"].as_str(), id.as_deref());
    if let Some(inflated) = deflate_and_inflate(&encodings, &encoded.body) {
        assert_eq!(inflated, encoded.body);
    }
    if binary || matches!(tensor.data, TensorData::Floats(_)) {
        assert_same(&parse_output(&header["outputs"][0], rest), &tensor);
    }
});

/// Parses the output of a response as the input of a request.
fn parse_output(output: &Value, binary: &[u8]) -> Tensor {
    let mut input = output.clone();
    input["name"] = "input".into();
    let header = json!({"inputs": [input]}).to_string();
    let body = [header.as_bytes(), binary].concat();
    parse_request(body.into(), Some(header.len())).expect("an encoded tensor parses").input
}

/// Compares tensors bit by bit, because a number may be NaN.
fn assert_same(left: &Tensor, right: &Tensor) {
    assert_eq!(left.shape, right.shape);
    match (&left.data, &right.data) {
        (TensorData::Floats(left), TensorData::Floats(right)) => {
            assert!(left.iter().map(|number| number.to_bits()).eq(right.iter().map(|number| number.to_bits())));
        }
        (left, right) => assert_eq!(left, right),
    }
}

//! An inference request: any bytes are a request or an error, and what is read can be written and read again.
//!
//! Of the input, the first three bytes choose the header's length and the form of the answer, and the first line after them is
//! both `Content-Encoding` and `Accept-Encoding`.
#![forbid(unsafe_code)]
#![no_main]

use bytes::Bytes;
use kiln_fuzz::api::protocol::{inflated, there_and_back};
use kiln_fuzz::oip::{Infer, Input, Output, Values, parse, render};
use libfuzzer_sys::fuzz_target;
use poem::http::HeaderValue;
use serde_json::{Value, json};

/// Bytes of an inflated body.
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
    let Some(body) = inflated(&encodings, Bytes::copy_from_slice(&input[end + 1..]), MAX_BYTES) else { return };
    assert!(body.len() <= MAX_BYTES);
    let Infer { id, input: Input { shape, values }, .. } = match parse(body, length) {
        Ok(infer) => infer,
        Err(refusal) => return assert!(refusal.to_string().len() <= 300),
    };
    assert_eq!(shape.iter().product::<usize>(), values.len());

    let tensor = Output { shape, values };
    let binary = choice & 4 != 0;
    let Ok(rendered) = render(("net", "1"), id.as_deref(), &tensor, binary) else {
        let Values::Numbers(numbers) = &tensor.values else { panic!("elements are always finite") };
        return assert!(!binary && numbers.iter().any(|number| !number.is_finite()));
    };
    let (head, behind) = rendered.body.split_at(rendered.header_length.unwrap_or(rendered.body.len()));
    let head: Value = serde_json::from_slice(head).expect("the answer's header is JSON");
    assert_eq!(head["id"].as_str(), id.as_deref());
    if let Some(again) = there_and_back(&encodings, &rendered.body) {
        assert_eq!(again, rendered.body);
    }
    if binary || matches!(tensor.values, Values::Numbers(_)) {
        assert_same(&read_again(&head["outputs"][0], behind), &tensor);
    }
});

/// An answer's tensor as that of a request.
fn read_again(output: &Value, behind: &[u8]) -> Input {
    let mut input = output.clone();
    input["name"] = "input".into();
    let head = json!({"inputs": [input]}).to_string();
    let body = [head.as_bytes(), behind].concat();
    parse(body.into(), Some(head.len())).expect("what is written can be read").input
}

/// Bit by bit, since a number may be none.
fn assert_same(one: &Input, other: &Output) {
    assert_eq!(one.shape, other.shape);
    match (&one.values, &other.values) {
        (Values::Numbers(one), Values::Numbers(other)) => {
            assert!(one.iter().map(|number| number.to_bits()).eq(other.iter().map(|number| number.to_bits())));
        }
        (one, other) => assert_eq!(one, other),
    }
}

//! Requests as clients write them, and as they should not.

use super::*;

fn body(json: &str, binary: &[u8]) -> (Bytes, Option<usize>) {
    (Bytes::from([json.as_bytes(), binary].concat()), Some(json.len()))
}

fn refusal(json: &str, binary: &[u8]) -> String {
    let (body, length) = body(json, binary);
    parse(body, length).unwrap_err().to_string()
}

#[test]
fn json_tensors_and_binary_ones_are_the_same() {
    let json = r#"{"id":"7","inputs":[{"name":"input","shape":[1,2],"datatype":"FP32","data":[[1,-2]]}]}"#;
    let by_json = parse(Bytes::from(json), None).unwrap();
    let header =
        r#"{"id":"7","inputs":[{"name":"input","shape":[1,2],"datatype":"FP32","parameters":{"binary_data_size":8}}]}"#;
    let (body, length) = body(header, &[0, 0, 0x80, 0x3f, 0, 0, 0, 0xc0]);
    assert_eq!(parse(body, length).unwrap(), by_json);
    assert_eq!(by_json.id.as_deref(), Some("7"));
    assert_eq!(by_json.input, Input { shape: vec![1, 2], values: Values::Numbers(vec![1.0, -2.0]) });
    assert_eq!(by_json.output, RequestedOutput::default());
}

#[test]
fn a_header_of_no_length_makes_the_body_one_picture() {
    let infer = parse(Bytes::from_static(b"\xff\xd8\xff"), Some(0)).unwrap();
    assert_eq!(infer.input.values, Values::Elements(vec![Bytes::from_static(b"\xff\xd8\xff")]));
    assert!(infer.output.binary);
}

#[test]
fn what_is_asked_of_the_output_is_understood() {
    let json = |outputs: &str| {
        format!(r#"{{"inputs":[{{"name":"input","shape":[0],"datatype":"FP32","data":[]}}],{outputs}}}"#)
    };
    let output = |outputs: &str| parse(Bytes::from(json(outputs)), None).unwrap().output;
    assert!(output(r#""parameters":{"binary_data_output":true}"#).binary);
    let text = r#""parameters":{"binary_data_output":true},"outputs":[{"name":"logits","parameters":{"binary_data":false,"classification":3}}]"#;
    assert_eq!(output(text), RequestedOutput { binary: false, classes: Some(3) });
}

#[test]
fn requests_that_contradict_themselves_are_refused() {
    let input = |rest: &str| format!(r#"{{"inputs":[{{"name":"input",{rest}}}]}}"#);
    for (json, binary, part) in [
        (input(r#""shape":[2],"datatype":"FP32","data":[1]"#), &b""[..], "which is not its shape [2]"),
        (input(r#""shape":[1],"datatype":"FP64","data":[1]"#), b"", "'FP64' is not served"),
        (input(r#""shape":[1],"datatype":"FP16","data":[1]"#), b"", "FP16 has no form in JSON"),
        (input(r#""shape":[1],"datatype":"FP32","data":["a"]"#), b"", "expected numbers"),
        (input(r#""shape":[1],"datatype":"BYTES","data":[1]"#), b"", "BYTES as a binary tensor"),
        (input(r#""shape":[1],"datatype":"FP32","parameters":{"shared_memory_region":"x"}"#), b"", "shared memory"),
        (input(r#""shape":[1],"datatype":"FP32""#), b"", "neither data nor binary_data_size"),
        (input(r#""shape":[1],"datatype":"FP32","data":[1],"parameters":{"binary_data_size":4}"#), b"", "both data"),
        (input(r#""shape":[1],"datatype":"FP32","parameters":{"binary_data_size":8}"#), b"1234", "only 4 came"),
        (input(r#""shape":[1],"datatype":"FP32","parameters":{"binary_data_size":-4}"#), b"1234", "expected u64"),
        (input(r#""shape":[1],"datatype":"FP32","data":[1]"#), b"1234", "4 bytes are left"),
        (input(r#""shape":[18446744073709551615,3],"datatype":"FP32","data":[1]"#), b"", "not its shape"),
        (r#"{"inputs":[]}"#.to_string(), b"", "one input, 'input', and the request none"),
        (r#"{"inputs":[{"name":"x","shape":[1],"datatype":"FP32","data":[1]}]}"#.to_string(), b"", "no input 'x'"),
        ("{".to_string(), b"", "not as it should be"),
        (
            r#"{"inputs":[{},{}]}"#.replace("{}", r#"{"name":"input","shape":[1],"datatype":"FP32","data":[1]}"#),
            b"",
            "more than 1",
        ),
        (format!(r#"{{"id":"{}","inputs":[]}}"#, "x".repeat(1025)), b"", "longer than 1024"),
    ] {
        let sentence = refusal(&json, binary);
        assert!(sentence.contains(part), "{json}: {sentence}");
    }
    let empty = parse(Bytes::new(), None).unwrap_err().to_string();
    assert!(empty.contains("not as it should be"), "{empty}");
    let long = refusal(&format!(r#"{{"inputs":"{}"}}"#, "x".repeat(1 << 20)), b"");
    assert!(long.len() < 400, "{}", long.len());
    let past = parse(Bytes::from_static(b"{}"), Some(3)).unwrap_err().to_string();
    assert!(past.contains("the body has 2 bytes"), "{past}");
}

//! An inference request: its JSON and the binary tensors behind it, checked against each other and joined.

use std::time::Duration;

use bytes::Bytes;
use serde_json::{Map, Value};

use super::header::{self, Data, InputHeader, OutputHeader};
use super::tensor::{Datatype, Values};
use super::{INPUT, Malformed, OUTPUT};

/// What a client asks for.
#[derive(Clone, Debug, PartialEq)]
pub struct Infer {
    /// Its own name for the request, to be given back.
    pub id: Option<String>,
    /// The model's only input.
    pub input: Input,
    /// How it wants the model's only output.
    pub output: RequestedOutput,
    /// Triton's `priority`: 1 is the highest, and where none is given there is the default.
    pub priority: Option<u64>,
    /// How long the answer is worth waiting for (Triton's `timeout`, microseconds).
    pub timeout: Option<Duration>,
}

/// The tensor that a client sent.
#[derive(Clone, Debug, PartialEq)]
pub struct Input {
    /// `[batch, ..]`; as many values as it says.
    pub shape: Vec<usize>,
    /// Row by row.
    pub values: Values,
}

/// The tensor that a client wants.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RequestedOutput {
    /// Behind the JSON instead of in it.
    pub binary: bool,
    /// That many classes as texts, instead of all the scores (Triton's classification extension).
    pub classes: Option<usize>,
}

/// Reads a request. `header_length` is what `Inference-Header-Content-Length` says: the length of the JSON at the start of
/// `body`, the whole body if absent. 0 means that there is none: the body is one picture.
///
/// # Errors
///
/// The body is not what the protocol asks for, or asks for something that there is not.
pub fn parse(mut body: Bytes, header_length: Option<usize>) -> Result<Infer, Malformed> {
    let length = header_length.unwrap_or(body.len());
    if length > body.len() {
        return Err(Malformed::new(format!(
            "Inference-Header-Content-Length is {length}, but the body has {} bytes",
            body.len()
        )));
    }
    if length == 0 {
        let output = RequestedOutput { binary: true, classes: None };
        let input = Input { shape: vec![1], values: Values::Elements(vec![body]) };
        return Ok(Infer { id: None, input, output, priority: None, timeout: None });
    }
    let mut binary = body.split_off(length);
    let header = header::read(&body)?;
    let [input] = <[InputHeader; 1]>::try_from(header.inputs)
        .map_err(|inputs| Malformed::new(format!("the model has one input, '{INPUT}', and not {}", inputs.len())))?;
    let input = join(input, &mut binary)?;
    if !binary.is_empty() {
        return Err(Malformed::new(format!("{} bytes are left behind the last tensor", binary.len())));
    }
    let timeout =
        header::whole(&header.parameters, "timeout")?.filter(|timeout| *timeout > 0).map(Duration::from_micros);
    let priority = header::whole(&header.parameters, "priority")?.filter(|priority| *priority > 0);
    let output = requested(header.outputs, &header.parameters)?;
    Ok(Infer { id: header.id, input, output, priority, timeout })
}

/// A tensor's values, from its own JSON or from the front of `binary`.
fn join(header: InputHeader, binary: &mut Bytes) -> Result<Input, Malformed> {
    let InputHeader { name, shape, datatype, parameters, data } = header;
    if name != INPUT {
        return Err(Malformed::new(format!("the model has no input '{name}'; it has '{INPUT}'")));
    }
    let datatype = Datatype::named(&datatype)?;
    let values = match (data, header::whole(&parameters, "binary_data_size")?) {
        (Some(_), Some(_)) => return Err(Malformed::new(format!("input '{name}' has both data and binary_data_size"))),
        (None, None) => return Err(Malformed::new(format!("input '{name}' has neither data nor binary_data_size"))),
        (Some(data), None) => from_json(datatype, data)?,
        (None, Some(size)) => {
            let size = usize::try_from(size).ok().filter(|size| *size <= binary.len()).ok_or_else(|| {
                Malformed::new(format!("input '{name}' has {size} bytes, but only {} came", binary.len()))
            })?;
            Values::from_binary(datatype, binary.split_to(size))?
        }
    };
    let expected = shape.iter().try_fold(1_usize, |product, side| product.checked_mul(*side));
    if expected != Some(values.len()) {
        return Err(Malformed::new(format!(
            "input '{name}' has {} values, which is not its shape {shape:?}",
            values.len()
        )));
    }
    Ok(Input { shape, values })
}

fn from_json(datatype: Datatype, data: Data) -> Result<Values, Malformed> {
    match datatype {
        Datatype::Fp32 if data.texts.is_empty() => Ok(Values::Numbers(data.numbers)),
        Datatype::Bytes if data.numbers.is_empty() => {
            Ok(Values::Elements(data.texts.into_iter().map(Bytes::from).collect()))
        }
        Datatype::Fp16 => Err(Malformed::new("FP16 has no form in JSON; send it as a binary tensor")),
        Datatype::Fp32 => Err(Malformed::new("an FP32 tensor holds numbers, not texts")),
        Datatype::Bytes => Err(Malformed::new("a BYTES tensor holds texts, not numbers")),
    }
}

fn requested(outputs: Option<Vec<OutputHeader>>, request: &Map<String, Value>) -> Result<RequestedOutput, Malformed> {
    let by_default = header::flag(request, "binary_data_output")?.unwrap_or(false);
    let outputs = outputs.unwrap_or_default();
    if let Some(other) = outputs.iter().find(|output| output.name != OUTPUT) {
        return Err(Malformed::new(format!("the model has no output '{}'; it has '{OUTPUT}'", other.name)));
    }
    let [output] = outputs.as_slice() else {
        if outputs.is_empty() {
            return Ok(RequestedOutput { binary: by_default, classes: None });
        }
        return Err(Malformed::new(format!("output '{OUTPUT}' is asked for {} times", outputs.len())));
    };
    let classes = header::whole(&output.parameters, "classification")?.filter(|classes| *classes > 0);
    Ok(RequestedOutput {
        binary: header::flag(&output.parameters, "binary_data")?.unwrap_or(by_default),
        classes: classes.map(|classes| usize::try_from(classes).unwrap_or(usize::MAX)),
    })
}

#[cfg(test)]
mod tests {
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
        let header = r#"{"id":"7","inputs":[{"name":"input","shape":[1,2],"datatype":"FP32","parameters":{"binary_data_size":8}}]}"#;
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
            format!(r#"{{"inputs":[{{"name":"input","shape":[0],"datatype":"BYTES","data":[]}}],{outputs}}}"#)
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
            (input(r#""shape":[1],"datatype":"FP32","data":["a"]"#), b"", "numbers, not texts"),
            (input(r#""shape":[1],"datatype":"FP32""#), b"", "neither data nor binary_data_size"),
            (
                input(r#""shape":[1],"datatype":"FP32","data":[1],"parameters":{"binary_data_size":4}"#),
                b"",
                "both data",
            ),
            (input(r#""shape":[1],"datatype":"FP32","parameters":{"binary_data_size":8}"#), b"1234", "only 4 came"),
            (input(r#""shape":[1],"datatype":"FP32","parameters":{"binary_data_size":-4}"#), b"1234", "whole number"),
            (input(r#""shape":[1],"datatype":"FP32","data":[1]"#), b"1234", "4 bytes are left"),
            (input(r#""shape":[18446744073709551615,3],"datatype":"FP32","data":[1]"#), b"", "not its shape"),
            (r#"{"inputs":[]}"#.to_string(), b"", "one input, 'input', and not 0"),
            (r#"{"inputs":[{"name":"x","shape":[1],"datatype":"FP32","data":[1]}]}"#.to_string(), b"", "no input 'x'"),
            ("{".to_string(), b"", "not as it should be"),
        ] {
            let sentence = refusal(&json, binary);
            assert!(sentence.contains(part), "{json}: {sentence}");
        }
        let past = parse(Bytes::from_static(b"{}"), Some(3)).unwrap_err().to_string();
        assert!(past.contains("the body has 2 bytes"), "{past}");
    }
}

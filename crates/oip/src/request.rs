//! An inference request: its JSON and the binary tensors behind it, checked against each other and joined.

use std::time::Duration;

use bytes::Bytes;

use super::few::Few;
use super::header::{self, Data, InputHeader, OutputHeader};
use super::tensor::{Datatype, Values};
use super::{INPUT, Malformed, OUTPUT, short};

/// Bytes of a client's own name for its request, which goes back to it.
const LONGEST_ID: usize = 1024;

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
    if header_length == Some(0) {
        let output = RequestedOutput { binary: true, classes: None };
        let input = Input { shape: vec![1], values: Values::Elements(vec![body]) };
        return Ok(Infer { id: None, input, output, priority: None, timeout: None });
    }
    let length = header_length.unwrap_or(body.len());
    if length > body.len() {
        return Err(Malformed::new(format!(
            "Inference-Header-Content-Length is {length}, but the body has {} bytes",
            body.len()
        )));
    }
    let mut binary = body.split_off(length);
    let header = header::read(&body)?;
    if header.id.as_ref().is_some_and(|id| id.len() > LONGEST_ID) {
        return Err(Malformed::new(format!("the request's id is longer than {LONGEST_ID} bytes")));
    }
    let Some(input) = header.inputs.0.into_iter().next() else {
        return Err(Malformed::new(format!("the model has one input, '{INPUT}', and the request none")));
    };
    let input = join(input, &mut binary)?;
    if !binary.is_empty() {
        return Err(Malformed::new(format!("{} bytes are left behind the last tensor", binary.len())));
    }
    let parameters = header.parameters.unwrap_or_default();
    let timeout = parameters.timeout.filter(|timeout| *timeout > 0).map(Duration::from_micros);
    let priority = parameters.priority.filter(|priority| *priority > 0);
    let output = header.outputs.and_then(|outputs| outputs.0.into_iter().next());
    let output = requested(output, parameters.binary_data_output.unwrap_or(false))?;
    Ok(Infer { id: header.id, input, output, priority, timeout })
}

/// A tensor's values, from its own JSON or from the front of `binary`.
fn join(header: InputHeader, binary: &mut Bytes) -> Result<Input, Malformed> {
    let InputHeader { name, shape: Few(shape), datatype, parameters, data } = header;
    if name != INPUT {
        return Err(Malformed::new(format!("the model has no input '{}'; it has '{INPUT}'", short(&name))));
    }
    let parameters = parameters.unwrap_or_default();
    if parameters.shared_memory_region.is_some() {
        return Err(no_shared_memory());
    }
    let datatype = Datatype::named(&datatype)?;
    let values = match (data, parameters.binary_data_size) {
        (Some(_), Some(_)) => return Err(Malformed::new("the input has both data and binary_data_size")),
        (None, None) => return Err(Malformed::new("the input has neither data nor binary_data_size")),
        (Some(data), None) => from_json(datatype, data)?,
        (None, Some(size)) => {
            let size = usize::try_from(size)
                .ok()
                .filter(|size| *size <= binary.len())
                .ok_or_else(|| Malformed::new(format!("the input has {size} bytes, but only {} came", binary.len())))?;
            Values::from_binary(datatype, binary.split_to(size))?
        }
    };
    let expected = shape.iter().try_fold(1_usize, |product, side| product.checked_mul(*side));
    if expected != Some(values.len()) {
        return Err(Malformed::new(format!("the input has {} values, which is not its shape {shape:?}", values.len())));
    }
    Ok(Input { shape, values })
}

fn from_json(datatype: Datatype, data: Data) -> Result<Values, Malformed> {
    match datatype {
        Datatype::Fp32 => Ok(Values::Numbers(data.0)),
        Datatype::Fp16 => Err(Malformed::new("FP16 has no form in JSON; send it as a binary tensor")),
        Datatype::Bytes => Err(Malformed::new("pictures have no form in JSON; send BYTES as a binary tensor")),
    }
}

fn requested(output: Option<OutputHeader>, binary_by_default: bool) -> Result<RequestedOutput, Malformed> {
    let Some(output) = output else {
        return Ok(RequestedOutput { binary: binary_by_default, classes: None });
    };
    if output.name != OUTPUT {
        let name = short(&output.name);
        return Err(Malformed::new(format!("the model has no output '{name}'; it has '{OUTPUT}'")));
    }
    let parameters = output.parameters.unwrap_or_default();
    if parameters.shared_memory_region.is_some() {
        return Err(no_shared_memory());
    }
    let classes = parameters.classification.filter(|classes| *classes > 0);
    Ok(RequestedOutput {
        binary: parameters.binary_data.unwrap_or(binary_by_default),
        classes: classes.map(|classes| usize::try_from(classes).unwrap_or(usize::MAX)),
    })
}

/// A client that was answered all the same would read what it finds in its region.
fn no_shared_memory() -> Malformed {
    Malformed::new("shared memory is not served; send and ask for tensors in JSON or in binary")
}

#[cfg(test)]
mod tests;

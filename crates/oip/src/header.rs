//! The JSON of an inference request. Numbers go straight into one flat list, however they are nested, lists are bounded, and
//! what nobody asks for is skipped: a tree of JSON values takes up to a hundred times the size of its text.

use std::fmt;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, SeqAccess, Visitor};

use super::Malformed;
use super::few::Few;

/// The whole header.
#[derive(Debug, Deserialize)]
pub(super) struct RequestHeader {
    pub(super) id: Option<String>,
    pub(super) parameters: Option<RequestParameters>,
    pub(super) inputs: Few<InputHeader, 1>,
    pub(super) outputs: Option<Few<OutputHeader, 1>>,
}

/// What concerns the whole request.
#[derive(Debug, Default, Deserialize)]
pub(super) struct RequestParameters {
    pub(super) binary_data_output: Option<bool>,
    pub(super) priority: Option<u64>,
    /// Microseconds.
    pub(super) timeout: Option<u64>,
}

/// A tensor of the request; without `data` it is a binary one.
#[derive(Debug, Deserialize)]
pub(super) struct InputHeader {
    pub(super) name: String,
    pub(super) shape: Few<usize, 8>,
    pub(super) datatype: String,
    pub(super) parameters: Option<InputParameters>,
    pub(super) data: Option<Data>,
}

/// What concerns one input.
#[derive(Debug, Default, Deserialize)]
pub(super) struct InputParameters {
    pub(super) binary_data_size: Option<u64>,
    pub(super) shared_memory_region: Option<IgnoredAny>,
}

/// A tensor that is asked for.
#[derive(Debug, Deserialize)]
pub(super) struct OutputHeader {
    pub(super) name: String,
    pub(super) parameters: Option<OutputParameters>,
}

/// How it is wanted.
#[derive(Debug, Default, Deserialize)]
pub(super) struct OutputParameters {
    pub(super) binary_data: Option<bool>,
    pub(super) classification: Option<u64>,
    pub(super) shared_memory_region: Option<IgnoredAny>,
}

/// What `data` holds, nested or flat.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Data(pub(super) Vec<f32>);

/// Reads a header.
pub(super) fn read(json: &[u8]) -> Result<RequestHeader, Malformed> {
    serde_json::from_slice(json)
        .map_err(|error| Malformed::new(format!("the request's JSON is not as it should be: {error}")))
}

impl<'de> Deserialize<'de> for Data {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut data = Self::default();
        deserializer.deserialize_seq(Numbers(&mut data.0))?;
        Ok(data)
    }
}

/// Adds what it visits to the list.
struct Numbers<'a>(&'a mut Vec<f32>);

impl<'de> Visitor<'de> for Numbers<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("numbers, nested or flat (pictures have no form in JSON; send BYTES as a binary tensor)")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        while items.next_element_seed(Numbers(self.0))?.is_some() {}
        Ok(())
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<(), E> {
        self.0.push(number as f32);
        Ok(())
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<(), E> {
        self.visit_f64(number as f64)
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<(), E> {
        self.visit_f64(number as f64)
    }
}

/// One item of a list, which may be a list.
impl<'de> DeserializeSeed<'de> for Numbers<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nested_and_flat_data_are_the_same() {
        let flat: Data = serde_json::from_str("[1, 2.5, -3, 4e0]").unwrap();
        let nested: Data = serde_json::from_str("[[[1], [2.5]], [[-3], [4e0]]]").unwrap();
        assert_eq!(flat, nested);
        assert_eq!(flat.0, [1.0, 2.5, -3.0, 4.0]);
    }

    #[test]
    fn what_is_no_number_is_refused() {
        for json in [r#"["a"]"#, "[true]", "[null]", "[{}]", "1", "{}", "[1"] {
            assert!(serde_json::from_str::<Data>(json).is_err(), "{json}");
        }
        // As deep as anyone nests in earnest, and not so deep that the stack ends.
        let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
        assert!(serde_json::from_str::<Data>(&deep).is_err());
    }

    #[test]
    fn lists_have_their_bounds_and_null_is_nothing() {
        let few = |json: &str| serde_json::from_str::<Few<usize, 2>>(json).map(|few| few.0);
        assert_eq!(few("[]").unwrap(), [0; 0]);
        assert_eq!(few("[1, 2]").unwrap(), [1, 2]);
        assert!(few("[1, 2, 3]").unwrap_err().to_string().contains("more than 2"));
        let header =
            read(br#"{"id": null, "parameters": null, "inputs": [], "outputs": null, "more": [{"": 0}]}"#).unwrap();
        assert!(header.parameters.is_none() && header.outputs.is_none());
    }
}

//! The JSON part of an inference request.
//!
//! A tree of JSON values takes up to a hundred times the size of its text. So numbers are read directly into one flat list,
//! nested or not; the lengths of lists are bounded while they are read; and unknown fields are skipped.

use std::fmt;
use std::marker::PhantomData;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, SeqAccess, Visitor};

use super::MalformedRequest;

/// The JSON of a request.
#[derive(Debug, Deserialize)]
pub(super) struct RequestJson {
    pub(super) id: Option<String>,
    pub(super) parameters: Option<RequestParameters>,
    pub(super) inputs: BoundedVec<InputJson, 1>,
    pub(super) outputs: Option<BoundedVec<OutputJson, 1>>,
}

/// Parameters of the whole request.
#[derive(Debug, Default, Deserialize)]
pub(super) struct RequestParameters {
    pub(super) binary_data_output: Option<bool>,
    pub(super) priority: Option<u64>,
    /// Microseconds.
    pub(super) timeout: Option<u64>,
}

/// An input tensor. Without `data` it is a binary tensor.
#[derive(Debug, Deserialize)]
pub(super) struct InputJson {
    pub(super) name: String,
    pub(super) shape: BoundedVec<usize, 8>,
    pub(super) datatype: String,
    pub(super) parameters: Option<InputParameters>,
    pub(super) data: Option<FlatNumbers>,
}

/// Parameters of one input.
#[derive(Debug, Default, Deserialize)]
pub(super) struct InputParameters {
    pub(super) binary_data_size: Option<u64>,
    pub(super) shared_memory_region: Option<IgnoredAny>,
}

/// A requested output tensor.
#[derive(Debug, Deserialize)]
pub(super) struct OutputJson {
    pub(super) name: String,
    pub(super) parameters: Option<OutputParameters>,
}

/// Parameters of one requested output.
#[derive(Debug, Default, Deserialize)]
pub(super) struct OutputParameters {
    pub(super) binary_data: Option<bool>,
    pub(super) classification: Option<u64>,
    pub(super) shared_memory_region: Option<IgnoredAny>,
}

/// Parses the JSON of a request.
pub(super) fn parse(json: &[u8]) -> Result<RequestJson, MalformedRequest> {
    serde_json::from_slice(json)
        .map_err(|error| MalformedRequest::new(format!("invalid JSON in the request body: {error}")))
}

/// The numbers of `data`, nested or flat, in one list.
#[derive(Debug, Default, PartialEq)]
pub(super) struct FlatNumbers(pub(super) Vec<f32>);

impl<'de> Deserialize<'de> for FlatNumbers {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut numbers = Self::default();
        deserializer.deserialize_seq(NumberCollector(&mut numbers.0))?;
        Ok(numbers)
    }
}

/// Appends every number that it visits to the list.
struct NumberCollector<'a>(&'a mut Vec<f32>);

impl<'de> Visitor<'de> for NumberCollector<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("numbers, nested or flat (BYTES tensors cannot be sent as JSON; use the binary tensor extension)")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        while items.next_element_seed(NumberCollector(self.0))?.is_some() {}
        Ok(())
    }

    #[expect(clippy::cast_possible_truncation, reason = "the tensor holds f32; the number is rounded to it")]
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

/// Reads one item of a list, which may be a list itself.
impl<'de> DeserializeSeed<'de> for NumberCollector<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

/// A list of at most `MAX` items. A longer list is an error before its items take memory.
#[derive(Debug)]
pub(super) struct BoundedVec<T, const MAX: usize>(pub(super) Vec<T>);

impl<'de, T: Deserialize<'de>, const MAX: usize> Deserialize<'de> for BoundedVec<T, MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(BoundedVecVisitor(PhantomData))
    }
}

struct BoundedVecVisitor<T, const MAX: usize>(PhantomData<T>);

impl<'de, T: Deserialize<'de>, const MAX: usize> Visitor<'de> for BoundedVecVisitor<T, MAX> {
    type Value = BoundedVec<T, MAX>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a list of at most {MAX} items")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
        let mut list = Vec::new();
        while list.len() < MAX {
            match items.next_element()? {
                Some(item) => list.push(item),
                None => return Ok(BoundedVec(list)),
            }
        }
        match items.next_element::<IgnoredAny>()? {
            None => Ok(BoundedVec(list)),
            Some(_) => Err(A::Error::custom(format!("the list has more than {MAX} items"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nested_and_flat_numbers_parse_to_the_same_list() {
        let flat: FlatNumbers = serde_json::from_str("[1, 2.5, -3, 4e0]").unwrap();
        let nested: FlatNumbers = serde_json::from_str("[[[1], [2.5]], [[-3], [4e0]]]").unwrap();
        assert_eq!(flat, nested);
        assert_eq!(flat.0, [1.0, 2.5, -3.0, 4.0]);
    }

    #[test]
    fn non_numbers_and_excessive_nesting_are_errors() {
        for json in [r#"["a"]"#, "[true]", "[null]", "[{}]", "1", "{}", "[1"] {
            assert!(serde_json::from_str::<FlatNumbers>(json).is_err(), "{json}");
        }
        // The parser's recursion limit is far above any real nesting and protects the stack.
        let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
        assert!(serde_json::from_str::<FlatNumbers>(&deep).is_err());
    }

    #[test]
    fn lists_are_bounded_and_null_means_absent() {
        let list = |json: &str| serde_json::from_str::<BoundedVec<usize, 2>>(json).map(|list| list.0);
        assert_eq!(list("[]").unwrap(), [0; 0]);
        assert_eq!(list("[1, 2]").unwrap(), [1, 2]);
        assert!(list("[1, 2, 3]").unwrap_err().to_string().contains("more than 2"));
        let request =
            parse(br#"{"id": null, "parameters": null, "inputs": [], "outputs": null, "more": [{"": 0}]}"#).unwrap();
        assert!(request.parameters.is_none() && request.outputs.is_none());
    }
}

//! The JSON of an inference request. Numbers go straight into one flat list, however they are nested: a picture as a tree
//! of JSON values would take some ten times its size.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Error, SeqAccess, Visitor};
use serde_json::{Map, Value};

use super::Malformed;

/// The whole header.
#[derive(Debug, Deserialize)]
pub(super) struct RequestHeader {
    pub(super) id: Option<String>,
    #[serde(default)]
    pub(super) parameters: Map<String, Value>,
    pub(super) inputs: Vec<InputHeader>,
    pub(super) outputs: Option<Vec<OutputHeader>>,
}

/// A tensor of the request; without `data` it is a binary one.
#[derive(Debug, Deserialize)]
pub(super) struct InputHeader {
    pub(super) name: String,
    pub(super) shape: Vec<usize>,
    pub(super) datatype: String,
    #[serde(default)]
    pub(super) parameters: Map<String, Value>,
    pub(super) data: Option<Data>,
}

/// A tensor that is asked for.
#[derive(Debug, Deserialize)]
pub(super) struct OutputHeader {
    pub(super) name: String,
    #[serde(default)]
    pub(super) parameters: Map<String, Value>,
}

/// What `data` holds, nested or flat.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Data {
    pub(super) numbers: Vec<f32>,
    pub(super) texts: Vec<String>,
}

/// Reads a header.
pub(super) fn read(json: &[u8]) -> Result<RequestHeader, Malformed> {
    serde_json::from_slice(json)
        .map_err(|error| Malformed::new(format!("the request's JSON is not as it should be: {error}")))
}

/// A parameter that is a whole number from 0 on.
pub(super) fn whole(parameters: &Map<String, Value>, name: &str) -> Result<Option<u64>, Malformed> {
    let refuse = || Malformed::new(format!("parameter '{name}' must be a whole number from 0 on"));
    parameters.get(name).map(|value| value.as_u64().ok_or_else(refuse)).transpose()
}

/// A parameter that is true or false.
pub(super) fn flag(parameters: &Map<String, Value>, name: &str) -> Result<Option<bool>, Malformed> {
    let refuse = || Malformed::new(format!("parameter '{name}' must be true or false"));
    parameters.get(name).map(|value| value.as_bool().ok_or_else(refuse)).transpose()
}

impl<'de> Deserialize<'de> for Data {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut data = Self::default();
        deserializer.deserialize_seq(Into(&mut data))?;
        Ok(data)
    }
}

/// Adds what it visits to the list.
struct Into<'a>(&'a mut Data);

impl<'de> Visitor<'de> for Into<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("numbers or texts, nested or flat")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        while items.next_element_seed(Item(self.0))?.is_some() {}
        Ok(())
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<(), E> {
        self.0.numbers.push(number as f32);
        Ok(())
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<(), E> {
        self.visit_f64(number as f64)
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<(), E> {
        self.visit_f64(number as f64)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<(), E> {
        self.0.texts.push(text.to_string());
        Ok(())
    }
}

/// One item of a list, which may be a list.
struct Item<'a>(&'a mut Data);

impl<'de> serde::de::DeserializeSeed<'de> for Item<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(Into(self.0))
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
        assert_eq!(flat.numbers, [1.0, 2.5, -3.0, 4.0]);
        let texts: Data = serde_json::from_str(r#"["a", ["b"]]"#).unwrap();
        assert_eq!(texts.texts, ["a", "b"]);
    }

    #[test]
    fn what_is_no_number_and_no_text_is_refused() {
        for json in ["[true]", "[null]", "[{}]", "1", "{}", "[1"] {
            assert!(serde_json::from_str::<Data>(json).is_err(), "{json}");
        }
        // As deep as anyone nests in earnest, and not so deep that the stack ends.
        let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
        assert!(serde_json::from_str::<Data>(&deep).is_err());
    }
}

//! Reads the image files that `tests/data/*_conformance.py` wrote, each with its reference pixels, and decodes them.

use std::io::{BufRead, Read};

use flate2::read::GzDecoder;
use kiln_image::{Crop, Filter, FormatSet, Limits, PreprocessSpec, decode, resize};

use crate::common;

/// A file, and the pixels of the reference decoder.
pub struct Record {
    /// The kind of file.
    pub name: String,
    /// Width and height of the upright image.
    pub size: [u32; 2],
    /// The image file.
    pub file: Vec<u8>,
    /// RGB of the upright image.
    pub pixels: Vec<u8>,
}

/// Reads the records of a file in `tests/data`.
pub fn records(packed: &str) -> Vec<Record> {
    let mut bytes = Vec::new();
    GzDecoder::new(&*common::bytes(packed)).read_to_end(&mut bytes).unwrap();
    let (mut rest, mut records) = (&*bytes, Vec::<Record>::new());
    while !rest.is_empty() {
        let mut line = String::new();
        rest.read_line(&mut line).unwrap();
        let head: serde_json::Value = serde_json::from_str(&line).unwrap();
        let number = |field: &str| head.get(field).and_then(serde_json::Value::as_u64);
        let mut take = |length: Option<u64>| {
            let (taken, others) = rest.split_at(length.unwrap() as usize);
            rest = others;
            taken.to_vec()
        };
        let (file, pixels) = (take(number("file")), take(number("pixels")));
        // A file has the pixels of the one before, if it has none itself.
        let pixels = if pixels.is_empty() { records.last().unwrap().pixels.clone() } else { pixels };
        let size = ["width", "height"].map(|side| number(side).unwrap() as u32);
        records.push(Record { name: head["name"].as_str().unwrap().to_string(), size, file, pixels });
    }
    records
}

/// Decodes the whole image to RGB, upright. The error is the message.
pub fn decoded(file: &[u8], formats: FormatSet) -> Result<([u32; 2], Vec<u8>), String> {
    let image = decode(file, &Limits { formats, ..Limits::default() }).map_err(|error| error.to_string())?;
    let (width, height) = image.displayed_size();
    let whole = PreprocessSpec { width, height, filter: Filter::Bilinear, crop: Crop::None };
    let pixels = resize(&image, &whole).map_err(|error| error.to_string())?.pixels().to_vec();
    Ok(([width, height], pixels))
}

//! Decodes JPEG files of every kind, and compares the pixels with those of libjpeg-turbo, which Pillow and torchvision use.

use std::io::{BufRead, Read};

use flate2::read::GzDecoder;
use kiln_image::{Crop, Filter, Limits, PreprocessSpec, crop, decode};

use crate::common;

/// A file, and the pixels of libjpeg-turbo.
struct Record {
    name: String,
    jpeg: Vec<u8>,
    pixels: Vec<u8>,
}

/// Reads the records that `tests/data/jpeg_conformance.py` wrote.
fn records() -> Vec<Record> {
    let mut bytes = Vec::new();
    GzDecoder::new(&*common::bytes("jpeg_conformance.gz")).read_to_end(&mut bytes).unwrap();
    let (mut rest, mut records) = (&*bytes, Vec::<Record>::new());
    while !rest.is_empty() {
        let mut line = String::new();
        rest.read_line(&mut line).unwrap();
        let head: serde_json::Value = serde_json::from_str(&line).unwrap();
        let mut take = |length: &str| {
            let (taken, others) = rest.split_at(head[length].as_u64().unwrap() as usize);
            rest = others;
            taken.to_vec()
        };
        let (jpeg, pixels) = (take("jpeg"), take("pixels"));
        // A file has the pixels of the one before, if it has none itself.
        let pixels = if pixels.is_empty() { records.last().unwrap().pixels.clone() } else { pixels };
        records.push(Record { name: head["name"].as_str().unwrap().to_string(), jpeg, pixels });
    }
    records
}

/// Decodes the whole image to RGB. The error is the message.
fn decoded(jpeg: &[u8]) -> Result<Vec<u8>, String> {
    let image = decode(jpeg, &Limits::default()).map_err(|error| error.to_string())?;
    let (width, height) = image.displayed_size();
    let whole = PreprocessSpec { width, height, filter: Filter::Bilinear, crop: Crop::None };
    Ok(crop(&image, &whole).pixels.to_vec())
}

/// Differences from libjpeg-turbo's samples, in levels of 0..=255.
#[derive(Debug, Default)]
struct Differences {
    files: usize,
    samples: usize,
    /// Samples that differ by more than a level.
    beyond_one: usize,
    max: u8,
}

impl Differences {
    fn add(&mut self, ours: &[u8], reference: &[u8]) {
        self.files += 1;
        self.samples += reference.len();
        for difference in ours.iter().zip(reference).map(|(a, b)| a.abs_diff(*b)) {
            self.beyond_one += usize::from(difference > 1);
            self.max = self.max.max(difference);
        }
    }

    fn share_beyond_one(&self) -> f64 {
        self.beyond_one as f64 / self.samples as f64
    }
}

/// Files with all chroma samples differ by one level, and few of their samples by two: zune-jpeg's and jpeg-decoder's IDCT and colour
/// conversion round differently. They also round twice while they scale chroma up, and libjpeg once, hence the three levels.
#[test]
fn jpeg_pixels_are_those_of_libjpeg_turbo() {
    let (mut full, mut subsampled, mut refused) = (Differences::default(), Differences::default(), Vec::new());
    let records = records();
    assert!(records.len() > 500, "the files are missing");
    for Record { name, jpeg, pixels } in &records {
        match decoded(jpeg) {
            Ok(ours) => {
                assert_eq!(ours.len(), pixels.len(), "{name}");
                let mut one = Differences::default();
                one.add(&ours, pixels);
                println!("{name}: {} levels, {:.4}", one.max, one.share_beyond_one());
                let has_all_chroma = name.starts_with("1x1 ") || !name.contains("YCbCr");
                if has_all_chroma { &mut full } else { &mut subsampled }.add(&ours, pixels);
            }
            Err(error) => refused.push(format!("{name}: {error}")),
        }
    }
    println!("all chroma samples: {full:?}\nsubsampled: {subsampled:?}");
    assert!(refused.is_empty(), "{}", refused.join("\n"));
    assert!(full.max <= 2 && full.share_beyond_one() < 0.002, "{full:?}");
    assert!(subsampled.max <= 3 && subsampled.share_beyond_one() < 0.03, "{subsampled:?}");
}

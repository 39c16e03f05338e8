//! A row of a table: what is sent, what is answered, and what it may cost.

use crate::attacked::{Attacked, Cost};
use crate::common::Answer;

/// What an answer should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// 200, for a picture of this width and height as displayed.
    Size(u64, u64),
    /// 200, for so many pictures of a batch, or errors in their places.
    Items(usize),
    /// A status and a code.
    Error(u16, &'static str),
}

/// One picture.
pub struct Case {
    name: String,
    bytes: Vec<u8>,
    wanted: Wanted,
    megabytes: usize,
    seconds: f64,
}

/// What any request may cost beside what its own bytes take, and what [`Case::of_pixels`] allows.
const MEGABYTES: usize = 32;
/// The model runs within this too.
const SECONDS: f64 = 2.0;

/// A picture that is one, for all its oddity.
pub fn taken(name: impl Into<String>, size: (u64, u64), bytes: Vec<u8>) -> Case {
    Case { name: name.into(), bytes, wanted: Wanted::Size(size.0, size.1), megabytes: MEGABYTES, seconds: SECONDS }
}

/// A picture that is refused.
pub fn refused(name: impl Into<String>, status: u16, code: &'static str, bytes: Vec<u8>) -> Case {
    Case { name: name.into(), bytes, wanted: Wanted::Error(status, code), megabytes: MEGABYTES, seconds: SECONDS }
}

pub fn undecodable(name: impl Into<String>, bytes: Vec<u8>) -> Case {
    refused(name, 422, "undecodable_image", bytes)
}

pub fn too_large(name: impl Into<String>, bytes: Vec<u8>) -> Case {
    refused(name, 413, "too_many_pixels", bytes)
}

impl Case {
    /// Allows memory for a picture of so many megapixels, at so many bytes each.
    pub fn of_pixels(mut self, megapixels: usize, bytes: usize) -> Self {
        self.megabytes += megapixels * bytes;
        self
    }
}

/// Sends each picture and tells of all that went otherwise than wanted.
pub fn check(server: &Attacked, cases: &[Case]) {
    let complaints: Vec<String> = cases.iter().filter_map(|case| complaint(server, case)).collect();
    assert!(complaints.is_empty(), "\n{}", complaints.join("\n"));
    server.is_well();
}

fn complaint(server: &Attacked, case: &Case) -> Option<String> {
    let (answer, cost) = server.costs(|| server.raw("/predict/raw", &case.bytes));
    let Case { name, wanted, seconds, .. } = case;
    let megabytes = case.megabytes + 4 * case.bytes.len() / 1_000_000;
    let Cost { seconds: took, megabytes: grown } = cost;
    println!("{name}: {}, {took:.2} s, {grown} MB", answer.status);
    if outcome(&answer) == *wanted && took <= *seconds && grown <= megabytes {
        return None;
    }
    Some(format!(
        "{name}: {took:.2} s, {grown} MB (at most {seconds} s, {megabytes} MB); wanted {wanted:?}: {}",
        answer.text()
    ))
}

/// What an answer is.
pub fn outcome(answer: &Answer) -> Wanted {
    let body = answer.json();
    if let Some(results) = body["results"].as_array() {
        return Wanted::Items(results.len());
    }
    if answer.status == 200 {
        let side = |name: &str| body["image"][name].as_u64().expect("a length in pixels");
        return Wanted::Size(side("width"), side("height"));
    }
    let code = answer.code();
    Wanted::Error(answer.status, code.leak())
}

//! The body of a form: any bytes are pictures or a refusal that is the client's fault, in whatever pieces they arrive.
//!
//! Of the input, the first byte chooses how it arrives, and the first line is the `Content-Type`; where that is empty, it is
//! a right one with the boundary `X`.
#![forbid(unsafe_code)]
#![no_main]

use bytes::Bytes;
use kiln_fuzz::api::{Form, Picture, Refusal, pictures};
use kiln_fuzz::image::{FormatSet, check_file_name, sanitise_file_name};
use libfuzzer_sys::fuzz_target;
use poem::http::HeaderValue;

/// Bytes of a body, so that some bodies are too large.
const MAX_BYTES: usize = 4096;

/// How many bytes arrive at once.
const PIECES: [usize; 8] = [usize::MAX, 1, 2, 3, 7, 64, 511, 4096];

fuzz_target!(|input: &[u8]| {
    let Some((choice, input)) = input.split_first() else { return };
    let Some(end) = input.iter().position(|byte| *byte == b'\n') else { return };
    let (line, body) = (&input[..end], &input[end + 1..]);
    let line = if line.is_empty() { b"multipart/form-data; boundary=X" } else { line };
    let Ok(content_type) = HeaderValue::from_bytes(line) else { return };
    let size = PIECES[usize::from(choice >> 2) % PIECES.len()];
    let form = |size| Form {
        content_type: content_type.clone(),
        pieces: body.chunks(size).map(Bytes::copy_from_slice).collect(),
        announced: choice & 1 != 0,
        several: choice & 2 != 0,
    };

    let outcome = pictures(form(size), MAX_BYTES);
    match &outcome {
        Ok(pictures) => check(pictures, body),
        Err(Refusal(status)) => assert!((400..500).contains(status), "{status}"),
    }
    if size != usize::MAX {
        let whole = pictures(form(usize::MAX), MAX_BYTES);
        assert_eq!(told(&outcome), told(&whole), "in pieces of {size}, and whole");
    }
});

fn check(pictures: &[Picture], body: &[u8]) {
    assert!(!pictures.is_empty());
    assert!(pictures.iter().map(|picture| picture.bytes.len()).sum::<usize>() <= body.len().min(MAX_BYTES));
    for Picture { bytes, file_name } in pictures {
        assert!(bytes.is_empty() || body.windows(bytes.len()).any(|part| part == bytes), "bytes that nobody sent");
        let Some(name) = file_name.as_deref() else { continue };
        let shown = sanitise_file_name(name);
        assert!(shown.chars().count() <= 103 && !shown.contains(char::is_control), "{shown:?}");
        if let Err(refusal) = check_file_name(Some(name), &FormatSet::default()) {
            assert!(!refusal.to_string().contains(char::is_control), "{refusal:?}");
        }
    }
}

type Told<'a> = Option<Vec<(&'a Bytes, Option<&'a str>)>>;

/// What there is to compare; refusals may be worded one way or another.
fn told(outcome: &Result<Vec<Picture>, Refusal>) -> Told<'_> {
    let pictures = outcome.as_ref().ok()?;
    Some(pictures.iter().map(|picture| (&picture.bytes, picture.file_name.as_deref())).collect())
}

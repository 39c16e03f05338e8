//! The body of a form: any bytes are images or a client error, in whatever pieces they arrive.
//!
//! The first byte of the input selects how the body arrives. The first line is the `Content-Type`; if it is empty, a valid one with
//! the boundary `X` is used.
#![forbid(unsafe_code)]
#![no_main]

use bytes::Bytes;
use kiln_fuzz::image::{FormatSet, check_file_name, sanitise_file_name};
use kiln_fuzz::{EncodedImage, Form, Refusal, form_images};
use libfuzzer_sys::fuzz_target;
use poem::http::HeaderValue;

/// Maximum size of a body in bytes. It is small, so that some bodies are too large.
const MAX_BYTES: usize = 4096;

/// Sizes of the pieces in which a body arrives.
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
        has_content_length: choice & 1 != 0,
        is_batch: choice & 2 != 0,
    };

    let outcome = form_images(form(size), MAX_BYTES);
    match &outcome {
        Ok(images) => check(images, body),
        Err(Refusal(status)) => assert!((400..500).contains(status), "{status}"),
    }
    if size != usize::MAX {
        let whole = form_images(form(usize::MAX), MAX_BYTES);
        assert_eq!(images_of(&outcome), images_of(&whole), "in pieces of {size}, and whole");
    }
});

fn check(images: &[EncodedImage], body: &[u8]) {
    assert!(!images.is_empty());
    assert!(images.iter().map(|image| image.bytes.len()).sum::<usize>() <= body.len().min(MAX_BYTES));
    for EncodedImage { bytes, file_name } in images {
        assert!(
            bytes.is_empty() || body.windows(bytes.len()).any(|part| part == bytes),
            "bytes that are not in the body"
        );
        let Some(name) = file_name.as_deref() else { continue };
        let shown = sanitise_file_name(name);
        assert!(shown.chars().count() <= 103 && !shown.contains(char::is_control), "{shown:?}");
        if let Err(refusal) = check_file_name(Some(name), bytes, &FormatSet::default()) {
            assert!(!refusal.to_string().contains(char::is_control), "{refusal:?}");
        }
    }
}

type Images<'a> = Option<Vec<(&'a Bytes, Option<&'a str>)>>;

/// Returns what must be equal for a body in pieces and a whole body. Error messages may differ.
fn images_of(outcome: &Result<Vec<EncodedImage>, Refusal>) -> Images<'_> {
    let images = outcome.as_ref().ok()?;
    Some(images.iter().map(|image| (&image.bytes, image.file_name.as_deref())).collect())
}

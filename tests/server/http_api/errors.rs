//! Authentication errors, and the status and code of every other error.

use super::{CAT, server};
use crate::common::{Answer, KEY, agent, bytes, form_body, read};

#[test]
fn key_is_required_for_predictions_and_models_only() {
    let server = server();
    for path in ["/models", "/models/efficientnet-lite0"] {
        let refused = server.get_without_key(path);
        assert_eq!((refused.status, refused.code().as_str()), (401, "key_missing"), "{path}");
        assert!(refused.header("www-authenticate").is_some());
    }
    for path in ["/predict", "/predict/raw", "/predict/batch"] {
        let (content_type, body) = form_body(&[("file", "cat.jpg", b"x")]);
        let headers = [("X-API-Key", "kiln_wrong-key-of-the-tests"), ("Content-Type", content_type)];
        let refused = server.post(path, &headers, &body);
        assert_eq!((refused.status, refused.code().as_str()), (401, "key_invalid"), "{path}");
    }
    assert_eq!(server.get_with("/models", &[("Authorization", &format!("Bearer {KEY}"))]).status, 200);
    for path in ["/", "/health/live", "/health/ready", "/metrics", "/docs", "/openapi.json", "/openapi.yaml"] {
        assert_eq!(server.get_without_key(path).status, 200, "{path}");
    }
}

#[test]
fn errors_have_their_status_and_code() {
    let server = server();
    let check = |answer: Answer, status: u16, code: &str| {
        assert_eq!((answer.status, answer.code().as_str()), (status, code), "{}", answer.text());
        answer
    };
    let one = |name: &str, bytes: &[u8]| server.predict("/predict", name, bytes);
    check(server.get("/nothing"), 404, "not_found");
    let wrong_method = check(server.get("/predict"), 405, "method_not_allowed");
    assert_eq!(wrong_method.header("allow"), Some("POST"));
    check(one("cat.exe", &bytes(CAT)), 415, "extension_not_accepted");
    check(one("cat.jpg", b"not an image"), 415, "unknown_format");
    check(one("cat", &bytes("variants/cat.webp")), 415, "format_not_accepted");
    // The message names the format and says how to convert the file, whatever its name is.
    let photo = check(one("photo.heic", b"\0\0\0\x18ftypheic\0\0\0\0mif1heic"), 415, "unknown_format").text();
    assert!(photo.contains("a HEIC image") && photo.contains("magick FILE image.png"), "{photo}");
    check(one("cat.jpg", b""), 400, "malformed_request");
    check(one("cat.jpg", &bytes(CAT)[..20_000]), 422, "undecodable_image");
    check(one("cat.png", &bytes("variants/cat.png")[..20_000]), 422, "undecodable_image");
    let with_end = [&bytes(CAT)[..20_000], b"\xff\xd9"].concat();
    let truncated = check(one("cat.jpg", &with_end), 422, "undecodable_image").text();
    assert!(truncated.contains("the file is truncated or damaged"), "{truncated}");
    check(server.form("/predict", &[("other", "cat.jpg", b"x")]), 400, "malformed_request");
    check(server.raw("/predict", b"{}"), 415, "content_type_not_supported");
    check(server.raw("/predict/raw", b""), 400, "malformed_request");
    check(server.predict("/predict?model=nobody", "cat.jpg", &bytes(CAT)), 404, "unknown_model");
    check(server.predict("/predict?version=99", "cat.jpg", &bytes(CAT)), 404, "unknown_version");
    check(server.get("/models/nobody"), 404, "unknown_model");
    check(server.raw("/predict/raw", &vec![0xff; 1_100_000]), 413, "body_too_large");
    let mut large = bytes("photos/cat_451x300.jpg");
    let frame = large.windows(2).position(|pair| pair == [0xff, 0xc0]).unwrap();
    large[frame + 5..frame + 9].copy_from_slice(&[0x03, 0xff, 0x03, 0xff]);
    check(server.raw("/predict/raw", &large), 413, "too_many_pixels");
}

#[test]
fn chunked_body_beyond_the_limit_returns_413() {
    let server = server();
    let piece = vec![0xff; 64 << 10];
    let endless = std::iter::repeat_n(piece, 32).flatten().collect::<Vec<u8>>();
    let mut reader = std::io::Cursor::new(endless);
    let request = agent().post(format!("{}/predict/raw", server.url)).header("X-API-Key", KEY);
    let refused = read(request.send(ureq::SendBody::from_reader(&mut reader)));
    assert_eq!((refused.status, refused.code().as_str()), (413, "body_too_large"));
}

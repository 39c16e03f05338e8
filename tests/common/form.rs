//! Bodies as clients send them: a multipart form, and compressed ones.

use std::io::Write;

/// A form by hand, so that a test can say exactly what it sends. An empty name means no file name.
pub fn form_body(files: &[(&str, &str, &[u8])]) -> (&'static str, Vec<u8>) {
    let mut body = Vec::new();
    for (field, name, bytes) in files {
        let file_name = if name.is_empty() { String::new() } else { format!("; filename=\"{name}\"") };
        body.extend_from_slice(
            format!("--kiln-test\r\nContent-Disposition: form-data; name=\"{field}\"{file_name}\r\n\r\n").as_bytes(),
        );
        body.extend_from_slice(bytes);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(b"--kiln-test--\r\n");
    ("multipart/form-data; boundary=kiln-test", body)
}

/// A body as `Content-Encoding: gzip` has it.
pub fn gzip(body: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(body).and_then(|()| encoder.finish()).expect("memory takes it")
}

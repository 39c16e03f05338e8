//! Multipart forms that no browser would send.

use super::harness::{Cost, Outcome, Target, outcome};
use crate::common::bytes;

const MALFORMED: Outcome = Outcome::Error(400, "malformed_request");
const ACCEPTED: Outcome = Outcome::Size(451, 300);
const USUAL: &str = "multipart/form-data; boundary=kiln-test";

/// The maximum cost of a form: seconds of processor time, and MB beside four times its size.
const SECONDS: f64 = 2.0;
const MEGABYTES: usize = 32;

struct Form {
    name: &'static str,
    content_type: String,
    body: Vec<u8>,
    expected: Outcome,
}

fn form(name: &'static str, body: Vec<u8>, expected: Outcome) -> Form {
    Form { name, content_type: USUAL.to_string(), body, expected }
}

/// Builds a part with this header and content.
fn part(header: &str, content: &[u8]) -> Vec<u8> {
    [format!("--kiln-test\r\n{header}\r\n\r\n").as_bytes(), content, b"\r\n"].concat()
}

/// Builds a part for a form field.
fn field(name: &str, content: &[u8]) -> Vec<u8> {
    part(&format!("Content-Disposition: form-data; name=\"{name}\""), content)
}

/// Appends the end of the form.
fn end(mut parts: Vec<u8>) -> Vec<u8> {
    parts.extend(b"--kiln-test--\r\n");
    parts
}

/// Sends each form. Panics with a list of all unexpected outcomes and costs.
fn check(path: &str, forms: Vec<Form>) {
    let server = Target::new();
    let failure = |form: Form| {
        let (answer, cost) = server.measure(|| server.send(path, &form.content_type, &form.body));
        let Cost { seconds, megabytes } = cost;
        println!("{}: {}, {seconds:.2} s, {megabytes} MB", form.name, answer.status);
        let cheap = seconds <= SECONDS && megabytes <= MEGABYTES + 4 * form.body.len() / 1_000_000;
        let fine = outcome(&answer) == form.expected && cheap;
        (!fine).then(|| format!("{}: {cost:?}, expected {:?}: {}", form.name, form.expected, answer.text()))
    };
    let failures: Vec<String> = forms.into_iter().filter_map(failure).collect();
    assert!(failures.is_empty(), "\n{}", failures.join("\n"));
    server.assert_healthy();
}

#[test]
fn malformed_parts_are_rejected() {
    let cat = bytes("photos/cat_451x300.jpg");
    let file = field("file", &cat);
    let nested =
        [b"--in\r\nContent-Disposition: form-data; name=\"file\"\r\n\r\n", &cat[..], b"\r\n--in--\r\n"].concat();
    let nested =
        part("Content-Disposition: form-data; name=\"file\"\r\nContent-Type: multipart/mixed; boundary=in", &nested);
    let unfinished = file[..file.len() - 2].to_vec();
    check(
        "/predict",
        vec![
            form("one file", end(file.clone()), ACCEPTED),
            form("a form in a form", end(nested), Outcome::Error(415, "unknown_format")),
            form("no end", unfinished, MALFORMED),
            form("no last dashes", [&file[..], b"--kiln-test\r\n"].concat(), MALFORMED),
            form("no parts", end(Vec::new()), MALFORMED),
            form("no body", Vec::new(), MALFORMED),
            form("a part without a name", end(part("Content-Type: image/jpeg", &cat)), MALFORMED),
            form("an empty name", end(field("", &cat)), MALFORMED),
            form("two files", end([file.clone(), file.clone()].concat()), MALFORMED),
            form("no field 'file'", end(field("image", &cat)), MALFORMED),
            form("another field besides", end([field("note", b"a cat"), file.clone()].concat()), ACCEPTED),
            form("words before the first part", end([b"This is a form.\r\n", &file[..]].concat()), ACCEPTED),
            form("a header that is none", end(part("file", &cat)), MALFORMED),
        ],
    );
}

#[test]
fn boundaries_of_every_length_are_handled() {
    let cat = bytes("photos/cat_451x300.jpg");
    let with = |name, boundary: &str, expected: Outcome| {
        let head = format!("--{boundary}\r\nContent-Disposition: form-data; name=\"file\"\r\n\r\n");
        let body = [head.as_bytes(), &cat, format!("\r\n--{boundary}--\r\n").as_bytes()].concat();
        Form { name, content_type: format!("multipart/form-data; boundary={boundary}"), body, expected }
    };
    let none = Form { content_type: "multipart/form-data".to_string(), ..with("no boundary", "x", MALFORMED) };
    check(
        "/predict",
        vec![
            none,
            with("an empty boundary", "", ACCEPTED),
            with("a quoted empty boundary", "\"\"", Outcome::Error(415, "content_type_not_supported")),
            with("70 characters, which is the most", &"x".repeat(70), ACCEPTED),
            with("30000 characters", &"x".repeat(30_000), ACCEPTED),
        ],
    );
}

#[test]
fn endless_parts_reach_a_limit() {
    check("/predict", endless("file", MALFORMED));
    check("/predict/batch", endless("files", Outcome::Error(413, "too_many_files")));
}

/// Returns very long forms. `many_images` is the outcome of a hundred thousand images, which depends on the operation.
fn endless(name: &str, many_images: Outcome) -> Vec<Form> {
    let file = field(name, b"");
    let header = |more: &str| part(&format!("{more}Content-Disposition: form-data; name=\"{name}\""), b"");
    let long = format!("X-Long: {}\r\n", "x".repeat(5_000_000));
    let long_name = field(&"x".repeat(5_000_000), b"");
    let of_batch = many_images.clone();
    // The only file is empty, so there is no image.
    let empty = || if name == "file" { MALFORMED } else { Outcome::Items(1) };
    vec![
        form("a hundred thousand fields", end([field("a", b"b").repeat(100_000), file.clone()].concat()), MALFORMED),
        form("a hundred thousand parts without a name", end(part("X: y", b"").repeat(100_000)), MALFORMED),
        form("a hundred thousand images", end(file.repeat(100_000)), of_batch),
        form("a field of 10 MB", end([field("note", &vec![b'x'; 10_000_000]), file.clone()].concat()), MALFORMED),
        form("a name of 5 MB", end(long_name), MALFORMED),
        form("a header of 5 MB", end(header(&long)), empty()),
        form("a thousand headers", end(header(&"X-Header: x\r\n".repeat(1000))), MALFORMED),
        form("10 MB before the first part", end([vec![b'x'; 10_000_000], file.clone()].concat()), empty()),
        form("10 MB of line ends", end([b"\r\n".repeat(5_000_000), file.clone()].concat()), empty()),
        form("10 MB of dashes", [b"--kiln-test\r\n", &b"-".repeat(10_000_000)[..]].concat(), MALFORMED),
    ]
}

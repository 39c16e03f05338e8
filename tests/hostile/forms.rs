//! Forms that no browser would send.

use crate::attacked::{Attacked, Cost};
use crate::case::{Wanted, outcome};
use crate::common::bytes;

const MALFORMED: Wanted = Wanted::Error(400, "malformed_request");
const TAKEN: Wanted = Wanted::Size(451, 300);
const USUAL: &str = "multipart/form-data; boundary=kiln-test";

/// The most that a form may cost, in seconds of processor time and in MB beside four times its size.
const SECONDS: f64 = 2.0;
const MEGABYTES: usize = 32;

struct Form {
    name: &'static str,
    content_type: String,
    body: Vec<u8>,
    wanted: Wanted,
}

fn form(name: &'static str, body: Vec<u8>, wanted: Wanted) -> Form {
    Form { name, content_type: USUAL.to_string(), body, wanted }
}

/// A part with this header and this content.
fn part(header: &str, content: &[u8]) -> Vec<u8> {
    [format!("--kiln-test\r\n{header}\r\n\r\n").as_bytes(), content, b"\r\n"].concat()
}

fn field(name: &str, content: &[u8]) -> Vec<u8> {
    part(&format!("Content-Disposition: form-data; name=\"{name}\""), content)
}

fn end(mut parts: Vec<u8>) -> Vec<u8> {
    parts.extend(b"--kiln-test--\r\n");
    parts
}

fn check(path: &str, forms: Vec<Form>) {
    let server = Attacked::new();
    let complaint = |form: Form| {
        let (answer, cost) = server.costs(|| server.send(path, &form.content_type, &form.body));
        let Cost { seconds, megabytes } = cost;
        println!("{}: {}, {seconds:.2} s, {megabytes} MB", form.name, answer.status);
        let cheap = seconds <= SECONDS && megabytes <= MEGABYTES + 4 * form.body.len() / 1_000_000;
        let fine = outcome(&answer) == form.wanted && cheap;
        (!fine).then(|| format!("{}: {cost:?}, wanted {:?}: {}", form.name, form.wanted, answer.text()))
    };
    let complaints: Vec<String> = forms.into_iter().filter_map(complaint).collect();
    assert!(complaints.is_empty(), "\n{}", complaints.join("\n"));
    server.is_well();
}

#[test]
fn parts_are_told_apart_or_refused() {
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
            form("one file", end(file.clone()), TAKEN),
            form("a form in a form", end(nested), Wanted::Error(415, "unknown_format")),
            form("no end", unfinished, MALFORMED),
            form("no last dashes", [&file[..], b"--kiln-test\r\n"].concat(), MALFORMED),
            form("no parts", end(Vec::new()), MALFORMED),
            form("no body", Vec::new(), MALFORMED),
            form("a part without a name", end(part("Content-Type: image/jpeg", &cat)), MALFORMED),
            form("an empty name", end(field("", &cat)), MALFORMED),
            form("two files", end([file.clone(), file.clone()].concat()), MALFORMED),
            form("no field 'file'", end(field("picture", &cat)), MALFORMED),
            form("another field besides", end([field("note", b"a cat"), file.clone()].concat()), TAKEN),
            form("words before the first part", end([b"This is a form.\r\n", &file[..]].concat()), TAKEN),
            form("a header that is none", end(part("file", &cat)), MALFORMED),
        ],
    );
}

#[test]
fn boundaries_are_of_a_sane_length() {
    let cat = bytes("photos/cat_451x300.jpg");
    let with = |name, boundary: &str, wanted: Wanted| {
        let head = format!("--{boundary}\r\nContent-Disposition: form-data; name=\"file\"\r\n\r\n");
        let body = [head.as_bytes(), &cat, format!("\r\n--{boundary}--\r\n").as_bytes()].concat();
        Form { name, content_type: format!("multipart/form-data; boundary={boundary}"), body, wanted }
    };
    let none = Form { content_type: "multipart/form-data".to_string(), ..with("no boundary", "x", MALFORMED) };
    check(
        "/predict",
        vec![
            none,
            with("an empty boundary", "", TAKEN),
            with("a quoted empty boundary", "\"\"", Wanted::Error(415, "content_type_not_supported")),
            with("70 characters, which is the most", &"x".repeat(70), TAKEN),
            with("30000 characters", &"x".repeat(30_000), TAKEN),
        ],
    );
}

#[test]
fn parts_without_end_meet_a_limit() {
    check("/predict", endless("file", MALFORMED));
    check("/predict/batch", endless("files", Wanted::Error(413, "too_many_files")));
}

/// Forms that go on and on; what becomes of a hundred thousand pictures depends on the operation.
fn endless(name: &str, of_pictures: Wanted) -> Vec<Form> {
    let file = field(name, b"");
    let header = |more: &str| part(&format!("{more}Content-Disposition: form-data; name=\"{name}\""), b"");
    let long = format!("X-Long: {}\r\n", "x".repeat(5_000_000));
    let long_name = field(&"x".repeat(5_000_000), b"");
    let of_batch = of_pictures.clone();
    // No picture, whatever came before it.
    let empty = || if name == "file" { MALFORMED } else { Wanted::Items(1) };
    vec![
        form("a hundred thousand fields", end([field("a", b"b").repeat(100_000), file.clone()].concat()), MALFORMED),
        form("a hundred thousand parts without a name", end(part("X: y", b"").repeat(100_000)), MALFORMED),
        form("a hundred thousand pictures", end(file.repeat(100_000)), of_batch),
        form("a field of 10 MB", end([field("note", &vec![b'x'; 10_000_000]), file.clone()].concat()), MALFORMED),
        form("a name of 5 MB", end(long_name), MALFORMED),
        form("a header of 5 MB", end(header(&long)), empty()),
        form("a thousand headers", end(header(&"X-Header: x\r\n".repeat(1000))), MALFORMED),
        form("10 MB before the first part", end([vec![b'x'; 10_000_000], file.clone()].concat()), empty()),
        form("10 MB of line ends", end([b"\r\n".repeat(5_000_000), file.clone()].concat()), empty()),
        form("10 MB of dashes", [b"--kiln-test\r\n", &b"-".repeat(10_000_000)[..]].concat(), MALFORMED),
    ]
}

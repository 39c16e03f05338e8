//! An HTTP client for tests: requests, responses, multipart forms, and the metrics page.

use std::io::Write;
use std::time::Duration;

use serde_json::Value;

/// Longer than any request takes on a busy machine.
const TIMEOUT: Duration = Duration::from_secs(300);

/// A response whose body has been read.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: ureq::http::HeaderMap,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("{e}: {}", self.text()))
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// Returns the class id of the first prediction. Panics if the status is not 200.
    pub fn top1(&self) -> u64 {
        assert_eq!(self.status, 200, "{}", self.text());
        self.json()["predictions"][0]["class_id"].as_u64().expect("a class id")
    }

    /// Returns the `code` of an error, after checking the members that every error body has.
    pub fn code(&self) -> String {
        let body = self.json();
        assert!(body["error"].as_str().is_some_and(|text| text.len() > 10), "{body}");
        assert_eq!(body["request_id"].as_str(), self.header("x-request-id"), "{body}");
        body["code"].as_str().expect("a code").to_string()
    }
}

/// Returns a client that follows no redirects and reports every status as a response.
pub fn agent() -> ureq::Agent {
    let config = ureq::Agent::config_builder().http_status_as_error(false).max_redirects(0);
    config.timeout_global(Some(TIMEOUT)).build().into()
}

/// Sends `GET` with exactly these headers.
pub fn get(url: &str, headers: &[(&str, &str)]) -> Answer {
    let request = agent().get(url);
    read(headers.iter().fold(request, |request, (name, value)| request.header(*name, *value)).call())
}

/// Sends `POST` with this body and exactly these headers.
pub fn post(url: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
    let request = agent().post(url);
    read(headers.iter().fold(request, |request, (name, value)| request.header(*name, *value)).send(body))
}

/// Reads the body of a response. Panics if the request failed.
pub fn read(response: Result<ureq::http::Response<ureq::Body>, ureq::Error>) -> Answer {
    let mut response = response.expect("the server responds");
    Answer {
        status: response.status().as_u16(),
        headers: response.headers().clone(),
        body: response.body_mut().with_config().limit(64 << 20).read_to_vec().expect("the body arrives"),
    }
}

/// Builds a multipart form by hand, so that a test controls every byte. An empty name means no file name.
///
/// Returns the content type and the body.
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

/// Compresses a body for `Content-Encoding: gzip`.
pub fn gzip(body: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(body).and_then(|()| encoder.finish()).expect("writing to memory succeeds")
}

/// Sums the series of a metric whose lines contain all of `labels`. `page` is the text of `/metrics`.
pub fn sum_metric(page: &str, name: &str, labels: &[&str]) -> f64 {
    let series = page.lines().filter(|line| line.split(['{', ' ']).next() == Some(name));
    let matching = series.filter(|line| labels.iter().all(|label| line.contains(label)));
    matching.map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap()).sum()
}

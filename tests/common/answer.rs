//! An answer of a server.

use serde_json::Value;

use super::server::Server;

/// An answer, its body already read.
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

    /// The class id of the first prediction of a 200.
    pub fn top1(&self) -> u64 {
        assert_eq!(self.status, 200, "{}", self.text());
        self.json()["predictions"][0]["class_id"].as_u64().expect("a class id")
    }

    /// The `code` of an error, after checking the shape that every error has.
    pub fn code(&self) -> String {
        let body = self.json();
        assert!(body["error"].as_str().is_some_and(|text| text.len() > 10), "{body}");
        assert_eq!(body["request_id"].as_str(), self.header("x-request-id"), "{body}");
        body["code"].as_str().expect("a code").to_string()
    }
}

/// `GET` with these headers and no others of our own.
pub fn get(url: &str, headers: &[(&str, &str)]) -> Answer {
    let request = Server::agent().get(url);
    read(headers.iter().fold(request, |request, (name, value)| request.header(*name, *value)).call())
}

/// `POST` of a body as it is, with these headers and no others of our own.
pub fn post(url: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
    let request = Server::agent().post(url);
    read(headers.iter().fold(request, |request, (name, value)| request.header(*name, *value)).send(body))
}

pub fn read(answer: Result<ureq::http::Response<ureq::Body>, ureq::Error>) -> Answer {
    let mut answer = answer.expect("the server answers");
    Answer {
        status: answer.status().as_u16(),
        headers: answer.headers().clone(),
        body: answer.body_mut().with_config().limit(64 << 20).read_to_vec().expect("the body arrives"),
    }
}

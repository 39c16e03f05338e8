//! Which methods an address takes, read from the OpenAPI document: the `Allow` header of a 405. Also the pattern that an
//! address fits, by which traces tell operations apart.

use poem::http::HeaderValue;
use serde_json::Value;

/// Address patterns with their methods.
#[derive(Debug)]
pub(super) struct AllowTable(Vec<Address>);

#[derive(Debug)]
struct Address {
    pattern: String,
    methods: String,
}

impl AllowTable {
    /// Reads the `paths` of an OpenAPI document.
    pub(super) fn from_spec(spec: &str) -> Self {
        let spec: Value = serde_json::from_str(spec).unwrap_or_default();
        let paths = spec["paths"].as_object().into_iter().flatten();
        let address =
            |(path, operations): (&String, _)| Address { pattern: path.clone(), methods: methods(operations) };
        Self(paths.map(address).collect())
    }

    /// The methods of `path`; `GET, HEAD` for pages outside the document.
    pub(super) fn methods(&self, path: &str) -> HeaderValue {
        let methods = self.find(path).and_then(|address| HeaderValue::from_str(&address.methods).ok());
        methods.unwrap_or_else(|| HeaderValue::from_static("GET, HEAD"))
    }

    /// The pattern of `path`, such as `/models/{name}`; none for pages outside the document.
    pub(super) fn route(&self, path: &str) -> Option<&str> {
        self.find(path).map(|address| address.pattern.as_str())
    }

    fn find(&self, path: &str) -> Option<&Address> {
        self.0.iter().find(|address| matches(&address.pattern, path))
    }
}

fn segments(path: &str) -> impl Iterator<Item = &str> {
    path.trim_matches('/').split('/')
}

fn methods(operations: &Value) -> String {
    let names = operations.as_object().into_iter().flatten().map(|(method, _)| method.to_uppercase());
    let mut names: Vec<String> = names.collect();
    if names.iter().any(|name| name == "GET") {
        names.push("HEAD".to_string());
    }
    names.sort();
    names.join(", ")
}

fn matches(pattern: &str, asked: &str) -> bool {
    segments(pattern).count() == segments(asked).count()
        && segments(pattern).zip(segments(asked)).all(|(p, a)| p == a || p.starts_with('{'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn methods_come_from_the_document_and_patterns_match_any_segment() {
        let spec = r#"{"paths":{"/predict":{"post":{}},"/models/{name}":{"get":{}}}}"#;
        let table = AllowTable::from_spec(spec);
        assert_eq!(table.methods("/predict"), "POST");
        assert_eq!(table.methods("/models/x"), "GET, HEAD");
        assert_eq!(table.methods("/docs"), "GET, HEAD");
        assert_eq!(table.route("/models/x"), Some("/models/{name}"));
        assert_eq!(table.route("/docs"), None);
    }
}

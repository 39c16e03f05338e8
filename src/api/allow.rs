//! Which methods an address takes, read from the OpenAPI document: the `Allow` header of a 405.

use poem::http::HeaderValue;
use serde_json::Value;

/// Address patterns with their methods.
#[derive(Debug)]
pub(super) struct AllowTable(Vec<(Vec<String>, String)>);

impl AllowTable {
    /// Reads the `paths` of an OpenAPI document.
    pub(super) fn from_spec(spec: &str) -> Self {
        let spec: Value = serde_json::from_str(spec).unwrap_or_default();
        let paths = spec["paths"].as_object().into_iter().flatten();
        Self(paths.map(|(path, operations)| (segments(path), methods(operations))).collect())
    }

    /// The methods of `path`; `GET, HEAD` for pages outside the document.
    pub(super) fn methods(&self, path: &str) -> HeaderValue {
        let asked = segments(path);
        let found = self.0.iter().find(|(pattern, _)| matches(pattern, &asked));
        found
            .and_then(|(_, methods)| HeaderValue::from_str(methods).ok())
            .unwrap_or_else(|| HeaderValue::from_static("GET, HEAD"))
    }
}

fn segments(path: &str) -> Vec<String> {
    path.trim_matches('/').split('/').map(ToString::to_string).collect()
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

fn matches(pattern: &[String], asked: &[String]) -> bool {
    pattern.len() == asked.len() && pattern.iter().zip(asked).all(|(p, a)| p == a || p.starts_with('{'))
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
    }
}

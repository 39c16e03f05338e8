//! The routes of the OpenAPI document: the methods of a path for the `Allow` header of a 405 and for CORS, and the route pattern of
//! a path for traces.

use poem::http::HeaderValue;
use serde_json::Value;

/// Path patterns with their methods.
#[derive(Debug)]
pub(super) struct RouteTable(Vec<Route>);

#[derive(Debug)]
struct Route {
    pattern: String,
    methods: String,
}

impl RouteTable {
    /// Reads the `paths` of an OpenAPI document in JSON.
    pub(super) fn from_spec(spec: &str) -> Self {
        let spec: Value = serde_json::from_str(spec).unwrap_or_default();
        let paths = spec["paths"].as_object().into_iter().flatten();
        let route = |(path, operations): (&String, _)| Route { pattern: path.clone(), methods: methods(operations) };
        Self(paths.map(route).collect())
    }

    /// Returns the methods of `path` as a list; `GET, HEAD` for pages outside the document.
    pub(super) fn methods(&self, path: &str) -> HeaderValue {
        let methods = self.find(path).and_then(|route| HeaderValue::from_str(&route.methods).ok());
        methods.unwrap_or_else(|| HeaderValue::from_static("GET, HEAD"))
    }

    /// Returns the pattern of `path`, such as `/models/{name}`; `None` for pages outside the document.
    pub(super) fn pattern(&self, path: &str) -> Option<&str> {
        self.find(path).map(|route| route.pattern.as_str())
    }

    fn find(&self, path: &str) -> Option<&Route> {
        self.0.iter().find(|route| matches(&route.pattern, path))
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

fn matches(pattern: &str, path: &str) -> bool {
    segments(pattern).count() == segments(path).count()
        && segments(pattern)
            .zip(segments(path))
            .all(|(expected, segment)| expected == segment || expected.starts_with('{'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn methods_come_from_the_document_and_parameters_match_any_segment() {
        let spec = r#"{"paths":{"/predict":{"post":{}},"/models/{name}":{"get":{}}}}"#;
        let table = RouteTable::from_spec(spec);
        assert_eq!(table.methods("/predict"), "POST");
        assert_eq!(table.methods("/models/x"), "GET, HEAD");
        assert_eq!(table.methods("/docs"), "GET, HEAD");
        assert_eq!(table.pattern("/models/x"), Some("/models/{name}"));
        assert_eq!(table.pattern("/docs"), None);
    }
}

//! The OpenAPI document and the documentation page.

use serde_json::Value;

use super::server;

#[test]
fn document_has_security_schemes_and_errors_of_every_operation() {
    let server = server();
    let spec = server.get_without_key("/openapi.json").json();
    let operations = ["/predict", "/predict/raw", "/predict/batch"].map(|path| &spec["paths"][path]["post"]);
    for operation in operations {
        let schemes: Vec<&String> =
            operation["security"].as_array().unwrap().iter().flat_map(|s| s.as_object().unwrap().keys()).collect();
        assert_eq!(schemes, ["ApiKey", "Bearer"]);
        for status in ["200", "400", "401", "404", "408", "413", "415", "422", "429", "500", "503", "504"] {
            assert!(
                operation["responses"][status]["content"]["application/json; charset=utf-8"].is_object(),
                "{status}"
            );
        }
        for (status, header) in
            [("401", "WWW-Authenticate"), ("429", "Retry-After"), ("503", "Retry-After"), ("504", "Retry-After")]
        {
            let headers = &operation["responses"][status]["headers"];
            assert!(headers[header].is_object() && headers["X-Request-Id"].is_object(), "{status}: {headers}");
        }
    }
    let raw: Vec<&String> =
        spec["paths"]["/predict/raw"]["post"]["requestBody"]["content"].as_object().unwrap().keys().collect();
    assert_eq!(raw.len(), 4, "{raw:?}");
    for path in ["/models", "/models/{name}", "/health/live", "/health/ready", "/metrics"] {
        assert!(spec["paths"][path]["get"].is_object(), "{path}");
    }
    assert!(server.get_without_key("/docs").text().contains("SwaggerUIBundle"));
}

#[test]
fn yaml_document_has_every_path() {
    let server = server();
    let json: Value = server.get_without_key("/openapi.json").json();
    let yaml = server.get_without_key("/openapi.yaml").text();
    for path in json["paths"].as_object().unwrap().keys() {
        assert!(yaml.contains(&format!("  {path}:\n")), "{path}");
    }
}

#[test]
fn documents_are_served_and_post_returns_405() {
    let server = server();
    for (path, start) in [("/docs", "<"), ("/docs/", "<"), ("/openapi.json", "{"), ("/openapi.yaml", "openapi: 3")] {
        let page = server.get(path);
        assert!(page.status == 200 && page.text().trim_start().starts_with(start), "{path}");
        let refused = server.post(path, &[], b"");
        assert_eq!((refused.status, refused.header("allow")), (405, Some("GET, HEAD")), "{path}");
    }
}

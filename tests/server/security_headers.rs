//! Security headers for browsers: content security policy, framing, and cross-origin resource sharing (CORS).

use crate::common::{Answer, KEY, Server, agent, bytes, read};

const PAGE: &str = "https://app.example";
const OTHER: &str = "https://other.example";
const CAT: &str = "photos/cat_640x480.jpg";

/// Sends `GET` as a page of `origin` does.
fn get(server: &Server, path: &str, origin: &str) -> Answer {
    server.get_with(path, &[("Origin", origin)])
}

/// Sends the preflight request of a browser for an upload with a key.
fn preflight(server: &Server, path: &str, origin: &str) -> Answer {
    let request = agent().options(format!("{}{path}", server.url)).header("Origin", origin);
    let request = request.header("Access-Control-Request-Method", "POST");
    read(request.header("Access-Control-Request-Headers", "content-type,x-api-key").call())
}

fn cors_headers(answer: &Answer) -> Vec<&str> {
    answer.headers.keys().map(|name| name.as_str()).filter(|name| name.starts_with("access-control-")).collect()
}

fn vary(answer: &Answer) -> Vec<&str> {
    answer.headers.get_all("vary").iter().map(|value| value.to_str().unwrap()).collect()
}

#[test]
fn every_response_has_security_headers_and_no_cors_headers_by_default() {
    let server = Server::start(&["--device", "cpu"]);
    let mut answers = vec![server.raw("/predict/raw", &bytes(CAT)), server.raw("/predict", b"x")];
    assert_eq!(answers[0].status, 200);
    for path in ["/", "/docs", "/openapi.json", "/metrics", "/health/live", "/models", "/v2", "/nothing"] {
        answers.push(get(&server, path, PAGE));
    }
    answers.push(preflight(&server, "/predict", PAGE));
    assert_eq!(answers.last().unwrap().status, 405);
    for answer in &answers {
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"), "{answer:?}");
        assert_eq!(answer.header("x-frame-options"), Some("DENY"), "{answer:?}");
        assert_eq!(answer.header("referrer-policy"), Some("no-referrer"), "{answer:?}");
        let policy = answer.header("content-security-policy").expect("a policy");
        assert!(policy.starts_with("default-src 'none'") && policy.contains("frame-ancestors 'none'"), "{policy}");
        assert!(cors_headers(answer).is_empty() && !vary(answer).contains(&"Origin"), "{answer:?}");
    }
}

/// `tests/browser/docs_page.rs` checks that Swagger UI works under this policy.
#[test]
fn docs_page_allows_only_its_own_scripts() {
    let server = Server::start_unready(&["--device", "cpu"]);
    let docs = server.get_without_key("/docs");
    let policy = docs.header("content-security-policy").unwrap();
    let directive = |name: &str| policy.split("; ").find_map(|rule| rule.strip_prefix(name)).unwrap();
    assert_eq!(directive("script-src ").matches("'sha256-").count(), 2, "{policy}");
    assert!(!directive("script-src ").contains("unsafe"), "{policy}");
    assert_eq!(
        (directive("connect-src "), directive("base-uri "), directive("form-action ")),
        ("'self'", "'none'", "'none'")
    );
    assert_eq!(docs.headers.get_all("content-security-policy").iter().count(), 1);
}

/// `tests/browser/status_page` checks that the page works under this policy.
#[test]
fn status_page_is_revalidated_by_etag_and_a_304_repeats_its_headers() {
    let server = Server::start_unready(&["--device", "cpu"]);
    let page_if_none_match = |tag: Option<&str>| {
        let request = agent().get(format!("{}/", server.url));
        read(tag.into_iter().fold(request, |request, tag| request.header("If-None-Match", tag)).call())
    };
    let page = page_if_none_match(None);
    assert_eq!((page.status, page.header("content-type")), (200, Some("text/html; charset=utf-8")));
    assert_eq!(page.header("cache-control"), Some("no-cache"));
    let policy = page.header("content-security-policy").unwrap();
    assert_eq!(policy.matches("'sha256-").count(), 2, "{policy}");
    assert!(policy.contains("connect-src 'self'") && !policy.contains("unsafe"), "{policy}");

    let tag = page.header("etag").unwrap();
    let unchanged = page_if_none_match(Some(tag));
    assert_eq!((unchanged.status, unchanged.body.len()), (304, 0));
    // The headers of a 304 replace those of the cached page.
    for name in ["content-security-policy", "etag", "cache-control"] {
        assert_eq!(unchanged.header(name), page.header(name), "{name}");
    }
    assert_eq!(page_if_none_match(Some("\"other\"")).status, 200);

    let head = read(agent().head(format!("{}/", server.url)).call());
    assert_eq!((head.status, head.body.len(), head.header("etag")), (200, 0, Some(tag)));
    let posted = server.raw("/", b"x");
    assert_eq!((posted.status, posted.header("allow")), (405, Some("GET, HEAD")));
}

#[test]
fn listed_origin_gets_cors_headers_and_other_origins_do_not() {
    let server = Server::start(&["--device", "cpu", "--cors-origin", "https://App.example:443, http://localhost:3000"]);
    let allowed = preflight(&server, "/predict", PAGE);
    assert_eq!(
        (allowed.status, allowed.header("access-control-allow-origin")),
        (204, Some(PAGE)),
        "{}",
        allowed.text()
    );
    assert_eq!(allowed.header("access-control-allow-methods"), Some("POST"));
    assert_eq!(preflight(&server, "/models", PAGE).header("access-control-allow-methods"), Some("GET, HEAD"));
    let headers = allowed.header("access-control-allow-headers").unwrap();
    for needed in ["X-API-Key", "Authorization", "Content-Type", "X-Request-Id", "Inference-Header-Content-Length"] {
        assert!(headers.split(", ").any(|name| name == needed), "{headers}");
    }
    assert!(allowed.header("access-control-max-age").is_some() && allowed.header("x-request-id").is_some());
    assert_eq!(allowed.header("x-content-type-options"), Some("nosniff"));

    let with_key = |origin: &str| server.post("/predict/raw", &[("X-API-Key", KEY), ("Origin", origin)], &bytes(CAT));
    let answered = with_key("http://localhost:3000");
    assert_eq!(answered.header("access-control-allow-origin"), Some("http://localhost:3000"));
    assert!(answered.header("access-control-expose-headers").unwrap().contains("X-Request-Id"));
    // Without this header a page cannot read the status or the error.
    for (path, status) in [("/models", 401), ("/nothing", 404), ("/predict", 405)] {
        let refused = get(&server, path, PAGE);
        assert_eq!((refused.status, refused.header("access-control-allow-origin")), (status, Some(PAGE)), "{path}");
        assert!(refused.header("access-control-allow-credentials").is_none());
    }

    // The request is served, but without CORS headers a browser does not show the response to the page.
    for origin in [OTHER, "http://app.example", "https://app.example.evil", "null"] {
        let answer = with_key(origin);
        assert_eq!((answer.status, cors_headers(&answer)), (200, Vec::new()), "{origin}");
        let refused = preflight(&server, "/predict", origin);
        assert_eq!((refused.status, cors_headers(&refused)), (405, Vec::new()), "{origin}");
        // A shared cache must not serve this response to a page of a listed origin.
        assert!(vary(&answer).contains(&"Origin"), "{answer:?}");
    }
}

#[test]
fn wildcard_origin_allows_every_page() {
    let server = Server::start_unready(&["--device", "cpu", "--cors-origin", "*"]);
    for answer in [get(&server, "/health/live", OTHER), preflight(&server, "/predict", "null")] {
        assert_eq!(answer.header("access-control-allow-origin"), Some("*"), "{answer:?}");
        assert!(answer.header("access-control-allow-credentials").is_none());
    }
}

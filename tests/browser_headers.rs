//! What browsers are told of the answers: what they may do with them, and which pages of other origins may read them.
#![forbid(unsafe_code)]

mod common;

use common::{Answer, KEY, Server, bytes, read};

const PAGE: &str = "https://app.example";
const OTHER: &str = "https://other.example";
const CAT: &str = "photos/cat_640x480.jpg";

/// A request of a page of `origin`.
fn get(server: &Server, path: &str, origin: &str) -> Answer {
    server.get_with(path, &[("Origin", origin)])
}

/// What a browser asks before it sends a picture with a key.
fn preflight(server: &Server, path: &str, origin: &str) -> Answer {
    let request = Server::agent().options(format!("{}{path}", server.url)).header("Origin", origin);
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
fn every_answer_is_for_reading_only_and_for_pages_of_our_own() {
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

/// That Swagger UI works with it is for `docs_page.rs`.
#[test]
fn the_documentation_may_run_its_own_scripts_alone() {
    let server = Server::start_unready(&["--device", "cpu"]);
    let docs = server.get_without_key("/docs");
    let policy = docs.header("content-security-policy").unwrap();
    let of = |name: &str| policy.split("; ").find_map(|rule| rule.strip_prefix(name)).unwrap();
    assert_eq!(of("script-src ").matches("'sha256-").count(), 2, "{policy}");
    assert!(!of("script-src ").contains("unsafe"), "{policy}");
    assert_eq!((of("connect-src "), of("base-uri "), of("form-action ")), ("'self'", "'none'", "'none'"));
    assert_eq!(docs.headers.get_all("content-security-policy").iter().count(), 1);
}

/// That the page works with it is for `status_page`.
#[test]
fn the_page_at_the_bare_address_is_kept_by_browsers_with_its_policy() {
    let server = Server::start_unready(&["--device", "cpu"]);
    let ask = |known: Option<&str>| {
        let request = Server::agent().get(format!("{}/", server.url));
        read(known.into_iter().fold(request, |request, known| request.header("If-None-Match", known)).call())
    };
    let page = ask(None);
    assert_eq!((page.status, page.header("content-type")), (200, Some("text/html; charset=utf-8")));
    assert_eq!(page.header("cache-control"), Some("no-cache"));
    let policy = page.header("content-security-policy").unwrap();
    assert_eq!(policy.matches("'sha256-").count(), 2, "{policy}");
    assert!(policy.contains("connect-src 'self'") && !policy.contains("unsafe"), "{policy}");

    let tag = page.header("etag").unwrap();
    let known = ask(Some(tag));
    assert_eq!((known.status, known.body.len()), (304, 0));
    // What comes with a 304 replaces what came with the page.
    for name in ["content-security-policy", "etag", "cache-control"] {
        assert_eq!(known.header(name), page.header(name), "{name}");
    }
    assert_eq!(ask(Some("\"other\"")).status, 200);

    let head = read(Server::agent().head(format!("{}/", server.url)).call());
    assert_eq!((head.status, head.body.len(), head.header("etag")), (200, 0, Some(tag)));
    let posted = server.raw("/", b"x");
    assert_eq!((posted.status, posted.header("allow")), (405, Some("GET, HEAD")));
}

#[test]
fn pages_of_a_listed_origin_may_call_and_others_may_not() {
    let server = Server::start(&["--device", "cpu", "--cors-origin", "https://App.example:443, http://localhost:3000"]);
    let asked = preflight(&server, "/predict", PAGE);
    assert_eq!((asked.status, asked.header("access-control-allow-origin")), (204, Some(PAGE)), "{}", asked.text());
    assert_eq!(asked.header("access-control-allow-methods"), Some("POST"));
    assert_eq!(preflight(&server, "/models", PAGE).header("access-control-allow-methods"), Some("GET, HEAD"));
    let headers = asked.header("access-control-allow-headers").unwrap();
    for needed in ["X-API-Key", "Authorization", "Content-Type", "X-Request-Id", "Inference-Header-Content-Length"] {
        assert!(headers.split(", ").any(|name| name == needed), "{headers}");
    }
    assert!(asked.header("access-control-max-age").is_some() && asked.header("x-request-id").is_some());
    assert_eq!(asked.header("x-content-type-options"), Some("nosniff"));

    let with_key = |origin: &str| server.post("/predict/raw", &[("X-API-Key", KEY), ("Origin", origin)], &bytes(CAT));
    let answered = with_key("http://localhost:3000");
    assert_eq!(answered.header("access-control-allow-origin"), Some("http://localhost:3000"));
    assert!(answered.header("access-control-expose-headers").unwrap().contains("X-Request-Id"));
    // Without that header a page would learn nothing but that it failed.
    for (path, status) in [("/models", 401), ("/nothing", 404), ("/predict", 405)] {
        let refused = get(&server, path, PAGE);
        assert_eq!((refused.status, refused.header("access-control-allow-origin")), (status, Some(PAGE)), "{path}");
        assert!(refused.header("access-control-allow-credentials").is_none());
    }

    // A browser shows no other page the answer; whoever is no browser is served as ever.
    for strange in [OTHER, "http://app.example", "https://app.example.evil", "null"] {
        let answer = with_key(strange);
        assert_eq!((answer.status, cors_headers(&answer)), (200, Vec::new()), "{strange}");
        let refused = preflight(&server, "/predict", strange);
        assert_eq!((refused.status, cors_headers(&refused)), (405, Vec::new()), "{strange}");
        // A cache must not give its answer to a page that is listed.
        assert!(vary(&answer).contains(&"Origin"), "{answer:?}");
    }
}

#[test]
fn a_star_is_every_page() {
    let server = Server::start_unready(&["--device", "cpu", "--cors-origin", "*"]);
    for answer in [get(&server, "/health/live", OTHER), preflight(&server, "/predict", "null")] {
        assert_eq!(answer.header("access-control-allow-origin"), Some("*"), "{answer:?}");
        assert!(answer.header("access-control-allow-credentials").is_none());
    }
}

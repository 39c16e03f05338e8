//! The web pages: the status page at `/`, Swagger UI at `/docs`, and the OpenAPI document. Each is built once and shared by
//! reference, because a page has up to 1.6 MB and needs no key.

use std::sync::LazyLock;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use poem::http::header;
use poem::middleware::SetHeader;
use poem::{Endpoint, EndpointExt, Response, Route, endpoint};
use poem_openapi::param::Header;
use poem_openapi::payload::Binary;
use poem_openapi::{ApiResponse, OpenApi, OpenApiService};
use sha2::{Digest, Sha256};

use super::security_headers::page_policy;

/// Adds `/docs`, `/openapi.json` and `/openapi.yaml`.
pub(super) fn add_docs<T: OpenApi + 'static>(route: Route, service: &OpenApiService<T, ()>) -> Route {
    let json = static_page("application/json", service.spec());
    let yaml = static_page("application/yaml", service.spec_yaml());
    let html = service.swagger_ui_html();
    let policy = SetHeader::new().overriding(header::CONTENT_SECURITY_POLICY, page_policy(&html));
    let docs = static_page("text/html; charset=utf-8", html).with(policy);
    route.nest("/docs", poem::get(docs)).at("/openapi.json", poem::get(json)).at("/openapi.yaml", poem::get(yaml))
}

fn static_page(content_type: &'static str, text: String) -> impl Endpoint + 'static {
    let bytes = Bytes::from(text);
    endpoint::make_sync(move |_| Response::builder().header(header::CONTENT_TYPE, content_type).body(bytes.clone()))
}

/// `GET /`: a self-contained page that shows the server's status and classifies an image through the public operations.
pub(super) struct StatusPage;

static PAGE: LazyLock<Page> = LazyLock::new(Page::new);

struct Page {
    html: String,
    policy: String,
    etag: String,
}

#[derive(ApiResponse)]
enum StatusPageResponse {
    /// The page
    #[oai(status = 200, content_type = "text/html; charset=utf-8")]
    Page(
        Binary<Bytes>,
        #[oai(header = "Content-Security-Policy")] String,
        #[oai(header = "ETag")] String,
        #[oai(header = "Cache-Control")] String,
    ),
    /// The browser's copy of the page is current
    #[oai(status = 304)]
    NotModified(
        // The headers of a 304 replace those of the stored page, the policy included.
        #[oai(header = "Content-Security-Policy")] String,
        #[oai(header = "ETag")] String,
        #[oai(header = "Cache-Control")] String,
    ),
}

#[OpenApi]
impl StatusPage {
    /// Show the server's status and classify an image
    #[oai(path = "/", method = "get", operation_id = "home", hidden)]
    async fn get(&self, #[oai(name = "If-None-Match")] if_none_match: Header<Option<String>>) -> StatusPageResponse {
        let (policy, etag) = (PAGE.policy.clone(), PAGE.etag.clone());
        // The browser stores the page and revalidates it each time, so that it never shows an old version.
        let cache_control = "no-cache".to_string();
        if if_none_match.as_deref().is_some_and(|list| matches_etag(list, &etag)) {
            return StatusPageResponse::NotModified(policy, etag, cache_control);
        }
        StatusPageResponse::Page(Binary(Bytes::from_static(PAGE.html.as_bytes())), policy, etag, cache_control)
    }
}

impl Page {
    fn new() -> Self {
        let script = [
            include_str!("status_page/metrics.js"),
            include_str!("status_page/key.js"),
            include_str!("status_page/tiles.js"),
            include_str!("status_page/image.js"),
        ];
        let html = include_str!("status_page/page.html")
            .replace("{{version}}", env!("CARGO_PKG_VERSION"))
            .replace("{{style}}", include_str!("status_page/page.css"))
            .replace("{{script}}", &script.concat());
        let digest = BASE64_STANDARD.encode(&Sha256::digest(&html)[..9]);
        Self { policy: page_policy(&html), etag: format!("\"{digest}\""), html }
    }
}

/// Returns whether a value of `If-None-Match` matches the tag. It is a list; weak tags match, and `*` matches any tag (RFC 9110,
/// section 13.1.2).
fn matches_etag(list: &str, etag: &str) -> bool {
    list.split(',').map(str::trim).any(|tag| tag == "*" || tag.strip_prefix("W/").unwrap_or(tag) == etag)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn status_page_is_self_contained_and_small() {
        let html = &PAGE.html;
        assert!(!html.contains("{{") && html.contains(env!("CARGO_PKG_VERSION")), "a placeholder is not filled in");
        assert!(html.len() <= 30 << 10, "{} bytes", html.len());
        // The policy allows one script and one style, by their hashes.
        assert_eq!((html.matches("<script>").count(), html.matches("<style>").count()), (1, 1));
        assert_eq!(PAGE.policy.matches("'sha256-").count(), 2, "{}", PAGE.policy);
        for forbidden in [" style=", " onclick=", "https://", "unsafe-", "localStorage", "document.cookie"] {
            assert!(!html.contains(forbidden), "{forbidden}");
        }
    }

    #[test]
    fn etag_matches_in_lists_and_as_weak_tag() {
        for list in ["\"a\"", "W/\"a\"", "\"b\", \"a\"", "*"] {
            assert!(matches_etag(list, "\"a\""), "{list}");
        }
        for list in ["", "a", "\"b\"", "\"aa\"", "W/\"b\""] {
            assert!(!matches_etag(list, "\"a\""), "{list}");
        }
    }
}

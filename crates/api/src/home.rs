//! The bare address: a page that shows how the server is and classifies a picture. It is whole in itself, made once,
//! and does all it does over the operations that everybody has.

use std::sync::LazyLock;

use bytes::Bytes;
use poem_openapi::param::Header;
use poem_openapi::payload::Binary;
use poem_openapi::{ApiResponse, OpenApi};
use sha2::{Digest, Sha256};

use super::page_policy;

/// `GET /`
pub(super) struct Home;

static PAGE: LazyLock<Page> = LazyLock::new(Page::new);

struct Page {
    html: String,
    policy: String,
    /// Names this very page, as an `ETag` does.
    tag: String,
}

#[derive(ApiResponse)]
enum HomeResponse {
    /// The page
    #[oai(status = 200, content_type = "text/html; charset=utf-8")]
    Page(
        Binary<Bytes>,
        #[oai(header = "Content-Security-Policy")] String,
        #[oai(header = "ETag")] String,
        #[oai(header = "Cache-Control")] String,
    ),
    /// The page that the browser has is still the one
    #[oai(status = 304)]
    NotModified(
        // The headers of a 304 replace those of the page that was kept, this one among them.
        #[oai(header = "Content-Security-Policy")] String,
        #[oai(header = "ETag")] String,
        #[oai(header = "Cache-Control")] String,
    ),
}

#[OpenApi]
impl Home {
    /// How the server is, and what it makes of a picture
    #[oai(path = "/", method = "get", operation_id = "home", hidden)]
    async fn home(&self, #[oai(name = "If-None-Match")] known: Header<Option<String>>) -> HomeResponse {
        let (policy, tag) = (PAGE.policy.clone(), PAGE.tag.clone());
        // To be kept, but asked for each time, so that another version is seen at once.
        let cache = "no-cache".to_string();
        if known.as_deref().is_some_and(|known| names(known, &tag)) {
            return HomeResponse::NotModified(policy, tag, cache);
        }
        HomeResponse::Page(Binary(Bytes::from_static(PAGE.html.as_bytes())), policy, tag, cache)
    }
}

impl Page {
    fn new() -> Self {
        let script = [
            include_str!("home/metrics.js"),
            include_str!("home/key.js"),
            include_str!("home/tiles.js"),
            include_str!("home/picture.js"),
        ];
        let html = include_str!("home/page.html")
            .replace("{{version}}", env!("CARGO_PKG_VERSION"))
            .replace("{{style}}", include_str!("home/page.css"))
            .replace("{{script}}", &script.concat());
        let digest: String = Sha256::digest(&html).iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        Self { policy: page_policy::of(&html), tag: format!("\"{digest}\""), html }
    }
}

/// Whether `If-None-Match` names that tag: it is a list, weak ones count, and `*` is any (RFC 9110, 13.1.2).
fn names(known: &str, tag: &str) -> bool {
    known.split(',').map(str::trim).any(|known| known == "*" || known.strip_prefix("W/").unwrap_or(known) == tag)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_is_whole_in_itself_and_small() {
        let html = &PAGE.html;
        assert!(!html.contains("{{") && html.contains(env!("CARGO_PKG_VERSION")), "something was not filled in");
        assert!(html.len() <= 30 << 10, "{} bytes", html.len());
        // One script and one style, by their hashes, and none that the policy would not let be.
        assert_eq!((html.matches("<script>").count(), html.matches("<style>").count()), (1, 1));
        assert_eq!(PAGE.policy.matches("'sha256-").count(), 2, "{}", PAGE.policy);
        for forbidden in [" style=", " onclick=", "https://", "unsafe-", "localStorage", "document.cookie"] {
            assert!(!html.contains(forbidden), "{forbidden}");
        }
    }

    #[test]
    fn a_tag_is_known_in_a_list_and_when_it_is_weak() {
        for known in ["\"a\"", "W/\"a\"", "\"b\", \"a\"", "*"] {
            assert!(names(known, "\"a\""), "{known}");
        }
        for other in ["", "a", "\"b\"", "\"aa\"", "W/\"b\""] {
            assert!(!names(other, "\"a\""), "{other}");
        }
    }
}

//! Security headers for browsers: no type sniffing, no framing, and a Content-Security-Policy that forbids scripts, except the
//! inline scripts of Kiln's own pages.

use std::sync::Arc;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use poem::http::HeaderValue;
use poem::http::header::{CONTENT_SECURITY_POLICY, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS};
use poem::{Endpoint, Request, Response};
use sha2::{Digest, Sha256};

/// Adds the security headers that the response of `endpoint` does not have yet. A page sets its own policy.
pub(super) async fn add_headers<E: Endpoint>(endpoint: Arc<E>, request: Request) -> poem::Result<Response> {
    let mut response = endpoint.get_response(request).await;
    let headers = [
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'"),
        (REFERRER_POLICY, "no-referrer"),
        // For browsers without frame-ancestors.
        (X_FRAME_OPTIONS, "DENY"),
    ];
    for (name, value) in headers {
        response.headers_mut().entry(name).or_insert(HeaderValue::from_static(value));
    }
    Ok(response)
}

/// Returns the `Content-Security-Policy` of a self-contained page: it may run its inline scripts, use its inline styles and send
/// requests to this server.
///
/// Scripts and styles are allowed by their hashes, which are computed from the page itself.
pub(super) fn page_policy(html: &str) -> String {
    let (scripts, styles) = (hashes(html, "script"), hashes(html, "style"));
    // Swagger UI draws its icons from data URLs, and the status page has one.
    format!(
        "default-src 'none'; script-src {scripts}; style-src {styles}; \
         img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
}

/// Returns the hashes of all inline elements called `name`, as source expressions of the policy.
fn hashes(html: &str, name: &str) -> String {
    let elements = inline_elements(html).into_iter().filter(|(found, _)| *found == name);
    let hash = |(_, text): (_, &str)| format!("'sha256-{}'", BASE64_STANDARD.encode(Sha256::digest(text)));
    elements.map(hash).collect::<Vec<_>>().join(" ")
}

/// Returns the names and texts of all `script` and `style` elements. Their text is not markup: it ends at the end tag.
fn inline_elements(html: &str) -> Vec<(&'static str, &str)> {
    let mut found = Vec::new();
    let mut rest = html;
    let first = |rest: &str| {
        ["script", "style"].into_iter().filter_map(|name| Some((rest.find(&format!("<{name}"))?, name))).min()
    };
    while let Some((at, name)) = first(rest) {
        let element = rest[at..].split_once('>').and_then(|(_, after)| after.split_once(&format!("</{name}>")));
        let Some((text, after)) = element else { break };
        found.push((name, text));
        rest = after;
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn page_policy_allows_each_inline_element_by_its_hash() {
        let page = "<style charset=\"UTF-8\">a{}</style><p><script>'<style>'</script><script>alert(1)</script>";
        assert_eq!(inline_elements(page), [("style", "a{}"), ("script", "'<style>'"), ("script", "alert(1)")]);
        let policy = page_policy(page);
        // From `printf 'alert(1)' | openssl dgst -sha256 -binary | base64`.
        assert!(policy.contains(" 'sha256-bhHHL3z2vDgxUt0W3dWQOrprscmda2Y5pLsLg4GF+pI='; style-src"), "{policy}");
        assert_eq!(policy.matches("sha256-").count(), 3);
    }
}

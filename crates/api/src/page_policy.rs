//! What a page that is whole in itself may do: run the scripts and use the styles that are in it, by their hashes, and
//! ask this server. The hashes are taken from the page, so the policy follows the version of what made it.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use sha2::{Digest, Sha256};

/// The `Content-Security-Policy` of `page`.
pub(super) fn of(page: &str) -> String {
    let (scripts, styles) = (hashes(page, "script"), hashes(page, "style"));
    // Swagger UI draws its icons from data addresses, and the page at `/` has one.
    format!(
        "default-src 'none'; script-src {scripts}; style-src {styles}; \
         img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
}

/// The hashes of all elements of that name, as the policy wants them.
fn hashes(page: &str, name: &str) -> String {
    let ours = inline(page).into_iter().filter(|(found, _)| *found == name);
    let hash = |(_, text): (_, &str)| format!("'sha256-{}'", BASE64_STANDARD.encode(Sha256::digest(text)));
    ours.map(hash).collect::<Vec<_>>().join(" ")
}

/// Names and texts of the elements whose text is no markup, which ends at their end tag, whatever it looks like.
fn inline(page: &str) -> Vec<(&'static str, &str)> {
    let mut found = Vec::new();
    let mut rest = page;
    let first = |rest: &str| {
        ["script", "style"].into_iter().filter_map(|name| Some((rest.find(&format!("<{name}"))?, name))).min()
    };
    while let Some((at, name)) = first(rest) {
        let text = rest[at..].split_once('>').and_then(|(_, behind)| behind.split_once(&format!("</{name}>")));
        let Some((text, behind)) = text else { break };
        found.push((name, text));
        rest = behind;
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_script_and_style_is_allowed_by_its_own_hash() {
        let page = "<style charset=\"UTF-8\">a{}</style><p><script>'<style>'</script><script>alert(1)</script>";
        assert_eq!(inline(page), [("style", "a{}"), ("script", "'<style>'"), ("script", "alert(1)")]);
        let policy = of(page);
        // From `printf 'alert(1)' | openssl dgst -sha256 -binary | base64`.
        assert!(policy.contains(" 'sha256-bhHHL3z2vDgxUt0W3dWQOrprscmda2Y5pLsLg4GF+pI='; style-src"), "{policy}");
        assert_eq!(policy.matches("sha256-").count(), 3);
    }
}

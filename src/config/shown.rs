//! What is shown of a setting's text: of an address neither name and password nor query, which may be secrets.

/// The text, or what of it may be shown.
pub(super) fn shown(text: &str) -> String {
    let Some((scheme, rest)) = text.split_once("://") else { return text.to_string() };
    let before_query = rest.split(['?', '#']).next().unwrap_or_default();
    match rest.rsplit_once('@') {
        None => format!("{scheme}://{before_query}"),
        Some((_, host)) if before_query == rest => format!("{scheme}://{host}"),
        // A password may hold any of these, so it cannot be told where it ends.
        Some(_) => format!("{scheme}://.."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_be_secret_in_an_address_is_left_out() {
        for (text, part) in [
            ("https://id.example/jwks.json", "https://id.example/jwks.json"),
            ("https://u:hunter2@id.example/jwks", "https://id.example/jwks"),
            ("https://u:hun/t@er2@id.example/", "https://id.example/"),
            ("https://id.example/?key=hunter2", "https://id.example/"),
            ("https://id.example/#hunter2", "https://id.example/"),
            ("https://u:hun?ter2@id.example/", "https://.."),
            ("https://id.example/?key=hun@ter2", "https://.."),
            ("https://a.example,https://b.example", "https://a.example,https://b.example"),
            ("data/keys@home.toml", "data/keys@home.toml"),
            ("0.0.0.0:8080", "0.0.0.0:8080"),
        ] {
            assert_eq!(shown(text), part);
        }
    }
}

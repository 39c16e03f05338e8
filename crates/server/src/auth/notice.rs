//! The text that hands a key over on a terminal.

use std::net::SocketAddr;

use super::secret::Secret;

/// What a person needs to send a first picture from another terminal. The key stands there once.
pub(super) fn for_terminal(key: &Secret, scheme: &str, address: SocketAddr) -> String {
    let key = key.expose();
    format!(
        "\n  address  {scheme}://{address}\n  docs     {scheme}://{address}/docs\n\n  \
         The API key below was made for this run; set KILN_API_KEY to keep one. Wait for 'ready', then, elsewhere:\n\n  \
         export KILN_API_KEY={key}\n  \
         curl -H \"X-API-Key: $KILN_API_KEY\" --data-binary @PICTURE.jpg {scheme}://{address}/predict/raw\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn on_a_terminal_the_key_is_told_once_with_a_command_that_uses_it() {
        let key = Secret::parse("0123456789abcdef").unwrap();
        let text = for_terminal(&key, "http", "127.0.0.1:8080".parse().unwrap());
        assert_eq!(text.matches(key.expose()).count(), 1, "{text}");
        let line = |start: &str| text.lines().map(str::trim).find(|line| line.starts_with(start)).unwrap().to_string();
        assert_eq!(line("export"), "export KILN_API_KEY=0123456789abcdef");
        assert!(line("curl").contains("-H \"X-API-Key: $KILN_API_KEY\""), "{text}");
        assert!(line("curl").ends_with("http://127.0.0.1:8080/predict/raw"), "{text}");
        assert!(line("address").ends_with("http://127.0.0.1:8080"), "{text}");
    }
}

//! The API key of the whole server. If no credentials are configured and the server listens on the loopback interface only,
//! Kiln generates a key for the run.

use std::ffi::OsString;
use std::fs::OpenOptions;
use std::io::{IsTerminal, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use super::api_key::{ApiKey, random_base64url};
use super::config::Config;

/// The API key of the server, and where its owner finds it. Dropping it deletes the key's file.
#[derive(Debug)]
pub struct ServerKey {
    /// The key. It is absent if only a key file or token verification is configured.
    pub key: Option<ApiKey>,
    output: KeyOutput,
    /// Whether standard error is a terminal.
    has_terminal: bool,
}

/// Where the owner of the server finds the key.
#[derive(Debug, PartialEq, Eq)]
enum KeyOutput {
    /// Nowhere: API keys are configured, and perhaps tokens.
    ConfiguredKeys,
    /// Nowhere: tokens of this issuer are configured, and no key.
    Tokens(String),
    /// On the terminal, printed when the server is ready.
    Terminal,
    /// In a file that only the owner can read.
    File(PathBuf),
}

/// Why the server has no API key.
#[derive(Debug, thiserror::Error)]
pub enum ServerKeyError {
    /// Other machines can connect, and no credentials are configured.
    #[error(
        "{0} can be reached from other machines, which requires API keys. \
         Set one with KILN_API_KEY=\"$(kiln keygen)\", set several with --keys, or listen on 127.0.0.1."
    )]
    CredentialsRequired(SocketAddr),
    /// The generated key cannot be written to its file.
    #[error("cannot write the API key to {}: {reason}. Set KILN_API_KEY.", path.display())]
    Write {
        /// Path of the key's file.
        path: PathBuf,
        /// Error of the operating system.
        reason: String,
    },
}

/// Checks that a server which other machines can reach has credentials.
///
/// # Errors
///
/// Returns [`ServerKeyError::CredentialsRequired`] if `listen` is not a loopback address and no credentials are configured.
pub fn check_credentials(config: &Config, listen: SocketAddr) -> Result<(), ServerKeyError> {
    if !config.has_credentials() && !listen.ip().is_loopback() {
        return Err(ServerKeyError::CredentialsRequired(listen));
    }
    Ok(())
}

impl ServerKey {
    /// Returns the configured key, or generates one if no credentials are configured. `listen` is the address of the server.
    ///
    /// # Errors
    ///
    /// Returns an error if no credentials are configured although other machines can connect, or if the generated key
    /// cannot be written to its file.
    pub fn provision(config: &Config, listen: SocketAddr) -> Result<Self, ServerKeyError> {
        let runtime = std::env::var_os("XDG_RUNTIME_DIR").filter(|directory: &OsString| !directory.is_empty());
        let directory = runtime.map_or_else(std::env::temp_dir, PathBuf::from);
        Self::provision_in(config, listen, std::io::stderr().is_terminal(), &directory)
    }

    fn provision_in(
        config: &Config,
        listen: SocketAddr,
        has_terminal: bool,
        directory: &Path,
    ) -> Result<Self, ServerKeyError> {
        check_credentials(config, listen)?;
        if config.has_credentials() {
            let has_keys = config.api_key.is_some() || config.key_file.is_some();
            let output = match config.tokens.as_ref().filter(|_| !has_keys) {
                Some(tokens) => KeyOutput::Tokens(tokens.issuer.clone()),
                None => KeyOutput::ConfiguredKeys,
            };
            return Ok(Self { key: config.api_key.clone(), output, has_terminal });
        }
        let key = ApiKey::generate();
        if has_terminal {
            return Ok(Self { key: Some(key), output: KeyOutput::Terminal, has_terminal });
        }
        // The name is random. In a directory that everyone can write to, another user could otherwise create the file
        // first and keep the server from starting.
        let path = directory.join(format!("kiln-{}.key", random_base64url::<9>()));
        write(&path, &key).map_err(|e| ServerKeyError::Write { path: path.clone(), reason: e.to_string() })?;
        Ok(Self { key: Some(key), output: KeyOutput::File(path), has_terminal })
    }

    /// Logs where the key is: in the configuration or in a file. [`welcome`](Self::welcome) shows it on a terminal.
    pub fn log_location(&self) {
        match &self.output {
            KeyOutput::ConfiguredKeys => tracing::info!("requests need a configured API key or token"),
            KeyOutput::Tokens(issuer) => tracing::info!(%issuer, "requests need a token"),
            KeyOutput::Terminal => {}
            KeyOutput::File(path) if tracing::enabled!(tracing::Level::INFO) => {
                tracing::info!(file = %path.display(), "the API key for this run is in a file");
            }
            // If the log level hides the message above, the operator cannot find the key otherwise.
            KeyOutput::File(path) => {
                // The server runs without standard error too.
                let _ = writeln!(std::io::stderr(), "kiln: the API key for this run is in {}", path.display());
            }
        }
    }

    /// Returns three lines for the operator of a server that is ready: its address, the key, and a command that sends an
    /// image. `None` without a terminal. Print them on standard error alone: the log may go to a file, and they contain the
    /// generated key.
    ///
    /// `url` is the URL of the server, such as `http://127.0.0.1:8080`, and `path` is the path of the operation that takes an image.
    pub fn welcome(&self, url: &str, path: &str) -> Option<String> {
        if !self.has_terminal {
            return None;
        }
        let (shown, header) = match (&self.output, &self.key) {
            (KeyOutput::Tokens(issuer), _) => {
                (format!("a token of {issuer}"), "Authorization: Bearer $TOKEN".to_string())
            }
            (KeyOutput::Terminal, Some(key)) => {
                let key = key.expose();
                (format!("export KILN_API_KEY={key}    # for this run"), format!("X-API-Key: {key}"))
            }
            // A configured key is not shown. The shell may not have it: a file can contain it.
            _ => (
                "a configured API key; set KILN_API_KEY to it first".to_string(),
                "X-API-Key: $KILN_API_KEY".to_string(),
            ),
        };
        // The certificate of a server rarely names its address.
        let insecure = if url.starts_with("https:") { "--insecure " } else { "" };
        // The brackets of an IPv6 address are a pattern for some shells.
        Some(format!(
            "\n  address  {url} (documentation: {url}/docs)\n  key      {shown}\n  \
             try      curl {insecure}-H \"{header}\" --data-binary @photo.jpg \"{url}{path}\"\n"
        ))
    }
}

impl Drop for ServerKey {
    fn drop(&mut self) {
        if let KeyOutput::File(path) = &self.output {
            // The file may already be deleted.
            let _ = std::fs::remove_file(path);
        }
    }
}

/// Writes the key to a new file that only its owner can read. An existing file or link is an error.
fn write(path: &Path, key: &ApiKey) -> std::io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    writeln!(options.open(path)?, "{}", key.expose())
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::super::config::{TokenConfig, TokenSecret};
    use super::super::token_scopes::{ScopeClaim, ScopeMap};
    use super::*;

    const NO_CREDENTIALS: Config =
        Config { api_key: None, key_file: None, tokens: None, max_auth_failures: NonZeroU32::MIN };

    fn socket(address: &str) -> SocketAddr {
        address.parse().unwrap()
    }

    #[test]
    fn configured_key_is_used_on_any_address() {
        let config = Config { api_key: Some(ApiKey::parse("0123456789abcdef").unwrap()), ..NO_CREDENTIALS };
        let directory = tempfile::tempdir().unwrap();
        let server_key = ServerKey::provision_in(&config, socket("0.0.0.0:80"), false, directory.path()).unwrap();
        assert_eq!((&server_key.key, &server_key.output), (&config.api_key, &KeyOutput::ConfiguredKeys));
    }

    #[test]
    fn no_key_is_generated_if_a_key_file_is_configured() {
        let config = Config { key_file: Some("keys.toml".into()), ..NO_CREDENTIALS };
        let directory = tempfile::tempdir().unwrap();
        let server_key = ServerKey::provision_in(&config, socket("0.0.0.0:80"), false, directory.path()).unwrap();
        assert_eq!((server_key.key.as_ref(), &server_key.output), (None, &KeyOutput::ConfiguredKeys));
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
    }

    #[test]
    fn reachable_address_without_credentials_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        for address in ["0.0.0.0:80", "[::]:80", "192.0.2.1:80"] {
            let error = ServerKey::provision_in(&NO_CREDENTIALS, socket(address), true, directory.path()).unwrap_err();
            assert!(error.to_string().contains("kiln keygen"), "{error}");
        }
        assert!(ServerKey::provision_in(&NO_CREDENTIALS, socket("[::1]:80"), true, directory.path()).is_ok());
    }

    #[cfg(unix)]
    #[test]
    fn generated_key_is_in_a_private_file_until_the_server_ends() {
        use std::os::unix::fs::PermissionsExt;
        let directory = tempfile::tempdir().unwrap();
        let provision =
            || ServerKey::provision_in(&NO_CREDENTIALS, socket("127.0.0.1:80"), false, directory.path()).unwrap();
        let server_key = provision();
        let path = std::fs::read_dir(directory.path()).unwrap().next().unwrap().unwrap().path();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(std::fs::read_to_string(&path).unwrap().trim(), server_key.key.as_ref().unwrap().expose());
        let other = provision();
        assert!(write(&path, other.key.as_ref().unwrap()).is_err(), "an existing file was overwritten");
        drop(server_key);
        assert!(!path.exists());
    }

    fn welcome_line(text: &str, start: &str) -> String {
        let line = text.lines().find_map(|line| line.trim().strip_prefix(start));
        line.unwrap_or_else(|| panic!("no line '{start}' in {text}")).trim().to_string()
    }

    /// Provisions a key for a server with a terminal, and returns the lines for an image that is classified.
    fn welcome_of(config: &Config, url: &str) -> (ServerKey, String) {
        let directory = tempfile::tempdir().unwrap();
        let server_key = ServerKey::provision_in(config, socket("127.0.0.1:80"), true, directory.path()).unwrap();
        let text = server_key.welcome(url, "/predict/raw").unwrap();
        (server_key, text)
    }

    #[test]
    fn welcome_shows_the_generated_key_and_a_command_that_uses_it() {
        let (server_key, text) = welcome_of(&NO_CREDENTIALS, "http://[::1]:8080");
        let key = server_key.key.as_ref().unwrap().expose();
        assert_eq!(welcome_line(&text, "address"), "http://[::1]:8080 (documentation: http://[::1]:8080/docs)");
        assert_eq!(welcome_line(&text, "key"), format!("export KILN_API_KEY={key}    # for this run"));
        let command =
            format!("curl -H \"X-API-Key: {key}\" --data-binary @photo.jpg \"http://[::1]:8080/predict/raw\"");
        assert_eq!(welcome_line(&text, "try"), command);
        let embeds = server_key.welcome("http://[::1]:8080", "/embed/raw").unwrap();
        assert!(welcome_line(&embeds, "try").ends_with("/embed/raw\""), "{embeds}");
        let directory = tempfile::tempdir().unwrap();
        let without =
            ServerKey::provision_in(&NO_CREDENTIALS, socket("127.0.0.1:80"), false, directory.path()).unwrap();
        assert_eq!(without.welcome("http://[::1]:8080", "/predict/raw"), None, "the key is shown without a terminal");
    }

    #[test]
    fn welcome_does_not_show_a_configured_key() {
        let config = Config { api_key: Some(ApiKey::parse("0123456789abcdef").unwrap()), ..NO_CREDENTIALS };
        let (_, text) = welcome_of(&config, "https://127.0.0.1:443");
        assert!(!text.contains("0123456789abcdef"), "{text}");
        assert_eq!(welcome_line(&text, "key"), "a configured API key; set KILN_API_KEY to it first");
        let command = welcome_line(&text, "try");
        assert!(command.starts_with("curl --insecure -H \"X-API-Key: $KILN_API_KEY\""), "{command}");
        assert!(command.ends_with(" \"https://127.0.0.1:443/predict/raw\""), "{command}");
    }

    #[test]
    fn welcome_of_a_server_with_tokens_alone_sends_a_token() {
        let tokens = Some(TokenConfig {
            jwks: None,
            secret: Some(TokenSecret::parse("a secret that is shared by two parties alone").unwrap()),
            issuer: "https://id.example".to_string(),
            audience: "kiln".to_string(),
            scope_claim: ScopeClaim::default(),
            scope_map: ScopeMap::default(),
            rate_limit: None,
        });
        let config = Config { tokens, ..NO_CREDENTIALS };
        let (_, text) = welcome_of(&config, "http://127.0.0.1:80");
        assert_eq!(welcome_line(&text, "key"), "a token of https://id.example");
        assert!(welcome_line(&text, "try").starts_with("curl -H \"Authorization: Bearer $TOKEN\" "), "{text}");
        let (_, both) = welcome_of(&Config { key_file: Some("keys.toml".into()), ..config }, "http://127.0.0.1:80");
        assert!(welcome_line(&both, "try").contains("X-API-Key: $KILN_API_KEY"), "{both}");
    }
}

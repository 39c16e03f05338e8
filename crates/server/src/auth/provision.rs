//! The key of the whole server: the configured one, or one made for this run where nobody else could be let in and only this
//! machine can connect.

use std::ffi::OsString;
use std::fs::OpenOptions;
use std::io::{IsTerminal, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use super::Config;
use super::generate::{generate, suffix};
use super::notice::for_terminal;
use super::secret::Secret;

/// The key of this run, and where its owner learns it. Dropping it removes the file.
#[derive(Debug)]
pub struct Provisioned {
    /// The key, unless a key file or tokens do without.
    pub key: Option<Secret>,
    shown: Shown,
}

/// Where the owner of a key learns it.
#[derive(Debug, PartialEq, Eq)]
enum Shown {
    /// He configured it.
    Known,
    /// On the terminal, once.
    Terminal,
    /// In a file that only he can read.
    File(PathBuf),
}

/// Why there is no key.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// Others could connect, and nothing would keep them out.
    #[error(
        "{0} can be reached from other machines, which needs API keys. \
         Set one: KILN_API_KEY=\"$(kiln keygen)\", or several with --keys, or listen on 127.0.0.1."
    )]
    OpenToOthers(SocketAddr),
    /// The made key cannot be handed over.
    #[error("cannot write the API key to {}: {reason}. Set KILN_API_KEY.", path.display())]
    File {
        /// Where it was to go.
        path: PathBuf,
        /// What the system said.
        reason: String,
    },
}

/// Refuses a server that others can reach and that was told of nobody to let in.
///
/// # Errors
///
/// [`KeyError::OpenToOthers`].
pub fn check(config: &Config, listen: SocketAddr) -> Result<(), KeyError> {
    if !config.knows_someone() && !listen.ip().is_loopback() {
        return Err(KeyError::OpenToOthers(listen));
    }
    Ok(())
}

/// Decides which key holds for a server that listens on `listen`.
///
/// # Errors
///
/// None is configured although others could connect, or a made one cannot be handed over.
pub fn provision(config: &Config, listen: SocketAddr) -> Result<Provisioned, KeyError> {
    let runtime = std::env::var_os("XDG_RUNTIME_DIR").filter(|directory: &OsString| !directory.is_empty());
    let directory = runtime.map_or_else(std::env::temp_dir, PathBuf::from);
    provision_with(config, listen, std::io::stderr().is_terminal(), &directory)
}

fn provision_with(
    config: &Config,
    listen: SocketAddr,
    terminal: bool,
    directory: &Path,
) -> Result<Provisioned, KeyError> {
    check(config, listen)?;
    if config.knows_someone() {
        return Ok(Provisioned { key: config.api_key.clone(), shown: Shown::Known });
    }
    let key = generate();
    if terminal {
        return Ok(Provisioned { key: Some(key), shown: Shown::Terminal });
    }
    // A name that nobody can take first: where everyone may write, another user could keep the server from starting.
    let path = directory.join(format!("kiln-{}.key", suffix()));
    write(&path, &key).map_err(|e| KeyError::File { path: path.clone(), reason: e.to_string() })?;
    Ok(Provisioned { key: Some(key), shown: Shown::File(path) })
}

/// Creates the file: it must not exist, so that nobody can have laid a link there, and only its owner may read it.
fn write(path: &Path, key: &Secret) -> std::io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    writeln!(options.open(path)?, "{}", key.expose())
}

impl Provisioned {
    /// Tells the owner: on the terminal the key itself, in the log only where it lies.
    /// `scheme` is http or https.
    pub fn announce(&self, scheme: &str, address: SocketAddr) {
        match (&self.shown, &self.key) {
            (Shown::Known, _) => tracing::info!("callers need a configured API key or token"),
            // Not through the log, which may also go to a file.
            (Shown::Terminal, Some(key)) => eprintln!("{}", for_terminal(key, scheme, address)),
            (Shown::Terminal, None) => {}
            (Shown::File(path), _) if tracing::enabled!(tracing::Level::INFO) => {
                tracing::info!(file = %path.display(), "the API key for this run is in a file");
            }
            // A quiet log must not hide the only way in.
            (Shown::File(path), _) => eprintln!("kiln: the API key for this run is in {}", path.display()),
        }
    }
}

impl Drop for Provisioned {
    fn drop(&mut self) {
        if let Shown::File(path) = &self.shown {
            // If it is gone already, so much the better.
            let _ = std::fs::remove_file(path);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;

    const NONE: Config = Config { api_key: None, file: None, tokens: None, max_auth_failures: NonZeroU32::MIN };

    fn at(address: &str) -> SocketAddr {
        address.parse().unwrap()
    }

    #[test]
    fn a_configured_key_is_used_wherever_the_server_listens() {
        let config = Config { api_key: Some(Secret::parse("0123456789abcdef").unwrap()), ..NONE };
        let directory = tempfile::tempdir().unwrap();
        let made = provision_with(&config, at("0.0.0.0:80"), false, directory.path()).unwrap();
        assert_eq!((&made.key, &made.shown), (&config.api_key, &Shown::Known));
    }

    #[test]
    fn where_a_file_tells_whom_to_let_in_no_key_is_made() {
        let config = Config { file: Some("keys.toml".into()), ..NONE };
        let directory = tempfile::tempdir().unwrap();
        let made = provision_with(&config, at("0.0.0.0:80"), false, directory.path()).unwrap();
        assert_eq!((made.key.as_ref(), &made.shown), (None, &Shown::Known));
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
    }

    #[test]
    fn without_a_key_the_server_stays_on_this_machine() {
        let directory = tempfile::tempdir().unwrap();
        for address in ["0.0.0.0:80", "[::]:80", "192.0.2.1:80"] {
            let refused = provision_with(&NONE, at(address), true, directory.path()).unwrap_err();
            assert!(refused.to_string().contains("kiln keygen"), "{refused}");
        }
        assert!(provision_with(&NONE, at("[::1]:80"), true, directory.path()).is_ok());
    }

    #[cfg(unix)]
    #[test]
    fn without_a_terminal_the_key_is_in_a_file_of_its_owner_that_goes_with_the_server() {
        use std::os::unix::fs::PermissionsExt;
        let directory = tempfile::tempdir().unwrap();
        let made = provision_with(&NONE, at("127.0.0.1:80"), false, directory.path()).unwrap();
        let path = std::fs::read_dir(directory.path()).unwrap().next().unwrap().unwrap().path();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(std::fs::read_to_string(&path).unwrap().trim(), made.key.as_ref().unwrap().expose());
        let other = provision_with(&NONE, at("127.0.0.1:80"), false, directory.path()).unwrap();
        assert!(write(&path, other.key.as_ref().unwrap()).is_err(), "an existing file was overwritten");
        drop(made);
        assert!(!path.exists());
    }
}

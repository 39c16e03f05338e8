//! API keys: whether any is configured, whether their files can be read, and who else can read them.

use std::io::ErrorKind;
use std::path::Path;

use kiln_server::auth::{ApiKey, Keyring, check_credentials};
use model_import::import::shell_path;

use super::finding::Finding;
use crate::config::{Inspection, SecretFile};

/// Sets a new key for the server that is started next in the same shell.
const NEW_KEY: &str = "export KILN_API_KEY=\"$(kiln keygen)\"";

/// Checks the API keys and the files of secrets.
pub(super) fn check(inspection: &Inspection) -> Vec<Finding> {
    let key_file = inspection.config.auth.key_file.as_deref();
    let secrets =
        inspection.secret_files.iter().filter_map(|SecretFile { path, .. }| secret_permissions(path, mode(path)?));
    let keys = key_file.and_then(|path| key_file_permissions(path, mode(path)?));
    credentials(inspection).into_iter().chain(key_file.map(check_key_file)).chain(secrets).chain(keys).collect()
}

/// Reports which credentials are configured. `None` if none is valid and an invalid setting may be the cause, which has a finding
/// of its own.
fn credentials(inspection: &Inspection) -> Option<Finding> {
    let auth = &inspection.config.auth;
    if let Some(error) = inspection.errors.iter().find(|error| error.key == "api-key") {
        let file = inspection.secret_files.iter().find(|file| file.flag == "api-key-file");
        let fix = file.map_or_else(|| NEW_KEY.to_string(), |file| api_key_file_fix(&file.path));
        return Some(Finding::problem("api key", error.error.to_string(), fix));
    }
    let configured = [
        ("an API key", auth.api_key.is_some()),
        ("a key file", auth.key_file.is_some()),
        ("tokens", auth.tokens.is_some()),
    ];
    let names: Vec<&str> = configured.into_iter().filter(|(_, is_set)| *is_set).map(|(name, _)| name).collect();
    if !names.is_empty() {
        return Some(Finding::ok("api key", format!("configured: {}", names.join(", "))));
    }
    if inspection.errors.iter().any(|error| error.key.starts_with("jwt-") || error.key == "keys") {
        return None;
    }
    Some(match check_credentials(auth, inspection.config.server.listen) {
        Err(error) => Finding::problem("api key", error.to_string(), NEW_KEY),
        Ok(()) => Finding::warning("api key", "none configured: each start generates another key", NEW_KEY),
    })
}

fn check_key_file(path: &Path) -> Finding {
    let quoted = shell_path(path);
    let new_entry = format!("kiln keygen --id NAME >> {quoted}");
    let loaded = Keyring::load(None, Some(path)).and_then(|keyring| keyring.reload());
    match loaded {
        Ok(0) => Finding::warning("key file", format!("{} has no key", path.display()), new_entry),
        Ok(keys) => Finding::ok("key file", format!("{}: {keys} keys", path.display())),
        Err(error) => {
            let fix = match std::fs::read_to_string(path).map_err(|error| error.kind()) {
                Ok(_) => format!("correct {quoted} as the message says"),
                Err(ErrorKind::NotFound) => new_entry,
                Err(ErrorKind::PermissionDenied) => readable(&quoted),
                Err(_) => "--keys with the path of a key file".to_string(),
            };
            Finding::problem("key file", error.to_string(), fix)
        }
    }
}

/// Returns the fix for a file of `--api-key-file` that cannot be used.
fn api_key_file_fix(path: &Path) -> String {
    let quoted = shell_path(path);
    match std::fs::read_to_string(path).map_err(|error| error.kind()) {
        // Both settings have a key.
        Ok(text) if ApiKey::parse(text.trim()).is_ok() => "unset KILN_API_KEY, or omit --api-key-file".to_string(),
        Ok(_) => "--api-key-file with a file that contains one key; --keys takes a file of several".to_string(),
        Err(ErrorKind::NotFound) => format!("(umask 077; kiln keygen > {quoted})"),
        Err(ErrorKind::PermissionDenied) => readable(&quoted),
        Err(_) => "--api-key-file with the path of a file".to_string(),
    }
}

/// Returns the command that gives a file to the user of the server.
fn readable(quoted: &str) -> String {
    format!("sudo chown \"$(id -un)\" {quoted}")
}

/// Returns the permission bits of a file.
#[cfg(unix)]
fn mode(path: &Path) -> Option<u32> {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::metadata(path).ok().map(|metadata| metadata.permissions().mode())
}

#[cfg(not(unix))]
fn mode(_: &Path) -> Option<u32> {
    None
}

/// Reports a file of a secret that every user of the machine can read or write.
fn secret_permissions(path: &Path, mode: u32) -> Option<Finding> {
    let quoted = shell_path(path);
    let detail = format!("every user of this machine can read {}, which contains a secret", path.display());
    (mode & 0o006 != 0).then(|| Finding::warning("permissions", detail, format!("chmod 600 {quoted}")))
}

/// Reports a key file that every user of the machine can write. It contains digests, which others may read.
fn key_file_permissions(path: &Path, mode: u32) -> Option<Finding> {
    let quoted = shell_path(path);
    let detail = format!("every user of this machine can add keys to {}", path.display());
    (mode & 0o002 != 0).then(|| Finding::warning("permissions", detail, format!("chmod o-w {quoted}")))
}

#[cfg(test)]
mod tests {
    use super::super::finding::State;
    use super::*;
    use crate::config::Sources;

    #[test]
    fn secrets_that_others_can_read_and_key_files_that_others_can_write_are_warnings() {
        let path = Path::new("/etc/kiln/api.key");
        let finding = secret_permissions(path, 0o100_644).unwrap();
        assert_eq!((finding.state, finding.fix.as_deref()), (State::Warning, Some("chmod 600 /etc/kiln/api.key")));
        assert_eq!((secret_permissions(path, 0o100_640), secret_permissions(path, 0o100_600)), (None, None));
        assert_eq!(key_file_permissions(path, 0o100_644), None);
        assert_eq!(key_file_permissions(path, 0o100_666).unwrap().fix.as_deref(), Some("chmod o-w /etc/kiln/api.key"));
    }

    #[test]
    fn key_file_that_is_absent_or_invalid_is_a_problem_with_its_fix() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys.toml");
        let fix = format!("kiln keygen --id NAME >> {}", path.display());
        let absent = check_key_file(&path);
        assert_eq!((absent.state, absent.fix.as_ref()), (State::Problem, Some(&fix)));
        assert_eq!(api_key_file_fix(&path), format!("(umask 077; kiln keygen > {})", path.display()));
        std::fs::write(&path, "key = 3").unwrap();
        let invalid = check_key_file(&path);
        assert_eq!(invalid.state, State::Problem);
        assert_eq!(invalid.fix, Some(format!("correct {} as the message says", path.display())));
        std::fs::write(&path, "").unwrap();
        let empty = check_key_file(&path);
        assert_eq!((empty.state, empty.fix.as_ref()), (State::Warning, Some(&fix)));
        std::fs::write(&path, "kiln_a-key-that-is-long-enough\n").unwrap();
        assert_eq!(api_key_file_fix(&path), "unset KILN_API_KEY, or omit --api-key-file");
        // A file of the user, whatever it is, stays.
        std::fs::write(&path, "[[keys]]\n").unwrap();
        assert!(api_key_file_fix(&path).starts_with("--api-key-file with a file that contains one key"));
    }

    #[test]
    fn invalid_token_settings_do_not_count_as_no_credentials() {
        let found = |flags: &[(&'static str, &str)]| {
            let flags = flags.iter().map(|(key, value)| (*key, value.to_string())).collect();
            credentials(&Inspection::of(&Sources::gather(&flags, &|_: &str| None, None).unwrap()))
        };
        let everywhere = ("listen", "0.0.0.0:8080");
        assert_eq!(found(&[everywhere, ("jwt-issuer", "https://id.example")]), None);
        assert_eq!(found(&[everywhere, ("keys", "keys.toml"), ("jwt-issuer", "x")]).unwrap().state, State::Ok);
        assert_eq!(found(&[everywhere]).unwrap().state, State::Problem);
        assert_eq!(found(&[]).unwrap().state, State::Warning);
    }
}

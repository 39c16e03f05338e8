//! The valid API keys. They can be reloaded from the key file while requests are served.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;

use super::api_key::{ApiKey, KeyDigest};
use super::key_file::{self, KeyEntry};
use super::principal::{Principal, RequestRateLimiter};
use kiln_runtime::scheduling::QueueShare;

/// The valid API keys. A lookup takes no lock, and the next request after a reload sees the new keys.
#[derive(Debug)]
pub struct Keyring {
    server_key: Option<Key>,
    key_file: Option<PathBuf>,
    /// Keys of the key file.
    file_keys: ArcSwap<Vec<Key>>,
    reload_lock: Mutex<()>,
}

#[derive(Clone, Debug)]
struct Key {
    digest: KeyDigest,
    principal: Arc<Principal>,
}

/// Why a key file cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("key file {}: {reason}", path.display())]
pub struct KeyFileError {
    path: PathBuf,
    reason: String,
}

impl Keyring {
    /// Creates a keyring from the API key of the server and a key file. Both are optional.
    ///
    /// # Errors
    ///
    /// Returns an error if the key file cannot be read or is invalid.
    pub fn load(server_key: Option<&ApiKey>, key_file: Option<&Path>) -> Result<Self, KeyFileError> {
        let server_key = server_key.map(|key| Key { digest: key.digest(), principal: Arc::new(Principal::operator()) });
        let entries = key_file.map_or_else(|| Ok(Vec::new()), read)?;
        let file_keys = ArcSwap::from_pointee(keys(entries, &[]));
        Ok(Self { server_key, key_file: key_file.map(Path::to_path_buf), file_keys, reload_lock: Mutex::new(()) })
    }

    /// Finds the principal of a key. The search compares every key, so that its duration does not depend on the match.
    pub(super) fn find(&self, key: &[u8]) -> Option<Arc<Principal>> {
        let digest = KeyDigest::of(key);
        let file_keys = self.file_keys.load();
        let mut found = None;
        for key in self.server_key.iter().chain(file_keys.iter()) {
            if key.digest.matches(&digest) {
                found = Some(&key.principal);
            }
        }
        found.cloned()
    }

    /// Reloads the key file and returns the number of its keys. A key that remains keeps the used part of its rate limit
    /// and the count of its images in the queue.
    ///
    /// # Errors
    ///
    /// Returns an error if the key file cannot be read or is invalid. The previous keys stay in use.
    pub fn reload(&self) -> Result<usize, KeyFileError> {
        let Some(path) = &self.key_file else { return Ok(0) };
        // Reloads run one at a time. Otherwise an older state of the file could replace a newer one.
        let _reloading = self.reload_lock.lock().unwrap_or_else(PoisonError::into_inner);
        let keys = keys(read(path)?, &self.file_keys.load());
        let count = keys.len();
        self.file_keys.store(Arc::new(keys));
        Ok(count)
    }
}

fn read(path: &Path) -> Result<Vec<KeyEntry>, KeyFileError> {
    let error = |reason| KeyFileError { path: path.to_path_buf(), reason };
    let text = std::fs::read_to_string(path).map_err(|cause| error(format!("cannot be read: {cause}")))?;
    key_file::parse(&text).map_err(error)
}

/// Creates keys from the entries of a key file. Limiters and counters of `previous` keys with the same id are reused.
fn keys(entries: Vec<KeyEntry>, previous: &[Key]) -> Vec<Key> {
    let previous: HashMap<&str, &Arc<Principal>> =
        previous.iter().map(|key| (key.principal.id.as_str(), &key.principal)).collect();
    let key = |KeyEntry { digest, policy }: KeyEntry| {
        let previous = previous.get(policy.id.as_str());
        let rate_limiter = policy.rate_limit.map(|limit| {
            let used = previous.and_then(|principal| principal.rate_limiter.clone());
            used.filter(|limiter| limiter.limit() == limit).unwrap_or_else(|| Arc::new(RequestRateLimiter::new(limit)))
        });
        let queue_share = policy.queue_share.map(|fraction| {
            let used = previous.and_then(|principal| principal.queue_share.as_ref());
            QueueShare { fraction, in_flight: used.map(|share| Arc::clone(&share.in_flight)).unwrap_or_default() }
        });
        let principal = Principal {
            metric_label: policy.id.clone(),
            id: policy.id,
            scopes: policy.scopes,
            expires: policy.expires,
            rate_limiter,
            queue_share,
            priority: Some(policy.priority),
        };
        Key { digest, principal: Arc::new(principal) }
    };
    entries.into_iter().map(key).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::scope::Scope;

    fn entry(id: &str, key: &str, more: &str) -> String {
        let digest = KeyDigest::of(key.as_bytes());
        format!("[[key]]\nid = \"{id}\"\nhash = \"{digest}\"\nscopes = [\"predict\"]\n{more}\n")
    }

    /// Returns a key file with the given text and its keyring.
    fn keyring(text: &str) -> (tempfile::NamedTempFile, Keyring) {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        let server_key = ApiKey::parse("0123456789abcdef").unwrap();
        let keyring = Keyring::load(Some(&server_key), Some(file.path())).unwrap();
        (file, keyring)
    }

    fn id(keyring: &Keyring, key: &str) -> Option<String> {
        keyring.find(key.as_bytes()).map(|principal| principal.id.clone())
    }

    #[test]
    fn file_keys_have_their_scopes_and_the_server_key_has_all() {
        let (_file, keyring) = keyring(&(entry("app", "one", "") + &entry("web", "two", "")));
        assert_eq!(id(&keyring, "one").as_deref(), Some("app"));
        assert_eq!(id(&keyring, "two").as_deref(), Some("web"));
        assert_eq!(id(&keyring, "0123456789abcdef").as_deref(), Some("default"));
        assert_eq!(id(&keyring, "three"), None);
        assert!(!keyring.find(b"one").unwrap().has_scope(Scope::Admin));
        assert!(keyring.find(b"0123456789abcdef").unwrap().has_scope(Scope::Admin));
    }

    #[test]
    fn reload_takes_a_valid_file_and_keeps_the_keys_for_an_invalid_one() {
        let (file, keyring) = keyring(&entry("app", "one", ""));
        std::fs::write(file.path(), entry("web", "two", "")).unwrap();
        assert_eq!(keyring.reload(), Ok(1));
        assert_eq!((id(&keyring, "one"), id(&keyring, "two").as_deref()), (None, Some("web")));
        std::fs::write(file.path(), "[[key]]\nid = 3\n").unwrap();
        let error = keyring.reload().unwrap_err().to_string();
        assert!(error.contains("line 2"), "{error}");
        assert_eq!(id(&keyring, "two").as_deref(), Some("web"));
        std::fs::remove_file(file.path()).unwrap();
        assert!(keyring.reload().unwrap_err().to_string().contains("cannot be read"));
        assert_eq!(id(&keyring, "two").as_deref(), Some("web"));
    }

    #[test]
    fn reload_keeps_the_used_burst_unless_the_limit_changes() {
        let limited = |rate: &str| entry("app", "one", &format!("requests-per-second = {rate}\nburst = 2"));
        let (file, keyring) = keyring(&limited("0.01"));
        let is_allowed = || keyring.find(b"one").unwrap().check_rate().is_ok();
        assert!(is_allowed() && is_allowed() && !is_allowed());
        std::fs::write(file.path(), limited("0.01") + &entry("web", "two", "")).unwrap();
        keyring.reload().unwrap();
        assert!(!is_allowed(), "the reload refilled the burst");
        std::fs::write(file.path(), limited("0.02")).unwrap();
        keyring.reload().unwrap();
        assert!(is_allowed(), "the new limit is not applied");
    }

    #[test]
    fn missing_key_file_is_an_error() {
        let error = Keyring::load(None, Some(Path::new("/nowhere/keys.toml"))).unwrap_err().to_string();
        assert!(error.starts_with("key file /nowhere/keys.toml: cannot be read"), "{error}");
    }
}

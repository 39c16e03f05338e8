//! All keys that hold now, and the exchange of them for others while requests go on.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use super::account::{Account, Rate};
use super::digest::Digest;
use super::file::{self, Entry};
use super::secret::Secret;
use kiln_runtime::scheduling::Share;

/// The keys. Cheap to ask; a change is seen by the next request.
#[derive(Debug)]
pub struct Keyring {
    /// The key of the whole server.
    own: Option<Key>,
    file: Option<PathBuf>,
    /// Those of the file.
    current: RwLock<Arc<[Key]>>,
    reloading: Mutex<()>,
}

#[derive(Clone, Debug)]
struct Key {
    digest: Digest,
    account: Arc<Account>,
}

/// Why a key file is not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("key file {}: {reason}", file.display())]
pub struct KeyFileError {
    file: PathBuf,
    reason: String,
}

impl Keyring {
    /// The key of the whole server, if it has one, and those of a file.
    ///
    /// # Errors
    ///
    /// The file cannot be read, or is wrong.
    pub fn load(own: Option<&Secret>, file: Option<&Path>) -> Result<Self, KeyFileError> {
        let own = own.map(|secret| Key { digest: secret.digest(), account: Arc::new(Account::operator()) });
        let current = file.map_or_else(|| Ok(Vec::new()), read)?;
        let current = RwLock::new(keys(current, &[]).into());
        Ok(Self { own, file: file.map(Path::to_path_buf), current, reloading: Mutex::new(()) })
    }

    /// Whose key that is. Every key is looked at, whichever fits, so that the time it takes tells nothing.
    pub(super) fn find(&self, given: &[u8]) -> Option<Arc<Account>> {
        let given = Digest::of(given);
        let current = Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner));
        let mut found = None;
        for key in self.own.iter().chain(current.iter()) {
            if key.digest.matches(&given) {
                found = Some(&key.account);
            }
        }
        found.cloned()
    }

    /// Takes the file's keys as they are now and tells how many there are. Who stays keeps what he has used up of his
    /// rate, and his pictures in the queue.
    ///
    /// # Errors
    ///
    /// The file cannot be read, or is wrong. The keys stay as they were.
    pub fn reload(&self) -> Result<usize, KeyFileError> {
        let Some(path) = &self.file else { return Ok(0) };
        // One after the other, or an older state of the file could win.
        let _turn = self.reloading.lock().unwrap_or_else(PoisonError::into_inner);
        let entries = read(path)?;
        let before = Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner));
        let keys: Arc<[Key]> = keys(entries, &before).into();
        let count = keys.len();
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = keys;
        Ok(count)
    }
}

fn read(path: &Path) -> Result<Vec<Entry>, KeyFileError> {
    let refuse = |reason| KeyFileError { file: path.to_path_buf(), reason };
    let text = std::fs::read_to_string(path).map_err(|error| refuse(format!("cannot be read: {error}")))?;
    file::parse(&text).map_err(refuse)
}

fn keys(entries: Vec<Entry>, before: &[Key]) -> Vec<Key> {
    let known: HashMap<&str, &Arc<Account>> =
        before.iter().map(|key| (key.account.id.as_str(), &key.account)).collect();
    let key = |Entry { digest, terms }: Entry| {
        let same = known.get(terms.id.as_str());
        let rate = terms.rate.map(|limit| {
            let used = same.and_then(|account| account.rate.clone()).filter(|rate| rate.limit() == limit);
            used.unwrap_or_else(|| Arc::new(Rate::new(limit)))
        });
        let share = terms.share.map(|fraction| {
            let inside = same.and_then(|account| account.share.as_ref()).map(|share| Arc::clone(&share.inside));
            Share { fraction, inside: inside.unwrap_or_default() }
        });
        let account = Account {
            label: terms.id.clone(),
            id: terms.id,
            scopes: terms.scopes,
            expires: terms.expires,
            rate,
            share,
            priority: Some(terms.priority),
        };
        Key { digest, account: Arc::new(account) }
    };
    entries.into_iter().map(key).collect()
}

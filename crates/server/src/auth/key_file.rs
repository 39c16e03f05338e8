//! The key file: a TOML table per API key, with the key's digest and its policy. It contains no secret.

use std::collections::HashSet;
use std::fmt::Write as _;
use std::num::NonZeroU32;
use std::str::FromStr;
use std::time::SystemTime;

use serde::Deserialize;

use super::api_key::KeyDigest;
use super::principal::RateLimit;
use super::scope::{Scope, Scopes};
use kiln_runtime::scheduling::Priority;

/// One API key of a key file.
#[derive(Clone, Debug, PartialEq)]
pub struct KeyEntry {
    /// Digest of the key.
    pub digest: KeyDigest,
    /// Permissions and limits of the key.
    pub policy: KeyPolicy,
}

/// Permissions and limits of an API key.
#[derive(Clone, Debug, PartialEq)]
pub struct KeyPolicy {
    /// Name of the key in logs and metrics.
    pub id: String,
    /// Permissions.
    pub scopes: Scopes,
    /// Time from which on the key is invalid.
    pub expires: Option<SystemTime>,
    /// Limit on the request rate.
    pub rate_limit: Option<RateLimit>,
    /// Fraction of the queue that the key's images may occupy, above 0 and at most 1.
    pub queue_share: Option<f64>,
    /// Priority of the key's images.
    pub priority: Priority,
}

/// The TOML document.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct KeyFileToml {
    #[serde(default)]
    key: Vec<KeyToml>,
}

/// A `[[key]]` table with unchecked values.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct KeyToml {
    id: String,
    hash: String,
    scopes: Vec<String>,
    expires: Option<toml::value::Datetime>,
    requests_per_second: Option<f64>,
    burst: Option<NonZeroU32>,
    queue_share: Option<f64>,
    priority: Option<String>,
}

/// Parses the text of a key file.
///
/// # Errors
///
/// Returns the first error, as a message that names the key.
pub(super) fn parse(text: &str) -> Result<Vec<KeyEntry>, String> {
    let document: KeyFileToml = toml::from_str(text).map_err(|error| describe(&error, text))?;
    let mut entries: Vec<KeyEntry> = Vec::with_capacity(document.key.len());
    let (mut ids, mut digests) = (HashSet::new(), HashSet::new());
    for (index, key) in document.key.into_iter().enumerate() {
        let name = if key.id.is_empty() { format!("key {}", index + 1) } else { format!("key '{}'", key.id) };
        let entry = key.check().map_err(|reason| format!("{name}: {reason}"))?;
        let (is_new_id, is_new_digest) = (ids.insert(entry.policy.id.clone()), digests.insert(entry.digest));
        if !is_new_id || !is_new_digest {
            let duplicate = if is_new_id { "hash" } else { "id" };
            return Err(format!("{name}: another key has the same {duplicate}"));
        }
        entries.push(entry);
    }
    Ok(entries)
}

/// Describes a TOML error by its line number and message. The line itself may contain a hash and is not shown.
fn describe(error: &toml::de::Error, text: &str) -> String {
    let before = error.span().and_then(|span| text.get(..span.start));
    let line = before.map_or_else(String::new, |before| format!("line {}: ", before.matches('\n').count() + 1));
    format!("{line}{}", error.message())
}

impl KeyToml {
    fn check(self) -> Result<KeyEntry, String> {
        check_key_id(&self.id)?;
        let scopes = self.scopes.iter().map(|name| Scope::from_str(name)).collect::<Result<Scopes, _>>();
        let scopes = scopes.map_err(|error| error.to_string())?;
        if scopes.is_empty() {
            return Err("scopes is empty; a key needs at least one scope".to_string());
        }
        let priority = self.priority.as_deref().map_or(Ok(Priority::default()), str::parse)?;
        let expires = self.expires.map(|date| parse_expiry(&date.to_string())).transpose()?;
        let rate_limit = RateLimit::from_settings(self.requests_per_second, self.burst)?;
        self.queue_share.map_or(Ok(()), check_queue_share)?;
        let digest = self.hash.parse().map_err(|reason| format!("hash {reason}"))?;
        let policy = KeyPolicy { id: self.id, scopes, expires, rate_limit, queue_share: self.queue_share, priority };
        Ok(KeyEntry { digest, policy })
    }
}

impl KeyEntry {
    /// Returns the TOML text of the entry for a key file.
    pub fn to_toml(&self) -> String {
        let KeyPolicy { id, scopes, expires, rate_limit, queue_share, priority } = &self.policy;
        let scopes: Vec<String> = scopes.iter().map(|scope| format!("\"{}\"", scope.as_str())).collect();
        let mut text = format!("[[key]]\nid = \"{id}\"\nhash = \"{}\"\n", self.digest);
        let mut line = |name: &str, value: String| {
            let _ = writeln!(text, "{name} = {value}");
        };
        line("scopes", format!("[{}]", scopes.join(", ")));
        if let Some(expires) = expires {
            line("expires", humantime::format_rfc3339_seconds(*expires).to_string());
        }
        if let Some(RateLimit { per_second, burst }) = rate_limit {
            line("requests-per-second", per_second.to_string());
            line("burst", burst.to_string());
        }
        if let Some(queue_share) = queue_share {
            line("queue-share", queue_share.to_string());
        }
        if *priority != Priority::default() {
            line("priority", format!("\"{}\"", priority.as_str()));
        }
        text
    }
}

/// Checks the name of a key, which appears in logs and metrics.
///
/// # Errors
///
/// Returns a message if the name is empty, longer than 64 bytes, reserved, or contains a character that is not an ASCII
/// letter, digit, dot, dash or underscore.
pub fn check_key_id(id: &str) -> Result<(), String> {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    match id {
        "" => Err("id is empty".to_string()),
        "default" | "token" => Err(format!("id '{id}' is reserved")),
        _ if id.len() > 64 || !id.bytes().all(is_allowed) => {
            Err("id must have at most 64 letters, digits, dots, dashes and underscores".to_string())
        }
        _ => Ok(()),
    }
}

/// Checks a fraction of the queue.
///
/// # Errors
///
/// Returns a message if the fraction is not above 0 and at most 1.
pub fn check_queue_share(queue_share: f64) -> Result<(), String> {
    if queue_share > 0.0 && queue_share <= 1.0 {
        return Ok(());
    }
    Err(format!("queue-share is {queue_share}; it must be above 0 and at most 1"))
}

/// Parses an RFC 3339 time in UTC. A date without a time means the start of that day.
///
/// # Errors
///
/// Returns a message if the text is neither.
pub fn parse_expiry(text: &str) -> Result<SystemTime, String> {
    let time = if text.len() == "2027-01-31".len() { format!("{text}T00:00:00Z") } else { text.to_string() };
    humantime::parse_rfc3339(&time).map_err(|_| {
        format!("expires is '{text}'; expected a date such as 2027-01-31 or a time such as 2027-01-31T12:00:00Z")
    })
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    fn key_with(line: &str) -> String {
        format!("[[key]]\nid = \"app\"\nhash = \"{}\"\nscopes = [\"predict\"]\n{line}\n", KeyDigest::of(b"secret"))
    }

    #[test]
    fn entry_round_trips_through_toml() {
        let text = key_with(
            "expires = 2027-01-31\nrequests-per-second = 2.5\nburst = 10\nqueue-share = 0.25\npriority = \"low\"",
        );
        let entries = parse(&text).unwrap();
        let [entry] = &entries[..] else { panic!("{entries:?}") };
        let policy = &entry.policy;
        assert_eq!((policy.id.as_str(), policy.scopes), ("app", Scopes::from_iter([Scope::Predict])));
        assert_eq!(policy.expires, Some(UNIX_EPOCH + Duration::from_secs(1_801_353_600)));
        assert_eq!(policy.rate_limit.map(|limit| (limit.per_second, limit.burst.get())), Some((2.5, 10)));
        assert_eq!((policy.queue_share, policy.priority), (Some(0.25), Priority::Low));
        assert_eq!(parse(&entry.to_toml()).unwrap(), entries);
        let minimal = &parse(&key_with("")).unwrap()[0];
        let policy = &minimal.policy;
        assert_eq!(
            (policy.expires, policy.rate_limit, policy.queue_share, policy.priority),
            (None, None, None, Priority::Normal)
        );
        assert_eq!(parse(&minimal.to_toml()).unwrap(), [KeyEntry::clone(minimal)]);
    }

    #[test]
    fn burst_defaults_to_the_requests_of_one_second() {
        for (rate, burst) in [("0.5", 1), ("7.2", 8)] {
            let entry = &parse(&key_with(&format!("requests-per-second = {rate}"))).unwrap()[0];
            assert_eq!(entry.policy.rate_limit.unwrap().burst.get(), burst);
        }
    }

    #[test]
    fn error_names_the_key_and_never_shows_its_hash() {
        let hash = KeyDigest::of(b"secret").to_string();
        let same_id = key_with("").repeat(2);
        let same_hash = format!("{}{}", key_with(""), key_with("").replace("app", "web"));
        let cases = [
            (key_with("queue-share = 1.5"), "key 'app': queue-share is 1.5"),
            (key_with("requests-per-second = 0"), "key 'app': requests-per-second is 0"),
            (key_with("burst = 3"), "key 'app': burst requires requests-per-second"),
            (
                key_with("requests-per-second = 0.001\nburst = 4294967295"),
                "key 'app': burst is 4294967295, which at 0.001",
            ),
            (key_with("expires = 07:30:00"), "key 'app': expires is '07:30:00'"),
            (key_with("expires = 2027-01-31T12:00:00+02:00"), "key 'app': expires is"),
            (key_with("priority = \"urgent\""), "key 'app': invalid priority 'urgent'"),
            (key_with("scope = [\"predict\"]"), "line 5: unknown field `scope`"),
            (key_with("").replace("\"predict\"", "\"root\""), "key 'app': 'root' is not a scope"),
            (key_with("").replace("\"predict\"", ""), "key 'app': scopes is empty"),
            (key_with("").replace("app", ""), "key 1: id is empty"),
            (key_with("").replace("app", "a b"), "key 'a b': id must have"),
            (key_with("").replace("app", "default"), "key 'default': id 'default' is reserved"),
            (key_with("").replace("sha256:", ""), "key 'app': hash must be 'sha256:'"),
            (same_id, "key 'app': another key has the same id"),
            (same_hash, "key 'web': another key has the same hash"),
            ("key = 3".to_string(), "line 1: "),
        ];
        for (text, expected) in cases {
            let error = parse(&text).unwrap_err();
            assert!(error.starts_with(expected), "{error}");
            assert!(!error.contains(&hash[7..]), "{error}");
        }
    }
}

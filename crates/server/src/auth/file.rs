//! The key file: TOML, an entry a key. It holds no secret, only digests.

use std::collections::HashSet;
use std::fmt::Write as _;
use std::num::NonZeroU32;
use std::str::FromStr;

use serde::Deserialize;

use super::account::RateLimit;
use super::digest::Digest;
use super::scope::{Scope, Scopes};
use super::terms::{Terms, check_id, check_share, instant, rate};
use kiln_runtime::scheduling::Priority;

/// One key as the operator wrote it.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// What is known of the secret.
    pub digest: Digest,
    /// What it is for.
    pub terms: Terms,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    #[serde(default)]
    key: Vec<WrittenKey>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct WrittenKey {
    id: String,
    hash: String,
    scopes: Vec<String>,
    expires: Option<toml::value::Datetime>,
    requests_per_second: Option<f64>,
    burst: Option<NonZeroU32>,
    queue_share: Option<f64>,
    priority: Option<String>,
}

/// The entries of a key file.
///
/// # Errors
///
/// The first that is wrong, as a sentence that names the entry.
pub fn parse(text: &str) -> Result<Vec<Entry>, String> {
    let written: Written = toml::from_str(text).map_err(|error| place(&error, text))?;
    let mut entries: Vec<Entry> = Vec::with_capacity(written.key.len());
    let (mut ids, mut digests) = (HashSet::new(), HashSet::new());
    for (index, key) in written.key.into_iter().enumerate() {
        let name = if key.id.is_empty() { format!("key {}", index + 1) } else { format!("key '{}'", key.id) };
        let entry = key.check().map_err(|reason| format!("{name}: {reason}"))?;
        let (new_id, new_digest) = (ids.insert(entry.terms.id.clone()), digests.insert(entry.digest));
        if !new_id || !new_digest {
            let what = if new_id { "hash" } else { "id" };
            return Err(format!("{name}: another key has the same {what}"));
        }
        entries.push(entry);
    }
    Ok(entries)
}

/// A key's hash is not shown where it does not belong, so neither is the line.
fn place(error: &toml::de::Error, text: &str) -> String {
    let before = error.span().and_then(|span| text.get(..span.start));
    let line = before.map_or_else(String::new, |before| format!("line {}: ", before.matches('\n').count() + 1));
    format!("{line}{}", error.message())
}

impl WrittenKey {
    fn check(self) -> Result<Entry, String> {
        check_id(&self.id)?;
        let scopes = self.scopes.iter().map(|word| Scope::from_str(word)).collect::<Result<Scopes, _>>();
        let scopes = scopes.map_err(|error| error.to_string())?;
        if scopes.is_empty() {
            return Err("scopes is empty; such a key opens nothing".to_string());
        }
        let priority = self.priority.as_deref().map_or(Ok(Priority::default()), str::parse)?;
        let expires = self.expires.map(|date| instant(&date.to_string())).transpose()?;
        let rate = rate(self.requests_per_second, self.burst)?;
        self.queue_share.map_or(Ok(()), check_share)?;
        let digest = self.hash.parse().map_err(|reason| format!("hash {reason}"))?;
        let terms = Terms { id: self.id, scopes, expires, rate, share: self.queue_share, priority };
        Ok(Entry { digest, terms })
    }
}

impl Entry {
    /// The text for the key file.
    pub fn to_toml(&self) -> String {
        let Terms { id, scopes, expires, rate, share, priority } = &self.terms;
        let scopes: Vec<String> = scopes.iter().map(|scope| format!("\"{}\"", scope.word())).collect();
        let mut text = format!("[[key]]\nid = \"{id}\"\nhash = \"{}\"\n", self.digest);
        let mut line = |name: &str, value: String| {
            let _ = writeln!(text, "{name} = {value}");
        };
        line("scopes", format!("[{}]", scopes.join(", ")));
        if let Some(expires) = expires {
            line("expires", humantime::format_rfc3339_seconds(*expires).to_string());
        }
        if let Some(RateLimit { per_second, burst }) = rate {
            line("requests-per-second", per_second.to_string());
            line("burst", burst.to_string());
        }
        if let Some(share) = share {
            line("queue-share", share.to_string());
        }
        if *priority != Priority::default() {
            line("priority", format!("\"{}\"", priority.word()));
        }
        text
    }
}

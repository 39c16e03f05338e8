//! Keys come, go and change while requests go on.

use std::path::Path;

use crate::auth::digest::Digest;
use crate::auth::keyring::Keyring;
use crate::auth::{Scope, Secret};

fn entry(id: &str, secret: &str, more: &str) -> String {
    format!("[[key]]\nid = \"{id}\"\nhash = \"{}\"\nscopes = [\"predict\"]\n{more}\n", Digest::of(secret.as_bytes()))
}

/// A ring with the file's text, and the file.
fn ring(text: &str) -> (tempfile::NamedTempFile, Keyring) {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), text).unwrap();
    let ring = Keyring::load(Some(&Secret::parse("0123456789abcdef").unwrap()), Some(file.path())).unwrap();
    (file, ring)
}

fn id(ring: &Keyring, secret: &str) -> Option<String> {
    ring.find(secret.as_bytes()).map(|account| account.id.clone())
}

#[test]
fn each_key_opens_what_it_is_for_and_the_servers_own_opens_all() {
    let (_file, ring) = ring(&(entry("app", "one", "") + &entry("web", "two", "")));
    assert_eq!(id(&ring, "one").as_deref(), Some("app"));
    assert_eq!(id(&ring, "two").as_deref(), Some("web"));
    assert_eq!(id(&ring, "0123456789abcdef").as_deref(), Some("default"));
    assert_eq!(id(&ring, "three"), None);
    assert!(!ring.find(b"one").unwrap().may(Scope::Admin));
    assert!(ring.find(b"0123456789abcdef").unwrap().may(Scope::Admin));
}

#[test]
fn a_changed_file_is_taken_and_a_broken_one_is_not() {
    let (file, ring) = ring(&entry("app", "one", ""));
    std::fs::write(file.path(), entry("web", "two", "")).unwrap();
    assert_eq!(ring.reload(), Ok(1));
    assert_eq!((id(&ring, "one"), id(&ring, "two").as_deref()), (None, Some("web")));
    std::fs::write(file.path(), "[[key]]\nid = 3\n").unwrap();
    let refusal = ring.reload().unwrap_err().to_string();
    assert!(refusal.contains("line 2"), "{refusal}");
    assert_eq!(id(&ring, "two").as_deref(), Some("web"));
    std::fs::remove_file(file.path()).unwrap();
    assert!(ring.reload().unwrap_err().to_string().contains("cannot be read"));
    assert_eq!(id(&ring, "two").as_deref(), Some("web"));
}

#[test]
fn what_was_used_up_stays_used_up_unless_the_limit_changes() {
    let limited = |rate: &str| entry("app", "one", &format!("requests-per-second = {rate}\nburst = 2"));
    let (file, ring) = ring(&limited("0.01"));
    let count = || ring.find(b"one").unwrap().count().is_ok();
    assert!(count() && count() && !count());
    std::fs::write(file.path(), limited("0.01") + &entry("web", "two", "")).unwrap();
    ring.reload().unwrap();
    assert!(!count(), "a reload filled the burst again");
    std::fs::write(file.path(), limited("0.02")).unwrap();
    ring.reload().unwrap();
    assert!(count(), "the new limit does not hold");
}

#[test]
fn a_file_that_is_not_there_is_told() {
    let refusal = Keyring::load(None, Some(Path::new("/nowhere/keys.toml"))).unwrap_err().to_string();
    assert!(refusal.starts_with("key file /nowhere/keys.toml: cannot be read"), "{refusal}");
}

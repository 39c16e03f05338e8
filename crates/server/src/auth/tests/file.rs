//! What a key file may say, and what is said of one that is wrong.

use std::time::{Duration, UNIX_EPOCH};

use crate::auth::Priority;
use crate::auth::digest::Digest;
use crate::auth::file::{Entry, parse};
use crate::auth::scope::{Scope, Scopes};

fn with(line: &str) -> String {
    format!("[[key]]\nid = \"app\"\nhash = \"{}\"\nscopes = [\"predict\"]\n{line}\n", Digest::of(b"secret"))
}

#[test]
fn an_entry_is_read_whole_and_written_so_that_it_reads_the_same() {
    let text =
        with("expires = 2027-01-31\nrequests-per-second = 2.5\nburst = 10\nqueue-share = 0.25\npriority = \"low\"");
    let entries = parse(&text).unwrap();
    let [entry] = &entries[..] else { panic!("{entries:?}") };
    let terms = &entry.terms;
    assert_eq!((terms.id.as_str(), terms.scopes), ("app", Scopes::from_iter([Scope::Predict])));
    assert_eq!(terms.expires, Some(UNIX_EPOCH + Duration::from_secs(1_801_353_600)));
    assert_eq!(terms.rate.map(|rate| (rate.per_second, rate.burst.get())), Some((2.5, 10)));
    assert_eq!((terms.share, terms.priority), (Some(0.25), Priority::Low));
    assert_eq!(parse(&entry.to_toml()).unwrap(), entries);
    let plain = &parse(&with("")).unwrap()[0];
    let terms = &plain.terms;
    assert_eq!((terms.expires, terms.rate, terms.share, terms.priority), (None, None, None, Priority::Normal));
    assert_eq!(parse(&plain.to_toml()).unwrap(), [Entry::clone(plain)]);
}

#[test]
fn without_a_burst_a_seconds_worth_may_come_at_once() {
    for (rate, burst) in [("0.5", 1), ("7.2", 8)] {
        let entry = &parse(&with(&format!("requests-per-second = {rate}"))).unwrap()[0];
        assert_eq!(entry.terms.rate.unwrap().burst.get(), burst);
    }
}

#[test]
fn what_is_wrong_is_told_with_the_keys_name_and_never_with_its_hash() {
    let hash = Digest::of(b"secret").to_string();
    let twice = with("").repeat(2);
    let other_id = format!("{}{}", with(""), with("").replace("app", "web"));
    let cases = [
        (with("queue-share = 1.5"), "key 'app': queue-share is 1.5"),
        (with("requests-per-second = 0"), "key 'app': requests-per-second is 0"),
        (with("burst = 3"), "key 'app': burst needs requests-per-second"),
        (with("requests-per-second = 0.001\nburst = 4294967295"), "key 'app': burst is 4294967295, which at 0.001"),
        (with("expires = 07:30:00"), "key 'app': expires is '07:30:00'"),
        (with("expires = 2027-01-31T12:00:00+02:00"), "key 'app': expires is"),
        (with("priority = \"urgent\""), "key 'app': priority is 'urgent'"),
        (with("scope = [\"predict\"]"), "line 5: unknown field `scope`"),
        (with("").replace("\"predict\"", "\"root\""), "key 'app': 'root' is no scope"),
        (with("").replace("\"predict\"", ""), "key 'app': scopes is empty"),
        (with("").replace("app", ""), "key 1: id is empty"),
        (with("").replace("app", "a b"), "key 'a b': id must have"),
        (with("").replace("app", "default"), "key 'default': id 'default' is taken"),
        (with("").replace("sha256:", ""), "key 'app': hash must be 'sha256:'"),
        (twice, "key 'app': another key has the same id"),
        (other_id, "key 'web': another key has the same hash"),
        ("key = 3".to_string(), "line 1: "),
    ];
    for (text, expected) in cases {
        let refusal = parse(&text).unwrap_err();
        assert!(refusal.starts_with(expected), "{refusal}");
        assert!(!refusal.contains(&hash[7..]), "{refusal}");
    }
}

//! HTTP headers of the response cache: `Cache-Status` of responses (RFC 9211) and `Cache-Control` of requests (RFC 9111).

use std::fmt::Write as _;

use poem::Request;
use poem::http::header::CACHE_CONTROL;

use kiln_classifier::{CacheOutcome, CacheStatus};

/// The header with the outcome of the response cache.
pub(super) const CACHE_STATUS: &str = "Cache-Status";

/// Returns the value of `Cache-Status` for one lookup per image; `None` if there are none because the cache is disabled.
pub(super) fn cache_status(lookups: &[CacheStatus]) -> Option<String> {
    let outcomes: Vec<CacheOutcome> = lookups.iter().map(|lookup| lookup.outcome).collect();
    let all = |expected| outcomes.iter().all(|outcome| *outcome == expected);
    let mut value = match lookups {
        [] => return None,
        _ if all(CacheOutcome::Hit) => "kiln; hit",
        _ if all(CacheOutcome::Miss) && lookups.iter().all(|lookup| lookup.stored) => "kiln; fwd=miss; stored",
        _ if all(CacheOutcome::Coalesced) => "kiln; fwd=miss; collapsed",
        _ if all(CacheOutcome::Bypassed) => "kiln; fwd=request",
        _ if outcomes.contains(&CacheOutcome::Hit) => "kiln; fwd=partial",
        _ => "kiln; fwd=miss",
    }
    .to_string();
    if outcomes.len() > 1 {
        let counts = [CacheOutcome::Hit, CacheOutcome::Miss, CacheOutcome::Coalesced, CacheOutcome::Bypassed]
            .map(|outcome| (outcome.as_str(), outcomes.iter().filter(|other| **other == outcome).count()));
        let counts = counts.iter().filter(|(_, count)| *count > 0).map(|(word, count)| format!("{word}={count}"));
        let _ = write!(value, "; detail=\"{}\"", counts.collect::<Vec<_>>().join(" "));
    }
    Some(value)
}

/// Returns whether a request bypasses the response cache: one of its `Cache-Control` headers has `no-store` or `no-cache`.
pub(super) fn bypasses_cache(request: &Request) -> bool {
    let lines = request.headers().get_all(CACHE_CONTROL).iter();
    lines.flat_map(|line| directives(line.as_bytes())).any(|directive| {
        // The arguments of a directive restrict which stored responses may be used. A request that bypasses the cache uses none.
        let name = directive.split(|byte| *byte == b'=').next().unwrap_or_default().trim_ascii();
        ["no-store", "no-cache"].iter().any(|directive| name.eq_ignore_ascii_case(directive.as_bytes()))
    })
}

/// Splits a header at its commas, except inside quoted strings. The bytes need not be ASCII, because quoted strings need not be.
fn directives(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    let (mut is_quoted, mut is_escaped) = (false, false);
    line.split(move |byte| {
        let was_escaped = std::mem::take(&mut is_escaped);
        match byte {
            b'"' if !was_escaped => is_quoted = !is_quoted,
            b'\\' if is_quoted && !was_escaped => is_escaped = true,
            _ => {}
        }
        *byte == b',' && !is_quoted
    })
}

#[cfg(test)]
mod tests {
    use poem::http::HeaderValue;

    use super::*;

    #[test]
    fn cache_status_summarises_the_lookups() {
        let [hit, miss, coalesced, bypassed] =
            [CacheOutcome::Hit, CacheOutcome::Miss, CacheOutcome::Coalesced, CacheOutcome::Bypassed]
                .map(CacheStatus::from);
        let stored = CacheStatus { stored: true, ..miss };
        for (lookups, expected) in [
            (&[][..], None),
            (&[hit], Some("kiln; hit")),
            (&[stored], Some("kiln; fwd=miss; stored")),
            // Computed, but not stored.
            (&[miss], Some("kiln; fwd=miss")),
            (&[stored, miss], Some("kiln; fwd=miss; detail=\"miss=2\"")),
            (&[stored, stored], Some("kiln; fwd=miss; stored; detail=\"miss=2\"")),
            (&[coalesced], Some("kiln; fwd=miss; collapsed")),
            (&[bypassed], Some("kiln; fwd=request")),
            (&[hit, hit], Some("kiln; hit; detail=\"hit=2\"")),
            (&[hit, miss, hit], Some("kiln; fwd=partial; detail=\"hit=2 miss=1\"")),
            (&[stored, coalesced], Some("kiln; fwd=miss; detail=\"miss=1 coalesced=1\"")),
        ] {
            assert_eq!(cache_status(lookups).as_deref(), expected);
        }
    }

    #[test]
    fn no_store_and_no_cache_are_found_in_any_case_among_other_directives() {
        let bypasses = |lines: &[&str]| {
            let request = Request::builder();
            let value = |line: &str| HeaderValue::from_bytes(line.as_bytes()).unwrap();
            let request = lines.iter().fold(request, |request, line| request.header("Cache-Control", value(line)));
            bypasses_cache(&request.finish())
        };
        for yes in [
            &["no-store"][..],
            &["No-Store"],
            &["max-age=0, no-store"],
            &["no-cache"],
            &["max-age=0", "no-store"],
            &["no-cache=\"x, y\""],
            &["community=\"\u{fc}\", no-store"],
            &["a=\"b\\\",\" , no-store"],
        ] {
            assert!(bypasses(yes), "{yes:?}");
        }
        for no in [
            &[][..],
            &[""],
            &["max-age=0"],
            &["only-if-cached"],
            &["no-stores"],
            &["a=\"x, no-store, y\""],
            &["a=\"\\\", no-store, \""],
        ] {
            assert!(!bypasses(no), "{no:?}");
        }
    }
}

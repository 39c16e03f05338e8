//! The `Cache-Status` header (RFC 9211): whether an answer was a kept one. And what a request may say about that
//! (`Cache-Control`, RFC 9111).

use std::fmt::Write as _;
use std::sync::{Arc, OnceLock};

use crate::classifier::Outcome;

/// The header's name.
pub(super) const CACHE_STATUS: &str = "Cache-Status";

/// Where the handler writes down what came of looking for kept answers.
#[derive(Clone, Debug, Default)]
pub(super) struct LookedUp(Arc<OnceLock<String>>);

impl LookedUp {
    /// One outcome a picture; none where answers are not kept. To be called once.
    pub(super) fn set(&self, outcomes: &[Outcome]) {
        if let Some(value) = value(outcomes) {
            let _ = self.0.set(value);
        }
    }

    /// The header's value, if there is to be one.
    pub(super) fn header(&self) -> Option<&str> {
        self.0.get().map(String::as_str)
    }
}

/// Whether a request with this `Cache-Control` wants an answer of its own, which nobody keeps.
pub(super) fn wants_fresh(cache_control: Option<&str>) -> bool {
    let words = cache_control.unwrap_or_default().split(',').map(str::trim);
    words.into_iter().any(|word| word.eq_ignore_ascii_case("no-store") || word.eq_ignore_ascii_case("no-cache"))
}

fn value(outcomes: &[Outcome]) -> Option<String> {
    let all = |wanted| outcomes.iter().all(|outcome| *outcome == wanted);
    let mut value = match outcomes {
        [] => return None,
        _ if all(Outcome::Hit) => "kiln; hit",
        _ if all(Outcome::Miss) => "kiln; fwd=miss; stored",
        _ if all(Outcome::Coalesced) => "kiln; fwd=miss; collapsed",
        _ if all(Outcome::Bypassed) => "kiln; fwd=request",
        _ => "kiln; fwd=partial",
    }
    .to_string();
    if outcomes.len() > 1 {
        let counts = [Outcome::Hit, Outcome::Miss, Outcome::Coalesced, Outcome::Bypassed]
            .map(|outcome| (outcome.word(), outcomes.iter().filter(|other| **other == outcome).count()));
        let counts = counts.iter().filter(|(_, count)| *count > 0).map(|(word, count)| format!("{word}={count}"));
        let _ = write!(value, "; detail=\"{}\"", counts.collect::<Vec<_>>().join(" "));
    }
    Some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_tells_what_was_there() {
        use Outcome::{Bypassed, Coalesced, Hit, Miss};
        for (outcomes, expected) in [
            (&[][..], None),
            (&[Hit], Some("kiln; hit")),
            (&[Miss], Some("kiln; fwd=miss; stored")),
            (&[Coalesced], Some("kiln; fwd=miss; collapsed")),
            (&[Bypassed], Some("kiln; fwd=request")),
            (&[Hit, Hit], Some("kiln; hit; detail=\"hit=2\"")),
            (&[Hit, Miss, Hit], Some("kiln; fwd=partial; detail=\"hit=2 miss=1\"")),
        ] {
            assert_eq!(value(outcomes).as_deref(), expected);
        }
    }

    #[test]
    fn who_wants_nothing_kept_says_so_in_any_case_and_company() {
        for yes in ["no-store", "No-Store", "max-age=0, no-store", "no-cache"] {
            assert!(wants_fresh(Some(yes)), "{yes}");
        }
        for no in [None, Some(""), Some("max-age=0"), Some("only-if-cached"), Some("no-stores")] {
            assert!(!wants_fresh(no), "{no:?}");
        }
    }
}

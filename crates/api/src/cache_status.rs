//! The `Cache-Status` header (RFC 9211): whether an answer was a kept one. And what a request may say about that
//! (`Cache-Control`, RFC 9111).

use std::fmt::Write as _;

use poem::Request;
use poem::http::header::CACHE_CONTROL;

use kiln_classifier::{LookUp, Outcome};

/// The header's name.
pub(super) const CACHE_STATUS: &str = "Cache-Status";

/// The header's value, if there is to be one: one look-up came of each picture, none where answers are not kept.
pub(super) fn header(look_ups: &[LookUp]) -> Option<String> {
    let outcomes: Vec<Outcome> = look_ups.iter().map(|look_up| look_up.outcome).collect();
    let all = |wanted| outcomes.iter().all(|outcome| *outcome == wanted);
    let mut value = match look_ups {
        [] => return None,
        _ if all(Outcome::Hit) => "kiln; hit",
        _ if all(Outcome::Miss) && look_ups.iter().all(|look_up| look_up.is_kept) => "kiln; fwd=miss; stored",
        _ if all(Outcome::Coalesced) => "kiln; fwd=miss; collapsed",
        _ if all(Outcome::Bypassed) => "kiln; fwd=request",
        _ if outcomes.contains(&Outcome::Hit) => "kiln; fwd=partial",
        _ => "kiln; fwd=miss",
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

/// Whether a request wants an answer of its own, which nobody keeps. It may say so in several lines of `Cache-Control`.
pub(super) fn wants_fresh(request: &Request) -> bool {
    let lines = request.headers().get_all(CACHE_CONTROL).iter();
    lines.flat_map(|line| directives(line.as_bytes())).any(|directive| {
        // What follows upon the name bounds what an answer may be; here there is nothing to bound.
        let name = directive.split(|byte| *byte == b'=').next().unwrap_or_default().trim_ascii();
        ["no-store", "no-cache"].iter().any(|wanted| name.eq_ignore_ascii_case(wanted.as_bytes()))
    })
}

/// The parts between commas; those in quotes part nothing. Of any bytes: others than ASCII may stand in quotes.
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
    fn the_header_tells_what_was_there() {
        let [hit, miss, coalesced, bypassed] =
            [Outcome::Hit, Outcome::Miss, Outcome::Coalesced, Outcome::Bypassed].map(LookUp::from);
        let stored = LookUp { is_kept: true, ..miss };
        for (look_ups, expected) in [
            (&[][..], None),
            (&[hit], Some("kiln; hit")),
            (&[stored], Some("kiln; fwd=miss; stored")),
            // Made, but not kept.
            (&[miss], Some("kiln; fwd=miss")),
            (&[stored, miss], Some("kiln; fwd=miss; detail=\"miss=2\"")),
            (&[stored, stored], Some("kiln; fwd=miss; stored; detail=\"miss=2\"")),
            (&[coalesced], Some("kiln; fwd=miss; collapsed")),
            (&[bypassed], Some("kiln; fwd=request")),
            (&[hit, hit], Some("kiln; hit; detail=\"hit=2\"")),
            (&[hit, miss, hit], Some("kiln; fwd=partial; detail=\"hit=2 miss=1\"")),
            (&[stored, coalesced], Some("kiln; fwd=miss; detail=\"miss=1 coalesced=1\"")),
        ] {
            assert_eq!(header(look_ups).as_deref(), expected);
        }
    }

    #[test]
    fn who_wants_nothing_kept_says_so_in_any_case_and_company() {
        let asked = |lines: &[&str]| {
            let request = Request::builder();
            let value = |line: &str| HeaderValue::from_bytes(line.as_bytes()).unwrap();
            let request = lines.iter().fold(request, |request, line| request.header("Cache-Control", value(line)));
            wants_fresh(&request.finish())
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
            assert!(asked(yes), "{yes:?}");
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
            assert!(!asked(no), "{no:?}");
        }
    }
}

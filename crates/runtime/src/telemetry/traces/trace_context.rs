//! Parses the headers `traceparent` and `tracestate` (W3C Trace Context, level 1).
//!
//! `TraceContextPropagator` of `opentelemetry_sdk` is not used, because it accepts headers that the standard forbids: short IDs,
//! IDs with a sign, surrounding spaces, and text after the flags of version 00.

use std::str::FromStr as _;

use opentelemetry::trace::{SpanContext, SpanId, TraceFlags, TraceId, TraceState};

/// The caller's span, which is the parent of the request's span.
#[derive(Clone, Debug, PartialEq)]
pub struct ParentContext(pub(super) SpanContext);

impl ParentContext {
    /// Parses the values of all headers with these names. Returns `None` unless there is exactly one `traceparent` and it
    /// is valid. An invalid `tracestate` is ignored.
    pub fn from_headers<'a>(
        mut traceparent: impl Iterator<Item = &'a [u8]>,
        tracestate: impl Iterator<Item = &'a [u8]>,
    ) -> Option<Self> {
        let (Some(only), None) = (traceparent.next(), traceparent.next()) else { return None };
        let (trace_id, span_id, flags) = parse(only)?;
        let states: Vec<&[u8]> = tracestate.collect();
        let state = std::str::from_utf8(&states.join(&b","[..])).ok().and_then(|text| TraceState::from_str(text).ok());
        Some(Self(SpanContext::new(trace_id, span_id, flags, true, state.unwrap_or_default())))
    }
}

/// Parses `version-trace_id-parent_id-flags`, all in lower-case hexadecimal digits. Later versions may append further fields
/// after another dash.
fn parse(text: &[u8]) -> Option<(TraceId, SpanId, TraceFlags)> {
    let (known, rest) = text.split_at_checked(55)?;
    let [version, trace_id, parent_id, flags] = known.split(|byte| *byte == b'-').collect::<Vec<_>>()[..] else {
        return None;
    };
    let is_valid = (version.len(), trace_id.len(), parent_id.len(), flags.len()) == (2, 32, 16, 2)
        && version != b"ff"
        && (rest.is_empty() || version != b"00" && rest.starts_with(b"-"));
    hex(version)?;
    let (trace_id, parent_id, flags) = (hex(trace_id)?, u64::try_from(hex(parent_id)?).ok()?, hex(flags)?);
    // Only one flag is defined.
    let flags = TraceFlags::default().with_sampled(flags & 1 == 1);
    (is_valid && trace_id != 0 && parent_id != 0).then(|| (TraceId::from(trace_id), SpanId::from(parent_id), flags))
}

fn hex(digits: &[u8]) -> Option<u128> {
    digits.iter().try_fold(0u128, |number, digit| {
        let value = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            _ => return None,
        };
        Some(number << 4 | u128::from(value))
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
    const SPAN: &str = "00f067aa0ba902b7";

    fn read(traceparent: &str) -> Option<ParentContext> {
        ParentContext::from_headers([traceparent.as_bytes()].into_iter(), std::iter::empty())
    }

    #[test]
    fn example_of_the_standard_is_parsed() {
        let parent = read(&format!("00-{TRACE}-{SPAN}-01")).unwrap().0;
        assert_eq!((parent.trace_id().to_string(), parent.span_id().to_string()), (TRACE.into(), SPAN.into()));
        assert!(parent.is_sampled() && parent.is_remote());
        assert!(!read(&format!("00-{TRACE}-{SPAN}-00")).unwrap().0.is_sampled());
    }

    #[test]
    fn undefined_flags_are_ignored() {
        assert!(read(&format!("00-{TRACE}-{SPAN}-ff")).unwrap().0.is_sampled());
        assert!(!read(&format!("00-{TRACE}-{SPAN}-fe")).unwrap().0.is_sampled());
    }

    #[test]
    fn later_version_is_parsed_as_far_as_it_is_known() {
        for rest in ["", "-", "-what-the-future-will-be-like"] {
            assert!(read(&format!("cc-{TRACE}-{SPAN}-01{rest}")).is_some_and(|parent| parent.0.is_sampled()), "{rest}");
        }
        assert_eq!(read(&format!("cc-{TRACE}-{SPAN}-01.what")), None);
    }

    #[test]
    fn invalid_header_is_ignored() {
        let zeros = |count| "0".repeat(count);
        for text in [
            String::new(),
            "00".to_string(),
            format!("ff-{TRACE}-{SPAN}-01"),
            format!("0-{TRACE}-{SPAN}-01"),
            format!("000-{TRACE}-{SPAN}-01"),
            format!("0g-{TRACE}-{SPAN}-01"),
            format!("00-{}-{SPAN}-01", zeros(32)),
            format!("00-{TRACE}-{}-01", zeros(16)),
            format!("00-{}-{SPAN}-01", TRACE.to_uppercase()),
            format!("00-{TRACE}-{}-01", SPAN.to_uppercase()),
            format!("00-{TRACE}-{SPAN}-0A"),
            format!("00-{TRACE}-{SPAN}-1"),
            format!("00-{TRACE}-{SPAN}-01-"),
            format!("00-{TRACE}-{SPAN}-01-more"),
            format!("00-{TRACE}-{SPAN}-010"),
            format!("00-{TRACE}0-{SPAN}-1"),
            format!("00-{}-0{SPAN}-01", &TRACE[1..]),
            format!("00-+{}-{SPAN}-01", &TRACE[1..]),
            format!("00_{TRACE}_{SPAN}_01"),
            format!(" 00-{TRACE}-{SPAN}-01"),
        ] {
            assert_eq!(read(&text), None, "{text}");
        }
    }

    #[test]
    fn two_parents_are_ignored() {
        let (one, two) = (format!("00-{TRACE}-{SPAN}-01"), format!("00-{TRACE}-{}1-01", &SPAN[1..]));
        assert_eq!(ParentContext::from_headers([one.as_bytes(), two.as_bytes()].into_iter(), std::iter::empty()), None);
    }

    #[test]
    fn states_of_several_headers_are_joined_and_an_invalid_state_is_ignored() {
        let parent = format!("00-{TRACE}-{SPAN}-01");
        let state = |states: &[&'static str]| {
            let context = ParentContext::from_headers(
                [parent.as_bytes()].into_iter(),
                states.iter().map(|state| state.as_bytes()),
            );
            context.unwrap().0.trace_state().header()
        };
        assert_eq!(state(&["congo=t61rcWkgMzE", "rojo=00f067aa0ba902b7"]), "congo=t61rcWkgMzE,rojo=00f067aa0ba902b7");
        assert_eq!(state(&["no state"]), "");
        assert_eq!(state(&[]), "");
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_do_not_panic_and_parsed_ids_match_the_input(text in prop_oneof![
            prop::collection::vec(any::<u8>(), 0..80),
            "[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}(-[ -~]{0,9})?".prop_map(String::into_bytes),
            "[0-9a-fA-F-]{50,60}".prop_map(String::into_bytes),
        ]) {
            if let Some(ParentContext(context)) = ParentContext::from_headers([&text[..]].into_iter(), std::iter::empty()) {
                prop_assert!(context.is_valid());
                let ids = format!("-{}-{}-", context.trace_id(), context.span_id());
                prop_assert_eq!(&text[2..53], ids.as_bytes());
            }
        }
    }
}

//! The caller's place in a trace, as the headers `traceparent` and `tracestate` tell it (W3C Trace Context, level 1).

use std::str::FromStr as _;

use opentelemetry::trace::{SpanContext, SpanId, TraceFlags, TraceId, TraceState};

/// The span of the caller, in whose trace the request takes place.
#[derive(Clone, Debug, PartialEq)]
pub struct Caller(pub(super) SpanContext);

impl Caller {
    /// Reads the values of all headers of these two names. Nobody, where there is not exactly one `traceparent` or it is
    /// not valid; a `tracestate` that is not valid is left out.
    pub fn read<'a>(
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

/// `version-trace_id-parent_id-flags`, in lower-case hexadecimal digits. Later versions may have more behind another dash.
fn parse(text: &[u8]) -> Option<(TraceId, SpanId, TraceFlags)> {
    let (known, rest) = text.split_at_checked(55)?;
    let [version, trace_id, parent_id, flags] = known.split(|byte| *byte == b'-').collect::<Vec<_>>()[..] else {
        return None;
    };
    let fits = (version.len(), trace_id.len(), parent_id.len(), flags.len()) == (2, 32, 16, 2)
        && version != b"ff"
        && (rest.is_empty() || version != b"00" && rest.starts_with(b"-"));
    hex(version)?;
    let (trace_id, parent_id, flags) = (hex(trace_id)?, u64::try_from(hex(parent_id)?).ok()?, hex(flags)?);
    // Of the flags only one is defined.
    let flags = TraceFlags::default().with_sampled(flags & 1 == 1);
    (fits && trace_id != 0 && parent_id != 0).then(|| (TraceId::from(trace_id), SpanId::from(parent_id), flags))
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

    fn read(traceparent: &str) -> Option<Caller> {
        Caller::read([traceparent.as_bytes()].into_iter(), std::iter::empty())
    }

    #[test]
    fn what_the_standard_gives_as_an_example_is_read() {
        let caller = read(&format!("00-{TRACE}-{SPAN}-01")).unwrap().0;
        assert_eq!((caller.trace_id().to_string(), caller.span_id().to_string()), (TRACE.into(), SPAN.into()));
        assert!(caller.is_sampled() && caller.is_remote());
        assert!(!read(&format!("00-{TRACE}-{SPAN}-00")).unwrap().0.is_sampled());
    }

    #[test]
    fn flags_without_a_meaning_are_ignored() {
        assert!(read(&format!("00-{TRACE}-{SPAN}-ff")).unwrap().0.is_sampled());
        assert!(!read(&format!("00-{TRACE}-{SPAN}-fe")).unwrap().0.is_sampled());
    }

    #[test]
    fn a_later_version_is_read_as_far_as_it_is_known() {
        for rest in ["", "-", "-what-the-future-will-be-like"] {
            assert!(read(&format!("cc-{TRACE}-{SPAN}-01{rest}")).is_some_and(|caller| caller.0.is_sampled()), "{rest}");
        }
        assert_eq!(read(&format!("cc-{TRACE}-{SPAN}-01.what")), None);
    }

    #[test]
    fn what_is_not_valid_is_nobody() {
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
    fn two_parents_are_none() {
        let (one, two) = (format!("00-{TRACE}-{SPAN}-01"), format!("00-{TRACE}-{}1-01", &SPAN[1..]));
        assert_eq!(Caller::read([one.as_bytes(), two.as_bytes()].into_iter(), std::iter::empty()), None);
    }

    #[test]
    fn states_of_several_headers_are_one_and_an_invalid_one_costs_no_parent() {
        let parent = format!("00-{TRACE}-{SPAN}-01");
        let state = |states: &[&'static str]| {
            let caller = Caller::read([parent.as_bytes()].into_iter(), states.iter().map(|state| state.as_bytes()));
            caller.unwrap().0.trace_state().header()
        };
        assert_eq!(state(&["congo=t61rcWkgMzE", "rojo=00f067aa0ba902b7"]), "congo=t61rcWkgMzE,rojo=00f067aa0ba902b7");
        assert_eq!(state(&["no state"]), "");
        assert_eq!(state(&[]), "");
    }

    proptest! {
        #[test]
        fn no_bytes_break_it_and_what_is_read_is_what_was_sent(text in prop_oneof![
            prop::collection::vec(any::<u8>(), 0..80),
            "[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}(-[ -~]{0,9})?".prop_map(String::into_bytes),
            "[0-9a-fA-F-]{50,60}".prop_map(String::into_bytes),
        ]) {
            if let Some(Caller(context)) = Caller::read([&text[..]].into_iter(), std::iter::empty()) {
                prop_assert!(context.is_valid());
                let ids = format!("-{}-{}-", context.trace_id(), context.span_id());
                prop_assert_eq!(&text[2..53], ids.as_bytes());
            }
        }
    }
}

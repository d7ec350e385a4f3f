//! W3C trace context (<https://www.w3.org/TR/trace-context/>, level 1): taken from the request, or begun here, so that a
//! task has one trace from its submission to its webhook.

use warp::http::HeaderMap;

const LEN: usize = 55;

/// The request's `traceparent` as version 00, or a fresh one that asks to be recorded.
pub(crate) fn traceparent(headers: &HeaderMap) -> String {
    let sent = headers.get("traceparent").and_then(|value| value.to_str().ok());
    sent.and_then(accepted).unwrap_or_else(fresh)
}

/// The specification: a later version may go on after the fields of version 00, which are all that is used.
fn accepted(text: &str) -> Option<String> {
    let known = text.get(..LEN)?;
    let (version, rest) = (known.get(..2)?, text.get(LEN..)?);
    let ends_well = rest.is_empty() || (version != "00" && rest.starts_with('-'));
    let fields: Vec<&str> = known.split('-').collect();
    let [_, trace_id, parent_id, flags] = fields[..] else {
        return None;
    };
    let well_formed = is_hex(version, 2)
        && version != "ff"
        && is_hex(trace_id, 32)
        && is_hex(parent_id, 16)
        && is_hex(flags, 2)
        && ends_well
        && trace_id.bytes().any(|digit| digit != b'0')
        && parent_id.bytes().any(|digit| digit != b'0');
    well_formed.then(|| format!("00{}", &known[2..]))
}

fn is_hex(text: &str, len: usize) -> bool {
    text.len() == len && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

fn fresh() -> String {
    let (trace_id, parent_id): (u128, u64) = rand::random();
    // All zero is invalid.
    format!("00-{:032x}-{:016x}-01", trace_id.max(1), parent_id.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> String {
        let mut headers = HeaderMap::new();
        headers.insert("traceparent", text.parse().unwrap());
        traceparent(&headers)
    }

    #[test]
    fn a_valid_context_is_kept() {
        let text = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        assert_eq!(of(text), text);
        assert_eq!(of(&format!("01{}-more", &text[2..])), text);
    }

    #[test]
    fn an_invalid_or_absent_one_is_replaced_by_a_valid_one() {
        for text in [
            "",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
        ] {
            let made = of(text);
            assert_ne!(made, text);
            assert_eq!(accepted(&made).as_ref(), Some(&made), "{text}");
        }
        assert_ne!(traceparent(&HeaderMap::new()), traceparent(&HeaderMap::new()));
    }
}

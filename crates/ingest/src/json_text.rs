//! Checks a JSON text for what a parser that keeps it as text lets through: too deep nesting, and halves of surrogate
//! pairs, which no string can hold. The syntax was checked before.

use posthaste_types::limits::JSON_DEPTH_MAX;

/// What is wrong with a JSON text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unusable {
    #[error("must not be nested deeper than {JSON_DEPTH_MAX} levels")]
    TooDeep,
    #[error("must not hold half of a surrogate pair (\\ud800 to \\udfff alone)")]
    LoneSurrogate,
}

/// Looks at every byte once.
pub(crate) fn check(text: &str) -> Result<(), Unusable> {
    let bytes = text.as_bytes();
    let mut depth = 0;
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'"' => at = string(bytes, at + 1)?,
            b'{' | b'[' => {
                depth += 1;
                if depth > JSON_DEPTH_MAX {
                    return Err(Unusable::TooDeep);
                }
            }
            b'}' | b']' => depth -= 1,
            _ => {}
        }
        at += 1;
    }
    Ok(())
}

/// The index of the quote that ends the string whose text begins at `at`.
fn string(bytes: &[u8], mut at: usize) -> Result<usize, Unusable> {
    loop {
        at += memchr::memchr2(b'"', b'\\', &bytes[at..]).expect("checked JSON closes its strings");
        if bytes[at] == b'"' {
            return Ok(at);
        }
        at = match unit(bytes, at) {
            None => at + 2,
            Some(0xD800..=0xDBFF) if matches!(unit(bytes, at + 6), Some(0xDC00..=0xDFFF)) => at + 12,
            Some(0xD800..=0xDFFF) => return Err(Unusable::LoneSurrogate),
            Some(_) => at + 6,
        };
    }
}

/// The UTF-16 unit of a `\uXXXX` that begins at `at`.
fn unit(bytes: &[u8], at: usize) -> Option<u16> {
    let digits = bytes.get(at..at + 6)?.strip_prefix(b"\\u")?;
    u16::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn whole_pairs_and_other_escapes_pass_and_halves_do_not() {
        for text in [
            r#""😀""#,
            r#""\ud83d\ude00""#,
            r#""\u0000\n\"\\""#,
            r#"{"\\ud800": "\\"}"#,
            "-1.5e300",
            "null",
        ] {
            assert_eq!(check(text), Ok(()), "{text}");
        }
        for text in [
            r#""\ud83d""#,
            r#""\ude00\ud83d""#,
            r#""\uD83Dx""#,
            r#"{"\udc00": 1}"#,
            r#""\ud83d\u0041""#,
        ] {
            assert_eq!(check(text), Err(Unusable::LoneSurrogate), "{text}");
        }
    }

    #[test]
    fn nesting_is_counted_outside_strings() {
        let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert_eq!(check(&nested(JSON_DEPTH_MAX)), Ok(()));
        assert_eq!(check(&nested(JSON_DEPTH_MAX + 1)), Err(Unusable::TooDeep));
        assert_eq!(check(&format!("\"{}\"", "[{".repeat(JSON_DEPTH_MAX))), Ok(()));
    }

    proptest! {
        #[test]
        fn what_serde_json_writes_passes(text in ".*") {
            prop_assert_eq!(check(&serde_json::to_string(&text).unwrap()), Ok(()));
        }
    }
}

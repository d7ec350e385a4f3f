//! `Idempotency-Key` (draft-ietf-httpapi-idempotency-key-header-06) and the fingerprint of a request.

use posthaste_api::Problem;
use posthaste_store::Idempotency;
use posthaste_types::limits::IDEMPOTENCY_KEY_BYTES_MAX;
use sha2::{Digest as _, Sha256};
use warp::http::{HeaderMap, HeaderValue};

use crate::problems;

pub(crate) const IDEMPOTENCY_KEY: &str = "idempotency-key";

/// What makes the request idempotent, if the caller asked for it.
///
/// # Errors
/// 400 when the header is there twice or is no key.
pub(crate) fn of_request(
    headers: &HeaderMap,
    path: &str,
    body: &[u8],
) -> Result<Option<Idempotency>, Problem> {
    let mut values = headers.get_all(IDEMPOTENCY_KEY).iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    if values.next().is_some() {
        return Err(problems::parameter("`Idempotency-Key` may be given once"));
    }
    let key = key(value).ok_or_else(|| {
        problems::parameter(format!(
            "`Idempotency-Key` must be a string in double quotes, or a bare token, of 1 to \
             {IDEMPOTENCY_KEY_BYTES_MAX} characters"
        ))
    })?;
    Ok(Some(Idempotency {
        key,
        fingerprint: fingerprint(path, body),
    }))
}

/// SHA-256 over method, path and body; a line break, which neither of the first two can hold, keeps them apart.
fn fingerprint(path: &str, body: &[u8]) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update(b"POST\n");
    hash.update(path);
    hash.update(b"\n");
    hash.update(body);
    hash.finalize().into()
}

/// The key of a structured field's string (RFC 8941, section 3.3.3), its parameters left out, or of a bare token.
fn key(value: &HeaderValue) -> Option<String> {
    let text = value.to_str().ok()?.trim();
    let key = match text.strip_prefix('"') {
        Some(rest) => quoted(rest)?,
        None if text
            .bytes()
            .all(|byte| matches!(byte, b'!'..=b'~') && byte != b'"') =>
        {
            text.to_owned()
        }
        None => return None,
    };
    (1..=IDEMPOTENCY_KEY_BYTES_MAX)
        .contains(&key.len())
        .then_some(key)
}

fn quoted(rest: &str) -> Option<String> {
    let mut key = String::with_capacity(rest.len());
    let mut characters = rest.chars();
    loop {
        match characters.next()? {
            '"' => break,
            '\\' => match characters.next()? {
                escaped @ ('"' | '\\') => key.push(escaped),
                _ => return None,
            },
            character @ ' '..='~' => key.push(character),
            _ => return None,
        }
    }
    let after = characters.as_str().trim_start();
    (after.is_empty() || after.starts_with(';')).then_some(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Option<String> {
        key(&HeaderValue::from_str(text).unwrap())
    }

    #[test]
    fn a_quoted_string_and_a_bare_token_are_the_same_key() {
        assert_eq!(
            parsed("\"8e03978e-40d5-43dd\"").as_deref(),
            Some("8e03978e-40d5-43dd")
        );
        assert_eq!(
            parsed("8e03978e-40d5-43dd").as_deref(),
            Some("8e03978e-40d5-43dd")
        );
        assert_eq!(parsed(r#""a \"b\" \\ c";p=1"#).as_deref(), Some(r#"a "b" \ c"#));
    }

    #[test]
    fn what_is_no_key_is_refused() {
        let long = "a".repeat(IDEMPOTENCY_KEY_BYTES_MAX + 1);
        for text in [
            "",
            "\"\"",
            "\"a",
            "\"a\"b",
            "a b",
            "a\"b",
            r#""\n""#,
            long.as_str(),
        ] {
            assert_eq!(parsed(text), None, "{text}");
        }
        assert!(parsed(&long[1..]).is_some());
    }

    #[test]
    fn fingerprints_tell_bodies_and_paths_apart() {
        assert_eq!(fingerprint("/a", b"1"), fingerprint("/a", b"1"));
        assert_ne!(fingerprint("/a", b"1"), fingerprint("/a", b"2"));
        assert_ne!(fingerprint("/a", b"1"), fingerprint("/b", b"1"));
    }
}

//! `Idempotency-Key` (draft-ietf-httpapi-idempotency-key-header-06) and the fingerprint of a request.

use posthaste_api::Problem;
use posthaste_http::HttpResponse;
use posthaste_store::Idempotency;
use posthaste_types::limits::IDEMPOTENCY_KEY_BYTES_MAX;
use sha2::{Digest as _, Sha256};
use warp::http::{HeaderMap, HeaderValue};

use crate::problems;

const IDEMPOTENCY_KEY: &str = "idempotency-key";

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
        answer: None,
    }))
}

/// Says that the answer is that of an earlier request.
pub(crate) fn replayed(mut response: HttpResponse) -> HttpResponse {
    let headers = response.headers_mut();
    headers.insert("idempotent-replayed", HeaderValue::from_static("true"));
    response
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

/// The key of a structured field's string (RFC 8941, section 3.3.3), whose parameters say nothing to us, or of a bare
/// token. What lists and parameters are made of is no part of a bare token, so that two headers joined by a proxy are
/// no key.
fn key(value: &HeaderValue) -> Option<String> {
    let text = value.to_str().ok()?.trim();
    let is_bare = |byte: u8| matches!(byte, b'!'..=b'~') && !matches!(byte, b'"' | b',' | b';');
    let key = match text.strip_prefix('"') {
        Some(rest) => {
            let (key, after) = quoted(rest)?;
            are_parameters(after).then_some(key)?
        }
        None if text.bytes().all(is_bare) => text.to_owned(),
        None => return None,
    };
    (1..=IDEMPOTENCY_KEY_BYTES_MAX)
        .contains(&key.len())
        .then_some(key)
}

/// The string whose text begins here, after its opening quote, and what comes after it.
fn quoted(rest: &str) -> Option<(String, &str)> {
    let mut key = String::with_capacity(rest.len());
    let mut characters = rest.chars();
    loop {
        match characters.next()? {
            '"' => return Some((key, characters.as_str())),
            '\\' => match characters.next()? {
                escaped @ ('"' | '\\') => key.push(escaped),
                _ => return None,
            },
            character @ ' '..='~' => key.push(character),
            _ => return None,
        }
    }
}

/// Whether this is `;name` or `;name=value` any number of times.
fn are_parameters(mut text: &str) -> bool {
    while !text.is_empty() {
        let Some(parameter) = text.strip_prefix(';') else {
            return false;
        };
        let parameter = parameter.trim_start_matches(' ');
        let is_name = |character: char| {
            character.is_ascii_lowercase() || character.is_ascii_digit() || "_-.*".contains(character)
        };
        let end = parameter
            .find(|character| !is_name(character))
            .unwrap_or(parameter.len());
        if !parameter.starts_with(|first: char| first.is_ascii_lowercase() || first == '*') {
            return false;
        }
        text = &parameter[end..];
        if let Some(value) = text.strip_prefix('=') {
            let Some(after) = after_value(value) else {
                return false;
            };
            text = after;
        }
    }
    true
}

/// What comes after a parameter's value, a string or anything without spaces.
fn after_value(value: &str) -> Option<&str> {
    if let Some(rest) = value.strip_prefix('"') {
        return quoted(rest).map(|(_, after)| after);
    }
    let end = value.find([';', ' ', ',', '"']).unwrap_or(value.len());
    (end > 0).then(|| &value[end..])
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
            "a,b",
            "a;b",
            r#""a", "b""#,
            r#""a";"#,
            r#""a";P=1"#,
            r#""a";p="#,
            r#""a" x"#,
            r#""\n""#,
            long.as_str(),
        ] {
            assert_eq!(parsed(text), None, "{text}");
        }
        assert!(parsed(&long[1..]).is_some());
        for bytes in ["é".as_bytes(), "\"é\"".as_bytes(), b"\xff"] {
            assert_eq!(key(&HeaderValue::from_bytes(bytes).unwrap()), None, "{bytes:?}");
        }
    }

    #[test]
    fn parameters_are_no_part_of_the_key() {
        for parameters in ["", ";p", ";p=1;q=\"x;\\\"\"", "; *a-b.c_1=:aGk=:", ";a=?1; b"] {
            assert_eq!(
                parsed(&format!("\"k\"{parameters}")).as_deref(),
                Some("k"),
                "{parameters}"
            );
        }
    }

    #[test]
    fn the_header_may_be_there_once() {
        let mut headers = HeaderMap::new();
        assert_eq!(of_request(&headers, "/a", b"").unwrap(), None);
        headers.append(IDEMPOTENCY_KEY, HeaderValue::from_static("one"));
        assert!(of_request(&headers, "/a", b"").unwrap().is_some());
        headers.append(IDEMPOTENCY_KEY, HeaderValue::from_static("one"));
        assert_eq!(of_request(&headers, "/a", b"").unwrap_err().status, 400);
    }

    #[test]
    fn fingerprints_tell_bodies_and_paths_apart() {
        assert_eq!(fingerprint("/a", b"1"), fingerprint("/a", b"1"));
        assert_ne!(fingerprint("/a", b"1"), fingerprint("/a", b"2"));
        assert_ne!(fingerprint("/a", b"1"), fingerprint("/b", b"1"));
    }
}

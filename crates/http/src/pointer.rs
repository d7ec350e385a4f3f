//! From a JSON error's line and column to the JSON Pointer (RFC 6901) of the value that is wrong.
//!
//! Runs only when a request is refused, so that the way of a good request pays nothing for good errors.

use std::borrow::Cow;

use posthaste_api::{Problem, pointer_step};
use posthaste_types::ErrorCode;
use serde_json::error::Category;

/// Where the scan stands inside one object or array.
enum Step {
    /// The present key with its quotes, once it was read.
    Object(Option<std::ops::Range<usize>>),
    /// The present index.
    Array(usize),
}

/// The problem for `error`, met in `text`.
pub(crate) fn problem(text: &[u8], prefix: &str, error: &serde_json::Error) -> Problem {
    let full = error.to_string();
    let place = format!(" at line {} column {}", error.line(), error.column());
    let message = &without_type_names(cut(full.strip_suffix(&place).unwrap_or(&full)).as_ref());
    if error.classify() != Category::Data {
        return Problem::new(
            ErrorCode::InvalidRequest,
            format!("the body is not JSON: {message}{place}"),
        );
    }
    let mut pointer = prefix.to_owned();
    pointer.push_str(&pointer_at(text, offset_of(text, error)));
    if let Some(field) = message
        .strip_prefix("missing field `")
        .and_then(|rest| rest.strip_suffix('`'))
    {
        pointer.push_str(&pointer_step(field));
    }
    up_to_bound(&mut pointer);
    Problem::new(
        ErrorCode::InvalidRequest,
        format!("the body is not as it must be: {message}{place}"),
    )
    .with_field(pointer, message)
}

/// serde quotes what it met, which may be as long as the body; the end of its text says what it wanted.
fn cut(message: &str) -> Cow<'_, str> {
    const HALF: usize = 200;
    if message.len() <= 2 * HALF {
        return message.into();
    }
    let head = &message[..message.floor_char_boundary(HALF)];
    let tail = &message[message.floor_char_boundary(message.len() - HALF)..];
    format!("{head}…{tail}").into()
}

/// Members' names are the caller's, and may be as long as the body: past the bound the pointer names what holds them.
fn up_to_bound(pointer: &mut String) {
    const BOUND: usize = 400;
    if pointer.len() > BOUND {
        let kept = pointer.floor_char_boundary(BOUND);
        pointer.truncate(pointer[..kept].rfind('/').unwrap_or(0));
    }
}

/// serde names the Rust type that it expected, which is no caller's business.
fn without_type_names(message: &str) -> String {
    let Some((before, expected)) = message.rsplit_once(", expected ") else {
        return message.to_owned();
    };
    let expected = match expected {
        "i16" | "i32" | "i64" | "u8" | "u16" | "u32" | "u64" | "usize" => "a whole number",
        "f32" | "f64" => "a number",
        "a sequence" => "an array",
        "a map" => "an object",
        name if name.starts_with("struct ") => "an object",
        other => other,
    };
    format!("{before}, expected {expected}")
}

/// The last byte that the parser had read: its columns count bytes from 1.
fn offset_of(text: &[u8], error: &serde_json::Error) -> usize {
    let line_start = match error.line() {
        0 | 1 => 0,
        line => memchr::memchr_iter(b'\n', text)
            .nth(line - 2)
            .map_or(0, |newline| newline + 1),
    };
    line_start + error.column().saturating_sub(1)
}

/// The pointer of the value, or of the member's name, that covers `offset`. `text` is JSON up to there.
fn pointer_at(text: &[u8], offset: usize) -> String {
    let mut path: Vec<Step> = Vec::new();
    let mut at = 0;
    while at <= offset && at < text.len() {
        match text[at] {
            b'{' => path.push(Step::Object(None)),
            b'[' => path.push(Step::Array(0)),
            b'}' | b']' if at == offset => {
                // The whole object is meant, not its last member.
                path.pop();
            }
            b'}' | b']' => {
                path.pop();
            }
            b',' => match path.last_mut() {
                Some(Step::Object(key)) => *key = None,
                Some(Step::Array(index)) => *index += 1,
                None => {}
            },
            b'"' => {
                let end = string_end(text, at);
                if let Some(Step::Object(key @ None)) = path.last_mut() {
                    *key = Some(at..end);
                }
                at = end - 1;
            }
            _ => {}
        }
        at += 1;
    }
    render(text, &path)
}

/// The index past the closing quote of the string that begins at `start`.
fn string_end(text: &[u8], start: usize) -> usize {
    let mut at = start + 1;
    while at < text.len() {
        match text[at] {
            b'\\' => at += 2,
            b'"' => return at + 1,
            _ => at += 1,
        }
    }
    text.len()
}

fn render(text: &[u8], path: &[Step]) -> String {
    let mut pointer = String::new();
    for step in path {
        match step {
            Step::Array(index) => pointer.push_str(&pointer_step(&index.to_string())),
            Step::Object(Some(key)) => {
                let name: String = serde_json::from_slice(&text[key.clone()]).unwrap_or_default();
                pointer.push_str(&pointer_step(&name));
            }
            Step::Object(None) => {}
        }
    }
    pointer
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "only what parsing refuses is looked at")]
    struct Outer {
        name: String,
        #[serde(default)]
        list: Vec<Inner>,
        #[serde(default)]
        map: BTreeMap<String, u8>,
        inner: Option<Inner>,
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "only what parsing refuses is looked at")]
    struct Inner {
        number: u8,
    }

    fn pointer(text: &str) -> String {
        let error = serde_json::from_str::<Outer>(text).unwrap_err();
        problem(text.as_bytes(), "", &error)
            .errors
            .first()
            .map_or("none".to_owned(), |field| field.pointer.clone())
    }

    #[test]
    fn a_wrong_value_is_named_by_its_pointer() {
        for (text, expected) in [
            (r#"{"name": 3}"#, "/name"),
            (r#"{"name": {"a": 1}}"#, "/name"),
            (r#"{"name": "a", "nome": 1}"#, "/nome"),
            (r#"{"list": []}"#, "/name"),
            (
                r#"{"name": "}]\"", "list": [{"number": 1}, {"number": "x"}]}"#,
                "/list/1/number",
            ),
            (
                r#"{"name": "", "list": [{"number": 1}, {"other": 1}]}"#,
                "/list/1/other",
            ),
            (r#"{"name": "", "list": [{"number": 1}, {}]}"#, "/list/1/number"),
            (r#"{"name": "", "list": [7]}"#, "/list/0"),
            (r#"{"name": "", "map": {"a/b~c": 256}}"#, "/map/a~1b~0c"),
            (r#"{"name": "", "name": ""}"#, "/name"),
            (
                "{\n \"name\": \"\",\n \"inner\": {\n  \"number\": -1}}",
                "/inner/number",
            ),
            ("3", ""),
            (r#""text""#, ""),
        ] {
            assert_eq!(pointer(text), expected, "{text}");
        }
    }

    #[test]
    fn rusts_type_names_are_not_told() {
        for (text, expected) in [
            (r#"{"name": "", "inner": 7}"#, "expected an object"),
            (
                r#"{"name": "", "list": [{"number": 1e3}]}"#,
                "expected a whole number",
            ),
            (
                r#"{"name": "", "list": [{"number": 256}]}"#,
                "expected a whole number",
            ),
            (r#"{"name": "", "list": 7}"#, "expected an array"),
            (r#"{"name": "", "map": 7}"#, "expected an object"),
        ] {
            let error = serde_json::from_str::<Outer>(text).unwrap_err();
            let problem = problem(text.as_bytes(), "", &error);
            assert!(problem.errors[0].detail.ends_with(expected), "{}", problem.detail);
        }
    }

    #[test]
    fn what_was_sent_is_not_sent_back_at_length() {
        let text = format!(r#"{{"name": "", "inner": "{}"}}"#, "é".repeat(10_000));
        let error = serde_json::from_str::<Outer>(&text).unwrap_err();
        let problem = problem(text.as_bytes(), "", &error);
        assert!(
            problem.detail.len() < 600 && problem.detail.contains("expected an object"),
            "{}",
            problem.detail
        );
        for (text, expected) in [
            (
                format!(r#"{{"name": "", "map": {{"{}": 256}}}}"#, "é".repeat(10_000)),
                "/map",
            ),
            (format!(r#"{{"name": "", "{}": 1}}"#, "x".repeat(10_000)), ""),
        ] {
            assert_eq!(pointer(&text), expected);
        }
    }

    #[test]
    fn what_is_no_json_is_named_by_line_and_column_alone() {
        let text = "{\"name\": \"a\",\n]";
        let error = serde_json::from_str::<Outer>(text).unwrap_err();
        let problem = problem(text.as_bytes(), "", &error);
        assert!(problem.errors.is_empty());
        assert!(problem.detail.contains("line 2 column 1"), "{}", problem.detail);
    }
}

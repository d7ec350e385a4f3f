//! The body of one task, parsed; what is wrong with it is told as helpfully as is cheap.

use posthaste_api::{FieldProblem, Problem, SubmitRequest};
use posthaste_http::parse_json;
use posthaste_types::ErrorCode;

use crate::json_text;

/// The request in `text`, which stands at `prefix` in the body.
///
/// # Errors
/// 400 with a JSON Pointer to what is wrong.
pub(crate) fn parse(text: &[u8], prefix: &str) -> Result<SubmitRequest, Problem> {
    let request = parse_json(text, prefix).map_err(with_nearest)?;
    json_text::check(text).map_err(|unusable| {
        let pointer = format!("{prefix}{}", unusable.pointer);
        let detail = format!("`{pointer}` {}", unusable.detail);
        Problem::new(ErrorCode::InvalidRequest, detail).with_field(pointer, unusable.detail)
    })?;
    Ok(request)
}

/// Names the field that was probably meant, where one is unknown.
fn with_nearest(mut problem: Problem) -> Problem {
    if let Some(meant) = problem.errors.first().and_then(meant) {
        let hint = format!("; did you mean `{meant}`?");
        problem.detail.push_str(&hint);
        if let Some(field) = problem.errors.first_mut() {
            field.detail.push_str(&hint);
        }
    }
    problem
}

/// serde's text names the unknown field and then those that there are, in back quotes.
fn meant(field: &FieldProblem) -> Option<String> {
    const LETTERS_MAX: usize = 2;
    let mut names = field
        .detail
        .strip_prefix("unknown field `")?
        .split('`')
        .step_by(2);
    let unknown = names.next()?;
    // A longer one is none of ours; comparing it would cost more than it helps.
    if unknown.len() > 32 {
        return None;
    }
    let nearest = names
        .filter(|name| !name.is_empty())
        .map(|name| (distance(unknown, name), name))
        .min()?;
    (nearest.0 <= LETTERS_MAX).then(|| nearest.1.to_owned())
}

/// How many letters must be put in, left out or replaced to make one of the other (Levenshtein).
fn distance(one: &str, other: &str) -> usize {
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (index, letter) in one.bytes().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], index + 1);
        for (place, candidate) in other.bytes().enumerate() {
            let replaced = diagonal + usize::from(letter != candidate);
            diagonal = row[place + 1];
            row[place + 1] = replaced.min(diagonal + 1).min(row[place] + 1);
        }
    }
    row[other.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn detail(text: &str) -> String {
        parse(text.as_bytes(), "").unwrap_err().errors.remove(0).detail
    }

    #[test]
    fn an_unknown_field_is_named_with_the_nearest_one() {
        for (text, wanted) in [
            (r#"{"type": "a", "prority": 1}"#, "; did you mean `priority`?"),
            (r#"{"type": "a", "Queue": "b"}"#, "; did you mean `queue`?"),
            (
                r#"{"type": "a", "retry": {"max_atempts": 1}}"#,
                "; did you mean `max_attempts`?",
            ),
        ] {
            let detail = detail(text);
            assert!(
                detail.starts_with("unknown field") && detail.ends_with(wanted),
                "{detail}"
            );
        }
        assert!(!detail(r#"{"type": "a", "colour": 1}"#).contains("did you mean"));
    }

    #[test]
    fn distances_are_counted_in_letters() {
        for (one, other, wanted) in [
            ("", "", 0),
            ("a", "", 1),
            ("abc", "abd", 1),
            ("type", "typo", 1),
            ("ab", "ba", 2),
        ] {
            assert_eq!(distance(one, other), wanted, "{one} {other}");
        }
    }
}

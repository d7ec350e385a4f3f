//! The body of one task, parsed; what is wrong with it is told as helpfully as is cheap.

use posthaste_api::{FieldProblem, Problem, SubmitRequest};
use posthaste_http::parse_json;
use posthaste_runtime::nearest;

/// The request in `text`, which stands at `prefix` in the body.
///
/// # Errors
/// 400 with a JSON Pointer to what is wrong.
pub(crate) fn parse(text: &[u8], prefix: &str) -> Result<SubmitRequest, Problem> {
    parse_json(text, prefix).map_err(with_nearest)
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
    let known: Vec<&str> = names.filter(|name| !name.is_empty()).collect();
    nearest(unknown, &known).map(str::to_owned)
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
}

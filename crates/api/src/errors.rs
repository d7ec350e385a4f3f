//! The page of error codes, made from the codes themselves.

use std::fmt::Write as _;

use posthaste_types::ErrorCode;

const HEAD: &str = "\
# Error codes

Every refusal is a problem document (RFC 9457, `application/problem+json`). Programs decide by its `code`, which never
changes its meaning; `detail` is for people and may change. `errors`, where it is there, names each wrong field of the
body by a JSON Pointer. The same code stands in a task of a batch that was refused alone.

A request may be sent again unchanged after 408, 429, 500 and 503, and after `idempotency_in_progress`: for a submission
use the same `Idempotency-Key` each time. Everything else will be refused again.
";

/// `docs/errors.md`.
pub fn errors_markdown() -> String {
    let mut text = HEAD.to_owned();
    for code in ErrorCode::ALL {
        let (name, status) = (code.as_str(), code.status());
        let (title, cause, cure) = (code.title(), code.cause(), code.cure());
        write!(
            text,
            "\n## {name}\n\n{status} · {title}\n\n- Cause: {cause}\n- Cure: {cure}\n"
        )
        .expect("a text takes everything");
    }
    text
}

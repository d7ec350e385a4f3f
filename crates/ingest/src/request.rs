//! The body of one task, parsed; what is wrong with it is told as helpfully as is cheap.

use posthaste_api::{Problem, SubmitRequest};
use posthaste_http::parse_json;

/// The request in `text`, which stands at `prefix` in the body.
///
/// # Errors
/// 400 with a JSON Pointer to what is wrong.
pub(crate) fn parse(text: &[u8], prefix: &str) -> Result<SubmitRequest, Problem> {
    parse_json(text, prefix)
}

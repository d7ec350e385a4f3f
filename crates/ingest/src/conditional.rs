//! Entity tags (RFC 9110, section 8.8.3): made from a task's version, which changes with every change.

use posthaste_types::Task;
use warp::http::header::IF_NONE_MATCH;
use warp::http::{HeaderMap, HeaderValue};

/// The task's entity tag.
pub(crate) fn etag(task: &Task) -> HeaderValue {
    HeaderValue::from_str(&tag(task)).expect("digits in quotes are header text")
}

fn tag(task: &Task) -> String {
    format!("\"{}\"", task.version)
}

/// Whether the caller has told what it holds.
pub(crate) fn is_conditional(headers: &HeaderMap) -> bool {
    headers.contains_key(IF_NONE_MATCH)
}

/// Whether the caller holds the task as it is; weak comparison, as `If-None-Match` asks for.
pub(crate) fn holds(headers: &HeaderMap, task: &Task) -> bool {
    let present = tag(task);
    headers
        .get_all(IF_NONE_MATCH)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .any(|value| {
            value
                .split(',')
                .map(str::trim)
                .any(|held| held == "*" || held.strip_prefix("W/").unwrap_or(held) == present)
        })
}

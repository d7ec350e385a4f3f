//! Pages of a list: how many are asked for, and where the next begins.

use std::fmt::Display;

use posthaste_api::Problem;
use posthaste_http::Query;
use posthaste_types::limits::{PAGE_ACCESS_COUNT_DEFAULT, PAGE_ACCESS_COUNT_MAX};

/// The parameter `limit`.
pub(crate) fn limit(query: &mut Query) -> Result<usize, Problem> {
    query.limit(PAGE_ACCESS_COUNT_DEFAULT, PAGE_ACCESS_COUNT_MAX)
}

/// Cuts what was read, one more than `limit`, to the page; the cursor of the next one when there is more.
pub(crate) fn cut<T, I: Display>(rows: &mut Vec<T>, limit: usize, id: impl Fn(&T) -> I) -> Option<String> {
    let is_more = rows.len() > limit;
    rows.truncate(limit);
    rows.last().filter(|_| is_more).map(|row| id(row).to_string())
}

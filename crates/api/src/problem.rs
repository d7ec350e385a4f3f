//! Problem documents (RFC 9457).

use posthaste_types::ErrorCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::openapi::shapes;

/// `application/problem+json`.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Problem {
    /// A URI reference that names the kind of problem: `/docs/errors#<code>`.
    #[serde(rename = "type")]
    #[schema(value_type = shapes::ProblemType)]
    pub kind: String,
    /// The same for every occurrence.
    pub title: String,
    /// HTTP status.
    #[schema(value_type = shapes::HttpStatus)]
    pub status: u16,
    /// Stable, for programs.
    #[schema(value_type = shapes::ErrorCode)]
    pub code: String,
    /// What the caller can do about this occurrence.
    pub detail: String,
    /// Fields that are wrong.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<FieldProblem>,
    /// Seconds after which another try may fare better: the header `Retry-After`, and not in the document.
    #[serde(skip)]
    pub retry_after_s: Option<u64>,
}

/// A field that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FieldProblem {
    /// JSON Pointer (RFC 6901) into the request body.
    pub pointer: String,
    /// What it must be.
    pub detail: String,
}

/// A step of a JSON Pointer: a slash and the name, escaped as RFC 6901, section 3, says.
pub fn pointer_step(name: &str) -> String {
    format!("/{}", name.replace('~', "~0").replace('/', "~1"))
}

impl Problem {
    /// A problem of a known code.
    pub fn new(code: ErrorCode, detail: impl Into<String>) -> Self {
        Self {
            kind: format!("/docs/errors#{}", code.as_str()),
            title: code.title().to_owned(),
            status: code.status(),
            code: code.as_str().to_owned(),
            detail: detail.into(),
            errors: Vec::new(),
            retry_after_s: None,
        }
    }

    /// Says when to come again, in place of what the status alone would say.
    #[must_use]
    pub const fn with_retry_after(mut self, seconds: u64) -> Self {
        self.retry_after_s = Some(seconds);
        self
    }

    /// Adds a field that is wrong.
    #[must_use]
    pub fn with_field(mut self, pointer: impl Into<String>, detail: impl Into<String>) -> Self {
        self.errors.push(FieldProblem {
            pointer: pointer.into(),
            detail: detail.into(),
        });
        self
    }
}

//! Why a call did not give what was asked for.

use posthaste_api::Problem;

/// An error of a call.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The address is not one.
    #[error("`{0}` is not an http or https address")]
    Address(String),
    /// The server could not be reached, or the connection broke.
    #[error("cannot reach the server")]
    Unreachable(#[source] reqwest::Error),
    /// The server answered with a problem document.
    #[error("{}: {}", .0.title, .0.detail)]
    Refused(Box<Problem>),
    /// The answer is not what the contract says.
    #[error("unexpected answer: {0}")]
    Unexpected(String),
    /// What was waited for did not happen in time.
    #[error("timed out waiting")]
    TimedOut,
}

impl Error {
    /// Whether the same call may succeed later.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Unreachable(_) => true,
            Self::Refused(problem) => matches!(problem.status, 408 | 429 | 500..) || is_in_progress(problem),
            Self::Address(_) | Self::Unexpected(_) | Self::TimedOut => false,
        }
    }
}

/// The first request under our key is still being stored; its outcome is what we ask for.
fn is_in_progress(problem: &Problem) -> bool {
    problem.code == posthaste_types::ErrorCode::IdempotencyInProgress.as_str()
}

//! Why a call did not give what was asked for.

use posthaste_api::Problem;
use posthaste_types::ErrorCode;
use posthaste_types::api_key::InvalidApiKey;

/// An error of a call.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The address is not one.
    #[error("`{0}` is not an http or https address")]
    Address(String),
    /// The API key is none; nothing was sent.
    #[error("the API key cannot be one")]
    Key(#[source] InvalidApiKey),
    /// The certificates to trust cannot be read as PEM.
    #[error("the certificate authority is not PEM")]
    Authority(#[source] reqwest::Error),
    /// What was to be sent cannot be, an idempotency key of other characters than visible ASCII for one; nothing was sent.
    #[error("the request cannot be made")]
    Request(#[source] reqwest::Error),
    /// The server could not be reached, or the connection broke.
    #[error("cannot reach the server")]
    Unreachable(#[source] reqwest::Error),
    /// The server answered with a problem document.
    #[error("{}: {}", .0.title, .0.detail)]
    Refused(Box<Problem>),
    /// Something between answered with this status: it is no answer of the contract.
    #[error(
        "unexpected answer: status {0} without a problem document; is there a Posthaste at this address?"
    )]
    Gateway(u16),
    /// The answer is not what the contract says.
    #[error("unexpected answer: {0}")]
    Unexpected(String),
    /// What was waited for did not happen in time.
    #[error("timed out waiting")]
    TimedOut,
}

impl Error {
    /// Why no answer came.
    pub(crate) fn unsent(error: reqwest::Error) -> Self {
        if error.is_builder() {
            Self::Request(error)
        } else {
            Self::Unreachable(error)
        }
    }

    /// Whether the same call may succeed later.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Unreachable(_) => true,
            Self::Refused(problem) => passes(problem.status) || is_in_progress(problem),
            Self::Gateway(status) => passes(*status),
            Self::Address(_)
            | Self::Key(_)
            | Self::Authority(_)
            | Self::Request(_)
            | Self::Unexpected(_)
            | Self::TimedOut => false,
        }
    }
}

/// Statuses that say "later".
const fn passes(status: u16) -> bool {
    matches!(status, 408 | 429 | 502 | 503 | 504)
}

/// The first request under our key is still being stored; its outcome is what we ask for.
fn is_in_progress(problem: &Problem) -> bool {
    problem.code == ErrorCode::IdempotencyInProgress.as_str()
}

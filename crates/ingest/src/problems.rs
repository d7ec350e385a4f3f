//! From the store's errors to what callers are told. The internal text goes to the log, once, and never out.

use std::fmt::Display;

use posthaste_api::Problem;
use posthaste_runtime::chain;
use posthaste_store::{Error, ErrorKind};
use posthaste_types::{ErrorCode, TaskId};

/// Nobody has this task, or another tenant has it.
pub(crate) fn no_task(id: &impl Display) -> Problem {
    Problem::new(ErrorCode::NotFound, format!("there is no task `{id}`"))
}

/// The id of a path; what is no id names no task.
pub(crate) fn task_id(text: &str) -> Result<TaskId, Problem> {
    text.parse()
        .map_err(|_| no_task(&text.chars().take(100).collect::<String>()))
}

/// 400 about a header or a query parameter.
pub(crate) fn parameter(detail: impl Into<String>) -> Problem {
    Problem::new(ErrorCode::InvalidParameter, detail)
}

/// A read that failed.
pub(crate) fn read(error: &Error) -> Problem {
    of(error, "the task store cannot be read now; try again")
}

/// A submission that failed. Whether it was stored may be unknown.
pub(crate) fn submission(error: &Error) -> Problem {
    of(
        error,
        "the task could not be stored in time; send it again, with an Idempotency-Key so that it surely exists once",
    )
}

/// A change of a task that failed. Whether it was made may be unknown.
pub(crate) fn change(error: &Error) -> Problem {
    of(
        error,
        "the change could not be confirmed; look at the task and try again",
    )
}

/// An answer that cannot be written or read as JSON: a bug.
pub(crate) fn unwritable(error: &serde_json::Error) -> Problem {
    tracing::error!(error = %chain(error), "an answer is no JSON");
    internal()
}

fn internal() -> Problem {
    Problem::new(
        ErrorCode::Internal,
        "something went wrong here; the server's log has the reason",
    )
}

fn of(error: &Error, unavailable: &str) -> Problem {
    let kind = error.kind();
    match kind {
        // The store reminds of an absence itself; a line for each request would drown it.
        ErrorKind::Unavailable => {
            tracing::debug!(error = %chain(error), "the store is not available");
            Problem::new(ErrorCode::Unavailable, unavailable)
        }
        ErrorKind::Setup => {
            tracing::error!(error = %chain(error), "the store is not set up");
            Problem::new(
                ErrorCode::Unavailable,
                "the task store is not set up yet; the server's log says what is missing",
            )
        }
        ErrorKind::BadRow => {
            tracing::error!(error = %chain(error), "the store refused a value that had passed our checks");
            Problem::new(ErrorCode::InvalidRequest, "a value cannot be stored")
        }
        ErrorKind::Internal => {
            tracing::error!(error = %chain(error), "the store failed");
            internal()
        }
    }
}

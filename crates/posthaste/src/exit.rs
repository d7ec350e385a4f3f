//! Exit codes, and which error gets which.

use std::fmt;
use std::io;
use std::process::ExitCode;

use posthaste_runtime::config::ConfigError;
use posthaste_runtime::telemetry::TelemetryError;
use posthaste_types::TaskState;

/// How a command ended that did what it was told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    Done,
    /// The task failed, was cancelled or expired; a check found what it looked for.
    Negative,
}

/// What a command was given cannot be used: a context for the error that tells why.
#[derive(Debug)]
pub(crate) struct Usage(pub(crate) String);

impl fmt::Display for Usage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Outcome {
    /// By the state in which a task ended.
    pub(crate) fn of(state: TaskState) -> Self {
        if state == TaskState::Done {
            Self::Done
        } else {
            Self::Negative
        }
    }
}

/// The process's exit code; an error is told on standard error, a refusal in JSON where that was asked for.
pub(crate) fn code(result: anyhow::Result<Outcome>, json: bool) -> ExitCode {
    match result {
        Ok(Outcome::Done) => ExitCode::SUCCESS,
        Ok(Outcome::Negative) => ExitCode::from(1),
        // The reader of our output has seen enough.
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            if let (true, Some(posthaste_client::Error::Refused(problem))) = (json, error.downcast_ref()) {
                crate::output::note_json(problem);
                return ExitCode::from(code_of(&error));
            }
            crate::output::note(format_args!("error: {error:#}"));
            if let Some(posthaste_client::Error::Refused(problem)) = error.downcast_ref() {
                for field in &problem.errors {
                    crate::output::note(format_args!("  {}: {}", field.pointer, field.detail));
                }
                if let Some(advice) = advice(problem.status) {
                    crate::output::note(advice);
                }
            }
            ExitCode::from(code_of(&error))
        }
    }
}

/// What to do about a refusal at the door.
fn advice(status: u16) -> Option<&'static str> {
    match status {
        401 => Some(
            "give a key with --api-key or POSTHASTE_KEY; `posthaste keys create` makes one, where the database can be reached",
        ),
        403 => Some("give another key with --api-key or POSTHASTE_KEY"),
        _ => None,
    }
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error
        .downcast_ref::<io::Error>()
        .is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

fn is_log_level(error: &anyhow::Error) -> bool {
    matches!(
        error.downcast_ref(),
        Some(TelemetryError::Filter(_) | TelemetryError::Level(_))
    )
}

pub(crate) fn code_of(error: &anyhow::Error) -> u8 {
    use posthaste_client::Error as Client;
    match error.downcast_ref::<Client>() {
        Some(Client::Address(_) | Client::Key(_) | Client::Authority(_) | Client::Request(_)) => 2,
        Some(Client::Unreachable(_)) => 3,
        Some(Client::Refused(_) | Client::Gateway(_) | Client::Unexpected(_)) => 4,
        Some(Client::TimedOut) => 124,
        None if error.is::<Usage>() || error.is::<ConfigError>() || is_log_level(error) => 2,
        None => 1,
    }
}

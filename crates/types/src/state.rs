//! The states of a task and the one function that decides what may follow what.
//!
//! The SQL of `posthaste-store` mirrors this table; a test there compares every pair.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Where a task stands. The text forms are fixed by the HTTP contract and by the SQL enum.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum TaskState {
    /// Stored with a not-before time. Set by the submission; durable is the row and a timer.
    Scheduled,
    /// Ready to run. Set by the submission, or by the scheduler when a timer fired; durable is an outbox row that
    /// carries the task to its topic.
    Init,
    /// Claimed by a worker. Set by the claim, which has counted the attempt and stored a new token.
    Running,
    /// An attempt failed and another is to come. Set by the worker; durable is the failed attempt and a timer.
    Retrying,
    /// Final: the handler answered. Durable are the result and its event's outbox row.
    Done,
    /// Final: attempts are used up or the handler said never again. Durable are the error and its event's outbox row.
    Failed,
    /// Final: cancelled by a caller. Durable is the event's outbox row; a running attempt's write will be refused.
    Cancelled,
    /// Final: the deadline passed before the task ran. Durable is the event's outbox row.
    Expired,
}

/// What can happen to a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TaskEvent {
    /// The not-before time or the back-off is over.
    Due,
    /// A worker takes the task, or takes it over from an owner that lost its partition.
    Claim,
    /// The handler answered.
    Succeed,
    /// The attempt failed and the policy allows another.
    Retry,
    /// The attempt failed for good.
    Fail,
    /// A caller cancelled it.
    Cancel,
    /// Its deadline passed.
    Expire,
    /// A caller asked to run a finished task once more, as a new run.
    Rerun,
}

/// The event that a change of state publishes to the results topic, in the contract's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum EventKind {
    /// A handler has been running long enough to tell.
    #[serde(rename = "task.running")]
    Running,
    /// A handler reported progress.
    #[serde(rename = "task.progress")]
    Progress,
    /// An attempt failed; another is to come.
    #[serde(rename = "task.retrying")]
    Retrying,
    /// The task is done.
    #[serde(rename = "task.done")]
    Done,
    /// The task failed for good.
    #[serde(rename = "task.failed")]
    Failed,
    /// The task was cancelled.
    #[serde(rename = "task.cancelled")]
    Cancelled,
    /// The task's deadline passed.
    #[serde(rename = "task.expired")]
    Expired,
}

/// A change that the present state does not allow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a task that is {state} cannot {event}")]
pub struct InvalidTransition {
    /// The state that refused.
    pub state: TaskState,
    /// What was tried.
    pub event: TaskEvent,
}

impl TaskState {
    /// Every state, in the order of the SQL enum.
    pub const ALL: [Self; 8] = [
        Self::Scheduled,
        Self::Init,
        Self::Running,
        Self::Retrying,
        Self::Done,
        Self::Failed,
        Self::Cancelled,
        Self::Expired,
    ];

    /// The state after `event`.
    ///
    /// # Errors
    /// [`InvalidTransition`] when this state does not allow it; nothing may then be written.
    pub const fn apply(self, event: TaskEvent) -> Result<Self, InvalidTransition> {
        use TaskEvent as E;
        match (self, event) {
            (Self::Scheduled | Self::Retrying, E::Due) => Ok(Self::Init),
            (Self::Init | Self::Running, E::Claim) => Ok(Self::Running),
            (Self::Running, E::Succeed) => Ok(Self::Done),
            (Self::Running, E::Retry) => Ok(Self::Retrying),
            (Self::Running, E::Fail) => Ok(Self::Failed),
            (Self::Scheduled | Self::Init | Self::Running | Self::Retrying, E::Cancel) => Ok(Self::Cancelled),
            (Self::Scheduled | Self::Init | Self::Retrying, E::Expire) => Ok(Self::Expired),
            (Self::Done | Self::Failed | Self::Cancelled | Self::Expired, E::Rerun) => Ok(Self::Init),
            (state, event) => Err(InvalidTransition { state, event }),
        }
    }

    /// Whether nothing but a rerun can follow.
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Done | Self::Failed | Self::Cancelled | Self::Expired)
    }

    /// The event that entering this state publishes; none for the states that only the record shows.
    pub const fn entry_event(self) -> Option<EventKind> {
        match self {
            Self::Scheduled | Self::Init => None,
            Self::Running => Some(EventKind::Running),
            Self::Retrying => Some(EventKind::Retrying),
            Self::Done => Some(EventKind::Done),
            Self::Failed => Some(EventKind::Failed),
            Self::Cancelled => Some(EventKind::Cancelled),
            Self::Expired => Some(EventKind::Expired),
        }
    }

    /// The contract's text, also the label of the SQL enum and the symbol of the Avro enum.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Scheduled => "SCHEDULED",
            Self::Init => "INIT",
            Self::Running => "RUNNING",
            Self::Retrying => "RETRYING",
            Self::Done => "DONE",
            Self::Failed => "FAILED",
            Self::Cancelled => "CANCELLED",
            Self::Expired => "EXPIRED",
        }
    }
}

impl TaskEvent {
    /// Everything that can happen.
    pub const ALL: [Self; 8] = [
        Self::Due,
        Self::Claim,
        Self::Succeed,
        Self::Retry,
        Self::Fail,
        Self::Cancel,
        Self::Expire,
        Self::Rerun,
    ];

    /// A verb that reads after "cannot".
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Due => "become due",
            Self::Claim => "be claimed",
            Self::Succeed => "succeed",
            Self::Retry => "be retried by its worker",
            Self::Fail => "fail",
            Self::Cancel => "be cancelled",
            Self::Expire => "expire",
            Self::Rerun => "be run again",
        }
    }
}

impl EventKind {
    /// Every kind of event.
    pub const ALL: [Self; 7] = [
        Self::Running,
        Self::Progress,
        Self::Retrying,
        Self::Done,
        Self::Failed,
        Self::Cancelled,
        Self::Expired,
    ];

    /// The contract's text, `task.done` and so on.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Running => "task.running",
            Self::Progress => "task.progress",
            Self::Retrying => "task.retrying",
            Self::Done => "task.done",
            Self::Failed => "task.failed",
            Self::Cancelled => "task.cancelled",
            Self::Expired => "task.expired",
        }
    }

    /// Whether a stream of one task ends with it.
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Done | Self::Failed | Self::Cancelled | Self::Expired)
    }
}

/// A text that names no member of a closed list.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not one of {allowed}")]
pub struct UnknownName {
    text: String,
    allowed: String,
}

fn lookup<T: Copy>(text: &str, all: &[T], name: impl Fn(T) -> &'static str) -> Result<T, UnknownName> {
    all.iter()
        .copied()
        .find(|&item| name(item) == text)
        .ok_or_else(|| UnknownName {
            text: text.chars().take(100).collect(),
            allowed: all.iter().map(|&item| name(item)).collect::<Vec<_>>().join(", "),
        })
}

impl FromStr for TaskState {
    type Err = UnknownName;

    fn from_str(text: &str) -> Result<Self, UnknownName> {
        lookup(text, &Self::ALL, Self::as_str)
    }
}

impl FromStr for EventKind {
    type Err = UnknownName;

    fn from_str(text: &str) -> Result<Self, UnknownName> {
        lookup(text, &Self::ALL, Self::as_str)
    }
}

impl fmt::Display for TaskState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Display for TaskEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Display for EventKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn final_states_allow_a_rerun_and_nothing_else() {
        for state in TaskState::ALL.into_iter().filter(|state| state.is_final()) {
            for event in TaskEvent::ALL {
                assert_eq!(
                    state.apply(event).is_ok(),
                    event == TaskEvent::Rerun,
                    "{state} {event}"
                );
            }
        }
    }

    #[test]
    fn every_live_state_can_be_cancelled_and_only_those_not_running_expire() {
        for state in TaskState::ALL.into_iter().filter(|state| !state.is_final()) {
            assert_eq!(state.apply(TaskEvent::Cancel), Ok(TaskState::Cancelled));
            assert_eq!(
                state.apply(TaskEvent::Expire).is_ok(),
                state != TaskState::Running
            );
        }
    }

    #[test]
    fn names_round_trip_and_unknown_ones_list_what_is_allowed() {
        for state in TaskState::ALL {
            assert_eq!(state.as_str().parse(), Ok(state));
        }
        for kind in EventKind::ALL {
            assert_eq!(kind.as_str().parse(), Ok(kind));
        }
        let error = "done".parse::<TaskState>().unwrap_err().to_string();
        assert!(error.contains("DONE"), "{error}");
    }
}

//! What an attempt's end means for its task: the event to publish and the state to enter. Pure but for the jitter.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use posthaste_schema::{TaskEvent, TaskRequested};
use posthaste_types::limits::{RESULT_BYTES_MAX, RETRY_WAIT_S_MAX};
use posthaste_types::{EventId, EventKind, RetryPolicy, TaskError, TaskState};

use crate::{HandlerError, JsonText};

/// What is known of an attempt when an event of it is written.
#[derive(Debug, Clone, Copy)]
pub(crate) struct AttemptFacts {
    /// From 1, counted by the claim.
    pub(crate) number: i32,
    /// The task's version after the event.
    pub(crate) version: i32,
    pub(crate) started_at: DateTime<Utc>,
}

/// How an attempt ended.
#[derive(Debug, PartialEq)]
pub(crate) enum Outcome {
    Done(String),
    /// Another attempt is due then.
    Retrying(TaskError, DateTime<Utc>),
    Failed(TaskError),
}

impl Outcome {
    /// Applies the policy to what the handler said. `random` is uniform in 0..1.
    pub(crate) fn of(
        answer: Result<JsonText, HandlerError>,
        attempt: i32,
        policy: &RetryPolicy,
        now: DateTime<Utc>,
        random: f64,
    ) -> Self {
        let HandlerError { error, retry_after } = match answer.and_then(bounded) {
            Ok(result) => return Self::Done(result.into_string()),
            Err(error) => error,
        };
        let attempt = u32::try_from(attempt).unwrap_or(u32::MAX);
        if !error.retryable || attempt >= policy.max_attempts {
            return Self::Failed(error);
        }
        let wait_s = retry_after
            .as_ref()
            .map_or_else(|| policy.wait_s(attempt, random), Duration::as_secs_f64);
        Self::Retrying(error, now + wait(wait_s))
    }

    /// The event that tells of it, which is also what the task's row becomes.
    pub(crate) fn into_event(
        self,
        task: TaskRequested,
        progress: Option<String>,
        facts: AttemptFacts,
        now: DateTime<Utc>,
    ) -> (TaskEvent, Option<DateTime<Utc>>) {
        let (kind, state, result, error, retry_at) = match self {
            Self::Done(result) => (EventKind::Done, TaskState::Done, Some(result), None, None),
            Self::Retrying(error, at) => (
                EventKind::Retrying,
                TaskState::Retrying,
                None,
                Some(error),
                Some(at),
            ),
            Self::Failed(error) => (EventKind::Failed, TaskState::Failed, None, Some(error), None),
        };
        let mut event = event(task, kind, state, progress, facts, now);
        event.result = result;
        event.error = error;
        event.finished_at = state.is_final().then_some(now);
        (event, retry_at)
    }
}

/// An event of a task that a worker holds; takes the task's texts without a copy.
pub(crate) fn event(
    task: TaskRequested,
    kind: EventKind,
    state: TaskState,
    progress: Option<String>,
    facts: AttemptFacts,
    now: DateTime<Utc>,
) -> TaskEvent {
    let event_id: EventId = posthaste_runtime::ids::event_id();
    TaskEvent {
        event_id,
        kind,
        timestamp: now,
        task_id: task.task_id,
        tenant: task.tenant,
        task_type: task.task_type,
        queue: task.queue,
        key: task.key,
        channel: task.channel,
        state,
        run: task.run,
        attempt: facts.number,
        version: facts.version,
        priority: task.priority,
        tags: task.tags,
        progress,
        result: None,
        error: None,
        created_at: task.created_at,
        not_before: task.not_before,
        started_at: Some(facts.started_at),
        finished_at: None,
        traceparent: task.traceparent,
    }
}

fn bounded(result: JsonText) -> Result<JsonText, HandlerError> {
    let length = result.as_str().len();
    if length > RESULT_BYTES_MAX {
        let message = format!("the result has {length} bytes, {RESULT_BYTES_MAX} are allowed");
        return Err(HandlerError::never("result_too_large", message));
    }
    Ok(result)
}

/// A wait in whole microseconds, what the record keeps; at most the longest that is allowed.
fn wait(seconds: f64) -> TimeDelta {
    let wait = Duration::from_secs_f64(seconds.clamp(0.0, RETRY_WAIT_S_MAX));
    TimeDelta::microseconds(i64::try_from(wait.as_micros()).expect("the longest wait is days"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const POLICY: RetryPolicy = RetryPolicy {
        max_attempts: 3,
        base_s: 10.0,
        factor: 2.0,
        max_s: 100.0,
    };

    fn of(answer: Result<JsonText, HandlerError>, attempt: i32) -> Outcome {
        Outcome::of(answer, attempt, &POLICY, DateTime::UNIX_EPOCH, 0.5)
    }

    fn second(s: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(s, 0).unwrap()
    }

    #[test]
    fn retryable_errors_wait_as_the_policy_says_until_it_is_used_up() {
        let error = HandlerError::retryable("busy", "later");
        assert_eq!(
            of(Err(error.clone()), 1),
            Outcome::Retrying(error.error.clone(), second(5))
        );
        assert_eq!(
            of(Err(error.clone()), 2),
            Outcome::Retrying(error.error.clone(), second(10))
        );
        assert_eq!(of(Err(error.clone()), 3), Outcome::Failed(error.error));
    }

    #[test]
    fn the_handler_may_forbid_a_retry_or_set_its_time() {
        let never = HandlerError::never("wrong", "no");
        assert_eq!(of(Err(never.clone()), 1), Outcome::Failed(never.error));
        let later = HandlerError::retryable("busy", "later").retry_after(Duration::from_secs(60));
        assert_eq!(
            of(Err(later.clone()), 1),
            Outcome::Retrying(later.error.clone(), second(60))
        );
        let for_ever = later.retry_after(Duration::MAX);
        assert!(matches!(of(Err(for_ever), 1), Outcome::Retrying(_, at) if at == second(7 * 86_400)));
    }

    #[test]
    fn a_result_above_the_bound_fails_for_good() {
        let text = |length: usize| JsonText::trusted("1".repeat(length));
        assert!(matches!(of(Ok(text(RESULT_BYTES_MAX)), 1), Outcome::Done(_)));
        let Outcome::Failed(error) = of(Ok(text(RESULT_BYTES_MAX + 1)), 1) else {
            panic!("not failed")
        };
        assert_eq!(error.code, "result_too_large");
    }

    proptest! {
        #[test]
        fn any_answer_of_a_service_gives_a_time_that_exists(seconds: u64, attempt in 1i32..3) {
            let error = HandlerError::retryable("busy", "").retry_after(Duration::from_secs(seconds));
            let Outcome::Retrying(_, at) = of(Err(error), attempt) else { panic!("not retried") };
            prop_assert!(at <= second(7 * 86_400));
        }
    }
}

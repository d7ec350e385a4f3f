//! From a request's body to a task: every bound is checked here, and every field that is wrong is named at once.

use std::collections::BTreeMap;

use chrono::{DateTime, SubsecRound as _, TimeDelta, Utc};
use posthaste_api::{FieldProblem, Problem, SubmitRequest, pointer_step};
use posthaste_runtime::ids;
use posthaste_types::limits::{
    CHANNEL_BYTES_MAX, DELAY_S_MAX, KEY_BYTES_MAX, PRIORITY_DEFAULT, PRIORITY_MAX, QUEUE_LEN_MAX,
    TAG_COUNT_MAX, TAG_NAME_BYTES_MAX, TAG_VALUE_BYTES_MAX, TASK_TYPE_LEN_MAX, TIMEOUT_S_MAX,
};
use posthaste_types::{ErrorCode, RetryPolicy, Task, TaskState, topics};

/// The task that a request asks for, with a fresh id.
///
/// `prefix` is where the request stands in the body, before the pointers of errors.
///
/// # Errors
/// 400 with one entry for each field that is wrong.
pub(crate) fn task(
    request: SubmitRequest,
    tenant: &str,
    now: DateTime<Utc>,
    traceparent: String,
    prefix: &str,
) -> Result<Task, Problem> {
    let mut check = Check {
        prefix,
        errors: Vec::new(),
    };
    check.name("/type", &request.task_type, TASK_TYPE_LEN_MAX);
    if let Some(queue) = &request.queue {
        check.name("/queue", queue, QUEUE_LEN_MAX);
    }
    check.text("/key", request.key.as_deref(), KEY_BYTES_MAX);
    check.text("/channel", request.channel.as_deref(), CHANNEL_BYTES_MAX);
    let priority = check.priority(request.priority);
    let not_before = check.not_before(request.not_before, request.delay_s, now);
    let deadline = check.deadline(request.deadline, not_before, now);
    let timeout_ms = check.timeout(request.timeout_s);
    check.retry(request.retry);
    check.tags(request.tags.as_ref());
    let payload = request
        .payload
        .map_or_else(|| "null".to_owned(), |raw| Box::<str>::from(raw).into_string());
    check.end()?;
    let waits = not_before.is_some_and(|time| time > now);
    Ok(Task {
        id: ids::task_id(),
        tenant: tenant.to_owned(),
        task_type: request.task_type,
        queue: queue(request.queue),
        key: request.key,
        channel: request.channel,
        payload,
        priority,
        not_before,
        deadline,
        timeout_ms,
        retry: request.retry,
        tags: request.tags.unwrap_or_default(),
        traceparent: Some(traceparent),
        state: if waits {
            TaskState::Scheduled
        } else {
            TaskState::Init
        },
        run: 1,
        attempt: 0,
        version: 1,
        worker: None,
        progress: None,
        result: None,
        error: None,
        created_at: now,
        started_at: None,
        finished_at: None,
    })
}

/// The queue that a request asks for.
pub(crate) fn queue(asked: Option<String>) -> String {
    asked.unwrap_or_else(|| topics::DEFAULT_QUEUE.to_owned())
}

/// Collects what is wrong.
struct Check<'request> {
    prefix: &'request str,
    errors: Vec<FieldProblem>,
}

impl Check<'_> {
    fn wrong(&mut self, pointer: &str, detail: impl Into<String>) {
        self.errors.push(FieldProblem {
            pointer: format!("{}{pointer}", self.prefix),
            detail: detail.into(),
        });
    }

    /// `[a-z0-9._-]`, as the HTTP contract has it for types, and as Kafka's topic names allow it for queues.
    fn name(&mut self, pointer: &str, name: &str, len_max: usize) {
        let is_name = name
            .bytes()
            .all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'_' | b'-'));
        if !is_name || !(1..=len_max).contains(&name.len()) {
            self.wrong(
                pointer,
                format!("must be 1 to {len_max} characters of a-z, 0-9, `.`, `_` and `-`"),
            );
        }
    }

    /// Any text that Postgres can hold.
    fn text(&mut self, pointer: &str, text: Option<&str>, bytes_max: usize) {
        let Some(text) = text else { return };
        if !(1..=bytes_max).contains(&text.len()) {
            self.wrong(pointer, format!("must be 1 to {bytes_max} bytes of UTF-8"));
        } else if text.contains('\0') {
            self.wrong(pointer, "must not hold the character U+0000");
        }
    }

    fn priority(&mut self, priority: Option<i64>) -> i16 {
        let Some(priority) = priority else {
            return PRIORITY_DEFAULT;
        };
        match i16::try_from(priority) {
            Ok(priority @ 0..=PRIORITY_MAX) => priority,
            _ => {
                self.wrong("/priority", format!("must be from 0 to {PRIORITY_MAX}"));
                PRIORITY_DEFAULT
            }
        }
    }

    fn not_before(
        &mut self,
        not_before: Option<DateTime<Utc>>,
        delay_s: Option<f64>,
        now: DateTime<Utc>,
    ) -> Option<DateTime<Utc>> {
        match (not_before, delay_s) {
            (Some(_), Some(_)) => {
                self.wrong("/delay_s", "excludes `not_before`: give one of the two");
                None
            }
            (Some(time), None) => self.time("/not_before", time, now),
            (None, Some(delay_s)) if (0.0..=DELAY_S_MAX).contains(&delay_s) => {
                Some(now + seconds(delay_s)).filter(|time| *time > now)
            }
            (None, Some(_)) => {
                self.wrong("/delay_s", format!("must be from 0 to {DELAY_S_MAX} seconds"));
                None
            }
            (None, None) => None,
        }
    }

    fn deadline(
        &mut self,
        deadline: Option<DateTime<Utc>>,
        not_before: Option<DateTime<Utc>>,
        now: DateTime<Utc>,
    ) -> Option<DateTime<Utc>> {
        let deadline = self.time("/deadline", deadline?, now)?;
        if not_before.is_some_and(|time| time >= deadline) {
            self.wrong("/deadline", "must be after the time that the task waits for");
        }
        Some(deadline)
    }

    /// A time that is not absurdly far away, cut to microseconds: what Postgres and Avro keep.
    fn time(&mut self, pointer: &str, time: DateTime<Utc>, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let distance_max = seconds(DELAY_S_MAX);
        if time > now + distance_max || time < now - distance_max {
            self.wrong(pointer, format!("must be within {DELAY_S_MAX} seconds from now"));
            return None;
        }
        Some(time.trunc_subsecs(6))
    }

    fn timeout(&mut self, timeout_s: Option<f64>) -> Option<i64> {
        let timeout_s = timeout_s?;
        if !(0.001..=TIMEOUT_S_MAX).contains(&timeout_s) {
            self.wrong(
                "/timeout_s",
                format!("must be from 0.001 to {TIMEOUT_S_MAX} seconds"),
            );
            return None;
        }
        Some(seconds(timeout_s).num_milliseconds())
    }

    fn retry(&mut self, retry: Option<RetryPolicy>) {
        if let Some(Err((field, detail))) = retry.map(|policy| policy.check()) {
            self.wrong(&format!("/retry/{field}"), detail);
        }
    }

    fn tags(&mut self, tags: Option<&BTreeMap<String, String>>) {
        let Some(tags) = tags else { return };
        if tags.len() > TAG_COUNT_MAX {
            self.wrong("/tags", format!("must be at most {TAG_COUNT_MAX}"));
        }
        // Past the limit they are named by it; naming each of thousands would make the answer larger than the request.
        for (name, value) in tags.iter().take(TAG_COUNT_MAX) {
            let pointer = format!("/tags{}", pointer_step(name));
            if !(1..=TAG_NAME_BYTES_MAX).contains(&name.len()) || name.contains('\0') {
                self.wrong(
                    "/tags",
                    format!("names must be 1 to {TAG_NAME_BYTES_MAX} bytes without U+0000"),
                );
            } else if value.len() > TAG_VALUE_BYTES_MAX || value.contains('\0') {
                self.wrong(
                    &pointer,
                    format!("must be at most {TAG_VALUE_BYTES_MAX} bytes without U+0000"),
                );
            }
        }
    }

    fn end(self) -> Result<(), Problem> {
        let detail = match self.errors.as_slice() {
            [] => return Ok(()),
            [only] => format!("`{}` {}", only.pointer, only.detail),
            several => format!(
                "{} fields are not as they must be; `errors` names them",
                several.len()
            ),
        };
        Err(Problem {
            errors: self.errors,
            ..Problem::new(ErrorCode::InvalidRequest, detail)
        })
    }
}

/// Seconds within our limits as a time span, to the microsecond.
fn seconds(seconds: f64) -> TimeDelta {
    #[expect(
        clippy::cast_possible_truncation,
        reason = "within limits of about a year, so it fits"
    )]
    TimeDelta::microseconds((seconds * 1e6).round() as i64)
}

#[cfg(test)]
mod tests;

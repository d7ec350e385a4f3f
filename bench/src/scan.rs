//! Finds ids and times in JSON by their bytes: parsing whole documents would cost more than serving them.

use chrono::DateTime;
use memchr::{memchr, memmem};

/// A task's id as a number; both directions only need it to be the same for the same text.
pub(crate) type TaskKey = u128;

const ID: &[u8] = b"\"id\":\"task_";
const SUFFIX_LEN: usize = 26;

/// What the final event of a task tells. Times are microseconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FinalEvent {
    pub(crate) task: TaskKey,
    pub(crate) done: bool,
    pub(crate) created_us: i64,
    pub(crate) started_us: Option<i64>,
    pub(crate) finished_us: i64,
}

/// The ids of the tasks in an answer to a submission, in order.
pub(crate) fn accepted(body: &[u8]) -> impl Iterator<Item = TaskKey> + '_ {
    memmem::find_iter(body, ID).filter_map(|at| key(&body[at + ID.len()..]))
}

/// The event on a `data:` line of a stream, if it is a final one.
pub(crate) fn final_event(line: &[u8]) -> Option<FinalEvent> {
    let at = memmem::find(line, ID)?;
    let (envelope, task) = (&line[..at], &line[at + ID.len()..]);
    let kind = text(envelope, b"\"type\":\"task.")?;
    let done = match kind {
        b"done" => true,
        b"failed" | b"cancelled" | b"expired" => false,
        _ => return None,
    };
    Some(FinalEvent {
        task: key(task)?,
        done,
        created_us: time(task, b"\"created_at\":\"")?,
        started_us: time(task, b"\"started_at\":\""),
        finished_us: time(task, b"\"finished_at\":\"")?,
    })
}

/// The TypeID suffix at the beginning of `bytes`.
fn key(bytes: &[u8]) -> Option<TaskKey> {
    bytes.get(..SUFFIX_LEN)?.iter().try_fold(0, |bits: u128, &byte| {
        let digit = match byte {
            b'0'..=b'9' => byte - b'0',
            b'a'..=b'h' => byte - b'a' + 10,
            b'j' | b'k' => byte - b'j' + 18,
            b'm' | b'n' => byte - b'm' + 20,
            b'p'..=b't' => byte - b'p' + 22,
            b'v'..=b'z' => byte - b'v' + 27,
            _ => return None,
        };
        Some((bits << 5) | u128::from(digit))
    })
}

/// What stands between `before` and the next quote.
fn text<'a>(bytes: &'a [u8], before: &[u8]) -> Option<&'a [u8]> {
    let rest = &bytes[memmem::find(bytes, before)? + before.len()..];
    Some(&rest[..memchr(b'"', rest)?])
}

fn time(bytes: &[u8], before: &[u8]) -> Option<i64> {
    let text = std::str::from_utf8(text(bytes, before)?).ok()?;
    DateTime::parse_from_rfc3339(text)
        .ok()
        .map(|time| time.timestamp_micros())
}

#[cfg(test)]
mod tests {
    use posthaste_types::TaskId;
    use uuid::Uuid;

    use super::*;

    const UUID: Uuid = Uuid::from_u128(0x0188_9c89_df6b_7f1c_a388_9139_6ec3_14bc);

    fn event(kind: &str, started: &str) -> String {
        let id = TaskId::from_uuid(UUID);
        format!(
            r#"data: {{"id":"evt_01h2e8kqvbfwea724h75qc655w","type":"task.{kind}","timestamp":"2026-01-01T00:00:00Z","data":{{"id":"{id}","type":"echo","result":{{"n":1}},"created_at":"1970-01-01T00:00:01.000002Z","not_before":null,"started_at":{started},"finished_at":"1970-01-01T00:00:02Z"}}}}"#
        )
    }

    #[test]
    fn a_final_event_tells_its_task_and_times() {
        let expected = FinalEvent {
            task: UUID.as_u128(),
            done: true,
            created_us: 1_000_002,
            started_us: Some(1_500_000),
            finished_us: 2_000_000,
        };
        assert_eq!(
            final_event(event("done", "\"1970-01-01T00:00:01.5Z\"").as_bytes()),
            Some(expected)
        );
        let expected = FinalEvent {
            done: false,
            started_us: None,
            ..expected
        };
        assert_eq!(final_event(event("expired", "null").as_bytes()), Some(expected));
    }

    #[test]
    fn other_events_and_lines_are_none() {
        assert_eq!(final_event(event("running", "null").as_bytes()), None);
        assert_eq!(final_event(b"data: {}"), None);
        assert_eq!(final_event(b": heartbeat"), None);
    }

    #[test]
    fn the_ids_of_an_answer_come_in_order_and_links_are_not_ids() {
        let (first, second) = (TaskId::from_uuid(UUID), TaskId::from_uuid(Uuid::from_u128(7)));
        let body = format!(
            r#"{{"tasks":[{{"id":"{first}","links":{{"self":"/v1/tasks/{first}"}}}},{{"id":"{second}"}}]}}"#
        );
        assert_eq!(accepted(body.as_bytes()).collect::<Vec<_>>(), [UUID.as_u128(), 7]);
        assert_eq!(accepted(br#"{"id":"task_short"}"#).count(), 0);
    }
}

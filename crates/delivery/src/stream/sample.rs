//! Events for this crate's unit tests.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use posthaste_schema::TaskEvent;
use posthaste_types::{EventId, EventKind, TaskId, TaskState};
use uuid::Uuid;

use crate::cursor::Cursor;
use crate::stream::entry::Entry;

/// A `task.done` of task number `task`.
pub(crate) fn event(task: u128, channel: Option<&str>) -> TaskEvent {
    let at = DateTime::<Utc>::from_timestamp(1_700_000_000, 0).unwrap();
    TaskEvent {
        event_id: EventId::from_uuid(Uuid::from_u128(task)),
        kind: EventKind::Done,
        timestamp: at,
        task_id: TaskId::from_uuid(Uuid::from_u128(task)),
        tenant: "default".to_owned(),
        task_type: "echo".to_owned(),
        queue: "default".to_owned(),
        key: None,
        channel: channel.map(str::to_owned),
        state: TaskState::Done,
        run: 1,
        attempt: 1,
        version: 3,
        priority: 5,
        tags: BTreeMap::new(),
        progress: None,
        result: Some("{\"ok\": true}".to_owned()),
        error: None,
        created_at: at,
        not_before: None,
        started_at: Some(at),
        finished_at: Some(at),
        traceparent: None,
    }
}

/// The entry of a record, as a process holds it whose cursor is `tip` before it.
pub(crate) fn entry(
    tip: &mut Cursor,
    partition: i32,
    offset: i64,
    task: u128,
    channel: Option<&str>,
) -> Entry {
    tip.advance(partition, offset + 1);
    Entry::new(partition, offset, event(task, channel), tip)
}

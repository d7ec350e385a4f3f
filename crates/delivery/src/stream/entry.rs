//! An event as a delivery process holds it: what subscribers choose by, and the frame that they share.

use std::sync::Arc;

use posthaste_api::{EventEnvelope, Links, TaskView};
use posthaste_schema::TaskEvent;
use posthaste_types::{EventKind, TaskId};
use serde_json::value::RawValue;

use crate::cursor::Cursor;
use crate::stream::frame::Frame;

/// What an entry costs besides its frame, bytes; roughly, for the window's bound.
const ENTRY_OVERHEAD_BYTES: usize = 320;

/// An event of the results topic.
#[derive(Debug)]
pub(crate) struct Entry {
    /// Where the record lies.
    pub(crate) partition: i32,
    /// Where in its partition.
    pub(crate) offset: i64,
    /// Whose task it is.
    pub(crate) tenant: Box<str>,
    /// Whom the result is for.
    pub(crate) channel: Option<Arc<str>>,
    /// The task's type.
    pub(crate) task_type: Box<str>,
    /// The task.
    pub(crate) task: TaskId,
    /// The task's version after the event.
    pub(crate) version: i32,
    /// What happened.
    pub(crate) kind: EventKind,
    /// The event, encoded; its id is the cursor after this entry.
    pub(crate) frame: Frame,
}

impl Entry {
    /// Encodes an event that was read at `partition` and `offset`; `id` is the reader's cursor after it.
    pub(crate) fn new(partition: i32, offset: i64, event: TaskEvent, id: &Cursor) -> Self {
        let tenant = event.tenant.as_str().into();
        let (task, version, kind) = (event.task_id, event.version, event.kind);
        let envelope = envelope(event);
        let frame = Frame::encode(id, kind.as_str(), &envelope);
        Self {
            partition,
            offset,
            tenant,
            channel: envelope.data.channel.map(Arc::from),
            task_type: envelope.data.task_type.into(),
            task,
            version,
            kind,
            frame,
        }
    }

    /// Bytes of memory, roughly.
    pub(crate) fn memory_bytes(&self) -> usize {
        self.frame.len() + ENTRY_OVERHEAD_BYTES
    }
}

/// The event in the contract's shape.
pub(crate) fn envelope(event: TaskEvent) -> EventEnvelope {
    // The schema's texts were JSON when they were written; one that is not becomes null.
    let raw = |text: Option<String>| text.and_then(|text| RawValue::from_string(text).ok());
    EventEnvelope {
        id: event.event_id,
        kind: event.kind,
        timestamp: event.timestamp,
        data: TaskView {
            links: Links::of(event.task_id),
            id: event.task_id,
            task_type: event.task_type,
            queue: event.queue,
            key: event.key,
            channel: event.channel,
            state: event.state,
            run: event.run,
            attempt: event.attempt,
            priority: event.priority,
            tags: event.tags,
            payload: None,
            progress: raw(event.progress),
            result: raw(event.result),
            error: event.error,
            created_at: event.created_at,
            not_before: event.not_before,
            started_at: event.started_at,
            finished_at: event.finished_at,
        },
    }
}

//! A made-up event, for who wants to see one arrive.

use bytes::Bytes;
use chrono::{DateTime, Utc};
use posthaste_api::{EventEnvelope, Links, TaskView};
use posthaste_runtime::ids;
use posthaste_store::{Endpoint, WebhookRetry};
use posthaste_types::limits::PRIORITY_DEFAULT;
use posthaste_types::topics::DEFAULT_QUEUE;
use posthaste_types::{EventKind, TaskState};

/// The delivery of a made-up event that `endpoint` would get.
pub(crate) fn delivery(endpoint: &Endpoint, now: DateTime<Utc>) -> WebhookRetry {
    let task_id = ids::task_id();
    let kind = endpoint.events.first().copied().unwrap_or(EventKind::Done);
    let state = TaskState::ALL
        .into_iter()
        .find(|state| state.entry_event() == Some(kind));
    let envelope = EventEnvelope {
        id: ids::event_id(),
        kind,
        timestamp: now,
        data: TaskView {
            id: task_id,
            task_type: endpoint
                .types
                .first()
                .cloned()
                .unwrap_or_else(|| "posthaste.test".to_owned()),
            queue: DEFAULT_QUEUE.to_owned(),
            key: None,
            channel: endpoint.channels.first().cloned(),
            state: state.unwrap_or(TaskState::Running),
            run: 1,
            attempt: 1,
            priority: PRIORITY_DEFAULT,
            tags: [("test".to_owned(), "true".to_owned())].into(),
            payload: None,
            progress: None,
            result: None,
            error: None,
            created_at: now,
            not_before: None,
            started_at: Some(now),
            finished_at: kind.is_final().then_some(now),
            links: Links::of(task_id),
        },
    };
    let body = serde_json::to_vec(&envelope).expect("our own shapes always serialise");
    WebhookRetry {
        endpoint_id: endpoint.id,
        event_id: envelope.id,
        task_id,
        kind,
        body: Bytes::from(body),
        attempt_count: 0,
    }
}

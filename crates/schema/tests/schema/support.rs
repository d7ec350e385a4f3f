//! Sample records and generators that the tests share.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use posthaste_schema::{SchemaId, TASK_EVENT, TASK_REQUESTED, TaskEvent, TaskRequested, WriterSchemas};
use posthaste_types::{EventId, EventKind, RetryPolicy, TaskError, TaskId, TaskState};
use proptest::collection::btree_map;
use proptest::option::of;
use proptest::prelude::*;
use uuid::Uuid;

pub(crate) const ID: SchemaId = SchemaId(7);

pub(crate) fn writers(avsc: &str) -> WriterSchemas {
    let writers = WriterSchemas::new();
    writers.add(ID, avsc).unwrap();
    writers
}

pub(crate) fn request_writers() -> WriterSchemas {
    writers(TASK_REQUESTED.avsc)
}

pub(crate) fn event_writers() -> WriterSchemas {
    writers(TASK_EVENT.avsc)
}

fn time(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

pub(crate) fn request() -> TaskRequested {
    TaskRequested {
        task_id: "task_01h2e8kqvbfwea724h75qc655w".parse().unwrap(),
        tenant: "default".into(),
        task_type: "invoice.render".into(),
        queue: "documents".into(),
        key: Some("customer-17".into()),
        channel: Some("orders".into()),
        payload: r#"{"invoice":1001,"total":1.10,"name":"Zoë"}"#.into(),
        priority: 9,
        run: 2,
        not_before: Some(time("2026-01-02T03:04:05.000006Z")),
        deadline: Some(time("2026-01-03T00:00:00Z")),
        timeout_ms: Some(1_500),
        retry: Some(RetryPolicy {
            max_attempts: 3,
            base_s: 0.5,
            factor: 2.0,
            max_s: 60.0,
        }),
        tags: BTreeMap::from([("region".into(), "eu".into()), ("tier".into(), "gold".into())]),
        traceparent: Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".into()),
        created_at: time("2026-01-02T03:04:04.999999Z"),
    }
}

pub(crate) fn event() -> TaskEvent {
    TaskEvent {
        event_id: "evt_01h2e8kqvbfwea724h75qc655x".parse().unwrap(),
        kind: EventKind::Failed,
        timestamp: time("2026-01-02T03:05:00Z"),
        task_id: request().task_id,
        tenant: "default".into(),
        task_type: "invoice.render".into(),
        queue: "documents".into(),
        key: Some("customer-17".into()),
        channel: Some("orders".into()),
        state: TaskState::Failed,
        run: 2,
        attempt: 3,
        version: 8,
        priority: 9,
        tags: request().tags,
        progress: Some(r#"{"percent":40}"#.into()),
        result: None,
        error: Some(TaskError {
            code: "out_of_paper".into(),
            message: "tray 2 is empty".into(),
            retryable: false,
            details: Some(serde_json::json!({"tray": 2})),
        }),
        created_at: request().created_at,
        not_before: request().not_before,
        started_at: Some(time("2026-01-02T03:04:59Z")),
        finished_at: Some(time("2026-01-02T03:05:00Z")),
        traceparent: None,
    }
}

fn any_time() -> impl Strategy<Value = DateTime<Utc>> {
    (-62_135_596_800_000_000i64..253_402_300_800_000_000)
        .prop_map(|micros| DateTime::from_timestamp_micros(micros).unwrap())
}

fn any_text() -> impl Strategy<Value = String> {
    proptest::string::string_regex("\\PC{0,200}").unwrap()
}

/// At most one tag: a generic Avro map has no order, and bytes are to be compared.
fn any_tags() -> impl Strategy<Value = BTreeMap<String, String>> {
    btree_map(any_text(), any_text(), 0..=1)
}

prop_compose! {
    fn any_retry()(max_attempts in 1u32..=100, base_s: f64, factor: f64, max_s: f64) -> RetryPolicy {
        RetryPolicy { max_attempts, base_s, factor, max_s }
    }
}

prop_compose! {
    fn any_error()(code in any_text(), message in any_text(), retryable: bool, details in of(any_text()))
        -> TaskError
    {
        TaskError { code, message, retryable, details: details.map(serde_json::Value::String) }
    }
}

prop_compose! {
    pub(crate) fn any_request()(
        names in [any_text(), any_text(), any_text(), any_text()],
        options in [of(any_text()), of(any_text()), of(any_text())],
        times in (of(any_time()), of(any_time()), any_time()),
        id: u128, priority: i16, run: i32, timeout_ms in of(any::<i64>()),
        retry in of(any_retry()), tags in any_tags(),
    ) -> TaskRequested {
        let [tenant, task_type, queue, payload] = names;
        let [key, channel, traceparent] = options;
        let (not_before, deadline, created_at) = times;
        TaskRequested {
            task_id: TaskId::from_uuid(Uuid::from_u128(id)), tenant, task_type, queue, key, channel, payload,
            priority, run, not_before, deadline, timeout_ms, retry, tags, traceparent, created_at,
        }
    }
}

prop_compose! {
    pub(crate) fn any_event()(
        names in [any_text(), any_text(), any_text()],
        options in [of(any_text()), of(any_text()), of(any_text()), of(any_text()), of(any_text())],
        times in (any_time(), any_time(), of(any_time()), of(any_time()), of(any_time())),
        ids: [u128; 2], counts: [i32; 3], priority: i16,
        kind in proptest::sample::select(&EventKind::ALL[..]),
        state in proptest::sample::select(&TaskState::ALL[..]),
        error in of(any_error()), tags in any_tags(),
    ) -> TaskEvent {
        let [tenant, task_type, queue] = names;
        let [key, channel, progress, result, traceparent] = options;
        let (timestamp, created_at, not_before, started_at, finished_at) = times;
        let [run, attempt, version] = counts;
        TaskEvent {
            event_id: EventId::from_uuid(Uuid::from_u128(ids[0])), kind, timestamp,
            task_id: TaskId::from_uuid(Uuid::from_u128(ids[1])), tenant, task_type, queue, key, channel, state, run,
            attempt, version, priority, tags, progress, result, error, created_at, not_before, started_at,
            finished_at, traceparent,
        }
    }
}

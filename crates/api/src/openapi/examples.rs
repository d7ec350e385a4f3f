//! Examples of bodies and answers. The linter holds each against its schema.

use serde_json::{Value, json};

const TASK: &str = "task_01k0c1v8zye5d9r4m6q2t7x3wh";
const ENDPOINT: &str = "ep_01k0c1w2h8f6ya3n5b7c9d1e2g";
const EVENT: &str = "evt_01k0c1vbn4epw8v2z6x0s5t9rk";
const ATTEMPT: &str = "att_01k0c1vc3sfzvb7d9g1h3j5k7m";

fn links() -> Value {
    json!({
        "self": format!("/v1/tasks/{TASK}"),
        "events": format!("/v1/tasks/{TASK}/events"),
        "history": format!("/v1/tasks/{TASK}/history"),
    })
}

pub(crate) fn submit_least() -> Value {
    json!({ "type": "text.stats", "payload": { "text": "more haste, less speed" } })
}

pub(crate) fn submit_everything() -> Value {
    json!({
        "type": "invoice.render",
        "payload": { "invoice": 4711, "format": "pdf" },
        "queue": "default",
        "key": "customer-7",
        "channel": "customer-7",
        "priority": 8,
        "delay_s": 30,
        "timeout_s": 60,
        "retry": { "max_attempts": 3, "base_s": 2, "factor": 2, "max_s": 60 },
        "tags": { "region": "eu" },
    })
}

pub(crate) fn accepted() -> Value {
    json!({
        "id": TASK,
        "state": "INIT",
        "type": "text.stats",
        "queue": "default",
        "created_at": "2026-11-24T09:00:00Z",
        "links": links(),
    })
}

pub(crate) fn task() -> Value {
    let mut task = event_task();
    task["payload"] = json!({ "text": "more haste, less speed" });
    task
}

/// A task as an event carries it.
fn event_task() -> Value {
    json!({
        "id": TASK,
        "type": "text.stats",
        "queue": "default",
        "key": null,
        "channel": "customer-7",
        "state": "DONE",
        "run": 1,
        "attempt": 1,
        "priority": 5,
        "tags": {},
        "progress": null,
        "result": { "words": 4 },
        "error": null,
        "created_at": "2026-11-24T09:00:00Z",
        "not_before": null,
        "started_at": "2026-11-24T09:00:00.004Z",
        "finished_at": "2026-11-24T09:00:00.006Z",
        "links": links(),
    })
}

pub(crate) fn task_page() -> Value {
    json!({ "tasks": [task()], "next": null })
}

pub(crate) fn batch() -> Value {
    json!({ "tasks": [{ "type": "echo", "payload": 1 }, { "type": "echo", "payload": 2 }], "atomic": false })
}

pub(crate) fn batch_answer() -> Value {
    json!({ "tasks": [accepted()] })
}

pub(crate) fn history() -> Value {
    json!({
        "history": [
            { "state": "INIT", "at": "2026-11-24T09:00:00Z", "run": 1, "attempt": 0, "worker": null, "error": null },
            { "state": "RUNNING", "at": "2026-11-24T09:00:00.004Z", "run": 1, "attempt": 1, "worker": "worker-1", "error": null },
            { "state": "DONE", "at": "2026-11-24T09:00:00.006Z", "run": 1, "attempt": 1, "worker": "worker-1", "error": null },
        ],
        "webhooks": [],
    })
}

/// An event in the one shape that it has everywhere.
pub(crate) fn event() -> Value {
    json!({ "id": EVENT, "type": "task.done", "timestamp": "2026-11-24T09:00:00.006Z", "data": event_task() })
}

pub(crate) fn stream() -> &'static str {
    "retry: 750\nid: AQEE\n\n\
     id: AQEF\nevent: task.done\ndata: {\"id\":\"evt_01k0c1vbn4epw8v2z6x0s5t9rk\",\"type\":\"task.done\", …}\n\n\
     : heartbeat\nid: AQEH\n\n"
}

pub(crate) fn task_stream() -> &'static str {
    "retry: 750\n\nid: v1\nevent: task.state\ndata: {\"type\":\"task.state\", …}\n\n\
     id: v3\nevent: task.done\ndata: {\"type\":\"task.done\", …}\n\n"
}

pub(crate) fn endpoint_least() -> Value {
    json!({ "url": "https://example.com/hook" })
}

pub(crate) fn endpoint_everything() -> Value {
    json!({
        "url": "https://example.com/hook",
        "events": ["task.done", "task.failed"],
        "channels": ["customer-7"],
        "types": ["invoice.render"],
        "description": "the customer's own server",
        "headers": { "x-environment": "production" },
        "rate_per_s": 20,
        "max_in_flight": 4,
        "ordered": false,
        "signing": "v1",
    })
}

pub(crate) fn endpoint() -> Value {
    json!({
        "id": ENDPOINT,
        "url": "https://example.com/hook",
        "events": ["task.done", "task.failed"],
        "channels": [],
        "types": [],
        "description": "",
        "headers": {},
        "rate_per_s": null,
        "max_in_flight": 16,
        "ordered": false,
        "signing": "v1",
        "enabled": true,
        "disabled_reason": null,
        "created_at": "2026-11-24T09:00:00Z",
    })
}

pub(crate) fn endpoint_made() -> Value {
    let mut endpoint = endpoint();
    endpoint["secret"] = json!("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
    endpoint
}

pub(crate) fn endpoint_page() -> Value {
    json!({ "endpoints": [endpoint()] })
}

pub(crate) fn endpoint_patch() -> Value {
    json!({ "rate_per_s": 5, "max_in_flight": null })
}

pub(crate) fn endpoint_secret() -> Value {
    json!({ "secret": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw" })
}

pub(crate) fn attempt() -> Value {
    json!({
        "id": ATTEMPT,
        "event": EVENT,
        "kind": "task.done",
        "task": TASK,
        "number": 1,
        "status": "failed",
        "http_status": 503,
        "error": "answered 503",
        "answer": "try later",
        "took_ms": 41,
        "at": "2026-11-24T09:00:00.010Z",
        "next_at": "2026-11-24T09:00:05Z",
    })
}

pub(crate) fn attempt_page() -> Value {
    json!({ "attempts": [attempt()], "next": null })
}

pub(crate) fn key() -> Value {
    json!({
        "id": "key_01k0c1x9d7e5v3r1m8q6s4t2w0",
        "name": "the shop's server",
        "prefix": "phk_4fJ9sQz2",
        "scopes": ["submit", "read"],
        "created_at": "2026-11-24T09:00:00Z",
        "expires_at": "2027-11-24T09:00:00Z",
        "revoked_at": null,
        "last_used_at": "2026-11-24T10:12:00Z",
        "rotated_from": null,
    })
}

pub(crate) fn key_made() -> Value {
    let mut key = key();
    key["last_used_at"] = Value::Null;
    key["key"] = json!("phk_4fJ9sQz2…");
    key
}

pub(crate) fn new_key() -> Value {
    json!({ "name": "the shop's server", "scopes": ["submit", "read"] })
}

pub(crate) fn key_page() -> Value {
    json!({ "keys": [key()], "unreadable": [], "next": null, "usable_admin_keys": 1 })
}

pub(crate) fn rotate_key() -> Value {
    json!({ "overlap_s": 3600 })
}

pub(crate) fn new_stream_token() -> Value {
    json!({ "channels": ["customer-7"], "ttl_s": 300 })
}

pub(crate) fn stream_token() -> Value {
    json!({ "token": "pht_…", "expires_at": "2026-11-24T09:05:00Z" })
}

pub(crate) fn audit_page() -> Value {
    json!({
        "entries": [{
            "id": "aud_01k0c1y3t5h7k9n2q4s6v8x0z1",
            "at": "2026-11-24T09:00:00Z",
            "actor": "key_01k0c1x9d7e5v3r1m8q6s4t2w0",
            "action": "endpoint.create",
            "object": ENDPOINT,
            "details": { "url": "https://example.com/hook" },
        }],
        "next": null,
    })
}

pub(crate) fn health() -> Value {
    json!({ "role": "ingest", "status": "ok" })
}

pub(crate) fn ready() -> Value {
    json!({ "role": "ingest", "status": "ready", "checks": { "database": "ok" } })
}

pub(crate) fn not_ready() -> Value {
    json!({ "role": "ingest", "status": "not ready", "checks": { "database": "no answer within 1000 ms" } })
}

pub(crate) fn connector() -> Value {
    json!({
        "slot": "posthaste",
        "state": "streaming",
        "is_paused": false,
        "paused_at": null,
        "paused_by": null,
        "waits_for": null,
        "holder": "connector-1:7:5f3a9c21",
        "delivery": "at_least_once",
        "on_wal_limit": "refuse",
        "instances": [{
            "name": "connector-1:7:5f3a9c21",
            "state": "streaming",
            "waits_for": null,
            "delivery": "at_least_once",
            "since": "2026-11-24T09:00:00Z",
        }],
        "log": {
            "wal_status": "reserved",
            "lag_bytes": 2048,
            "lag_s": 0,
            "retained_bytes": 1_048_576,
            "retained_bytes_max": 1_073_741_824,
            "wal_share": 0.000_976_562_5,
            "safe_wal_bytes": 1_072_693_248,
            "is_failover": true,
            "server_pid": 4711,
        },
    })
}

pub(crate) fn connector_paused() -> Value {
    let mut connector = connector();
    connector["state"] = json!("paused");
    connector["holder"] = json!(null);
    connector["log"]["server_pid"] = json!(null);
    connector["instances"][0]["state"] = json!("paused");
    connector["is_paused"] = json!(true);
    connector["paused_at"] = json!("2026-11-24T09:30:00Z");
    connector["paused_by"] = json!("key_01k0c1x9d7e5v3r1m8q6s4t2w0");
    connector
}

pub(crate) fn connector_list() -> Value {
    json!({ "connectors": [connector()] })
}

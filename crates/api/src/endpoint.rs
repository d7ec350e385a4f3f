//! Webhook endpoints and the attempts made to them.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use posthaste_types::{AttemptId, EndpointId, EventId, EventKind, TaskId};
use serde::{Deserialize, Serialize};

/// Body of `POST /v1/endpoints`.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewEndpoint {
    /// Where events are posted; `https`, or `http` where configuration allows it.
    pub url: String,
    /// Kinds of event; empty means the final ones.
    #[serde(default)]
    pub events: Vec<EventKind>,
    /// Only these channels; empty means all.
    #[serde(default)]
    pub channels: Vec<String>,
    /// Only these task types; empty means all.
    #[serde(default)]
    pub types: Vec<String>,
    /// For people.
    #[serde(default)]
    pub description: String,
    /// Sent with each request.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// Requests a second; absent means no limit.
    #[serde(default)]
    pub rate_per_s: Option<f64>,
    /// Requests at once; absent means the default.
    #[serde(default)]
    pub max_in_flight: Option<u32>,
    /// One at a time, in order.
    #[serde(default)]
    pub ordered: bool,
    /// `v1` (HMAC-SHA256) or `v1a` (ed25519).
    #[serde(default)]
    pub signing: Option<String>,
}

/// An endpoint as callers see it; the secret only in the answer that created it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Endpoint {
    /// Its id.
    pub id: EndpointId,
    /// Where events are posted.
    pub url: String,
    /// Kinds of event.
    pub events: Vec<EventKind>,
    /// Only these channels; empty means all.
    pub channels: Vec<String>,
    /// Only these task types; empty means all.
    pub types: Vec<String>,
    /// For people.
    pub description: String,
    /// Sent with each request.
    pub headers: BTreeMap<String, String>,
    /// Requests a second.
    pub rate_per_s: Option<f64>,
    /// Requests at once.
    pub max_in_flight: u32,
    /// One at a time, in order.
    pub ordered: bool,
    /// How requests are signed.
    pub signing: String,
    /// Whether events are sent to it.
    pub enabled: bool,
    /// Why it is not, where the system decided so.
    pub disabled_reason: Option<String>,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// `whsec_…`; in the answer to its creation alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<String>,
}

/// `GET /v1/endpoints`.
#[derive(Debug, Serialize, Deserialize)]
pub struct EndpointPage {
    /// All of them, newest first.
    pub endpoints: Vec<Endpoint>,
}

/// One attempt to deliver an event to an endpoint.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Attempt {
    /// Its id.
    pub id: AttemptId,
    /// The event's id, the `webhook-id` of the request.
    pub event: EventId,
    /// What happened.
    pub kind: EventKind,
    /// The task.
    pub task: TaskId,
    /// Counts from 1.
    pub number: i32,
    /// `succeeded` or `failed`.
    pub status: String,
    /// HTTP status of the answer, where there was one.
    pub http_status: Option<u16>,
    /// Why it failed, where it did.
    pub error: Option<String>,
    /// The beginning of the answer's body.
    pub answer: Option<String>,
    /// How long it took, milliseconds.
    pub took_ms: i64,
    /// When it began.
    pub at: DateTime<Utc>,
    /// When the next attempt is due, where one is.
    pub next_at: Option<DateTime<Utc>>,
}

/// `GET /v1/endpoints/{id}/attempts`.
#[derive(Debug, Serialize, Deserialize)]
pub struct AttemptPage {
    /// Newest first.
    pub attempts: Vec<Attempt>,
    /// Cursor of the next page.
    pub next: Option<String>,
}

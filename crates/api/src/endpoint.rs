//! Webhook endpoints and the attempts made to them.

use std::collections::BTreeMap;
use std::fmt;

use chrono::{DateTime, Utc};
use posthaste_types::{AttemptId, EndpointId, EventId, EventKind, TaskId, whole};
use serde::{Deserialize, Deserializer, Serialize};
use utoipa::ToSchema;

use crate::openapi::shapes;

/// Body of `POST /v1/endpoints`.
#[derive(Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewEndpoint {
    /// Where events are posted; `https`, or `http` where configuration allows it.
    #[schema(value_type = shapes::EndpointUrl)]
    pub url: String,
    /// Kinds of event; empty means the final ones.
    #[serde(default)]
    #[schema(value_type = shapes::EventKinds)]
    pub events: Vec<EventKind>,
    /// Only these channels; empty means all.
    #[serde(default)]
    #[schema(value_type = shapes::Channels)]
    pub channels: Vec<String>,
    /// Only these task types; empty means all.
    #[serde(default)]
    #[schema(value_type = shapes::TaskTypes)]
    pub types: Vec<String>,
    /// For people.
    #[serde(default)]
    #[schema(value_type = shapes::Description)]
    pub description: String,
    /// Sent with each request.
    #[serde(default)]
    #[schema(value_type = shapes::Headers)]
    pub headers: BTreeMap<String, String>,
    /// Requests a second; absent means no limit.
    #[serde(default)]
    #[schema(value_type = Option<shapes::RatePerS>)]
    pub rate_per_s: Option<f64>,
    /// Requests at once; absent means the default.
    #[serde(default, deserialize_with = "whole::option")]
    #[schema(value_type = Option<shapes::MaxInFlight>)]
    pub max_in_flight: Option<u32>,
    /// One at a time, in order.
    #[serde(default)]
    pub ordered: bool,
    /// `v1` (HMAC-SHA256), the one scheme that is served.
    #[serde(default)]
    #[schema(value_type = Option<shapes::Signing>)]
    pub signing: Option<String>,
}

/// Without the URL and the headers' values, which may be or hold credentials.
impl fmt::Debug for NewEndpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewEndpoint")
            .field("events", &self.events)
            .field("channels", &self.channels)
            .field("types", &self.types)
            .finish_non_exhaustive()
    }
}

/// Body of `PATCH /v1/endpoints/{id}`: what is absent stays; null puts back the default where there is one.
#[derive(Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct EndpointPatch {
    /// Where events are posted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<shapes::EndpointUrl>)]
    pub url: Option<String>,
    /// Kinds of event; empty means the final ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<shapes::EventKinds>)]
    pub events: Option<Vec<EventKind>>,
    /// Only these channels; empty means all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<shapes::Channels>)]
    pub channels: Option<Vec<String>>,
    /// Only these task types; empty means all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<shapes::TaskTypes>)]
    pub types: Option<Vec<String>>,
    /// For people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<shapes::Description>)]
    pub description: Option<String>,
    /// Sent with each request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<shapes::Headers>)]
    pub headers: Option<BTreeMap<String, String>>,
    /// Requests a second; null takes the limit away.
    #[serde(
        default,
        deserialize_with = "present",
        skip_serializing_if = "Option::is_none"
    )]
    #[schema(value_type = Option<shapes::RatePerS>)]
    pub rate_per_s: Option<Option<f64>>,
    /// Requests at once; null puts back the default.
    #[serde(
        default,
        deserialize_with = "whole::present",
        skip_serializing_if = "Option::is_none"
    )]
    #[schema(value_type = Option<shapes::MaxInFlight>)]
    pub max_in_flight: Option<Option<u32>>,
    /// One at a time, in order.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ordered: Option<bool>,
    /// How requests are signed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<shapes::Signing>)]
    pub signing: Option<String>,
}

/// Without the URL and the headers' values, which may be or hold credentials.
impl fmt::Debug for EndpointPatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EndpointPatch")
            .field("events", &self.events)
            .field("channels", &self.channels)
            .field("types", &self.types)
            .finish_non_exhaustive()
    }
}

/// Tells null (`Some(None)`) from absent (the default, `None`).
fn present<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<Option<Option<T>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

/// `GET /v1/endpoints/{id}/secret`.
#[derive(Serialize, Deserialize, ToSchema)]
pub struct EndpointSecret {
    /// `whsec_…`.
    pub secret: String,
}

impl fmt::Debug for EndpointSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EndpointSecret(hidden)")
    }
}

/// An endpoint as callers see it; the secret only in the answer that created it.
#[derive(Clone, Serialize, Deserialize, ToSchema)]
pub struct Endpoint {
    /// Its id.
    #[schema(value_type = shapes::EndpointId)]
    pub id: EndpointId,
    /// Where events are posted.
    #[schema(value_type = shapes::EndpointUrl)]
    pub url: String,
    /// Kinds of event.
    #[schema(value_type = shapes::EventKinds)]
    pub events: Vec<EventKind>,
    /// Only these channels; empty means all.
    #[schema(value_type = shapes::Channels)]
    pub channels: Vec<String>,
    /// Only these task types; empty means all.
    #[schema(value_type = shapes::TaskTypes)]
    pub types: Vec<String>,
    /// For people.
    #[schema(value_type = shapes::Description)]
    pub description: String,
    /// Sent with each request. Without the scope `admin` each value reads `***`: it may hold a secret.
    #[schema(value_type = shapes::Headers)]
    pub headers: BTreeMap<String, String>,
    /// Requests a second.
    #[schema(value_type = Option<shapes::RatePerS>, required = true)]
    pub rate_per_s: Option<f64>,
    /// Requests at once.
    #[schema(value_type = shapes::MaxInFlight)]
    pub max_in_flight: u32,
    /// One at a time, in order.
    pub ordered: bool,
    /// How requests are signed.
    #[schema(value_type = shapes::Signing)]
    pub signing: String,
    /// Whether events are sent to it.
    pub enabled: bool,
    /// Why it is not, where the system decided so.
    #[schema(required = true)]
    pub disabled_reason: Option<String>,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// `whsec_…`; in the answer to its creation alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<String>,
}

/// Without the URL, the headers' values and the secret, which may be or hold credentials.
impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Endpoint")
            .field("id", &self.id)
            .field("events", &self.events)
            .field("enabled", &self.enabled)
            .finish_non_exhaustive()
    }
}

/// `GET /v1/endpoints`.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct EndpointPage {
    /// All of them, newest first.
    pub endpoints: Vec<Endpoint>,
}

/// One attempt to deliver an event to an endpoint.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Attempt {
    /// Its id.
    #[schema(value_type = shapes::AttemptId)]
    pub id: AttemptId,
    /// The event's id, the `webhook-id` of the request.
    #[schema(value_type = shapes::EventId)]
    pub event: EventId,
    /// What happened.
    #[schema(value_type = shapes::EventKind)]
    pub kind: EventKind,
    /// The task.
    #[schema(value_type = shapes::TaskId)]
    pub task: TaskId,
    /// Counts from 1.
    pub number: i32,
    /// `succeeded` or `failed`.
    #[schema(value_type = shapes::AttemptStatus)]
    pub status: String,
    /// HTTP status of the answer, where there was one.
    #[schema(value_type = Option<shapes::HttpStatus>, required = true)]
    pub http_status: Option<u16>,
    /// Why it failed, where it did.
    #[schema(required = true)]
    pub error: Option<String>,
    /// The beginning of the answer's body.
    #[schema(required = true)]
    pub answer: Option<String>,
    /// How long it took, milliseconds.
    pub took_ms: i64,
    /// When it began.
    pub at: DateTime<Utc>,
    /// When the next attempt is due, where one is.
    #[schema(required = true)]
    pub next_at: Option<DateTime<Utc>>,
}

/// `GET /v1/endpoints/{id}/attempts`.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct AttemptPage {
    /// Newest first.
    pub attempts: Vec<Attempt>,
    /// Cursor of the next page.
    #[schema(required = true)]
    pub next: Option<String>,
}

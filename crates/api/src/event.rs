//! The one event shape: SSE data and webhook body.

use chrono::{DateTime, Utc};
use posthaste_types::{EventId, EventKind};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::TaskView;
use crate::openapi::shapes;

/// A task as an event carries it: `payload` is absent.
pub type EventData = TaskView;

/// `{"id","type","timestamp","data"}`, the shape that Standard Webhooks recommends.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[schema(as = Event)]
pub struct EventEnvelope {
    /// For discarding duplicates.
    #[schema(value_type = shapes::EventId)]
    pub id: EventId,
    /// What happened.
    #[serde(rename = "type")]
    #[schema(value_type = shapes::EventKind)]
    pub kind: EventKind,
    /// When.
    pub timestamp: DateTime<Utc>,
    /// The task as it stood then.
    #[schema(value_type = TaskView)]
    pub data: EventData,
}

//! The one event shape: SSE data, WebSocket, webhook body.

use chrono::{DateTime, Utc};
use posthaste_types::{EventId, EventKind};
use serde::{Deserialize, Serialize};

use crate::TaskView;

/// A task as an event carries it: `payload` is absent.
pub type EventData = TaskView;

/// `{"id","type","timestamp","data"}`, the shape that Standard Webhooks recommends.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct EventEnvelope {
    /// For discarding duplicates.
    pub id: EventId,
    /// What happened.
    #[serde(rename = "type")]
    pub kind: EventKind,
    /// When.
    pub timestamp: DateTime<Utc>,
    /// The task as it stood then.
    pub data: EventData,
}

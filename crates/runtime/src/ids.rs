//! Mints ids: UUIDv7 where order by time matters, UUIDv4 where only being unguessable does.

use posthaste_types::{AttemptId, AuditId, ClaimToken, EndpointId, EventId, KeyId, TaskId};
use uuid::Uuid;

/// A fresh task id; ids of one process ascend.
pub fn task_id() -> TaskId {
    TaskId::from_uuid(Uuid::now_v7())
}

/// A fresh event id.
pub fn event_id() -> EventId {
    EventId::from_uuid(Uuid::now_v7())
}

/// A fresh endpoint id.
pub fn endpoint_id() -> EndpointId {
    EndpointId::from_uuid(Uuid::now_v7())
}

/// A fresh webhook attempt id.
pub fn attempt_id() -> AttemptId {
    AttemptId::from_uuid(Uuid::now_v7())
}

/// A fresh id of an API key.
pub fn key_id() -> KeyId {
    KeyId::from_uuid(Uuid::now_v7())
}

/// A fresh id of an audit entry.
pub fn audit_id() -> AuditId {
    AuditId::from_uuid(Uuid::now_v7())
}

/// A fresh claim token.
pub fn claim_token() -> ClaimToken {
    ClaimToken::from_uuid(Uuid::new_v4())
}

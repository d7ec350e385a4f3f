#![doc = include_str!("../README.md")]

pub mod api_key;
pub mod code;
pub mod ids;
pub mod limits;
pub mod retry;
pub mod scope;
pub mod state;
pub mod task;
pub mod tenant;
pub mod topics;
pub mod whole;

pub use api_key::{ApiKey, InvalidApiKey, KeyHash};
pub use code::ErrorCode;
pub use ids::{AttemptId, AuditId, ClaimToken, EndpointId, EventId, KeyId, TaskId};
pub use retry::RetryPolicy;
pub use scope::{Scope, Scopes};
pub use state::{EventKind, InvalidTransition, TaskEvent, TaskState};
pub use task::{Task, TaskError};
pub use tenant::{TenantLimits, is_tenant_name};

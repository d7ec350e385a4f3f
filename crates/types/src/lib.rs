#![doc = include_str!("../README.md")]

pub mod code;
pub mod ids;
pub mod limits;
pub mod retry;
pub mod state;
pub mod task;
pub mod topics;

pub use code::ErrorCode;
pub use ids::{AttemptId, ClaimToken, EndpointId, EventId, TaskId};
pub use retry::RetryPolicy;
pub use state::{EventKind, InvalidTransition, TaskEvent, TaskState};
pub use task::{Task, TaskError};

#![doc = include_str!("../README.md")]

mod endpoint;
mod event;
mod problem;
mod submit;
mod task;

pub use endpoint::{Attempt, AttemptPage, Endpoint, EndpointPage, NewEndpoint};
pub use event::{EventData, EventEnvelope};
pub use problem::{FieldProblem, Problem};
pub use submit::{Accepted, BatchAnswer, BatchItem, BatchRequest, SubmitRequest};
pub use task::{HistoryEntry, HistoryPage, Links, TaskPage, TaskView, WebhookHistory};

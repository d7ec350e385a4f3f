#![doc = include_str!("../README.md")]

mod connector;
mod endpoint;
mod errors;
mod event;
mod keys;
mod openapi;
mod problem;
mod strict;
mod submit;
mod task;

pub use connector::{Connector, ConnectorInstance, ConnectorList, ConnectorLog};
pub use endpoint::{
    Attempt, AttemptPage, Endpoint, EndpointPage, EndpointPatch, EndpointSecret, NewEndpoint,
};
pub use errors::errors_markdown;
pub use event::{EventData, EventEnvelope};
pub use keys::{AuditEntry, AuditPage, Key, KeyPage, NewKey, NewStreamToken, RotateKey, StreamToken};
pub use openapi::{OPENAPI_JSON, openapi, openapi_json};
pub use problem::{FieldProblem, Problem, pointer_step};
pub use submit::{Accepted, BatchAnswer, BatchItem, BatchRequest, SubmitRequest};
pub use task::{HistoryEntry, HistoryPage, Links, TaskPage, TaskView, WebhookHistory};

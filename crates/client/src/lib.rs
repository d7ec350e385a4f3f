#![doc = include_str!("../README.md")]

mod answer;
mod client;
mod connectors;
mod endpoints;
mod error;
mod events;
mod keys;
mod list;
mod retry;
pub mod sse;
mod tasks;

pub use client::{Client, ClientOptions};
pub use endpoints::AttemptQuery;
pub use error::Error;
pub use events::{Event, EventFilter, EventStream, Next};
pub use keys::PageQuery;
pub use list::ListFilter;
pub use posthaste_api::{
    Accepted, Attempt, AttemptPage, AuditPage, BatchAnswer, BatchItem, Connector, Endpoint, EndpointPatch,
    EventEnvelope, HistoryPage, Key, KeyPage, NewEndpoint, NewKey, NewStreamToken, Problem, StreamToken,
    SubmitRequest, TaskPage, TaskView,
};

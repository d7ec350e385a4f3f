#![doc = include_str!("../README.md")]

mod client;
mod endpoints;
mod error;
mod events;
mod list;
pub mod sse;

pub use client::Client;
pub use error::Error;
pub use events::{Event, EventFilter, EventStream, Next};
pub use list::ListFilter;
pub use posthaste_api::{
    Accepted, BatchAnswer, BatchItem, Endpoint, EventEnvelope, HistoryPage, NewEndpoint, Problem,
    SubmitRequest, TaskPage, TaskView,
};

//! Streams: events to whoever is connected, from any cursor on.

mod catch_up;
mod chunk;
pub(crate) mod context;
pub(crate) mod entry;
pub(crate) mod events;
mod feed;
pub(crate) mod filter;
mod frame;
pub(crate) mod hub;
pub(crate) mod log;
mod places;
pub(crate) mod reader;
mod response;
#[cfg(test)]
mod sample;
pub(crate) mod task_events;
pub(crate) mod topic;

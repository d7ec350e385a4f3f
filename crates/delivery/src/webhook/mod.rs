//! Webhooks: endpoints, and posting events to them until they are taken or given up.

pub(crate) mod address;
pub(crate) mod api;
pub(crate) mod consumer;
pub(crate) mod deliver;
pub(crate) mod directory;
pub(crate) mod dispatcher;
mod lane;
mod sample;
mod schedule;
pub(crate) mod send;
mod settings;
mod signature;

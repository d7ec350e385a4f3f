//! Commands that talk to a running server, and those that manage who may come in, over the database. Each file is one:
//! its flags, its call, its answer.

pub(crate) mod audit;
pub(crate) mod connector;
pub(crate) mod endpoints;
pub(crate) mod keys;
mod record;
pub(crate) mod stream_tokens;
pub(crate) mod submit;
pub(crate) mod tasks;
pub(crate) mod tenants;
mod view;
pub(crate) mod watch;

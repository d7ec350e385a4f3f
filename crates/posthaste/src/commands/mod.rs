//! Commands that talk to a running server. Each file is one: its flags, its call, its answer.

pub(crate) mod endpoints;
pub(crate) mod submit;
pub(crate) mod tasks;
mod view;
pub(crate) mod watch;

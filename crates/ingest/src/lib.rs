#![doc = include_str!("../README.md")]
#![expect(
    clippy::result_large_err,
    reason = "a problem is at the lint's bound, and moves only when a request is refused"
)]

mod app;
mod batch;
mod change;
mod conditional;
mod idempotency;
mod intake;
mod list;
mod prefer;
mod problems;
mod read;
mod request;
mod routes;
mod service;
mod slots;
mod submit;
mod trace;
mod validate;
mod wait;

pub use service::{Deps, Options, Service};

#![doc = include_str!("../README.md")]
#![expect(
    clippy::result_large_err,
    reason = "a problem document is the outcome of a refused request, not of a hot path"
)]

mod cursor;
mod decoder;
mod error;
mod options;
mod routes;
mod service;
mod stream;
mod webhook;

pub use error::Error;
pub use options::Options;
pub use service::{Deps, Service};

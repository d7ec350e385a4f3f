#![doc = include_str!("../README.md")]

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

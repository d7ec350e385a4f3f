#![doc = include_str!("../README.md")]

mod attempt;
mod dispatcher;
mod error;
mod handler;
mod handlers;
mod intake;
mod json;
mod options;
mod outcome;
mod partitions;
mod queue;
mod reporter;
mod service;

pub use error::Error;
pub use handler::{Attempt, Handler, HandlerError};
pub use handlers::Handlers;
pub use json::JsonText;
pub use options::{HandlerKind, Options, RunningEvent, TypeOptions};
pub use service::{Parts, Service};

#![doc = include_str!("../README.md")]

mod error;
mod memory;
mod options;
mod outbox;
mod pgoutput;
mod position;
mod publisher;
mod refusals;
mod service;
mod session;
mod source;
mod tls;
mod topic;
mod waiting;
mod watermark;

pub use error::{Error, ErrorKind};
pub use options::Options;
pub use position::{Position, ServerIdentity};
pub use service::{Deps, Health, Service};

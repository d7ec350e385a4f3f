#![doc = include_str!("../README.md")]

mod control;
mod encoding;
mod error;
mod hold;
mod layout;
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
mod value;
mod waiting;
mod watch;
mod watermark;
mod writer;

pub use control::{Control, Health, Status};
pub use error::{Error, ErrorKind};
pub use layout::{ColumnNames, OutboxOptions};
pub use options::{Delivery, OnWalLimit, Options};
pub use position::{Position, ServerIdentity};
pub use service::{Deps, Service};
pub use watch::SlotStatus;

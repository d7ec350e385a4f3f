#![doc = include_str!("../README.md")]
#![expect(
    clippy::result_large_err,
    reason = "a problem document is the outcome of a refused request, not of a hot path"
)]

mod coalescing;
mod connectors;
mod encoding;
mod error;
mod health;
mod hold;
mod layout;
mod memory;
mod options;
mod outbox;
mod pgoutput;
mod position;
mod publisher;
mod refusals;
mod report;
mod routes;
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

pub use connectors::Connectors;
pub use error::{Error, ErrorKind};
pub use health::Health;
pub use layout::{ColumnNames, OutboxOptions};
pub use options::{Delivery, OnWalLimit, Options};
pub use position::{Position, ServerIdentity};
pub use routes::routes;
pub use service::{Deps, Service};
